"""The envelope: the map ``type``, ``payload``, optional ``meta`` that is the body of every frame (spec section 3.5)."""

from __future__ import annotations

from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.rmp.body import Refused, bad_body, kind_of, pack, quoted, unpack
from runloop.rmp.errors import BodyTypeMismatch, EncodeError
from runloop.rmp.header import U8_MAX, U64_MAX, U128_MAX
from runloop.rmp.registry import ID_OF, TYPE_OF

_KNOWN_META: Final = frozenset({"opening_id", "priority", "tags"})
_OPENING_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a frame says: a registered ``type``, any ``payload``, and ``meta`` with string keys, or None where there is none.

    Of ``meta`` RMP itself knows ``opening_id`` (0 to 2^128 - 1), ``priority`` (0 to 255) and ``tags`` (strings); other keys are kept.
    """

    type: str
    payload: Any
    meta: dict[str, Any] | None = None

    @property
    def opening_id(self) -> int | None:
        """The opening that this message belongs to."""
        return None if self.meta is None else self.meta.get("opening_id")

    @property
    def priority(self) -> int | None:
        """0 to 255, or None where the sender set none."""
        return None if self.meta is None else self.meta.get("priority")

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels of the message, in the sender's order."""
        return () if self.meta is None else tuple(self.meta.get("tags", ()))


def _is_int(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _check_meta(meta: dict[str, Any]) -> None:
    """Raise Refused unless the keys that RMP knows have their types."""
    if "opening_id" in meta and meta["opening_id"] is not None and not _is_int(meta["opening_id"], U128_MAX):
        raise Refused("meta.opening_id is neither an integer from 0 to 2^128 - 1 nor 16 bytes")
    if "priority" in meta and meta["priority"] is not None and not _is_int(meta["priority"], U8_MAX):
        raise Refused("meta.priority is not an integer from 0 to 255")
    if "tags" in meta and not (isinstance(meta["tags"], list | tuple) and all(isinstance(tag, str) for tag in meta["tags"])):
        raise Refused("meta.tags is not a list of strings")


def read_meta(meta: object) -> dict[str, Any] | None:
    """A decoded ``meta`` with ``opening_id`` as an integer; raises Refused."""
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise Refused(f"meta is not a map but {kind_of(meta)}")
    if not _KNOWN_META.isdisjoint(meta):
        wide = meta.get("opening_id")
        if isinstance(wide, bytes) and len(wide) == _OPENING_ID_BYTES:
            meta["opening_id"] = int.from_bytes(wide, "big")
        _check_meta(meta)
    return meta


def check_type(type_: str, schema_id: int) -> None:
    """Refuse a type that is not the one of the schema id: exact equality, a matching family is not enough."""
    if ID_OF.get(type_) != schema_id:
        raise BodyTypeMismatch(
            f"the envelope is {quoted(type_)}, the header's schema id {schema_id} is {TYPE_OF.get(schema_id)!r}",
            key="type",
            hint="schema id and type must name the same row of the registry: `rlp rmp registry`",
            expected=TYPE_OF.get(schema_id),
            actual=type_,
        )


def decode_body(body: bytes, schema_id: int) -> Envelope:
    """The envelope of a body under a registered schema id; raises BodyDecodeError or BodyTypeMismatch.

    Keys other than the three are ignored.
    """
    value = unpack(body)
    if not isinstance(value, dict):
        raise bad_body(f"the envelope is not a map but {kind_of(value)}")
    try:
        type_, payload = value["type"], value["payload"]
    except KeyError as missing:
        raise bad_body(f"the envelope has no {missing}", key=missing.args[0]) from None
    if not isinstance(type_, str):
        raise bad_body(f"the type is not a string but {kind_of(type_)}", key="type")
    try:
        meta = read_meta(value.get("meta"))
    except Refused as refused:
        raise bad_body(str(refused), key="meta") from None
    check_type(type_, schema_id)
    return Envelope(type_, payload, meta)


def encode_body(envelope: Envelope) -> bytes:
    """The body of an envelope, keys in the order type, payload, meta; raises EncodeError."""
    value = {"type": envelope.type, "payload": envelope.payload}
    meta = envelope.meta
    if meta is not None:
        try:
            _check_meta(meta)
        except Refused as refused:
            raise EncodeError(f"the message cannot be sent: {refused}", key="meta", hint="change that key of meta") from None
        wide = meta.get("opening_id")
        if wide is not None and wide > U64_MAX:
            meta = {**meta, "opening_id": wide.to_bytes(_OPENING_ID_BYTES, "big")}
        value["meta"] = meta
    return pack(value)
