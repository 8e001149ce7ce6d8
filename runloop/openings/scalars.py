"""How a plain YAML scalar becomes a JSON value: what JSON would read, and text otherwise.

The YAML 1.1 surprises are text here, as people who know JSON expect: ``yes``, ``on``, ``12:30:00``, ``2026-01-01``, ``1_000`` and
anything with a leading zero (``007``, ``01234``). Beyond JSON only YAML 1.2's ``0x1f`` and ``0o17``, ``~`` and ``.5`` are understood.
"""

from __future__ import annotations

import math
from typing import Any

from runloop.patterns import lazy

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of them."""

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""Whole numbers that a run can carry (spec 9.1: i64 and u64)."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = lazy(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX = lazy(r"0x[0-9a-fA-F]+")
_OCTAL = lazy(r"0o[0-7]+")
_FLOAT = lazy(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = lazy(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class UnsupportedScalarError(ValueError):
    """The scalar looks like a number that JSON or a run cannot carry."""


def plain(text: str) -> Json:
    """The value of an unquoted scalar; raises UnsupportedScalarError for infinities, NaN and numbers out of range."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return _whole(text, 10)
    if _HEX.fullmatch(text):
        return _whole(text[2:], 16)
    if _OCTAL.fullmatch(text):
        return _whole(text[2:], 8)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise UnsupportedScalarError(f"number {_short(text)} is too large; quote it if it is text")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise UnsupportedScalarError(f"JSON has no value {text}; quote it if it is text")
    return text


def tagged(tag: str, text: str) -> Json:
    """The value of a scalar with one of the core tags; raises UnsupportedScalarError if the text is not of that type."""
    if tag == "str":
        return text
    value = plain(text)
    if tag == "float" and type(value) is int:
        return float(value)
    if type(value) is _TYPES[tag]:
        return value
    raise UnsupportedScalarError(f"'{_short(text)}' is not of type {tag}")


_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}
SCALAR_TAGS = frozenset({"str", *_TYPES})


def _whole(digits: str, base: int) -> int:
    # 70 digits hold every base's range; longer ones never reach int(), whose cost grows with the square of the length
    value = int(digits, base) if len(digits) <= 70 else INT_MAX + 1
    if not INT_MIN <= value <= INT_MAX:
        raise UnsupportedScalarError(f"number {_short(digits)} is out of range (-2^63 to 2^64-1); quote it if it is text")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
