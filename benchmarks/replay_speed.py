"""Replay: events a second of a run with one agent that made many calls, and of a chain of nodes that made none."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import wasmtime
from _common import arguments, repeat, report
from _daemon import COMMAND, Home, home
from nodes_durable import opening

from runloop.config import load
from runloop.effects.perform.secrets import SecretHandles, SecretsHandle, SecretStore
from runloop.openings import parse_opening
from runloop.runs.compose import session
from runloop.runs.obeying import limits_from
from runloop.runs.places import open_knowledge
from runloop.runs.replay import Replayer
from runloop.runs.replaying import bundle_finder
from runloop.runs.sources import FoundRun
from runloop.runs.submission import Submission
from runloop.sandbox import WorkerPool, guest_digest

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.kb import KnowledgeBase

CALLS = """from runloop_agent import agent, kb


@agent
def run() -> dict:
    return {{"out": sum(len(kb.search(f"topic {{number}}")) for number in range({calls}))}}
"""
CALLER = "version: 0\nname: calls\nnodes:\n  - {id: a, use: agent:calls}\nedges: []\n"


async def recorded(settings: Settings, source: str) -> tuple[str, int]:
    """Run an opening; its run id and how many events it has."""
    async with session(settings) as here:
        result = await here.manager.drive(await here.manager.submit(Submission(parse_opening(source))))
    if result.status != "succeeded":
        raise SystemExit(f"the run {result.status}: {result.reason}")
    return result.run_id, result.record["seq"]


async def replayed(settings: Settings, kb: KnowledgeBase, pool: WorkerPool, run_id: str) -> float:
    """Seconds of one replay, in a worker that runs."""
    found = FoundRun(run_id, kb.ledger, kb.ledger.id, "own")
    virtual = {"secrets.handle": SecretsHandle(SecretHandles(SecretStore(()), lambda _secret_id: ()))}
    replayer = Replayer(pool, bundle_finder(settings, found), limits_from(settings), virtual, guest_digest())
    began = time.perf_counter()
    outcome = await replayer.replay(kb.ledger, run_id)
    seconds = time.perf_counter() - began
    if not outcome.matches:
        raise SystemExit("the replay differs")
    return seconds


async def measure(settings: Settings, runs: dict[str, tuple[str, int]]) -> dict[str, float]:
    """Every run once."""
    figures = {}
    kb = open_knowledge(settings)
    try:
        async with WorkerPool(settings.directories.cache, workers=1) as pool:
            await pool.prepare()
            for name, (run_id, events) in runs.items():
                await replayed(settings, kb, pool, run_id)
                seconds = await replayed(settings, kb, pool, run_id)
                figures |= {f"{name}_events_per_s": events / seconds, f"{name}_ms": seconds * 1000}
    finally:
        kb.close()
    return figures


def prepared(made: Home, calls: int) -> Settings:
    """A home with the agents."""
    made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
    made.agent("calls", "python", "agent.py", CALLS.format(calls=calls).encode(), 'kb_read = ["notes"]')
    return load(env=made.env, cwd=made.root)


def main() -> None:
    """Record, then replay."""
    options = arguments(__doc__ or "")
    calls, nodes = (50, 10) if options.small else (2000, 200)
    with home() as made:
        settings = prepared(made, calls)
        sources = {"calls": CALLER, "nodes": opening("core", nodes, chained=True)}
        runs = {name: asyncio.run(recorded(settings, source)) for name, source in sources.items()}
        figures = repeat(lambda: asyncio.run(measure(settings, runs)), runs=1 if options.small else options.runs)
    events = {name: events for name, (_, events) in runs.items()}
    report("replay_speed", figures, "wasmtime", "apsw", calls=calls, nodes=nodes, events=events)


if __name__ == "__main__":
    main()
