"""A provider's stream as events: Server-Sent Events and JSON lines, decoded without I/O and within bounds.

However the bytes are sliced, the same events come out, and after them the same error where there is one.
Sources: WHATWG HTML 9.2.6 (event streams), the NDJSON of Ollama.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class BrokenStreamError(ValueError):
    """The stream is not what its protocol says; the text says why."""


class StreamSizeError(ValueError):
    """One event is larger than it may be."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event: its data, and the name that an ``event`` field gave it."""

    data: str
    name: str = ""


class Decoder(Protocol):
    """Bytes in, events out."""

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """The events that these bytes complete; to be used up. Raises :class:`BrokenStreamError`, :class:`StreamSizeError`."""
        ...

    def rest(self) -> Iterator[StreamEvent]:
        """At the end: an event that nothing closed, and that may have been cut. Errors as :meth:`feed`."""
        ...


class _Lines:
    """Cuts bytes into lines of at most ``limit`` bytes, without their ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0

    def cut(self, pieces: list[bytes]) -> Iterator[bytes]:
        """The lines that end before the last piece, which begins the next one."""
        for number, piece in enumerate(pieces):
            self._size += len(piece)
            if self._size > self._limit:
                raise StreamSizeError(f"an event has more than {self._limit} bytes")
            self._begun.append(piece)
            if number < len(pieces) - 1:
                yield self.rest()

    def rest(self) -> bytes:
        """What was begun and has no end."""
        line = b"".join(self._begun)
        self._begun, self._size = [], 0
        return line


class SseDecoder:
    """Server-Sent Events whose data has at most ``limit`` bytes. Comments, ``id`` and ``retry`` are passed over."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines = _Lines(limit + len(b"data: ") + len(_BOM))
        self._data: list[str] = []
        self._size = 0
        self._name = ""
        self._first = True
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """As :meth:`Decoder.feed`."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if data:
            self._after_cr = data.endswith(b"\r")
            for line in self._lines.cut(_ANY_END.split(data)):
                yield from self._line(line)

    def rest(self) -> Iterator[StreamEvent]:
        """As :meth:`Decoder.rest`."""
        line = self._lines.rest()
        if line:
            yield from self._line(line)
        yield from self._dispatch()

    def _line(self, line: bytes) -> Iterator[StreamEvent]:
        if self._first:
            self._first, line = False, line.removeprefix(_BOM)
        if not line:
            yield from self._dispatch()
            return
        field, _, value = _text(line).partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._size += len(value.encode()) + 1
            if self._size > self._limit:
                raise StreamSizeError(f"an event has more than {self._limit} bytes")
            self._data.append(value)

    def _dispatch(self) -> Iterator[StreamEvent]:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        if data:
            yield StreamEvent("\n".join(data), name)


class NdjsonDecoder:
    """JSON lines of at most ``limit`` bytes; blank lines are passed over."""

    def __init__(self, limit: int) -> None:
        self._lines = _Lines(limit)

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """As :meth:`Decoder.feed`."""
        for line in self._lines.cut(data.split(b"\n")):
            yield from _json_line(line)

    def rest(self) -> Iterator[StreamEvent]:
        """As :meth:`Decoder.rest`."""
        yield from _json_line(self._lines.rest())


def _json_line(line: bytes) -> Iterator[StreamEvent]:
    if stripped := line.strip(b" \t\r"):
        yield StreamEvent(_text(stripped))


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenStreamError("it is not UTF-8") from None
