"""Guests that are spawned in one worker, one after another: what rows 1 and 2 measure."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from _common import percentile, repeat

from runloop.sandbox import Answer, GuestSpec, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Sequence


def spawned(specs: Sequence[GuestSpec], runs: int, prepared: GuestSpec | None = None) -> dict[str, dict[str, float]]:
    """Start one worker, compile ``prepared`` (or the Python guest), and measure each spec from spawn to first result."""
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as runner:
        pool = WorkerPool(Path(scratch) / "cache", workers=1)
        runner.run(pool.start())
        runner.run(pool.prepare(prepared))
        figures = repeat(lambda: runner.run(_measure(pool, specs)), runs=runs)
        runner.run(pool.close())
    return figures


async def _measure(pool: WorkerPool, specs: Sequence[GuestSpec]) -> dict[str, float]:
    outside, inside = [], []
    for spec in specs:
        began = time.perf_counter()
        done = await pool.run(spec, _hostcall)
        outside.append((time.perf_counter() - began) * 1000)
        inside.append(done.running_ms)
    return {
        "pool_p50_ms": percentile(outside, 50),
        "pool_p99_ms": percentile(outside, 99),
        "worker_p50_ms": percentile(inside, 50),
        "worker_p99_ms": percentile(inside, 99),
    }


async def _hostcall(_name: str, _args: str) -> Answer:
    """Never asked: the first result comes without a call."""
    return Answer("{}", 0)
