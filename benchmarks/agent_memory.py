"""Row 3: private memory of a worker for each live Python agent that waits for a hostcall, and what is left after they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path

from _common import arguments, repeat, report

from runloop.sandbox import Answer, GuestSpec, WorkerPool

SOURCE = """
from runloop_agent import agent, ask

@agent
def run(topic: str) -> dict:
    return {"out": [topic, ask.person("go on?").answer]}
"""


def private_mb(pid: int) -> float:
    """Memory that only this process has."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith(("Private_Dirty", "Private_Clean"))) / 1024


async def live(pool: WorkerPool, count: int) -> list[asyncio.Task[object]]:
    """Start agents and return when each waits for its answer."""
    asked = asyncio.Semaphore(0)

    async def hostcall(_name: str, _args: str) -> Answer:
        asked.release()
        await asyncio.Event().wait()
        raise AssertionError("nobody answers")

    tasks: list[asyncio.Task[object]] = []
    for number in range(count):
        request = json.dumps({"with": {"topic": f"topic {number}"}, "inputs": {}})
        spec = GuestSpec(
            "python", "bench", "agent.py", request, number.to_bytes(32, "big"), 1_763_600_000_000, sources={"agent.py": SOURCE}
        )
        tasks.append(asyncio.create_task(pool.run(spec, hostcall)))
    for _ in range(count):
        await asked.acquire()
    return tasks


async def evict(tasks: list[asyncio.Task[object]]) -> None:
    """Stop all and wait until they are out."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def measure(pool: WorkerPool, count: int) -> dict[str, float]:
    """Compare a warm worker without agents, with agents, and after they were evicted."""
    await evict(await live(pool, count))
    (pid,) = pool.pids
    before = private_mb(pid)
    tasks = await live(pool, count)
    full = private_mb(pid)
    await evict(tasks)
    return {"live_mb_each": (full - before) / count, "evicted_mb_each": (private_mb(pid) - before) / count, "worker_mb": before}


def main() -> None:
    """Measure in one worker."""
    options = arguments(__doc__ or "")
    count = 20 if options.small else 200
    with tempfile.TemporaryDirectory() as scratch, asyncio.Runner() as runner:
        pool = WorkerPool(Path(scratch) / "cache", workers=1)
        runner.run(pool.start())
        runner.run(pool.prepare())
        figures = repeat(lambda: runner.run(measure(pool, count)), runs=1 if options.small else options.runs)
        runner.run(pool.close())
    report("agent_memory", figures, "wasmtime", row=3, goal="<= 1.5 MB live, 0 evicted", agents=count)


if __name__ == "__main__":
    main()
