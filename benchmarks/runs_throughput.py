"""Row 7: whole runs of ten events through the daemon, core WebAssembly agents, 64 submitters: submitted, driven, on disk, seen to end."""

from __future__ import annotations

import asyncio
import time
import uuid

import wasmtime
from _common import arguments, percentile, repeat, report
from _cpu import Meter
from _daemon import COMMAND, Home, home

from runloop.bus import BusClient

SUBMITTERS = 64
OPENING = """version: 0
name: ten
nodes:
  - {id: a, use: agent:core}
  - {id: b, use: agent:core}
  - {id: never, use: agent:core}
edges:
  - {from: a.out, to: b.in}
  - {from: a.out == 0, to: never.in}
"""
EVENTS = 10  # submitted, started; ready, started and finished of two nodes; the third one skipped; finished


async def submitter(client: BusClient, ends: dict[str, asyncio.Future[int]], count: int, took: list[float]) -> None:
    """One run after the other."""
    for _ in range(count):
        run_id, began = str(uuid.uuid4()), time.perf_counter()
        ended = ends[run_id] = asyncio.get_running_loop().create_future()
        request = {"verb": "submit", "request_id": run_id, "opening_source": OPENING}
        answer = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", request, 60_000)).payload
        if "error" in answer:
            raise SystemExit(answer["error"])
        events = await ended
        if events != EVENTS:
            raise SystemExit(f"a run had {events} events")
        took.append((time.perf_counter() - began) * 1000)


async def measure(made: Home, count: int) -> dict[str, float]:
    """``count`` runs for each of the submitters."""
    ends: dict[str, asyncio.Future[int]] = {}
    took: list[float] = []
    async with await BusClient.connect(made.socket, "operator", made.token) as client:
        records = await client.subscribe("rlp/runs/*/events", "batched", max_messages=100_000, max_bytes=64 * 1024 * 1024)

        async def watch() -> None:
            async for message in records:
                if b"run.finished" in message.raw:
                    ended = ends.pop(message.payload["run_id"], None)
                    if ended is not None:
                        ended.set_result(message.payload["seq"])

        watching = asyncio.create_task(watch())
        meter, began = Meter(made.pid), time.perf_counter()
        await asyncio.gather(*(submitter(client, ends, count, took) for _ in range(SUBMITTERS)))
        seconds = time.perf_counter() - began
        spent = meter.milliseconds_each(SUBMITTERS * count)
        watching.cancel()
    runs = SUBMITTERS * count
    rates = {"runs_per_s": runs / seconds, "events_per_s": runs * EVENTS / seconds, **spent}
    return {**rates, "p50_ms": percentile(took, 50), "p99_ms": percentile(took, 99)}


def main() -> None:
    """Start a daemon, submit."""
    options = arguments(__doc__ or "")
    count = 2 if options.small else 15
    with home() as made:
        made.agent("core", "wasm32-wasip1", "agent.wasm", bytes(wasmtime.wat2wasm(COMMAND)))
        made.start("runtime.max_runs=256")
        figures = repeat(lambda: asyncio.run(measure(made, count)), runs=1 if options.small else options.runs)
    facts = {"submitters": SUBMITTERS, "runs": SUBMITTERS * count, "events": EVENTS}
    report("runs_throughput", figures, "wasmtime", "apsw", row=7, goal=">= 3000 runs/s", **facts)


if __name__ == "__main__":
    main()
