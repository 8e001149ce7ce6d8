"""What runs cost that wait for a person: 5,000 of them parked, before and after a restart of the daemon, and one of them answered.

The memory is what the daemon has more than before (PSS). ``--park-after-ms`` sets when a run is parked, ``--waiting`` how many there are.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from _common import arguments, percentile, report, summary
from _cpu import children_of
from _daemon import Home, home
from daemon_idle import memory

from runloop.bus import BusClient

MAILS = """from runloop_agent import agent, mail


@agent
def run() -> dict:
    return {"out": mail.send([{"email": "ada@example.org"}], subject="Hello", text="A few words.").status}
"""
OPENING = "version: 0\nname: mails\nnodes:\n  - {id: a, use: agent:mails}\nedges: []\n"
SUBMITTERS = 64
ANSWERED = 20


async def ask(client: BusClient, verb: str, **fields: Any) -> dict[str, Any]:
    """A control verb's answer."""
    answer = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", {"verb": verb, **fields}, 120_000)).payload
    if "error" in answer:
        raise SystemExit(answer["error"])
    found: dict[str, Any] = answer["ok"]
    return found


async def parked(client: BusClient, count: int) -> None:
    """Wait until that many runs are parked and none is under way."""
    while (runs := (await ask(client, "status"))["runs"])["parked"] != count or runs["running"]:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.1)


async def submit(made: Home, count: int, before: int) -> None:
    """Submit runs that wait, and wait until all of them are parked."""
    left = iter(range(count))

    async with await BusClient.connect(made.socket, "operator", made.token) as client:

        async def submitter() -> None:
            for _ in left:
                await ask(client, "submit", request_id=str(uuid.uuid4()), opening_source=OPENING, patient=True)

        await asyncio.gather(*(submitter() for _ in range(SUBMITTERS)))
        await parked(client, before + count)


async def answer(made: Home, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from an answer until the run goes on and its mail may leave, and to its end; one after the other."""
    went_on, took = [], []
    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        asked = (await ask(client, "approvals"))["open"]
        for each in asked[:: max(1, len(asked) // count)][:count]:
            sub = await client.subscribe(f"rlp/runs/trace:{each['run_id']}/events")
            began = time.perf_counter()
            answering = asyncio.create_task(ask(client, "answer", approval_id=each["approval_id"], approved=True))
            async for message in sub:
                if message.payload["kind"] == "effect.requested":
                    went_on.append((time.perf_counter() - began) * 1000)
                if message.payload["kind"] == "run.finished":
                    took.append((time.perf_counter() - began) * 1000)
                    break
            await answering
            await client.unsubscribe(sub)
            if message.payload["meta"]["status"] != "succeeded":
                raise SystemExit(f"the run ended: {message.payload['meta']}")
    return went_on, took


def pss(made: Home) -> float:
    """MiB of the daemon."""
    return memory(made.pid)[1]


def main() -> None:
    """Park, look, start anew, look, answer."""
    options = arguments(__doc__ or "", waiting="how many runs wait (5000)", park_after_ms="when a run that waits is parked (0)")
    count = int(options.waiting or (50 if options.small else 5000))
    flags = [f"runtime.park_after_ms={options.park_after_ms or 0}", "runtime.max_queued_runs=10000"]
    figures: dict[str, float | dict[str, float]] = {}
    with home() as made:
        made.agent("mails", "python", "agent.py", MAILS.encode(), "mail = true")
        made.start(*flags)
        asyncio.run(submit(made, 20, 0))  # what is loaded with the first runs is not what a further one costs
        before = pss(made)
        began = time.perf_counter()
        asyncio.run(submit(made, count, 20))
        figures["parked_per_s"] = round(count / (time.perf_counter() - began), 1)
        figures["added_mib"] = round(pss(made) - before, 1)
        figures["workers_mib"] = round(sum(memory(pid)[1] for pid in children_of(made.pid)), 1)
        went_on, answered = asyncio.run(answer(made, ANSWERED))
        figures["answer_to_next_effect_ms"], figures["answer_to_end_ms"] = summary(went_on), summary(answered)
        figures["answer_to_end_p99_ms"] = round(percentile(answered, 99), 1)
        made.stop()
        waiting = count + 20 - len(answered)
        made.start(*flags)
        empty = pss(made)

        async def taken_over() -> None:
            async with await BusClient.connect(made.socket, "operator", made.token) as client:
                await parked(client, waiting)

        began = time.perf_counter()
        asyncio.run(taken_over())
        figures["taken_over_after_ready_ms"] = round((time.perf_counter() - began) * 1000, 1)
        figures["added_after_restart_mib"] = round(pss(made) - empty, 1)
        went_on, answered = asyncio.run(answer(made, ANSWERED))
        figures["answer_to_next_effect_after_restart_ms"], figures["answer_to_end_after_restart_ms"] = summary(went_on), summary(answered)
    goal = "< 50 MB added; answering one < 50 ms plus its replay"
    report("waiting", figures, "wasmtime", "apsw", goal=goal, waiting=count, settings=flags)


if __name__ == "__main__":
    main()
