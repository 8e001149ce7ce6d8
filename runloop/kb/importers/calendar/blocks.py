"""A calendar's lines as blocks, one an appointment, in a stream: a broken one costs only itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_BYTES = 16 * 1024 * 1024  # of one appointment
MAX_ZONE_BYTES = 64 * 1024  # of one time zone; what is longer is passed over
MAX_DEPTH = 8  # of components inside one
_ZONE = "VTIMEZONE"
_LONGEST_SHOWN = 60


class Block(NamedTuple):
    """A component from its ``BEGIN`` line to its end, with what is inside of all but time zones left out; or why it is of no use."""

    line: int
    name: str
    data: bytes = b""
    problem: str | None = None


def blocks(lines: Iterable[tuple[int, bytes]]) -> Iterator[Block]:
    """Every component of the calendars; alarms and the like inside of one are passed over."""
    reader = _Reader()
    for number, line in lines:
        word, _, name = line.strip().upper().decode("ascii", "replace").partition(":")
        if word == "BEGIN":
            yield from reader.begin(number, name, line)
        elif word == "END":
            yield from reader.end(number, name, line)
        else:
            yield from reader.other(number, line)
    yield from reader.unfinished("the end of the file")


class _Reader:
    """Where in a calendar the lines are: outside, between components, in one, or in something inside of one."""

    def __init__(self) -> None:
        self._in_calendar = self._stray = False
        self._begun: tuple[int, str] | None = None
        self._inner: list[str] = []
        self._held: list[bytes] = []
        self._size = 0

    def begin(self, number: int, name: str, line: bytes) -> Iterator[Block]:
        """A component begins."""
        if self._begun is not None and name in {self._begun[1], "VCALENDAR"}:
            yield from self.unfinished(f"the next one on line {number}")
        if name == "VCALENDAR":
            self._in_calendar = True
        elif not self._in_calendar:
            yield Block(number, name[:_LONGEST_SHOWN], problem="not inside of a calendar: no BEGIN:VCALENDAR before it")
        elif self._begun is None:
            self._begun, self._inner, self._held, self._size = (number, name), [], [line], len(line)
        elif len(self._inner) < MAX_DEPTH:
            self._inner.append(name)
            self._hold(line)
        else:
            yield Block(*self._begun, problem=f"components are nested deeper than {MAX_DEPTH}")
            self._begun = None

    def end(self, number: int, name: str, line: bytes) -> Iterator[Block]:
        """A component ends."""
        if name == "VCALENDAR":
            yield from self.unfinished(f"the end of the calendar on line {number}")
            self._in_calendar = False
        elif self._begun is None:
            return
        elif self._inner:
            if name == self._inner[-1]:
                self._hold(line)
                self._inner.pop()
        elif name == self._begun[1]:
            if self._size <= (MAX_ZONE_BYTES if name == _ZONE else MAX_BYTES):
                yield Block(*self._begun, b"\r\n".join([*self._held, line]))
            elif name != _ZONE:
                yield Block(*self._begun, problem=f"{self._size} bytes; the limit is {MAX_BYTES}")
            self._begun = None

    def other(self, number: int, line: bytes) -> Iterator[Block]:
        """A line of a component, or of nothing."""
        if self._begun is not None:
            self._hold(line)
        elif not self._in_calendar and line.strip() and not self._stray:
            self._stray = True
            yield Block(number, "", problem="not a calendar: no BEGIN:VCALENDAR before it")

    def _hold(self, line: bytes) -> None:
        if self._begun is not None and (self._begun[1] == _ZONE or not self._inner):
            self._size += len(line)
            if self._size <= MAX_BYTES:
                self._held.append(line)

    def unfinished(self, before: str) -> Iterator[Block]:
        """What began and did not end."""
        if self._begun is not None:
            yield Block(*self._begun, problem=f"no END:{self._begun[1][:_LONGEST_SHOWN]} before {before}")
            self._begun = None
