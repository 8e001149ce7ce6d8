"""What row 7 costs without a run manager: the processor time of what a run of ten events cannot do without, and nothing else.

64 tasks on one loop, each time: two guests in a worker, ten records made, hashed, chained and on disk in two commits. Without the bus,
its client, the plan, admission, and everything that makes runs of it: it is a floor, not a mode of operation. Two cores leave
2 / 3,000 s = 0.67 ms for each of 3,000 runs a second.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from pathlib import Path

import wasmtime
from _common import arguments, repeat, report
from _cpu import Meter
from _daemon import COMMAND
from runs_throughput import EVENTS, SUBMITTERS

from runloop.daemon.loops import loop_factory
from runloop.daemon.main import tune_interpreter
from runloop.events import RunIdentity
from runloop.events.records import AgentRef, NodeFinished, NodeStarted
from runloop.kb import AsyncLedger, Ledger
from runloop.runs.recorder import Draft, Recorder
from runloop.sandbox import Answer, GuestSpec, WorkerPool

AGENT = AgentRef("core", "1.0.0", "0" * 64)
STARTED = Draft("node.started", "node a started (attempt 1)", NodeStarted("a", 1, AGENT, inputs={}, inputs_hash="0" * 64))
FINISHED = Draft("node.finished", "node a ok", NodeFinished("a", 1, "ok", outputs={"out": [42]}, outputs_hash="0" * 64, ms=1))


async def hostcall(_name: str, _args: str) -> Answer:
    """Never asked."""
    return Answer("{}", 0)


async def measure(pool: WorkerPool, spec: GuestSpec, ledger: Ledger, count: int) -> dict[str, float]:
    """``count`` times for each of 64 tasks."""
    appender = AsyncLedger(ledger)

    async def one() -> None:
        for _ in range(count):
            identity = RunIdentity(str(uuid.uuid4()), f"trace:{uuid.uuid4()}", f"opening:{uuid.uuid4()}", "ten")
            recorder = Recorder(identity, appender, lambda: time.time_ns() // 1_000_000)
            recorder.write(*[STARTED] * (EVENTS // 2), urgent=False)
            await pool.run(spec, hostcall)
            await pool.run(spec, hostcall)
            await recorder.write(*[FINISHED] * (EVENTS - EVENTS // 2))

    meter, began = Meter(os.getpid()), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(SUBMITTERS)))
    seconds, spent = time.perf_counter() - began, meter.milliseconds_each(SUBMITTERS * count)
    del spent["cpu_ms_submitters"]  # they are this process
    return {"per_s": SUBMITTERS * count / seconds, **spent, "cpu_ms": sum(spent.values())}


def main() -> None:
    """Start workers, warm up, measure."""
    options = arguments(__doc__ or "")
    count = 2 if options.small else 30
    spec = GuestSpec("wasm32-wasip1", "bench", "tool", '{"with":{},"inputs":{}}', bytes(32), 1, code=bytes(wasmtime.wat2wasm(COMMAND)))
    tune_interpreter()
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner(loop_factory=loop_factory()) as runner:
        pool = WorkerPool(Path(scratch) / "cache")
        runner.run(pool.start())
        runner.run(pool.prepare(spec))
        with Ledger.open(Path(scratch) / "events.sqlite") as ledger:
            figures = repeat(lambda: runner.run(measure(pool, spec, ledger, count)), runs=1 if options.small else options.runs)
        runner.run(pool.close())
    facts = {"tasks": SUBMITTERS, "times": SUBMITTERS * count, "events": EVENTS}
    report("runs_floor", figures, "wasmtime", "apsw", row=7, goal="3,000 runs/s leave 0.67 ms of two cores", **facts)


if __name__ == "__main__":
    main()
