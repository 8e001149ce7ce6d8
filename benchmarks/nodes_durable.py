"""Row 6: durable, sandboxed no-op nodes in a chain and 200 side by side, beside LangGraph and DBOS with SQLite.

The nodes run through the run manager of this process with the real ledger, on the loop that the daemon takes (uvloop where it is
installed) and with its interpreter's settings: every record is on disk before anybody sees it, and the run's end before it has ended.
Beside the clock stands processor time, which says more on a shared machine. The rivals run plain functions in their own process.
``--peers PYTHON`` names a Python that has ``langgraph``, ``langgraph-checkpoint-sqlite`` and ``dbos``; what is missing there is left
out, and the result says so. Everybody takes turns in one series.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import wasmtime
from _common import arguments, report, summary
from _cpu import Meter
from _daemon import COMMAND, Home, home

from runloop.config import load
from runloop.daemon.loops import loop_factory
from runloop.daemon.main import tune_interpreter
from runloop.openings import parse_opening
from runloop.runs.compose import Session, session
from runloop.runs.submission import Submission

WIDTH = 200
PYTHON = b"from runloop_agent import agent\n\n\n@agent\ndef run() -> dict:\n    return {'out': 42}\n"
KINDS = ("core", "python")
EVENTS = 3  # of each node: ready, started, finished


def opening(kind: str, nodes: int, *, chained: bool) -> str:
    """An opening of no-op nodes."""
    lines = ["version: 0", f"name: {'chain' if chained else 'fan'}-{kind}", "nodes:"]
    lines += [f"  - {{id: n{number}, use: 'agent:{kind}'}}" for number in range(nodes)]
    edges = [f"  - {{from: n{number}.out, to: n{number + 1}.in}}" for number in range(nodes - 1)] if chained else []
    return "\n".join([*lines, "edges:" if edges else "edges: []", *edges]) + "\n"


async def rate(here: Session, source: str, nodes: int) -> tuple[float, float]:
    """Nodes a second of one run, from its submission to its end; processor milliseconds a node, workers included."""
    parsed = parse_opening(source)
    meter, began = Meter(os.getpid()), time.perf_counter()
    result = await here.manager.drive(await here.manager.submit(Submission(parsed)))
    seconds, spent = time.perf_counter() - began, meter.milliseconds_each(nodes)
    if (result.status, result.record["seq"]) != ("succeeded", 3 + EVENTS * nodes):
        raise SystemExit(f"a run ended {result.status} after {result.record['seq']} records: {result.reason}")
    return nodes / seconds, sum(spent.values()) - spent["cpu_ms_submitters"]


def ledger_bytes(made: Home) -> int:
    """Bytes of all pages of the ledger, those in the log included."""
    with contextlib.closing(sqlite3.connect(f"file:{made.state}/pog/events.sqlite?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0])


async def ours(made: Home, nodes: int) -> dict[str, float]:
    """Every shape and kind once, after a warm-up; bytes that the ledger grew by for each node of a chain."""
    settings = load(env=made.env, cwd=made.root, flags={"runtime.max_nodes_per_run": WIDTH})
    figures = {}
    async with session(settings) as here:
        for kind in KINDS:
            for shape in ("chain", "fan"):
                source = opening(kind, nodes, chained=shape == "chain")
                await rate(here, source, nodes)
                before = ledger_bytes(made)
                a_second, cpu_ms = await rate(here, source, nodes)
                figures |= {f"{kind}_{shape}_nodes_per_s": a_second, f"{kind}_{shape}_cpu_ms": cpu_ms}
                if shape == "chain":
                    figures[f"{kind}_ledger_bytes_per_node"] = (ledger_bytes(made) - before) / nodes
    return figures


def rival(python: str, name: str, nodes: int) -> dict[str, Any] | None:
    """One measurement of a rival; None where its packages are missing."""
    script = Path(__file__).with_name(f"_compare_{name}.py")
    done = subprocess.run([python, "-P", str(script), str(nodes)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if "ModuleNotFoundError" in done.stderr:
            return None
        raise SystemExit(f"{script.name} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Take turns."""
    options = arguments(__doc__ or "", peers="Python that has langgraph, langgraph-checkpoint-sqlite and dbos")
    nodes, runs = (20, 1) if options.small else (WIDTH, options.runs)
    python, rivals = options.peers or sys.executable, ["langgraph", "dbos"]
    series: dict[str, list[float]] = {}
    versions: dict[str, str] = {}
    missing = []
    tune_interpreter()
    with home() as made:
        made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
        made.agent("python", "python", "agent.py", PYTHON)
        for _ in range(runs):
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                for name, value in runner.run(ours(made, nodes)).items():
                    series.setdefault(name, []).append(value)
            for each in list(rivals):
                found = rival(python, each, nodes)
                if found is None:
                    rivals.remove(each)
                    missing.append(each)
                    continue
                versions |= found["versions"]
                for name, value in found["figures"].items():
                    series.setdefault(f"{each}_{name}", []).append(value)
    figures = {name: summary(values) for name, values in series.items()}
    goal = ">= 1500 / 400 nodes/s in a chain, >= 6000 / 700 fanned out (core WebAssembly / Python)"
    loop = getattr(loop_factory(), "__module__", "asyncio")
    report("nodes_durable", figures, "wasmtime", "apsw", row=6, goal=goal, nodes=nodes, peers=versions, missing=missing, loop=loop)


if __name__ == "__main__":
    main()
