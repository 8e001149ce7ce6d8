"""From asking for a cancellation to the end of the run as a follower sees it: an endless loop, a wait for a model, a queued run.

The goal of the first is 100 ms (issue 3); a guest is out of its worker before its run ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING

from _common import arguments, report
from _daemon import Home, home

from runloop.bus import BusClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOP = b"""from runloop_agent import agent, emit


@agent
def run() -> dict:
    emit.log("spinning")
    while True:
        pass
"""
ASKS = b"""from runloop_agent import agent, model


@agent
def run() -> dict:
    return {"out": model.complete("anything").text}
"""
OPENING = "version: 0\nname: {0}\nnodes:\n  - {{id: a, use: agent:{0}}}\nedges: []\n"


async def ask(client: BusClient, verb: str, **fields: object) -> None:
    """Ask the daemon; ends the benchmark where it refuses."""
    payload = (await client.request("rlp/ctrl", "intent.ctrl.request.v1", {"verb": verb, **fields}, 60_000)).payload
    if "error" in payload:
        raise SystemExit(payload["error"])


async def cancelled_ms(client: BusClient, opening: str, until: str) -> float:
    """Submit, wait for a record of the kind ``until``, cancel: milliseconds to the run's end."""
    run_id = str(uuid.uuid4())
    records = await client.subscribe(f"rlp/runs/trace:{run_id}/events", "durable", from_seq=1, max_bytes=256 * 1024)
    await ask(client, "submit", request_id=run_id, opening=opening)
    async for message in records:
        if message.payload["kind"] == "run.finished":
            raise SystemExit(message.payload)
        if message.payload["kind"] == until:
            break
    await asyncio.sleep(0.02)  # the guest is where it is to be
    began = time.perf_counter()
    await ask(client, "cancel", run=run_id)
    async for message in records:
        if message.payload["kind"] == "run.finished":
            break
    took = (time.perf_counter() - began) * 1000
    if message.payload["meta"]["status"] != "cancelled":
        raise SystemExit(message.payload)
    await records.close()
    return took


@contextlib.asynccontextmanager
async def silent_model() -> AsyncIterator[int]:
    """A model's server that never answers; its port."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def measure(made: Home, count: int) -> dict[str, dict[str, float]]:
    """Cancel many of each."""
    figures = {}
    for name, opening, until in (
        ("endless_loop", "loop", "node.log"),
        ("waits_for_model", "asks", "effect.requested"),
        ("queued", "loop", "run.submitted"),
    ):
        async with silent_model() as port:
            config = f'models:\n  default: here:m\n  broker:\n    providers: [{{id: here, kind: http_ollama, base_url: "http://127.0.0.1:{port}"}}]\n'
            (made.state / "config.yaml").write_text(config)
            made.start(*(["runtime.max_runs=1"] if name == "queued" else []))
            async with await BusClient.connect(made.socket, "operator", made.token) as client:
                if name == "queued":
                    await ask(client, "submit", request_id=str(uuid.uuid4()), opening="loop")
                took = sorted([await cancelled_ms(client, opening, until) for _ in range(count + 1)][1:])
            made.stop()
        figures[f"{name}_ms"] = {"median": round(took[len(took) // 2], 2), "min": round(took[0], 2), "max": round(took[-1], 2)}
    return figures


def main() -> None:
    """Make the two agents, then cancel."""
    options = arguments(__doc__ or "")
    with home() as made:
        made.agent("loop", "python", "agent.py", LOOP)
        made.agent("asks", "python", "agent.py", ASKS, "model = true")
        for name in ("loop", "asks"):
            made.opening(name, OPENING.format(name))
        figures = asyncio.run(measure(made, 2 if options.small else 4 * options.runs))
    report("cancel", figures, "wasmtime", "apsw", goal="endless loop <= 100 ms")


if __name__ == "__main__":
    main()
