"""The length prefix and the 64-byte header (spec section 3.1), and what follows from them: expiry and the dedupe key.

All integers are big-endian. Offsets below count from the prefix, so the body begins at byte 68.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple, NoReturn, TypeAlias

from runloop.rmp.errors import (
    BodyTooLarge,
    Expired,
    InvalidExpiry,
    InvalidHeaderFlags,
    InvalidMagic,
    InvalidTtl,
    LengthMismatch,
    TruncatedHeader,
    UnknownSchema,
    UnsupportedVersion,
)
from runloop.rmp.registry import TYPE_OF

Buffer: TypeAlias = bytes | bytearray | memoryview

MAGIC: Final = b"RMP0"
VERSION: Final = 0
PREFIX_LEN: Final = 4
HEADER_LEN: Final = 64
BODY_AT: Final = PREFIX_LEN + HEADER_LEN
DEFAULT_MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes (spec section 3.1)."""
DEFAULT_TTL_MS: Final = 30_000
U8_MAX: Final = 2**8 - 1
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1
U128_MAX: Final = 2**128 - 1

PREFIX: Final = struct.Struct(">I")
_WIRE: Final = struct.Struct(">I12sHHIQQQQQI")
_FIXED: Final = struct.Struct(">4sHHI")
_START: Final = _FIXED.pack(MAGIC, VERSION, HEADER_LEN, 0)
_unpack: Final = _WIRE.unpack_from
_new: Final = tuple.__new__


class Header(NamedTuple):
    """The fields of a header that are not constant: times in epoch ms, ``trace_id`` 128 bits, ``msg_id`` monotonic per publisher.

    A named tuple because one is built for every frame: it costs less than half of a frozen dataclass.
    """

    schema_id: int
    body_len: int
    created_at_ms: int
    ttl_ms: int
    trace_id: int
    msg_id: int

    @property
    def expires_at_ms(self) -> int:
        """Creation plus time to live; raises InvalidTtl or InvalidExpiry (spec section 3.4)."""
        if not self.ttl_ms:
            raise InvalidTtl("ttl_ms is 0", key="ttl_ms", hint="give the frame a time to live of at least 1 ms")
        expires = self.created_at_ms + self.ttl_ms
        if expires > U64_MAX:
            raise InvalidExpiry(
                f"created_at_ms {self.created_at_ms} + ttl_ms {self.ttl_ms} exceeds 2^64 - 1",
                key="ttl_ms",
                hint="use a shorter time to live, and milliseconds since 1970 for created_at_ms",
                created_at_ms=self.created_at_ms,
                ttl_ms=self.ttl_ms,
            )
        return expires

    def is_expired(self, now_ms: int) -> bool:
        """Whether the clock has reached the expiry; raises InvalidTtl or InvalidExpiry."""
        return now_ms >= self.expires_at_ms

    @property
    def dedupe_key(self) -> tuple[int, int]:
        """What makes two frames the same message (spec section 3.4)."""
        return (self.trace_id, self.msg_id)

    @property
    def trace_hex(self) -> str:
        """The trace id as 32 lower-case hex digits."""
        return f"{self.trace_id:032x}"


def check_message(header: Header, now_ms: int | None) -> None:
    """Refuse what the header alone tells: UnknownSchema, InvalidTtl, InvalidExpiry and, unless ``now_ms`` is None, Expired."""
    if header.schema_id not in TYPE_OF:
        raise UnknownSchema(
            f"schema id {header.schema_id} is not registered",
            key="schema_id",
            hint="`rlp rmp registry` lists the ids; a newer sender may use one that this version does not know",
            schema_id=header.schema_id,
        )
    expires = header.expires_at_ms
    if now_ms is not None and now_ms >= expires:
        raise Expired(
            f"expired at {expires} ms, {now_ms - expires} ms ago",
            key="ttl_ms",
            hint="send again with a longer ttl_ms, or compare the clocks of both sides",
            expires_at_ms=expires,
            now_ms=now_ms,
        )


def read_header(buffer: Buffer, at: int = 0) -> tuple[int, Header]:
    """Length prefix and header at ``at``, where 68 bytes must be; raises for what is wrong, in field order (spec section 3.2).

    The lengths are returned as found: :func:`check_lengths` compares them.
    """
    frame_len, start, schema_id, reserved2, body_len, created, ttl, trace_high, trace_low, msg_id, reserved4 = _unpack(buffer, at)
    if start != _START or reserved2 or reserved4 or frame_len < HEADER_LEN:
        _refuse(frame_len, start, reserved2, reserved4)
    return frame_len, _new(Header, (schema_id, body_len, created, ttl, trace_high << 64 | trace_low, msg_id))


def _refuse(frame_len: int, start: bytes, reserved2: int, reserved4: int) -> NoReturn:
    check_prefix(frame_len)
    magic, version, header_len, flags = _FIXED.unpack(start)
    if magic != MAGIC:
        raise InvalidMagic(
            f"the header begins with {magic!r}, not {MAGIC!r}",
            key="magic",
            hint="the peer does not speak RMP, or the stream lost its frame boundaries",
            magic=magic.hex(),
        )
    if version != VERSION or header_len != HEADER_LEN:
        raise UnsupportedVersion(
            f"header version {version} of {header_len} bytes; this is version {VERSION} of {HEADER_LEN}",
            key="header_version" if version != VERSION else "header_len",
            hint="update the older of the two programs: both sides must speak RMP v0",
            header_version=version,
            header_len=header_len,
        )
    name, value = next(found for found in (("flags", flags), ("reserved2", reserved2), ("reserved4", reserved4)) if found[1])
    raise InvalidHeaderFlags(f"{name} is {value:#x}, not 0", key=name, hint="RMP v0 defines no flags: send 0", value=value)


def check_prefix(frame_len: int) -> None:
    """Refuse a length prefix that cannot hold a header."""
    if frame_len < HEADER_LEN:
        raise TruncatedHeader(
            f"the length prefix says {frame_len} bytes; a header has {HEADER_LEN}",
            key="frame_len",
            hint="frame_len counts the header and the body, not itself",
            frame_len=frame_len,
        )


def check_lengths(frame_len: int, header: Header, max_body: int) -> None:
    """Refuse a body whose two lengths disagree, then one above ``max_body`` bytes (spec section 3.2, step 5 and 6)."""
    actual = frame_len - HEADER_LEN
    if header.body_len != actual:
        raise LengthMismatch(
            f"body_len says {header.body_len} bytes, the length prefix leaves {actual}",
            key="body_len",
            hint=f"frame_len must be {HEADER_LEN} + body_len",
            declared=header.body_len,
            actual=actual,
        )
    if actual > max_body:
        raise too_large(actual, max_body)


def too_large(size: int, limit: int) -> BodyTooLarge:
    """The error for a body of ``size`` bytes under a limit of ``limit``."""
    return BodyTooLarge(
        f"a body of {size} bytes; the limit is {limit}",
        key="body_len",
        hint="send a reference (a path or a blob hash) instead of the content, or raise the limit on both sides",
        size=size,
        limit=limit,
    )


def write_header(header: Header) -> bytes:
    """Length prefix and header, for a body of ``header.body_len`` bytes; struct.error if a field does not fit."""
    schema_id, body_len, created, ttl, trace, msg_id = header
    return _WIRE.pack(HEADER_LEN + body_len, _START, schema_id, 0, body_len, created, ttl, trace >> 64, trace & U64_MAX, msg_id, 0)
