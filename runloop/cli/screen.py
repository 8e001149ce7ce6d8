"""The live view on the terminal: draws :class:`runloop.cli.live.RunView` while a run goes on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from runloop.cli.live import RunView, draw
from runloop.cli.output import clean_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from runloop.openings import Opening

_REFRESH_S = 0.1
_LEVEL_STYLE = {"warn": "yellow", "error": "red", "debug": "dim"}


class Screen:
    """Shows the nodes of one run; log lines scroll above them. ``hide`` and ``show`` give the terminal to somebody else meanwhile."""

    def __init__(self, opening: Opening) -> None:
        self.view = RunView((node.id, node.use.removeprefix("agent:")) for node in opening.nodes)
        self.view.name = opening.name
        self.made: list[str] = []
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to draw; needs a running loop."""
        self.show()
        self._ticker = asyncio.create_task(self._tick())

    def stop(self) -> None:
        """Draw the end state and leave it on the screen."""
        if self._ticker is not None:
            self._ticker.cancel()
        if self._live is None:
            self._console.print(self._drawn())
        self._close(keep=True)

    def hide(self) -> None:
        """Take the view off the screen."""
        self._close(keep=False)

    def show(self) -> None:
        """Bring the view back."""
        if self._live is None:
            self._live = Live(self._drawn(), console=self._console, auto_refresh=False, transient=False)
            self._live.start()

    def feed(self, record: Mapping[str, Any]) -> None:
        """Take one record of the run."""
        self.view.feed(record)
        kind, meta = record["kind"], record["meta"]
        if kind == "node.log" and meta.get("level") != "debug":
            style = _LEVEL_STYLE.get(meta.get("level", ""), "")
            from rich.text import Text

            self._console.print(Text(f"{clean_line(meta['node'])}: {clean_line(meta['text'])}", style=style))
        elif kind == "artifact.created" and not record["message"].startswith("saved "):
            self.made.append(meta["path"])
        self._draw()

    def _drawn(self) -> RenderableType:
        return draw(self.view, _now_ms(), self._console.width)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)

    def _close(self, *, keep: bool) -> None:
        if self._live is not None:
            self._live.transient = not keep
            self._draw()
            self._live.stop()
            self._live = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            self._draw()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
