"""Patterns that can take time without end: a repeat of what is a repeat itself, as ``(a+)+``.

The pattern of a schema meets texts that agents wrote, in a process for which others wait, and Python's matcher cannot be stopped. What
is found here is wrong in every case, since the inner repeat alone matches the same texts. Patterns that are slow for other reasons
(alternatives that overlap, neighbours that do) are not found.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Path = tuple[str | int, ...]

_parser: Any = import_module("re._parser")
_constants: Any = import_module("re._constants")
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)  # a possessive repeat never tries another way
_MANY = 10
"""Rounds from which on a repeat of a repeat is called endless; of fewer it takes a power of the text's length."""
_NO_SCHEMA = ("const", "enum", "default", "examples")


@lru_cache(maxsize=512)
def explodes(pattern: str) -> bool:
    """Whether a pattern holds a repeat of a repeat with nothing between two rounds that has to be there."""
    try:
        return any(_is_endless(op, value) for op, value in _all(_parser.parse(pattern)))
    except (re.error, RecursionError, OverflowError):
        return False


def exploding_patterns(schema: Any, path: Path = ()) -> Iterator[tuple[str, Path]]:
    """Each pattern of a JSON Schema that explodes, with the path to it."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "pattern" and isinstance(inner, str):
                found = [inner]
            else:
                found = list(inner) if name == "patternProperties" and isinstance(inner, dict) else []
            yield from ((each, (*path, name)) for each in found if isinstance(each, str) and explodes(each))
            if name not in _NO_SCHEMA:
                yield from exploding_patterns(inner, (*path, name))
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from exploding_patterns(inner, (*path, index))


def said_of(pattern: str) -> str:
    """What is wrong with a pattern that explodes."""
    return f"the pattern {pattern[:80]!r} repeats what is a repeat itself, which can take for ever; one of the two is enough"


def _inner(op: Any, value: Any) -> Sequence[Any]:
    """The sequences of which an item of a parsed pattern is made."""
    if op in _REPEATS or op is _constants.POSSESSIVE_REPEAT:
        return (value[2],)
    if op is _constants.SUBPATTERN:
        return (value[3],)
    if op is _constants.BRANCH:
        return tuple(value[1])
    if op in (_constants.ASSERT, _constants.ASSERT_NOT):
        return (value[1],)
    if op is _constants.ATOMIC_GROUP:
        return (value,)
    if op is _constants.GROUPREF_EXISTS:
        return tuple(each for each in value[1:] if each is not None)
    return ()


def _all(sequence: Any) -> Iterator[tuple[Any, Any]]:
    for op, value in sequence:
        yield op, value
        for each in _inner(op, value):
            yield from _all(each)


def _is_endless(op: Any, value: Any) -> bool:
    return op in _REPEATS and value[1] >= _MANY and _is_loose(value[2])


def _is_loose(sequence: Any) -> bool:
    """Whether a sequence is one repeat of changing length, beside what may be left out."""
    items = list(sequence)
    return any(_varies(*item) and all(_may_miss(*other) for other in (*items[:at], *items[at + 1 :])) for at, item in enumerate(items))


def _varies(op: Any, value: Any) -> bool:
    if op in _REPEATS:
        least, most, _ = value
        return bool(most > max(least, 1))
    return op in (_constants.SUBPATTERN, _constants.BRANCH) and any(map(_is_loose, _inner(op, value)))


def _may_miss(op: Any, value: Any) -> bool:
    if op in _REPEATS:
        return value[0] == 0 or all(_may_miss(*item) for item in value[2])
    return op in (_constants.SUBPATTERN, _constants.BRANCH) and any(all(_may_miss(*item) for item in each) for each in _inner(op, value))
