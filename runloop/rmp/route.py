"""What a broker needs of a body: its ``meta``, without building the payload.

Apart from the envelope because msgspec takes 25 ms to import, which a broker pays once and a command line that only sends never.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from runloop.rmp.body import MAX_DEPTH, SCALARS, Refused, bad_body, unpack
from runloop.rmp.envelope import check_type, decode_body, read_meta

is_flat: Final = SCALARS.issuperset
_FIXMAP: Final = 0x80
_ONE_ITEM: Final = b"\x91"


_SAID_BY_MSGSPEC: Final = {
    "truncated": "it ends within a value",
    "trailing": "bytes follow the value",
    "invalid opcode": "it holds the byte 0xc1, which no value begins with",
    "`key`": "a map key is not a string",
    "$.type": "the type is not a string",
    "Expected `object`": "the envelope is not a map",
    "field `type`": "the envelope has no 'type'",
    "field `payload`": "the envelope has no 'payload'",
}


class Parts(msgspec.Struct, gc=False):
    """The three keys of an envelope, payload and ``meta`` as their bytes."""

    type: str
    payload: msgspec.Raw
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


split: Final = msgspec.msgpack.Decoder(Parts).decode
"""Cut a body into its parts; raises msgspec's errors, ValueError and RecursionError."""
read_map: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode


def reason_of(error: Exception) -> str:
    """The rule that a body breaks which msgspec could not read, in the words of :mod:`runloop.rmp.body`."""
    if isinstance(error, UnicodeDecodeError):
        return "a string is not UTF-8"
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH}"
    return next((reason for words, reason in _SAID_BY_MSGSPEC.items() if words in str(error)), str(error))


def decode_meta(body: bytes, schema_id: int) -> dict[str, Any] | None:
    """The ``meta`` of a body under a registered schema id, or None where there is none; the payload is stepped over, its content unchecked.

    Raises BodyDecodeError or BodyTypeMismatch. Where the whole body is valid, this is the ``meta`` of :func:`decode_body`.
    """
    try:
        parts = split(body)
        raw = parts.meta
        # As many entries as known keys were found: no key is unknown and none occurs twice.
        if body[0] != _FIXMAP + (2 if raw is msgspec.UNSET else 3):
            return decode_body(body, schema_id).meta
        meta = None if raw is msgspec.UNSET else decode_map(bytes(raw))
    except Refused as refused:
        raise bad_body(str(refused), key="meta") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise bad_body(reason_of(error)) from None
    check_type(parts.type, schema_id)
    return meta


def decode_map(packed: bytes) -> dict[str, Any] | None:
    """A ``meta`` from its MsgPack, checked; raises Refused and what msgspec raises."""
    if _FIXMAP <= packed[0] < _FIXMAP + 16:
        flat = read_map(packed)
        # All entries distinct and no container or extension among the values: the rules hold without looking closer.
        if len(flat) == packed[0] - _FIXMAP and is_flat(map(type, flat.values())):
            return read_meta(flat)
    # Inside an array, because meta is the second level of its body.
    return read_meta(unpack(_ONE_ITEM + packed)[0])
