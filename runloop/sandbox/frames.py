"""The messages between pool and worker, as RMP frames on a socketpair: 9 control, 110 and 111 a hostcall, 4000 and 4001 a run."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from runloop.rmp import Envelope, FrameDecoder, encode_frame, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROL = 9
HOSTCALL = 110
ANSWER = 111
RUN = 4000
ENDED = 4001

_TYPES = {schema: registry.TYPE_OF[schema] for schema in (CONTROL, HOSTCALL, ANSWER, RUN, ENDED)}
_numbers = itertools.count(1)


def encode(schema: int, payload: dict[str, Any]) -> bytes:
    """Make one frame; raises EncodeError or BodyTooLarge for what RMP cannot carry."""
    return encode_frame(Envelope(_TYPES[schema], payload), trace_id=0, msg_id=next(_numbers), created_at_ms=int(time.time() * 1000))


class Frames:
    """Reads messages from bytes in any slicing."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()

    def feed(self, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
        """Take bytes, give the messages that are whole; raises RmpError for anything else."""
        self._decoder.feed(data)
        for frame in self._decoder.frames():
            yield frame.header.schema_id, frame.envelope.payload
