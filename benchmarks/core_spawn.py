"""Row 2: a core WebAssembly agent (a WASI command) from spawn to its first result, through the pool and inside the worker."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import wasmtime
from _common import arguments, percentile, repeat, report

from runloop.sandbox import Answer, GuestSpec, WorkerPool

COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 0) "{\\22n\\22:42}")
  (func (export "_start")
    (i32.store (i32.const 100) (i32.const 0)) (i32.store (i32.const 104) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""


async def hostcall(_name: str, _args: str) -> Answer:
    """Never asked."""
    return Answer("{}", 0)


async def measure(pool: WorkerPool, spec: GuestSpec, count: int) -> dict[str, float]:
    """Spawn one after another."""
    outside, inside = [], []
    for _ in range(count):
        began = time.perf_counter()
        done = await pool.run(spec, hostcall)
        outside.append((time.perf_counter() - began) * 1000)
        inside.append(done.running_ms)
    return {
        "pool_p50_ms": percentile(outside, 50),
        "pool_p99_ms": percentile(outside, 99),
        "worker_p50_ms": percentile(inside, 50),
        "worker_p99_ms": percentile(inside, 99),
    }


def main() -> None:
    """Start one worker, warm it, measure."""
    options = arguments(__doc__ or "")
    count = 50 if options.small else 2000
    code = bytes(wasmtime.wat2wasm(COMMAND))
    spec = GuestSpec("wasm32-wasip1", "bench", "tool", '{"with":{},"inputs":{}}', bytes(32), 1_763_600_000_000, code=code)
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as runner:
        pool = WorkerPool(Path(scratch) / "cache", workers=1)
        runner.run(pool.start())
        runner.run(pool.prepare(spec))
        figures = repeat(lambda: runner.run(measure(pool, spec, count)), runs=1 if options.small else options.runs)
        runner.run(pool.close())
    report("core_spawn", figures, "wasmtime", row=2, goal="p50 <= 0.4 ms, p99 <= 1 ms", spawns=count)


if __name__ == "__main__":
    main()
