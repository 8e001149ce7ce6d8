"""The frames between pool and worker: RMP messages 9, 110, 111, 4000 and 4001 on a socketpair."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL = 9
HOSTCALL = 110
ANSWER = 111
RUN = 4000
ENDED = 4001
_HEAD = struct.Struct(">IH")


def encode(schema: int, payload: dict[str, Any]) -> bytes:
    """Make one frame."""
    body = msgpack.packb(payload)
    return _HEAD.pack(len(body), schema) + body


class Frames:
    """Reads frames from bytes in any slicing."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        """Take bytes, give the messages that are whole."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            size, schema = _HEAD.unpack_from(self._buffer)
            if len(self._buffer) < _HEAD.size + size:
                return
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
            del self._buffer[: _HEAD.size + size]
            yield schema, msgpack.unpackb(body)
