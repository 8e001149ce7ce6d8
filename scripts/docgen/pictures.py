"""The pictures of agtop in docs/pictures: what scripts/record-pictures kept of real runs, drawn by agtop itself, at two sizes."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docgen.svg import svg

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "docs/examples/agtop/recorded.json"
PICTURES = ROOT / "docs/pictures"
THEME = "dark"
SMALL, LARGE = (80, 24), (200, 60)
STORIES: Sequence[tuple[str, str, tuple[str, ...], Sequence[tuple[int, int]]]] = (
    ("runs", "agtop: the runs, their state and what each waits for", (), (SMALL, LARGE)),
    ("plan", "agtop: a run's nodes, and its opening as a graph", ("enter",), (SMALL, LARGE)),
    ("time", "agtop: when each node ran", ("enter", "3"), (SMALL,)),
    ("ladder", "agtop: what crossed the boundary of a run", ("enter", "4"), (SMALL, LARGE)),
    ("log", "agtop: what a run and its agents said", ("enter", "5"), (SMALL,)),
    ("inbox", "agtop: what waits for a person", ("6",), (SMALL,)),
    ("asking", "agtop: exactly what would leave, and the line to decide it with", ("a",), (SMALL, LARGE)),
    ("metrics", "agtop: bus, workers, models, runs and ledger over time", ("7",), (SMALL, LARGE)),
    ("library", "agtop: agents and openings, and one that cannot be loaded", ("8",), (SMALL,)),
    ("search", "agtop: the knowledge base", ("9", *"launch", "enter"), (SMALL,)),
    ("why", "agtop: why a message is what it is", ("9", *"launch", "enter", "enter"), (SMALL,)),
)
"""Each picture's name, what it shows, the keys that lead there, and its sizes."""


class Recorded:
    """Feed and desk of what was recorded."""

    mode = "LIVE"

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self.kept = kept

    def now_ms(self) -> int:
        return int(self.kept["now_ms"])

    async def fill(self, board: Any, changed: Any) -> None:
        board.know(link="connected", status=self.kept["status"], library=self.kept["library"])
        board.list_runs(self.kept["runs"])
        for record in self.kept["records"]:
            board.take(record)
        board.list_approvals(self.kept["approvals"])
        for snapshot in self.kept["metrics"]:
            board.measure(snapshot)
        for text in self.kept["events"]:
            board.tell(text)
        changed()

    async def know(self, run_id: str) -> None: ...

    async def whole(self, value: Any) -> Any:
        return value

    def mask(self, value: Any) -> Any:
        return value

    def search(self, _words: str) -> Sequence[Any]:
        from runloop.tui.ports import Hit

        return [Hit(**hit) for hit in self.kept["hits"]]

    def why(self, _key: str) -> Sequence[str]:
        return list(self.kept["why"])


def pictures() -> dict[Path, str]:
    """Every picture by its place; nothing of this machine's settings, colours or time zone is in them."""
    unset = {name: os.environ.pop(name) for name in ("NO_COLOR", "TZ", "COLORTERM") if name in os.environ}
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        return dict(asyncio.run(_drawn()))
    finally:
        del os.environ["TZ"]
        os.environ.update(unset)
        time.tzset()


async def _drawn() -> list[tuple[Path, str]]:
    kept = json.loads(RECORDED.read_text(encoding="utf-8"))
    return [
        (PICTURES / f"agtop-{name}-{size[0]}x{size[1]}.svg", await _one(Recorded(kept), title, keys, size))
        for name, title, keys, sizes in STORIES
        for size in sizes
    ]


async def _one(recorded: Recorded, title: str, keys: Sequence[str], size: tuple[int, int]) -> str:
    from textual.widgets import Input

    from runloop.tui.app import Agtop
    from runloop.tui.themes import THEMES

    app = Agtop(recorded, recorded, theme=THEME)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        for key in ("", *keys):
            await (pilot.press(key) if key else pilot.pause())
            await app.workers.wait_for_complete([worker for worker in app.workers if worker.group != "default"])
            while app._due is not None:  # noqa: SLF001 - a paint is to come
                await pilot.pause(0.02)
            await pilot.pause()
        for typed in app.screen.query(Input):
            typed.cursor_blink, typed._cursor_visible = False, True  # noqa: SLF001 - whatever the time is
        await pilot.pause()
        colours = next(theme for theme in THEMES if theme.name == THEME)
        lines = [list(_joined(strip)) for strip in app.screen._compositor.render_strips()]  # noqa: SLF001 - as it is painted
        return svg(lines, size[0], f"{title} ({size[0]} by {size[1]})", str(colours.foreground), str(colours.background))


def _joined(strip: Any) -> Iterator[Any]:
    from rich.segment import Segment

    yield from Segment.simplify(segment for segment in strip if not segment.control)
