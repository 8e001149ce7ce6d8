"""The fast reading of many frames at once, for a broker and its clients: what the decoder tells, without an object for each frame.

Every frame is checked as the decoder checks it, except for the inside of the payload, which is the receiver's, and for expiry, which needs
a clock. Apart from the decoder because msgspec takes 25 ms to import, as for :mod:`runloop.rmp.route`.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped]  # it ships no types
import msgspec

from runloop.rmp.body import Refused, bad_body
from runloop.rmp.envelope import decode_body
from runloop.rmp.errors import FramingError, MessageError
from runloop.rmp.header import BODY_AT, HEADER_LEN, PREFIX, PREFIX_LEN, U64_MAX, check_lengths, check_message, check_prefix, read_header
from runloop.rmp.quick import unpack_payload
from runloop.rmp.registry import TYPE_OF
from runloop.rmp.route import Parts, decode_map, is_flat, read_map, reason_of, split

_FIELDS: Final = struct.Struct(">I12sHHIQQ24sI")
_START: Final = struct.Struct(">4sHHI").pack(b"RMP0", 0, HEADER_LEN, 0)
_COPY_UP_TO: Final = 2048  # above this many bytes a view costs less than a copy of the body
_READ_WHOLE: Final = 64 * 1024  # a body of an unusual form above this is cut apart as far as routing needs it
_MOST_KEYS: Final = 64
_NO_META: Final = b"\x80"
_NIL: Final = b"\xc0"
_COUNT: Final = {0xDE: 3, 0xDF: 5}
"""Where the number of a map's entries ends, by its head."""
TAG_BYTES: Final = 16
"""How much longer than the limit a body may be to which the bus added ``meta.sub``."""
_entries: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_FIXMAP: Final = 0x80
_BIN_AT: Final = {0xC4: 2, 0xC5: 3, 0xC6: 5}
"""Where the content of a binary value begins, by its head."""
_SCHEMA: Final = slice(PREFIX_LEN + 12, PREFIX_LEN + 14)
_BEGIN: Final = {number.to_bytes(2, "big"): b"\xa4type" + msgpack.packb(type_) + b"\xa7payload" for number, type_ in TYPE_OF.items()}
"""What stands between the head of an envelope in the usual order and its payload, by the bytes of the schema id."""

Row: TypeAlias = tuple[int, int, int, int, bytes, bytes | MessageError]
"""Start and end in the data, schema id, expiry in epoch ms, the 24 bytes of trace and message id, ``meta`` as MsgPack or what is wrong."""
Scanned: TypeAlias = tuple[list[Row], int, int, FramingError | None]
"""The whole frames of some bytes, where the first that is not begins, its length as far as known, and what ends the stream."""


def scan(data: bytes, max_body: int) -> Scanned:  # noqa: PLR0912 - the hot loop: a call costs as much as a check
    """Read the frames that ``data`` begins with; a refusal of the stream comes after the frames before it. Raises nothing."""
    rows: list[Row] = []
    add = rows.append
    fields, type_of, start_is, large = _FIELDS.unpack_from, TYPE_OF.get, _START, HEADER_LEN + min(max_body, _COPY_UP_TO)
    view: memoryview | None = None
    at, size = 0, len(data)
    last_header = size - BODY_AT
    while at <= last_header:
        frame_len, start, schema_id, reserved2, body_len, created, ttl, key, reserved4 = fields(data, at)
        end = at + PREFIX_LEN + frame_len
        if start != start_is or reserved2 or reserved4 or frame_len > large or body_len != frame_len - HEADER_LEN:
            try:
                check_prefix(frame_len)
                read_header(data, at)
                if end <= size or frame_len - HEADER_LEN > max_body:
                    check_lengths(frame_len, read_header(data, at)[1], max_body)
            except FramingError as refusal:
                return rows, at, 0, refusal
        if end > size:
            return rows, at, end - at, None
        if frame_len > large:
            view = view or memoryview(data)
            body: bytes | memoryview = view[at + BODY_AT : end]
        else:
            body = data[at + BODY_AT : end]
        expires = created + ttl
        meta: bytes | MessageError
        try:
            parts = split(body)
            raw = parts.meta
            if raw is msgspec.UNSET:
                meta, known = _NO_META, body[0] == 0x82
            else:
                meta, known = bytes(raw), body[0] == 0x83
            if not known or parts.type != type_of(schema_id) or not ttl or expires > U64_MAX:
                meta = _meta_of(data[at:end])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            meta = _meta_of(data[at:end])
        add((at, end, schema_id, expires, key, meta))
        at = end
    needed = BODY_AT
    if size - at >= PREFIX_LEN:
        try:
            check_prefix(PREFIX.unpack_from(data, at)[0])
        except FramingError as refusal:
            return rows, at, 0, refusal
    return rows, at, needed, None


def _meta_of(raw: bytes) -> bytes | MessageError:
    """The ``meta`` of a frame whose form is unusual, or the error that the decoder names."""
    try:
        header = read_header(raw)[1]
        check_message(header, None)
        body = raw[BODY_AT:]
        if len(body) > _READ_WHOLE:
            return _cut(body, header.schema_id)
        meta = decode_body(body, header.schema_id).meta
    except MessageError as error:
        return error
    packed: bytes = _NO_META if meta is None else msgpack.packb(_writable(meta))
    return packed


def _cut(body: bytes, schema_id: int) -> bytes:
    """The ``meta`` of a large body, nothing but its ``type`` being built; raises MessageError."""
    head = body[0]
    count = head - _FIXMAP if _FIXMAP <= head < _FIXMAP + 16 else int.from_bytes(body[1 : _COUNT.get(head, 1)], "big")
    if count > _MOST_KEYS:
        raise bad_body(f"the envelope has {count} keys; {_MOST_KEYS} are allowed to one of this size")
    try:
        entries = _entries(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise bad_body(reason_of(error)) from None
    if len(entries) != count:
        raise bad_body("a key occurs twice in the envelope")
    known = {key: _NIL for key in ("type", "payload") if key in entries}
    if "type" in known and len(entries["type"]) <= _COPY_UP_TO:
        known["type"] = bytes(entries["type"])
    decode_body(bytes([_FIXMAP + len(known)]) + b"".join(msgpack.packb(key) + packed for key, packed in known.items()), schema_id)
    return bytes(entries["meta"]) if "meta" in entries else _NO_META


def _writable(meta: dict[str, Any]) -> dict[str, Any]:
    wide = meta.get("opening_id")
    return {**meta, "opening_id": wide.to_bytes(16, "big")} if isinstance(wide, int) and wide > U64_MAX else meta


def read_meta_bytes(packed: bytes) -> dict[str, Any]:
    """The ``meta`` of a row as a map, empty where there is none; raises BodyDecodeError."""
    try:
        return decode_map(packed) or {}
    except Refused as refused:
        raise bad_body(str(refused), key="meta") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise bad_body(reason_of(error), key="meta") from None


def with_meta(raw: bytes, more: dict[str, Any]) -> bytes:
    """A valid frame with keys added to its ``meta``, which has none of them; payload and ``meta`` are copied unread."""
    parts: Parts = split(raw[BODY_AT:])
    packed = _NO_META if parts.meta is msgspec.UNSET else bytes(parts.meta)
    head = packed[0]
    count, at = (head - _FIXMAP, 1) if head < _FIXMAP + 16 else (int.from_bytes(packed[1 : _COUNT[head]], "big"), _COUNT[head])
    meta = b"".join((_map_head(count + len(more)), packed[at:], *(msgpack.packb(each) for entry in more.items() for each in entry)))
    made = b"".join((b"\x83\xa4type", msgpack.packb(parts.type), b"\xa7payload", bytes(parts.payload), b"\xa4meta", meta))
    begin = bytearray(raw[:BODY_AT])
    PREFIX.pack_into(begin, 0, HEADER_LEN + len(made))
    PREFIX.pack_into(begin, PREFIX_LEN + 16, len(made))
    return bytes(begin) + made


def _map_head(count: int) -> bytes:
    head: bytes = msgpack.Packer().pack_map_header(count)
    return head


class Reader:
    """The frames of a stream by :func:`scan`: feed what was received, and take the frames that are whole."""

    __slots__ = ("_buffer", "_max_body", "_needed")

    def __init__(self, max_body: int) -> None:
        self._buffer = bytearray()
        self._max_body = max_body
        self._needed = 0

    def feed(self, data: bytes) -> tuple[bytes, list[Row], FramingError | None]:
        """The bytes that the rows point into, the rows, and what ended the stream; after that nothing may be fed."""
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return b"", [], None
            data = bytes(buffer)
            buffer.clear()
        rows, rest, self._needed, refusal = scan(data, self._max_body)
        if refusal is None and rest < len(data):
            buffer += data[rest:]
        return data, rows, refusal


def read_payload(raw: bytes) -> Any:
    """The payload of a frame that :func:`scan` gave out, checked as the decoder checks it; raises BodyDecodeError."""
    begin = _BEGIN.get(raw[_SCHEMA])
    if begin is not None and raw.startswith(begin, BODY_AT + 1):
        at = BODY_AT + 1 + len(begin)
        start = _BIN_AT.get(raw[at])
        if start is not None:
            return raw[at + start : at + start + int.from_bytes(raw[at + 1 : at + start], "big")]
    packed = bytes(split(raw[BODY_AT:]).payload)
    head = packed[0]
    try:
        if _FIXMAP <= head < _FIXMAP + 16:
            flat = read_map(packed)
            # All entries distinct and no container or extension among the values: the rules hold without looking closer.
            if len(flat) == head - _FIXMAP and is_flat(map(type, flat.values())):
                return flat
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # it is not flat, or the decoder says what is wrong
    return unpack_payload(packed)
