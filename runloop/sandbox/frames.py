"""The messages between pool and worker, as RMP frames on a socketpair: 9 control, 110 and 111 a hostcall, 4000 and 4001 a run."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

from runloop.rmp import BODY_AT, DEFAULT_MAX_BODY, DEFAULT_TTL_MS, Envelope, FrameDecoder, Header, encode_frame, registry
from runloop.rmp.header import write_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Unpack = Callable[[bytes], Any]

CONTROL = 9
HOSTCALL = 110
ANSWER = 111
RUN = 4000
ENDED = 4001

MAX_ANSWER: Final = 64 << 20
"""Bytes of a message that answers a call: a text of 8 MiB, the most that one gives, is up to six times as long in JSON."""

_TYPES: Final = {schema: registry.TYPE_OF[schema] for schema in (CONTROL, HOSTCALL, ANSWER, RUN, ENDED)}
_BEGIN: Final = {schema: b"\x82\xa4type" + msgpack.packb(type_) + b"\xa7payload" for schema, type_ in _TYPES.items()}
_numbers = itertools.count(1)


def encode(schema: int, payload: dict[str, Any]) -> bytes:
    """Make one frame; raises EncodeError or BodyTooLarge for what RMP cannot carry."""
    now_ms = time.time_ns() // 1_000_000
    try:
        body: bytes = _BEGIN[schema] + msgpack.packb(payload)
    except (ValueError, OverflowError, TypeError):
        body = b""  # RMP says what is wrong with it
    most = MAX_ANSWER if schema == ANSWER else DEFAULT_MAX_BODY
    if not 0 < len(body) <= most:
        return encode_frame(Envelope(_TYPES[schema], payload), trace_id=0, msg_id=next(_numbers), created_at_ms=now_ms, max_body=most)
    return write_header(Header(schema, len(body), now_ms, DEFAULT_TTL_MS, 0, next(_numbers))) + body


class Frames:
    """Reads messages from bytes in any slicing; ``unpack`` reads a payload, as strictly as RMP says unless our own parent sent it."""

    def __init__(self, unpack: Unpack, most: int = DEFAULT_MAX_BODY) -> None:
        self._decoder = FrameDecoder(most)
        self._unpack = unpack

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        """Take bytes, give the messages that are whole; raises RmpError for anything else."""
        self._decoder.feed(data)
        for frame in self._decoder.frames():
            schema = frame.header.schema_id
            begin = _BEGIN.get(schema)
            if begin is not None and frame.raw.startswith(begin, BODY_AT):
                yield schema, self._unpack(frame.raw[BODY_AT + len(begin) :])
            else:
                yield schema, frame.envelope.payload


def from_parent() -> Frames:
    """For a worker: what the pool sends was made by :func:`encode`."""
    return Frames(msgpack.unpackb, MAX_ANSWER)


def from_worker() -> Frames:
    """For the pool: what a worker sends may be anything."""
    from runloop.rmp.quick import unpack_payload  # msgspec, which a worker need not import

    return Frames(unpack_payload)
