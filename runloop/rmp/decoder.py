"""The incremental decoder: bytes in, in any slices; frames out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.rmp.errors import FramingError, Incomplete
from runloop.rmp.frame import Frame, make_frame
from runloop.rmp.header import (
    BODY_AT,
    DEFAULT_MAX_BODY,
    HEADER_LEN,
    PREFIX,
    PREFIX_LEN,
    Buffer,
    Header,
    check_lengths,
    check_prefix,
    read_header,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class FrameDecoder:
    """Cuts a byte stream into frames whose bodies have at most ``max_body`` bytes.

    Feed what was received, then take the frames; drained after each feed, it holds less than one frame. A frame is refused as soon as
    its prefix and header are in, before its body: only the agreement of the two lengths waits for the whole frame, except
    where the announced length is above the limit. After a refusal the stream is over: further bytes are dropped, and
    :meth:`frames` raises the same error again. The messages themselves (expiry, schema, body) are for the caller to check.
    """

    __slots__ = ("_at", "_buffer", "_header", "_max_body", "_needed", "_refusal")

    def __init__(self, max_body: int = DEFAULT_MAX_BODY) -> None:
        self._max_body = max_body
        self._buffer = bytearray()
        self._at = 0
        self._needed = PREFIX_LEN
        self._header: Header | None = None
        self._refusal: FramingError | None = None

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet given out in a frame."""
        return len(self._buffer) - self._at

    def feed(self, data: Buffer) -> None:
        """Take the next bytes of the stream."""
        if self._refusal is None:
            if self._at:
                del self._buffer[: self._at]
                self._at = 0
            self._buffer += data

    def frames(self) -> Iterator[Frame]:
        """The frames that are complete; raises the FramingError of the first frame that is refused, after those before it."""
        while (frame := self._next()) is not None:
            yield frame

    def finish(self) -> None:
        """The stream has ended and its frames are taken: raise the refusal it met, or Incomplete if it ended within a frame."""
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        missing = self._needed - self.buffered
        if missing <= 0:
            raise RuntimeError("the decoder still has bytes to look at: take frames() before finish()")
        if self.buffered:
            raise Incomplete(
                f"the stream ended at least {missing} bytes before the end of a frame",
                hint="the sender stopped or the connection broke: send the message again",
                missing=missing,
            )

    def _next(self) -> Frame | None:
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)
        buffer, at = self._buffer, self._at
        have = len(buffer) - at
        if have < self._needed:
            return None
        try:
            header = self._header
            if header is None:
                if have < BODY_AT:
                    check_prefix(PREFIX.unpack_from(buffer, at)[0])
                    self._needed = BODY_AT
                    return None
                frame_len, header = read_header(buffer, at)
                self._needed = PREFIX_LEN + frame_len
                if have < self._needed:
                    if frame_len - HEADER_LEN > self._max_body:
                        check_lengths(frame_len, header, self._max_body)
                    self._header = header
                    return None
            check_lengths(self._needed - PREFIX_LEN, header, self._max_body)
        except FramingError as refusal:
            self._refusal = refusal
            buffer.clear()
            self._at = 0
            raise
        return make_frame(header, self._take())

    def _take(self) -> bytes:
        """Cut the frame that is complete out of the buffer."""
        buffer, at = self._buffer, self._at
        end = at + self._needed
        self._needed = PREFIX_LEN
        self._header = None
        if end < len(buffer):
            self._at = end
            return bytes(buffer[at:end])
        raw = bytes(memoryview(buffer)[at:])
        buffer.clear()
        self._at = 0
        return raw
