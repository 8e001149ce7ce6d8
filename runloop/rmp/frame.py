"""One frame: the bytes as received, their header, and the envelope decoded when somebody asks."""

from __future__ import annotations

from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from runloop.dataclass import dataclass
from runloop.rmp.envelope import Envelope, decode_body, encode_body
from runloop.rmp.errors import EncodeError, Incomplete, UnknownSchema
from runloop.rmp.header import (
    BODY_AT,
    DEFAULT_MAX_BODY,
    DEFAULT_TTL_MS,
    HEADER_LEN,
    PREFIX,
    PREFIX_LEN,
    U32_MAX,
    U64_MAX,
    U128_MAX,
    Buffer,
    Header,
    check_lengths,
    check_message,
    check_prefix,
    read_header,
    too_large,
    write_header,
)
from runloop.rmp.registry import ID_OF, TYPE_OF

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose framing is valid; ``raw`` are its bytes with the length prefix, to be forwarded unchanged.

    The message may still be refused: :meth:`check` tells what the header shows, :attr:`envelope` what the body shows.
    """

    header: Header
    raw: bytes = field(repr=False)
    _envelope: Envelope | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def body(self) -> bytes:
        """The body as received (a copy)."""
        return self.raw[BODY_AT:]

    @property
    def type(self) -> str | None:
        """The registered type of the schema id, without decoding the body; None where it is unknown."""
        return TYPE_OF.get(self.header.schema_id)

    @property
    def envelope(self) -> Envelope:
        """The decoded body, kept after the first use; raises UnknownSchema, BodyDecodeError or BodyTypeMismatch."""
        known = self._envelope
        if known is None:
            self._check_schema()
            known = decode_body(self.raw[BODY_AT:], self.header.schema_id)
            _set_envelope(self, known)
        return known

    @property
    def meta(self) -> dict[str, Any]:
        """The envelope's ``meta``, empty where there is none, without decoding the payload.

        Each use decodes it, so keep it. Raises as :attr:`envelope`, but does not find what is wrong inside a payload.
        """
        known = self._envelope
        if known is not None:
            return known.meta or {}
        self._check_schema()
        return _decode_meta()(self.raw[BODY_AT:], self.header.schema_id) or {}

    @property
    def dedupe_key(self) -> tuple[int, int]:
        """(trace_id, msg_id)."""
        return self.header.dedupe_key

    def check(self, now_ms: int | None) -> None:
        """Raise UnknownSchema, InvalidTtl, InvalidExpiry or, unless ``now_ms`` is None, Expired."""
        check_message(self.header, now_ms)

    def _check_schema(self) -> None:
        if self.header.schema_id not in TYPE_OF:
            check_message(self.header, None)


# Setting the slots takes half the time of a frozen dataclass's __init__, and there is one frame for every message.
_set_header: Final = vars(Frame)["header"].__set__
_set_raw: Final = vars(Frame)["raw"].__set__
_set_envelope: Final = vars(Frame)["_envelope"].__set__
_new: Final = object.__new__


def make_frame(header: Header, raw: bytes) -> Frame:
    """``Frame(header, raw)``, quickly; ``header`` must be the one of ``raw``."""
    frame = _new(Frame)
    _set_header(frame, header)
    _set_raw(frame, raw)
    _set_envelope(frame, None)
    return frame


@cache
def _decode_meta() -> Callable[[bytes, int], dict[str, Any] | None]:
    from runloop.rmp.route import decode_meta  # it imports msgspec, which a sender does not need

    return decode_meta


def decode_frame(data: Buffer, *, now_ms: int | None, max_body: int = DEFAULT_MAX_BODY) -> Frame:
    """The frame that ``data`` begins with, checked whole, in the order of docs/protocol.md; bytes after it are ignored.

    ``now_ms`` is the clock in epoch ms; None leaves out the expiry check. Raises any of the named errors but Duplicate.
    """
    have = len(data)
    if have < PREFIX_LEN:
        raise _incomplete(PREFIX_LEN - have)
    frame_len: int = PREFIX.unpack_from(data)[0]
    end = PREFIX_LEN + frame_len
    if have < end:
        if frame_len - HEADER_LEN > max_body and have >= BODY_AT:
            check_lengths(*read_header(data), max_body)
        raise _incomplete(end - have)
    check_prefix(frame_len)
    header = read_header(data)[1]
    check_lengths(frame_len, header, max_body)
    check_message(header, now_ms)
    frame = make_frame(header, bytes(data[:end]))
    _set_envelope(frame, decode_body(frame.raw[BODY_AT:], header.schema_id))
    return frame


def _incomplete(missing: int) -> Incomplete:
    return Incomplete(f"at least {missing} more bytes are needed", hint="read on, then decode again", missing=missing)


def encode_frame(
    envelope: Envelope,
    *,
    trace_id: int,
    msg_id: int,
    created_at_ms: int,
    ttl_ms: int = DEFAULT_TTL_MS,
    max_body: int = DEFAULT_MAX_BODY,
) -> bytes:
    """The bytes of one frame; schema id and body length follow from the envelope.

    Raises UnknownSchema, InvalidTtl, InvalidExpiry, BodyTooLarge, and EncodeError for a value that RMP cannot carry.
    """
    schema_id = ID_OF.get(envelope.type)
    if schema_id is None:
        raise UnknownSchema(
            f"the type {envelope.type!r} is not registered",
            key="type",
            hint="`rlp rmp registry` lists the types",
            type=envelope.type,
        )
    for name, value, most in (
        ("trace_id", trace_id, U128_MAX),
        ("msg_id", msg_id, U64_MAX),
        ("created_at_ms", created_at_ms, U64_MAX),
        ("ttl_ms", ttl_ms, U64_MAX),
    ):
        if not isinstance(value, int) or not 0 <= value <= most:
            raise EncodeError(f"{name} is {value}", key=name, hint=f"use an integer from 0 to {most}", value=value)
    body = encode_body(envelope)
    limit = min(max_body, U32_MAX - HEADER_LEN)
    if len(body) > limit:
        raise too_large(len(body), limit)
    header = Header(schema_id, len(body), created_at_ms, ttl_ms, trace_id, msg_id)
    check_message(header, None)
    return write_header(header) + body
