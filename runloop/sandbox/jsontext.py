"""JSON text from a guest, checked before anything of ours parses it: depth, numbers and strings that every later layer can carry."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 50
"""RMP and the ledger carry 64 levels; the rest is for what wraps a value."""
MAX_INTEGER = 2**53 - 1
"""The largest integer of RFC 8785."""


class BadJson(ValueError):  # noqa: N818 - named for what it is
    """The text is not JSON that can be carried; the message says what is wrong."""


def _refuse_constant(name: str) -> Any:
    raise BadJson(f"{name} has no JSON form")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one value of a key that stands twice would be lost, as of Python's ``{1: "a", "1": "b"}``."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadJson(f"the key {twice[:80]!r} stands twice in one object; in Python 1 and '1' are two keys, in JSON they are one")
    return found


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_each_once)


def check(text: str) -> Any:
    """Parse ``text``; raises BadJson for bad syntax, keys twice, NaN, depth above 50, integers beyond 2^53 - 1, lone surrogates."""
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text)
    try:
        value = _decoder.decode(text)
    except BadJson:
        raise
    except RecursionError:
        raise BadJson(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as wrong:
        raise BadJson(f"not valid JSON: {wrong}") from None
    _check_values(value)
    return value


def _check_depth(text: str) -> None:
    """Count brackets outside strings, without recursion."""
    depth = 0
    in_string = escaped = False
    for letter in text:
        if in_string:
            if escaped:
                escaped = False
            elif letter == "\\":
                escaped = True
            elif letter == '"':
                in_string = False
        elif letter == '"':
            in_string = True
        elif letter in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"nested deeper than {MAX_DEPTH} levels")
        elif letter in "]}":
            depth -= 1


def _check_values(value: Any) -> None:
    """Walk the parsed value; its depth is known to be small."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise BadJson("an integer is beyond 2^53 - 1; send it as a string")
    elif kind is float:
        if value - value != 0:
            raise BadJson("a number is too large")
    elif kind is list:
        for one in value:
            _check_values(one)
    elif kind is dict:
        for key, one in value.items():
            if not key.isascii():
                _check_text(key)
            _check_values(one)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadJson("a string holds half of a surrogate pair") from None
