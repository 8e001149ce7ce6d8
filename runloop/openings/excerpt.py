"""The line of the source that a problem lies on, with a caret below the place."""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

_LINE_END = re.compile(r"\r\n|\r|\n")
_CUT = "…"


def source_line(source: str, number: int) -> str:
    """Line ``number`` (from 1) of ``source``, or nothing if it has fewer."""
    lines = _LINE_END.split(source.removeprefix("\ufeff"))
    return lines[number - 1] if 0 < number <= len(lines) else ""


def excerpt(line: str, column: int, width: int = 100) -> tuple[str, str]:
    """The line in at most ``width`` columns, and the caret line for ``column`` (from 1); tabs take two columns, controls a ``·``."""
    shown = [_shown(character) for character in line]
    place = min(column - 1, len(shown))
    start, used = place, sum(map(text_width, shown[place : place + 1]))
    while start and (used := used + text_width(shown[start - 1])) <= width * 2 // 3:
        start -= 1
    before, after = "".join(shown[start:place]), shown[place:]
    if start:
        before = _CUT + before
    room = width - text_width(before)
    tail: list[str] = []
    used = length = 0
    for character in after:
        used += text_width(character)
        if used > room - 1 and length + 1 < len(after):
            tail.append(_CUT)
            break
        tail.append(character)
        length += len(character)
    return before + "".join(tail), " " * text_width(before) + "^"


def text_width(text: str) -> int:
    """Terminal columns that ``text`` takes."""
    return sum(0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1 for character in text)


def _shown(character: str) -> str:
    if character == "\t":
        return "  "
    return character if character.isprintable() else "·"
