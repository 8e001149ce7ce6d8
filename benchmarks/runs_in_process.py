"""Row 7 without daemon and bus: the same runs of ten events through the run manager of this process, 64 submitters."""

from __future__ import annotations

import asyncio
import os
import time
import uuid

import wasmtime
from _common import arguments, percentile, repeat, report
from _cpu import Meter
from _daemon import COMMAND, Home, home
from runs_throughput import EVENTS, OPENING, SUBMITTERS

from runloop.config import load
from runloop.daemon.loops import loop_factory
from runloop.daemon.main import tune_interpreter
from runloop.openings import parse_opening
from runloop.runs.compose import session
from runloop.runs.submission import Submission


async def measure(made: Home, count: int) -> dict[str, float]:
    """``count`` runs for each of the submitters."""
    took: list[float] = []
    opening = parse_opening(OPENING)
    async with session(load(env=made.env, cwd=made.root)) as here:

        async def submitter() -> None:
            for _ in range(count):
                began = time.perf_counter()
                result = await here.manager.drive(await here.manager.submit(Submission(opening, run_id=str(uuid.uuid4()))))
                if result.record["seq"] != EVENTS:
                    raise SystemExit(f"a run had {result.record['seq']} events")
                took.append((time.perf_counter() - began) * 1000)

        meter, began = Meter(os.getpid()), time.perf_counter()
        await asyncio.gather(*(submitter() for _ in range(SUBMITTERS)))
        seconds, spent = time.perf_counter() - began, meter.milliseconds_each(SUBMITTERS * count)
    runs = SUBMITTERS * count
    del spent["cpu_ms_submitters"]  # they are this process
    rates = {"runs_per_s": runs / seconds, "events_per_s": runs * EVENTS / seconds}
    return {**rates, **spent, "p50_ms": percentile(took, 50), "p99_ms": percentile(took, 99)}


def main() -> None:
    """Make a home, run."""
    options = arguments(__doc__ or "")
    count = 2 if options.small else 15
    tune_interpreter()
    with home() as made:
        made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            figures = repeat(lambda: runner.run(measure(made, count)), runs=1 if options.small else options.runs)
    facts = {"submitters": SUBMITTERS, "runs": SUBMITTERS * count, "events": EVENTS}
    report("runs_in_process", figures, "wasmtime", "apsw", row=7, **facts)


if __name__ == "__main__":
    main()
