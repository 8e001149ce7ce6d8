"""What a crossing of the boundary costs, live and taped, and how long the rebuild of a guest with many crossings takes."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from _common import arguments, repeat, report

from runloop.sandbox import Answer, GuestSpec, Limits, Taped, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Sequence

AGENT = """from runloop_agent import kb
def run(n):
    for i in range(n):
        kb.get("contacts/anna")
    return n
"""
VALUE = json.dumps({"domain": "contacts", "key": "contacts/anna", "title": "Anna", "data": {"mail": "anna@example.org"}, "event_id": 7})
START_MS = 1_763_600_000_000


def spec_of(calls: int) -> GuestSpec:
    """A Python agent that makes so many calls, one after another."""
    request = json.dumps({"with": {"n": calls}, "inputs": {}, "run": {"run_id": "r", "node": "n", "attempt": 1}})
    return GuestSpec(
        "python", f"crossings {calls}", "agent.py", request, bytes(32), START_MS, Limits(hostcalls=1_000_000), sources={"agent.py": AGENT}
    )


async def hostcall(_name: str, _args: str) -> Answer:
    """Answer at once, so that only the crossing itself is measured."""
    return Answer(VALUE, START_MS)


async def timed_ms(pool: WorkerPool, calls: int, tape: Sequence[Taped] = ()) -> float:
    """Milliseconds of one whole run."""
    began = time.perf_counter()
    await pool.run(spec_of(calls), hostcall, tape)
    return (time.perf_counter() - began) * 1000


async def measure(pool: WorkerPool, calls: int) -> dict[str, float]:
    """One guest without calls, one whose calls are live, one whose calls are all recorded."""
    tape = [Taped("kb.get", Answer(VALUE, START_MS))] * calls
    none = min([await timed_ms(pool, 0) for _ in range(5)])
    live = await timed_ms(pool, calls)
    taped = await timed_ms(pool, calls, tape)
    return {
        "spawn_ms": none,
        "live_crossing_us": (live - none) / calls * 1000,
        "taped_crossing_us": (taped - none) / calls * 1000,
        "rebuild_ms": taped,
    }


def main() -> None:
    """Start one worker, warm it, measure."""
    options = arguments(__doc__ or "")
    calls = 50 if options.small else 1000
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as runner:
        pool = WorkerPool(Path(scratch) / "cache", workers=1)
        runner.run(pool.start())
        runner.run(pool.prepare())
        figures = repeat(lambda: runner.run(measure(pool, calls)), runs=1 if options.small else options.runs)
        runner.run(pool.close())
    report("crossings", figures, "wasmtime", goal="rebuild of a guest with 1,000 crossings <= 60 ms", calls=calls)


if __name__ == "__main__":
    main()
