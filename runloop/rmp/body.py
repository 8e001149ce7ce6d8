"""The MsgPack rules of a body, the same for reading and writing.

No extension types; at most 64 maps and arrays inside each other, the envelope being the first; map keys are strings and unique;
strings are UTF-8; integers fit i64 or u64; nothing follows the value. Binary values, NaN and infinities are allowed.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

from runloop.rmp.errors import BodyDecodeError, EncodeError

MAX_DEPTH: Final = 64

SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes})
_SCALAR_BASES: Final = (str, int, float, bytes, bytearray, memoryview)

# Bytes that begin no map, array or binary. What is left of a body without them bounds its depth from above, at C speed.
_NO_HEAD: Final = bytes(byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xC4 <= byte <= 0xC6 or 0xDC <= byte <= 0xDF))
_SMALL_BODY: Final = 1024
_is_flat: Final = SCALARS.issuperset
_join: Final = "".join

_HINT: Final = "docs/protocol.md lists the rules for a body"
_SAID_BY_MSGPACK: Final = {
    "max_ext_len": "an extension type; extension types are not part of RMP",
    "strict_map_key": "a map key is not a string",
}


_KINDS: Final = {type(None): "nil", list: "array", tuple: "array", dict: "map", bytes: "bin"}
_QUOTED: Final = 80


class Refused(Exception):  # noqa: N818 - never leaves the package
    """A value breaks a rule; the message says which."""


def kind_of(value: object) -> str:
    """What a value is in MsgPack's words, for a peer in any language."""
    return _KINDS.get(type(value), type(value).__name__)


def quoted(text: str | bytes) -> str:
    """A text of a peer for a message about it: its beginning, however long it is."""
    return repr(text[:_QUOTED]) + ("…" if len(text) > _QUOTED else "")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[Any] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() as a side effect
        raise Refused(f"the key {quoted(twice)} occurs twice in one map")
    return made


def _no_extension(kind: int, _data: bytes) -> Any:
    raise Refused(f"extension type {kind}; extension types are not part of RMP")


def bad_body(reason: str, *, key: str = "body") -> BodyDecodeError:
    """The error for a body that breaks a rule."""
    return BodyDecodeError(f"the body cannot be read: {reason}", key=key, hint=_HINT)


def unpack(body: bytes) -> Any:
    """The one value that ``body`` encodes; raises BodyDecodeError."""
    try:
        heads = body.translate(None, _NO_HEAD)
        if len(body) > _SMALL_BODY and (b"\xdc" in heads or b"\xdd" in heads or b"\xde" in heads or b"\xdf" in heads):
            _check_structure(body)
        value = msgpack.unpackb(body, object_pairs_hook=_unique, ext_hook=_no_extension, max_ext_len=0)
        if len(heads) > MAX_DEPTH or b"\xc4" in heads or b"\xc5" in heads or b"\xc6" in heads:
            check(value)
    except Refused as refused:
        raise bad_body(str(refused)) from None
    except (ValueError, msgpack.UnpackException) as error:
        raise bad_body(_reason(error, body)) from None
    return value


def surely_shallow(packed: bytes) -> bool:
    """Whether a packed value keeps the limit of depth, by a bound that costs little; False says nothing."""
    return len(packed.translate(None, _NO_HEAD)) <= MAX_DEPTH


def _check_structure(body: bytes) -> None:
    """Walk the heads before building anything.

    A decoder allocates what a head announces; nested heads that each announce the whole body would multiply it.
    """
    walker = msgpack.Unpacker(max_buffer_size=len(body), strict_map_key=False)
    walker.feed(body)
    walker.skip()


def _reason(error: Exception, body: bytes) -> str:
    for kind, reason in (
        (msgpack.StackError, f"nested deeper than {MAX_DEPTH}"),
        (msgpack.OutOfData, "it ends within a value"),
        (msgpack.FormatError, "it holds the byte 0xc1, which no value begins with"),
        (UnicodeDecodeError, "a string is not UTF-8"),
    ):
        if isinstance(error, kind):
            return reason
    if isinstance(error, msgpack.ExtraData):
        return f"{len(error.extra)} bytes follow the value"
    try:
        _check_structure(body)
    except (ValueError, msgpack.UnpackException) as cause:
        return _reason(cause, body)
    return next((reason for words, reason in _SAID_BY_MSGPACK.items() if words in str(error)), str(error))


def check(value: Any) -> None:
    """Raise Refused unless every map key is a string, every type is one of MsgPack's own, and the depth is at most 64.

    One level at a time and without recursion, so that a deep or cyclic value costs nothing but an answer.
    """
    level = [value]
    depth = 0
    while level:
        depth += 1
        deeper: list[Any] = []
        for box in level:
            if isinstance(box, dict):
                try:
                    _join(box)
                except TypeError:
                    key = next(key for key in box if not isinstance(key, str))
                    raise Refused(f"the map key {quoted(key) if isinstance(key, bytes) else repr(key)} is not a string") from None
                inner: Any = box.values()
            elif isinstance(box, list | tuple) and not isinstance(box, msgpack.ExtType):
                inner = box
            elif isinstance(box, _SCALAR_BASES) or box is None:
                continue
            else:
                raise Refused(f"a value of type {type(box).__name__}")
            if depth > MAX_DEPTH:
                raise Refused(f"nested deeper than {MAX_DEPTH}")
            if not _is_flat(map(type, inner)):
                deeper += [item for item in inner if type(item) not in SCALARS]
        level = deeper


def pack(value: Any) -> bytes:
    """``value`` as MsgPack in its shortest form; raises EncodeError."""
    try:
        check(value)
        packed: bytes = msgpack.packb(value)
    except Refused as refused:
        raise EncodeError(f"the message cannot be sent: {refused}", key="payload", hint=_HINT) from None
    except (ValueError, OverflowError, BufferError) as error:
        raise EncodeError(f"the message cannot be sent: {error}", key="payload", hint=_HINT) from None
    return packed
