"""Keep what the pictures of agtop are drawn from: real runs of the demo under a real daemon, in a home of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "docs/examples/agtop/recorded.json"
DEMO = ROOT / "docs/examples/demo"
PLACE = "/home/alex"
RUNS = (("Maria Lee", "Q4 launch plan"), ("nobody", "Q4 launch plan"), ("Jonny", "Berlin office move"), ("Maria Lee", "Q4 launch plan"))
SAMPLES, EVERY_S = 60, 0.25


def rlp(*arguments: str) -> str:
    """What a verb prints."""
    command = [sys.executable, "-P", "-m", "runloop", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def break_an_opening() -> None:
    """One that the daemon cannot load."""
    broken = Path(os.environ["RUNLOOP_HOME"], "openings/weekly_report.yaml")
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("version: 0\nname: weekly_report\nnodes: [\n")


async def recorded() -> dict[str, Any]:
    """What agtop would know after these runs."""
    from runloop.cli.agtop import KnowledgeDesk
    from runloop.client import Client
    from runloop.tui.draw_daemon import GROUPS
    from runloop.tui.live import told

    desk = KnowledgeDesk()
    measured = {name for _, each_of in GROUPS for _, _, name, _ in each_of}
    async with Client() as client:
        said = await client.subscribe("rlp/sys/*")
        await asyncio.to_thread(break_an_opening)
        metrics = []
        for sample in range(SAMPLES):
            if sample % 15 == 3:
                recipient, topic = RUNS[sample // 15]
                await client.submit("compose_email", {"recipient": recipient, "topic": topic}, patient=True)
            if sample == 40:
                first = (await client.approvals())[0]
                await client.answer(first["approval_id"], approved=True, scope="once", rationale="approved in agtop")
            metrics.append(await client.metrics())
            await asyncio.sleep(EVERY_S)
        events: list[str] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                async for message in said:
                    if "what" in message.payload:
                        events.append(told(message.payload))  # noqa: PERF401 - the time-out ends it
        runs = await client.runs(limit=50)
        snapshots = [
            {"ts_ms": each["ts_ms"], **{kind: {name: value for name, value in each[kind].items() if name in {*measured, "agents_running"}}
                                        for kind in ("gauges", "counters")}}
            for each in metrics
        ]  # fmt: skip
        hits = desk.search("launch")
        return {
            "now_ms": metrics[-1]["ts_ms"], "status": await client.status(), "library": await client.ask("library"),
            "runs": desk.mask(runs),
            "records": [desk.mask(record) for run in runs for record in await records_of(client, run)],
            "approvals": await client.approvals(), "metrics": snapshots, "events": events, "hits": [asdict(hit) for hit in hits],
            "why": desk.why(next((hit.key for hit in hits if hit.kind == "messages"), hits[0].key)),
        }  # fmt: skip


async def records_of(client: Any, run: Mapping[str, Any]) -> list[Any]:
    """What is stored of a run."""
    found: list[Any] = []
    stored = await client.subscribe(f"rlp/runs/{run['trace_id']}/events", "durable", from_seq=1)
    async with asyncio.timeout(30):
        while len(found) < run["last_seq"]:
            message = await anext(stored)
            if message.payload.get("event_id") is not None:
                found.append(message.payload)
    await stored.close()
    return found


def main() -> int:
    """Record, with names of places that mean nothing to others changed."""
    from runloop.cli import context

    with tempfile.TemporaryDirectory(prefix="rl-") as home:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        for name in [name for name in os.environ if name.startswith("RUNLOOP") or name == "XDG_RUNTIME_DIR"]:
            del os.environ[name]
        os.environ.update({"HOME": home, "RUNLOOP_HOME": f"{home}/.runloop", "XDG_CACHE_HOME": cache})
        Path(home, ".runloop").mkdir(mode=0o700)
        Path(home, ".runloop/config.yaml").write_text("mail:\n  from: Alex Example <alex@sender.example>\n")
        rlp("kb", "import", "contacts", str(DEMO / "contacts.vcf"))
        rlp("kb", "import", "notes", str(DEMO / "notes"))
        rlp("up", "--wait")
        try:
            context.begin()
            kept = asyncio.run(recorded())
        finally:
            rlp("down")
        text = "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in kept.items()) + "\n}\n"
        for place, instead in ((str(DEMO), PLACE), (home, PLACE), (str(ROOT), PLACE)):
            text = text.replace(place, instead)
        RECORDED.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
