"""Canonical JSON (RFC 8785): one value, one sequence of bytes.

msgspec writes the canonical form for almost every value, forty times faster than the reference encoder; the values it writes
differently (unusual floats, text beyond U+DFFF where UTF-16 order matters, exotic types) go to the ``rfc8785`` package.
"""

from __future__ import annotations

import re
from threading import Lock
from typing import Annotated, Any, NewType

import msgspec
import rfc8785

from runloop.events.errors import NotCanonical

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises at bytes that are no JSON of the type asked for: broken or of another form, not UTF-8, nested too deep."""

MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: what an IEEE double holds exactly
MAX_DEPTH = 200  # SQLite's JSON functions stop at 1,000, MsgPack peers at 64

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode
_SafeInt = Annotated[int, msgspec.Meta(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)]
_named: Any = NewType  # a type that is made at run time, of which no checker can know


def _nested(plain: Any, levels: int) -> Any:
    """The type of ``plain`` values in lists and objects, so many deep: msgspec has no recursive types.

    Each level has a name, because the hash of a name is quick: that of a union is made of all in it, twice for each level.
    """
    value = plain
    for _level in range(levels):
        value = _named("level", plain | list[value] | dict[str, value])  # type: ignore[valid-type]
    return value


_making, _made = Lock(), list[Any]()
_Box = msgspec.defstruct("_Box", [("value", _nested(None | bool | _SafeInt | str, 6))])  # most events are no deeper
msgspec.convert({"value": None}, _Box)  # makes what msgspec knows of the type: two threads that did it at once crashed (0.22.0)
_BEYOND_SURROGATES = re.compile(rb"[\xee-\xf4]")  # UTF-8 lead bytes of U+E000 and above: there, code-point order is not UTF-16 order
_PLAIN = frozenset((str, bool, type(None)))
_FLOAT_LOW, _FLOAT_HIGH = 1e-4, 1e15  # between them every shortest round-trip printer writes the same plain decimals


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value, as UTF-8; raises :class:`NotCanonical` for anything that has none."""
    try:
        data = _quick(value)
        if data is not None:
            return data
        _check_depth(value, 0)
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


def plain_json(value: Any) -> str | None:
    """The text that every JSON encoder writes which sorts keys and leaves out blanks; None for a value on which they differ."""
    try:
        data = _quick(value)
    except UnicodeEncodeError:
        return None
    return None if data is None else data.decode()


def parse(data: bytes | str) -> Any:
    """The value of canonical JSON: ``canonical(parse(data)) == data``. Whole doubles above 2^53 come back as the doubles they were."""
    try:
        return (_made[0] if _made else _decoder())(data)
    except msgspec.ValidationError:  # it holds such a double, or is deeper than the type
        return _with_doubles(_decode(data))


def _decoder() -> Any:
    """The decoder that knows the range of integers; made once, when it is needed: its type takes longer than most imports."""
    with _making:
        if not _made:
            _made.append(msgspec.json.Decoder(_nested(None | bool | _SafeInt | float | str, 9)).decode)
    return _made[0]


def _with_doubles(value: Any) -> Any:
    if type(value) is int:
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else float(value)
    if isinstance(value, list):
        return [_with_doubles(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_doubles(item) for key, item in value.items()}
    return value


def _quick(value: Any) -> bytes | None:
    """The canonical form as msgspec writes it; None where that might differ."""
    if not (_is_shallow_and_plain(value) or _is_plain(value, MAX_DEPTH)):
        return None
    try:
        data = _encode(value)
    except TypeError:  # a subclass of str, which msgspec takes but does not write
        return None
    return data if data.isascii() or _BEYOND_SURROGATES.search(data) is None else None


def _is_shallow_and_plain(value: Any) -> bool:
    """The answer of :func:`_is_plain` in half the time, for values without floats and not very deep; False means nothing.

    msgspec checks against the type; it also takes sets and other sequences for lists, which the comparison finds out.
    """
    if type(value) is not dict:
        return False
    try:
        return bool(msgspec.convert({"value": value}, _Box).value == value)  # type: ignore[attr-defined] # a struct made at run time
    except msgspec.ValidationError:
        return False


def _is_plain(value: Any, room: int) -> bool:
    """Whether msgspec's sorted output is canonical but for the order of far-off keys; ``room`` is the depth left."""
    kind = type(value)
    if kind is dict:
        try:
            "".join(value)  # raises unless every key is text, and is twice as fast as a loop
        except TypeError:
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return _is_plain_scalar(value)
    for item in value:
        kind = type(item)
        if kind is str or kind in _PLAIN:
            continue
        if kind is int:
            if not -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER:
                return False
        elif room == 0 or not _is_plain(item, room - 1):
            return False
    return True


def _is_plain_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
    if kind is float:
        return bool(_FLOAT_LOW <= abs(value) < _FLOAT_HIGH and not value.is_integer())
    return kind in _PLAIN


def _check_depth(value: Any, depth: int) -> None:
    if isinstance(value, (dict, list, tuple)):
        if depth > MAX_DEPTH:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH} levels", code="events.too_deep", hint="flatten the value")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth + 1)
