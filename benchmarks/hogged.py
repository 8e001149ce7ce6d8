"""How long a run of one quick node takes while agents in endless loops have every place of the workers.

Six of them (three for each of two workers, which have two threads each) and thirty. The first run comes 200 ms after the loops, and
waits with those that have not been tried; the later ones have the place for trials to themselves.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from _common import arguments, report, summary
from _daemon import home

from runloop.bus import BusClient

if TYPE_CHECKING:
    from _daemon import Home

HEAD = b"from runloop_agent import agent\n\n\n@agent\ndef run() -> dict:\n"
OPENING = "version: 0\nname: {0}\nnodes:\n  - {{id: a, use: agent:{0}}}\nedges: []\n"
CONTROL = ("rlp/ctrl", "intent.ctrl.request.v1")
LATER = 10


async def took_ms(client: BusClient) -> float:
    """A quick run from its submission to its end as a follower sees it."""
    run_id, began = str(uuid.uuid4()), time.perf_counter()
    records = await client.subscribe(f"rlp/runs/trace:{run_id}/events", "durable", from_seq=1, max_bytes=256 * 1024)
    await submit(client, run_id, "quick")
    async for message in records:
        if message.payload["kind"] == "run.finished":
            break
    if message.payload["meta"]["status"] != "succeeded":
        raise SystemExit(message.payload)
    await records.close()
    return (time.perf_counter() - began) * 1000


async def submit(client: BusClient, run_id: str, opening: str) -> None:
    """Have a run taken in."""
    payload = (await client.request(*CONTROL, {"verb": "submit", "request_id": run_id, "opening": opening}, 60_000)).payload
    if "error" in payload:
        raise SystemExit(payload["error"])


async def beside(made: Home, loops: int, later: int) -> tuple[float, list[float]]:
    """Milliseconds of the first quick run and of those after it."""
    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        for _ in range(3):
            await took_ms(client)  # the workers are warm
        hogs = [str(uuid.uuid4()) for _ in range(loops)]
        for run_id in hogs:
            await submit(client, run_id, "loop")
        await asyncio.sleep(0.2)
        first = await took_ms(client)
        found = first, [await took_ms(client) for _ in range(later)]
        for run_id in hogs:
            await client.request(*CONTROL, {"verb": "cancel", "run": run_id}, 60_000)
        return found


def main() -> None:
    """Two agents, a new daemon for every series."""
    options = arguments(__doc__ or "")
    figures = {}
    with home() as made:
        made.agent("loop", "python", "agent.py", HEAD + b"    while True:\n        pass\n")
        made.agent("quick", "python", "agent.py", HEAD + b"    return {'out': 1}\n")
        for name in ("loop", "quick"):
            made.opening(name, OPENING.format(name))
        for loops in (6,) if options.small else (6, 30):
            firsts, laters = [], []
            for _ in range(1 if options.small else options.runs):
                made.start("sandbox.workers=2")
                first, later = asyncio.run(beside(made, loops, LATER))
                made.stop()
                firsts.append(first)
                laters += later
            figures[f"first_beside_{loops}_ms"] = summary(firsts)
            figures[f"later_beside_{loops}_ms"] = summary(laters)
    report("hogged", figures, "wasmtime")


if __name__ == "__main__":
    main()
