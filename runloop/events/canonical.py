"""Canonical JSON (RFC 8785): one value, one sequence of bytes.

msgspec writes the canonical form for almost every value, forty times faster than the reference encoder; the values it writes
differently (unusual floats, text beyond U+DFFF where UTF-16 order matters, exotic types) go to the ``rfc8785`` package.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import rfc8785

from runloop.events.errors import NotCanonical

MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: what an IEEE double holds exactly
MAX_DEPTH = 200  # SQLite's JSON functions stop at 1,000, MsgPack peers at 64

_encode = msgspec.json.Encoder(order="deterministic").encode
_BEYOND_SURROGATES = re.compile(rb"[\xee-\xf4]")  # UTF-8 lead bytes of U+E000 and above: there, code-point order is not UTF-16 order
_FLOAT_LOW, _FLOAT_HIGH = 1e-4, 1e15  # between them every shortest round-trip printer writes the same plain decimals


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8; raises :class:`NotCanonical` for anything that has none."""
    try:
        if _is_plain(value, 0):
            data = _encode(value)
            if data.isascii() or _BEYOND_SURROGATES.search(data) is None:
                return data
        return rfc8785.dumps(value)
    except rfc8785.IntegerDomainError as error:
        raise NotCanonical(
            f"{error}",
            code="events.integer_range",
            hint="write large integers as strings",
        ) from error
    except rfc8785.FloatDomainError as error:
        raise NotCanonical("NaN and infinities are not JSON", code="events.not_finite", hint="use null or a string") from error
    except UnicodeEncodeError as error:
        raise NotCanonical("text holds an unpaired surrogate", code="events.bad_text", hint="replace it with U+FFFD") from error
    except rfc8785.CanonicalizationError as error:
        hint = "use only null, booleans, numbers, text, lists and string-keyed objects"
        raise NotCanonical(f"not a JSON value: {error}", hint=hint) from error


def _is_plain(value: Any, depth: int) -> bool:
    """Whether msgspec's sorted output is canonical but for the order of far-off keys; raises on too deep nesting."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is float:
        return bool(_FLOAT_LOW <= abs(value) < _FLOAT_HIGH and not value.is_integer())
    if depth > MAX_DEPTH:
        raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels", code="events.too_deep", hint="flatten the value")
    plain = kind is dict or kind is list or kind is tuple
    if isinstance(value, dict):
        plain = plain and all(type(key) is str for key in value)
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return False
    for item in value:  # every item is visited, because the depth of all of them counts
        if type(item) is not str and not _is_plain(item, depth + 1):
            plain = False
    return plain
