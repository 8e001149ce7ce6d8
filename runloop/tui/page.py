"""What a view shows: rows of styled text. Drawing makes them, the screen paints them, ``--plain`` prints them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, Final, TypeVar

from runloop.dataclass import dataclass
from runloop.text import broken, clean_line, display_width, fitted

Piece = tuple[str, str]
"""Text and the name of its style: one of STYLES."""
STYLES: Final = ("", "dim", "bold", "head", "ok", "error", "waiting", "running", "cancelled", "accent", "bar")
STATE_STYLE: Final = {
    "queued": "dim",
    "pending": "dim",
    "ready": "dim",
    "running": "running",
    "waiting": "waiting",
    "paused": "waiting",
    "unfinished": "waiting",
    "under way": "running",
    "ok": "ok",
    "succeeded": "ok",
    "error": "error",
    "failed": "error",
    "unknown": "error",
    "skipped": "dim",
    "cancelled": "cancelled",
}
MARKS: Final = {
    "queued": "·",
    "pending": "·",
    "ready": "·",
    "running": "▶",
    "under way": "▶",
    "waiting": "◆",
    "paused": "‖",
    "unfinished": "?",
    "ok": "✔",
    "succeeded": "✔",
    "error": "✘",
    "failed": "✘",
    "unknown": "?",
    "skipped": "–",
    "cancelled": "■",
}
"""A state is never told by its colour alone."""
NOTHING: Final = "–"
"""What nobody measured or knows."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line. ``key`` names what it is about where it can be chosen."""

    pieces: tuple[Piece, ...]
    key: str | None = None

    @property
    def plain(self) -> str:
        """Its text."""
        return "".join(text for text, _ in self.pieces).rstrip()


@dataclass(frozen=True, slots=True)
class Page:
    """A view: ``head`` stays in place, ``rows`` scroll. ``follow`` keeps the end in sight, as of a log."""

    head: tuple[Row, ...] = ()
    rows: tuple[Row, ...] = ()
    follow: bool = False
    title: str = ""
    columns: tuple[tuple[int, int, str], ...] = field(default=())
    """Where columns of the last line of the head begin and end, and what they are called."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: ``grows`` is its weight when width is left over; the greatest ``first_out`` goes first where it is tight."""

    name: str
    least: int
    right: bool = False
    grows: int = 0
    first_out: int = 0


def line(text: str, style: str = "", key: str | None = None) -> Row:
    """One line in one style, made harmless."""
    return Row(((clean_line(text), style),), key)


_Ranked = TypeVar("_Ranked", bound=tuple[Any, ...])


def fitting(pieces: Iterable[_Ranked], width: int, gap: int = 0) -> list[_Ranked]:
    """The pieces for which so many columns have room, with ``gap`` between them; at least one.

    A piece begins with its text, and ends with its place among what goes: the greatest first.
    """
    shown = list(pieces)
    while len(shown) > 1 and sum(display_width(piece[0]) + gap for piece in shown) - gap > width:
        shown.remove(max(shown, key=lambda piece: piece[-1]))
    return shown


def paragraphs(text: str, width: int, style: str = "", *, indent: str = "") -> list[Row]:
    """A text as lines of at most ``width`` columns: nothing is left out, and nothing in it can drive the terminal."""
    rows: list[Row] = []
    room = max(2, width - display_width(indent))
    for raw in text.replace("\r\n", "\n").split("\n"):
        rows += (Row(((indent, "dim"), (here, style))) for here in broken(clean_line(raw.expandtabs(4)), room))
    return rows


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """How wide each column is, 0 for those that have no room; one blank is left between two."""
    shown = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[at].least for at in shown) + max(0, len(shown) - 1)

    while len(shown) > 1 and needed() > width:
        out = max(shown, key=lambda at: (columns[at].first_out, at))
        shown.remove(out)
    found = [columns[at].least if at in shown else 0 for at in range(len(columns))]
    left, weights = width - needed(), sum(columns[at].grows for at in shown)
    if left > 0 and weights:
        for at in shown:
            found[at] += left * columns[at].grows // weights
    return found


def header(
    columns: Sequence[Column], sizes: Sequence[int], marked: str = "", mark: str = "▼"
) -> tuple[Row, tuple[tuple[int, int, str], ...]]:
    """The line of headings, and where each stands; the ``marked`` one is the order of the table."""
    pieces: list[Piece] = []
    places: list[tuple[int, int, str]] = []
    at = 0
    for column, size in zip(columns, sizes, strict=True):
        if size:
            sign = mark if column.name == marked else ""
            inside, after = (sign, " ") if len(column.name) < size else ("", sign or " ")
            pieces.append((padded(column.name + inside, size, right=column.right) + after, "head"))
            places.append((at, at + size, column.name))
            at += size + 1
    return Row(tuple(pieces)), tuple(places)


def cells(columns: Sequence[Column], sizes: Sequence[int], values: Sequence[Piece], key: str | None = None) -> Row:
    """One row of a table."""
    return Row(
        tuple(
            (padded(clean_line(text), size, right=column.right) + " ", style)
            for column, size, (text, style) in zip(columns, sizes, values, strict=True)
            if size
        ),
        key,
    )


def padded(text: str, size: int, *, right: bool = False) -> str:
    """The text in so many columns, cut with ``…`` where it takes more."""
    text = fitted(text, size)
    space = " " * (size - display_width(text))
    return space + text if right else text + space


def count(value: float | None, *, digits: int = 0) -> str:
    """A number for people: 950, 12.3k, 4.5M; a dash where nobody measured."""
    if value is None:
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return f"{value:.{digits}f}"


def size(value: float | None) -> str:
    """A number of bytes for people."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def money(usd: float | None) -> str:
    """Dollars; a dash where the cost is not known, or there is none."""
    return NOTHING if usd is None else f"{usd:.4f}"


def state_piece(state: str) -> Piece:
    """A state as its mark and its word."""
    return f"{MARKS.get(state, '?')} {state}", STATE_STYLE.get(state, "")
