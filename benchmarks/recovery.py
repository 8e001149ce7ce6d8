"""Row 8: a daemon is killed with 1,000 runs under way; how long its successor takes to take all of them up, and to end them.

Every run has a finished node and one in the middle of its agent: two calls are answered, the third, a timer, is not. The successor starts
when all timers are due, so that every run goes on at once. The times are those of the ledger's own records.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import wasmtime
from _common import arguments, report, summary
from _daemon import COMMAND, Home, home
from waiting import SUBMITTERS, ask

from runloop.bus import BusClient
from runloop.config import load
from runloop.runs.places import open_knowledge

HALFWAY = """from runloop_agent import agent, kb, timer


@agent
def run() -> dict:
    found = [kb.search("one"), kb.search("two")]
    timer.sleep({seconds})
    return {{"out": len(found)}}
"""
OPENING = """version: 0
name: halfway
nodes:
  - {id: first, use: agent:core}
  - {id: second, use: agent:halfway}
edges:
  - {from: first.out, to: second.in}
"""
KINDS = ("run.recovered", "run.finished", "effect.requested")
FLAGS = ("runtime.max_runs=5000", "runtime.max_queued_runs=5000", "runtime.park_after_ms=3600000")


async def begin(made: Home, count: int) -> None:
    """Submit runs and wait until all are halfway."""
    left = iter(range(count))

    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        records = await client.subscribe("rlp/runs/*/events", "batched", max_messages=100_000, max_bytes=64 * 1024 * 1024)

        async def submitter() -> None:
            for _ in left:
                await ask(client, "submit", request_id=str(uuid.uuid4()), opening_source=OPENING)

        await asyncio.gather(*(submitter() for _ in range(SUBMITTERS)))
        halfway: set[str] = set()
        async for message in records:
            if b"effect.requested" in message.raw and message.payload["meta"]["name"] == "timer.sleep":
                halfway.add(message.payload["run_id"])
                if len(halfway) == count:
                    return


async def ended(made: Home, count: int) -> None:
    """Wait until so many runs have succeeded."""
    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        while (await ask(client, "status"))["runs"]["succeeded"] < count:  # noqa: ASYNC110 - what ended before cannot be subscribed to
            await asyncio.sleep(0.2)


def measure(count: int, seconds: float) -> dict[str, float]:
    """One kill and one recovery."""
    with home() as made:
        made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
        made.agent("halfway", "python", "agent.py", HALFWAY.format(seconds=seconds).encode(), 'kb_read = ["notes"]\ntime = true')
        made.start(*FLAGS)
        asyncio.run(begin(made, count))
        due = time.monotonic() + seconds
        assert made.process is not None
        made.process.kill()
        made.process.wait()
        time.sleep(max(0.0, due - time.monotonic()))
        began_ms = time.time_ns() / 1e6
        ready_s = made.start(*FLAGS)
        asyncio.run(ended(made, count))
        made.stop()
        kb = open_knowledge(load(env=made.env, cwd=made.root))
        try:
            taken, finished, made_calls = (kb.ledger.read(limit=1_000_000, kinds=[kind]) for kind in KINDS)
        finally:
            kb.close()
    statuses = {event.payload["meta"]["status"] for event in finished}
    found = len(taken), len(finished), len(made_calls), statuses
    if found != (count, count, 3 * count, {"succeeded"}):
        raise SystemExit(f"taken up, ended, calls made, statuses: {found}; runs: {count}")
    return {
        "ready_ms": ready_s * 1000,
        "first_taken_up_ms": taken[0].ts_ms - began_ms,
        "all_taken_up_ms": taken[-1].ts_ms - began_ms,
        "all_ended_ms": finished[-1].ts_ms - began_ms,
        "ended_per_s": count * 1000 / (finished[-1].ts_ms - taken[0].ts_ms),
    }


def main() -> None:
    """Kill and recover."""
    options = arguments(__doc__ or "", unfinished="how many runs are under way (1000)", naps="seconds that the timers take (60)")
    count = int(options.unfinished or (20 if options.small else 1000))
    seconds = float(options.naps or (3 if options.small else 60))
    results = [measure(count, seconds) for _ in range(1 if options.small else options.runs)]
    figures = {name: summary([result[name] for result in results]) for name in results[0]}
    report("recovery", figures, "wasmtime", "apsw", row=8, unfinished=count, settings=FLAGS)


if __name__ == "__main__":
    main()
