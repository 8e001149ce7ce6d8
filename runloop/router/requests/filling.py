"""Parameters from a line: the words of an example stand around its slots, and what stands there in the line goes in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.router.requests.words import fold, telling, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.router.requests.words import Word

_NAMED = re.compile(r"""(?<!\S)([A-Za-z_][\w-]*)=("(?:[^"\\]|\\.)*"|'[^']*'|\S+)""")
_EDGE = " \t\n,;:.!?"
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_POLITE = re.compile(r"[\s,]+(please|thanks|thank you)[\s.!?]*$", re.IGNORECASE)
_TO_SELF = re.compile(r"(?:me|us)\s+(?!and\b|or\b)", re.IGNORECASE)
"""How a value begins that is none: `tell me all about {topic}` names nobody whom to tell."""
_YES_NO = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class Filled:
    """A parameter's value and the part of the line that it was read from; ``by`` is the example, or "name=value"."""

    name: str
    value: Any
    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Aligned:
    """A line laid beside an example: what fell into its slots, and how many of its words were found."""

    example: str
    slots: Mapping[str, str]
    found: int
    of: int


def named_values(line: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Filled]]:
    """The line without its ``name=value`` parts, and those; a name that is no parameter stays in the line."""
    values: dict[str, Filled] = {}

    def take(match: re.Match[str]) -> str:
        name, text = match[1], match[2]
        if name not in params or name in values:
            return match[0]
        bare = text[1:-1] if text[0] in "\"'" and len(text) > 1 and text[-1] == text[0] else text
        value = typed(bare, params[name])
        if value is None:
            return match[0]
        values[name] = Filled(name, value[0], bare, "name=value")
        return ""

    return " ".join(_NAMED.sub(take, line).split()) if "=" in line else line, values


def align(line: str, pieces: Sequence[str], text: str) -> Aligned | None:
    """Lay a line beside an example (``pieces``: words, slot, words, …); None where a slot finds nothing.

    A slot begins after the word that stands before it in the example, and ends before the next word of the example, or with the line.
    The words before the first slot need not all be there: only the last of them says where the slot begins.
    """
    spoken = words(line)
    literals = [words(piece) for piece in pieces[::2]]
    names = pieces[1::2]
    if not names:
        found = sum(any(said.stem == word.stem for said in spoken) for word in literals[0])
        return Aligned(text, {}, found, len(literals[0]))
    slots: dict[str, str] = {}
    at = 0
    found = 0
    opens = literals[0]
    for number, name in enumerate(names):
        begins = _after(spoken, opens, at)
        if begins is None:
            return None
        found += sum(any(said.stem == word.stem for said in spoken[at:begins]) for word in opens)
        closes = literals[number + 1]
        if closes:
            ends = next((place for place in range(begins + 1, len(spoken)) if _same(spoken[place], closes[0])), None)
            if ends is None:
                return None
        else:
            ends = len(spoken)
        value = _between(line, spoken, begins, ends)
        if not value or (not telling(value) and words(value)) or _TO_SELF.match(value):
            return None
        slots[name] = value
        at, opens = ends, closes
    found += sum(any(said.stem == word.stem for said in spoken[at:]) for word in opens)
    return Aligned(text, slots, found, sum(map(len, literals)))


def typed(text: str, default: Any) -> tuple[Any] | None:
    """The text as a value of the default's JSON type, in a tuple of one; None where it is none."""
    if default is None or isinstance(default, str):
        return (text,)
    if isinstance(default, bool):
        value = _YES_NO.get(fold(text))
        return None if value is None else (value,)
    if isinstance(default, (int, float)):
        return _number(text)
    if isinstance(default, list):
        return _list(text, default)
    return _object(text)


def _after(spoken: list[Word], opens: list[Word], at: int) -> int | None:
    """The place after the last word of ``opens``, at ``at`` or later; the start where an example begins with its slot."""
    if not opens:
        return at if at < len(spoken) else None
    last = opens[-1]
    return next((place + 1 for place in range(at, len(spoken) - 1) if _same(spoken[place], last)), None)


def _same(said: Word, wanted: Word) -> bool:
    return said.stem == wanted.stem


def _between(line: str, spoken: list[Word], begins: int, ends: int) -> str:
    """The text from one word to before another, with what stands around words: a path, an address, a sign."""
    start = spoken[begins - 1].end if begins else 0
    stop = spoken[ends].start if ends < len(spoken) else len(line)
    text = line[start:stop].strip()
    if ends == len(spoken):
        text = _POLITE.sub("", text)
    return _unquoted(text.strip(_EDGE))


def _unquoted(text: str) -> str:
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[-1] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _number(text: str) -> tuple[Any] | None:
    found = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]|\.\d)", text)
    if len(found) != 1:
        return None
    return (float(found[0]) if "." in found[0] else int(found[0]),)


def _list(text: str, default: list[Any]) -> tuple[Any] | None:
    if text.startswith("["):
        value = _json(text)
        return (value,) if isinstance(value, list) else None
    parts = [part for each in re.split(r",|;|\band\b", text) if (part := _unquoted(each.strip(_EDGE)))]
    if default and not isinstance(default[0], str):
        values = [typed(part, default[0]) for part in parts]
        return None if None in values else ([value[0] for value in values if value is not None],)
    return (parts,) if parts else None


def _object(text: str) -> tuple[Any] | None:
    value = _json(text)
    return (value,) if isinstance(value, dict) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
