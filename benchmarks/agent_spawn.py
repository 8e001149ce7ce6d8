"""Row 1: a Python agent from spawn to its first result, sandboxed and deterministic, through the pool and inside the worker."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from _common import arguments, percentile, repeat, report

from runloop.sandbox import Answer, GuestSpec, WorkerPool, guest_digest

SOURCE = """
from runloop_agent import agent, kb, model

@agent
def run(topic: str, contact: dict | None = None) -> dict:
    notes = [f"{topic} {n}" for n in range(3)]
    return {"out": {"body": "; ".join(notes), "to": contact}}
"""


def spec(number: int) -> GuestSpec:
    """Another request each time."""
    request = json.dumps({"with": {"topic": f"topic {number}"}, "inputs": {"contact": [{"name": "n"}]}})
    return GuestSpec("python", "bench", "agent.py", request, number.to_bytes(32, "big"), 1_763_600_000_000, sources={"agent.py": SOURCE})


async def hostcall(_name: str, _args: str) -> Answer:
    """Never asked: the first result comes without a call."""
    return Answer("{}", 0)


async def measure(pool: WorkerPool, count: int) -> dict[str, float]:
    """Spawn one after another."""
    outside, inside = [], []
    for number in range(count):
        began = time.perf_counter()
        done = await pool.run(spec(number), hostcall)
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
    count = 20 if options.small else 300
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as runner:
        pool = WorkerPool(Path(scratch) / "cache", workers=1)
        runner.run(pool.start())
        runner.run(pool.prepare())
        figures = repeat(lambda: runner.run(measure(pool, count)), runs=1 if options.small else options.runs)
        runner.run(pool.close())
    report(
        "agent_spawn", figures, "wasmtime", row=1, goal="p50 <= 2.5 ms, p99 <= 5 ms in a worker", spawns=count, guest=guest_digest()[:16]
    )


if __name__ == "__main__":
    main()
