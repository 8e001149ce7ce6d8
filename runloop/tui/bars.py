"""The lines above and below the page: the views, how things stand, and the line that is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.text import Text
from textual.widgets import Static

from runloop.tui.line import Line
from runloop.tui.page import fitting
from runloop.tui.themes import styles_of
from runloop.tui.views import NAMES

if TYPE_CHECKING:
    from textual.events import Click

_PROMPTS: Final = {
    "runs": "filter: words, state:waiting, opening:letter",
    "filter": "filter: words that must all be there",
    "search": "search for",
    "jump": "jump to a run: its id begins with",
}

# A key and what it does, with its place among what goes where there is no room: the greatest first.
_HINTS: Final = (
    ("Enter open", 2),
    ("/ filter", 5),
    ("s order", 9),
    (". hold", 8),
    ("g jump", 10),
    ("a approve", 3),
    ("x cancel", 4),
    ("p pause", 6),
    ("w why", 7),
    ("? help", 0),
    ("q leave", 1),
)


class Tabs(Static):
    """The line of views, of which only the one that is looked at is named where not all names fit; a click goes there."""

    _ends: Sequence[tuple[str, int]] = ()
    """Where each name ends."""

    def draw(self, current: str, approvals: int, theme: str, width: int) -> None:
        """Paint it, in so many columns."""
        styles, text = styles_of(theme), Text(no_wrap=True, overflow="crop")
        ends: list[tuple[str, int]] = []
        waiting = f"({approvals})" if approvals else ""
        named = sum(len(name) + 3 for name in NAMES) + len(waiting) <= width
        pieces: list[tuple[str, str, str, int]] = []
        for number, name in enumerate(NAMES, start=1):
            waits = waiting if name == "Inbox" else ""
            style = "bold" if name == current else "waiting" if waits else "dim"
            told = f"{number} {name}{waits}" if named or name == current else f"{number}{waits}"
            pieces.append((f"[{told}]" if name == current else f" {told}", name, style, abs(number - 1 - NAMES.index(current))))
        for told, name, style, _ in fitting(pieces, width):
            text.append(told, styles[style])
            ends.append((name, len(text)))
        self._ends = ends
        self.update(text)

    def on_click(self, event: Click) -> None:
        """Go where the click is."""
        name = next((name for name, end in self._ends if event.x < end), None)
        if name is not None:
            self.app.call_later(self.app.run_action, f"go('{name}')")


class Status(Static):
    """The status bar."""

    def draw(self, pieces: Sequence[tuple[str, str]], theme: str) -> None:
        """Paint it."""
        styles, told = styles_of(theme), Text(no_wrap=True, overflow="ellipsis")
        for piece, style in pieces:
            told.append(piece, styles[style])
        self.update(told)


class Hints(Static):
    """The keys that are used most; `?` has them all."""

    def draw(self, width: int) -> None:
        """Paint as many as fit."""
        self.update("  ".join(text for text, _ in fitting(_HINTS, width, gap=2)))


class Prompt(Line):
    """The line that is typed; ``kind`` says what for (runs, filter, search, jump), empty while it is closed."""

    kind = ""

    def open(self, kind: str, value: str) -> None:
        """Take the keys."""
        self.kind, self.placeholder, self.value, self.taking = kind, _PROMPTS[kind], value, True
        self.add_class("-open")
        self.focus()

    def close(self) -> str:
        """Give the keys back; what it was open for."""
        kind, self.kind = self.kind, ""
        self.remove_class("-open")
        return kind

    @property
    def filters(self) -> bool:
        """Whether what is typed is a filter, which counts while it is typed."""
        return self.kind in {"runs", "filter"}
