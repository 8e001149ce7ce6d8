"""What both printers share: lines with their comments, numbers, quoted text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.scalars import UnsupportedScalarError, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.openings.scalars import Json

WIDTH = 120
"""Columns that a collection may take on one line."""
STEP = 2
"""Columns of one level of indentation."""

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def framed(note: tuple[list[str], str], indent: int, lines: list[str], *, first: bool) -> list[str]:
    """``lines`` with the comments before and behind them; the first of a collection has no blank line before it."""
    before, after = note
    above = [" " * indent + comment if comment else "" for comment in before]
    head = f"{lines[0]}  {after}" if after else lines[0]
    return [*(above[1:] if first and above and not above[0] else above), head, *lines[1:]]


def on_one_line(parts: Sequence[tuple[str, str | None]], brackets: str) -> str | None:
    """A collection of keys with their values, or of values behind nothing; None if it is too long, or one of them fits on no line."""
    length = 0
    texts = []
    for key, value in parts:
        length += len(key) + len(value or "") + 2
        if value is None or length > WIDTH:
            return None
        texts.append(key + value)
    return f"{brackets[0]}{', '.join(texts)}{brackets[1]}"


def quoted(text: str) -> str:
    """``text`` in double quotes, as YAML, JSON and the brace form read it alike; what cannot be seen is escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def unquoted(value: Json) -> str:
    """A number, a boolean or null."""
    if value is None:
        return "null"
    return ("true" if value else "false") if isinstance(value, bool) else repr(value)


def reads_as_text(text: str) -> bool:
    """Whether ``text`` without quotes would be read as text, and not as a number, a boolean or null."""
    try:
        return isinstance(plain(text), str)
    except UnsupportedScalarError:
        return False


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() or character > "\uffff" else f"\\u{ord(character):04x}"
