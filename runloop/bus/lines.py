"""Requests that wait for their turn: a line for each connection, so that the many of one keep nobody else's waiting. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.bus.publishing import Call

_SHORT_MS: Final = 1.0
_LONG_MS: Final = 4.0
"""How long the requests of one turn may keep everything else waiting, about: as many begin together as that allows."""
_MOST: Final = 64


class Lines:
    """The lines take turns, a request of each; in one turn of the event loop begin as many as are worked on quickly."""

    __slots__ = ("_at_once", "_lines")

    def __init__(self) -> None:
        self._lines: dict[str, deque[Call]] = {}
        self._at_once = 1

    def join(self, calls: Iterable[Call]) -> None:
        """Let each stand behind the others of its connection."""
        for call in calls:
            self._lines.setdefault(call.session.id, deque()).append(call)

    def turn(self) -> list[Call]:
        """Those that begin now."""
        found: list[Call] = []
        while self._lines and len(found) < self._at_once:
            session = next(iter(self._lines))
            line = self._lines.pop(session)
            found.append(line.popleft())
            if line:
                self._lines[session] = line
        return found

    def took(self, ms: float) -> None:
        """How long those that began together had everything else wait."""
        if ms < _SHORT_MS:
            self._at_once = min(2 * self._at_once, _MOST)
        elif ms > _LONG_MS:
            self._at_once = max(self._at_once // 2, 1)

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))
