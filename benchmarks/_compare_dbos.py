"""Row 6, for comparison: DBOS with SQLite runs the same number of no-op steps in a chain and side by side; plain functions, no sandbox.

Run by ``nodes_durable.py`` with a Python that has ``dbos``; prints one measurement as JSON.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import sys
import tempfile
import time

from dbos import DBOS


@DBOS.step()
async def step() -> int:
    """Nothing, recorded."""
    return 42


@DBOS.workflow()
async def chain(length: int) -> int:
    """One step after the other."""
    return sum([await step() for _ in range(length)])


@DBOS.workflow()
async def fan(width: int) -> int:
    """All steps side by side."""
    return sum(await asyncio.gather(*(step() for _ in range(width))))


async def rate(workflow: object, nodes: int) -> tuple[float, float]:
    """Steps a second of one workflow, and processor milliseconds a step."""
    began, cpu = time.perf_counter(), time.process_time()
    handle = await DBOS.start_workflow_async(workflow, nodes)  # type: ignore[arg-type]
    if await handle.get_result() != 42 * nodes:
        raise SystemExit("unexpected result")
    return nodes / (time.perf_counter() - began), (time.process_time() - cpu) * 1000 / nodes


async def measure(nodes: int) -> dict[str, float]:
    """Both shapes, each after a warm-up."""
    figures = {}
    for shape, workflow in (("chain", chain), ("fan", fan)):
        await rate(workflow, min(nodes, 20))
        figures[f"{shape}_nodes_per_s"], figures[f"{shape}_cpu_ms"] = await rate(workflow, nodes)
    return figures


def main() -> None:
    """Measure once."""
    nodes = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        logging.disable(logging.WARNING)
        DBOS(config={"name": "compare", "system_database_url": f"sqlite:///{scratch}/dbos.sqlite", "log_level": "ERROR"})
        DBOS.launch()
        try:
            figures = asyncio.run(measure(nodes))
        finally:
            DBOS.destroy()
    print(json.dumps({"figures": figures, "versions": {"dbos": importlib.metadata.version("dbos")}}))


if __name__ == "__main__":
    main()
