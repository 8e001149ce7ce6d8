"""Row 12: from saving a file to the next run that uses it, debounce included: an opening by name, and a bundle that was sealed again."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from _common import arguments, percentile, repeat, report
from _daemon import Home, home

from runloop.bus import BusClient

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = "from runloop_agent import agent\n\n\n@agent\ndef run() -> dict:\n    return {{'out': {}}}\n"
OPENING = "version: 0\nname: o\nnodes:\n  - {{id: n{}, use: agent:one}}\nedges: []\n"


async def ask(client: BusClient, verb: str, **fields: Any) -> dict[str, Any]:
    """The answer of a verb."""
    payload = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", {"verb": verb, **fields}, 60_000)).payload
    if "error" in payload:
        raise SystemExit(payload["error"])
    return payload["ok"]


async def saved_to_used(client: BusClient, changes: Any, save: Callable[[], None], name: str, after: float) -> float:
    """Save, wait for the daemon's word that it loaded the file, submit a run of it: milliseconds up to the run's acceptance."""
    await asyncio.sleep(after)  # as a person saves: not within the debounce of the save before
    began = time.perf_counter()
    save()
    async for message in changes:
        if message.payload["name"] == name and message.payload["state"] == "loaded":
            break
    await ask(client, "submit", request_id=str(uuid.uuid4()), opening="o")
    return (time.perf_counter() - began) * 1000


async def measure(made: Home, count: int, numbers: list[int]) -> dict[str, float]:
    """Save many times."""
    openings, agents = [], []
    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        changes = await client.subscribe("rlp/sys/reload")
        for _ in range(count):
            numbers[0] += 1
            number = numbers[0]
            openings.append(await saved_to_used(client, changes, lambda n=number: made.opening("o", OPENING.format(n)), "o", 0.15))
            agents.append(
                await saved_to_used(
                    client, changes, lambda n=number: made.agent("one", "python", "agent.py", AGENT.format(n).encode()), "one", 0.15
                )
            )
    return {
        "opening_p50_ms": percentile(openings, 50),
        "opening_p99_ms": percentile(openings, 99),
        "agent_p50_ms": percentile(agents, 50),
        "agent_p99_ms": percentile(agents, 99),
    }


def main() -> None:
    """Start a daemon with a library of ordinary size, then save."""
    options = arguments(__doc__ or "")
    count = 3 if options.small else 30
    with home() as made:
        for number in range(2 if options.small else 19):
            made.agent(f"other{number}", "python", "agent.py", AGENT.format(number).encode())
        for number in range(2 if options.small else 49):
            made.opening(f"other{number}", OPENING.format(number).replace("name: o", f"name: other{number}"))
        made.agent("one", "python", "agent.py", AGENT.format(0).encode())
        made.opening("o", OPENING.format(0))
        made.start()
        numbers = [0]
        figures = repeat(lambda: asyncio.run(measure(made, count, numbers)), runs=1 if options.small else options.runs)
    report("reload", figures, "watchfiles", row=12, goal="p50 <= 100 ms, p99 <= 200 ms", saves=2 * count)


if __name__ == "__main__":
    main()
