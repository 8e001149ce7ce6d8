"""Deadlines without a clock: the caller says what time it is."""

from __future__ import annotations

from heapq import heappop, heappush


class Timers:
    """At most one deadline per key; setting and clearing cost O(log n), stale entries are dropped when they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int]] = []
        self._live: dict[int, tuple[int, int]] = {}
        self._count = 0

    def set(self, key: int, at_ms: int) -> None:
        """Replace the deadline of ``key``."""
        self._count += 1
        self._live[key] = (at_ms, self._count)
        heappush(self._heap, (at_ms, self._count, key))

    def clear(self, key: int) -> int | None:
        """Remove the deadline of ``key`` and say when it was."""
        live = self._live.pop(key, None)
        return live[0] if live else None

    def at(self, key: int) -> int | None:
        """The deadline of ``key``."""
        live = self._live.get(key)
        return live[0] if live else None

    def next(self) -> int | None:
        """The earliest deadline."""
        while self._heap:
            at_ms, count, key = self._heap[0]
            if self._live.get(key) == (at_ms, count):
                return at_ms
            heappop(self._heap)
        return None

    def pop_due(self, now_ms: int) -> int | None:
        """Remove and return the key of the earliest deadline that is not after ``now_ms``."""
        at_ms = self.next()
        if at_ms is None or at_ms > now_ms:
            return None
        key = heappop(self._heap)[2]
        del self._live[key]
        return key

    def shift(self, by_ms: int) -> None:
        """Move every deadline."""
        self._heap = [(at_ms + by_ms, count, key) for at_ms, count, key in self._heap]
        self._live = {key: (at_ms + by_ms, count) for key, (at_ms, count) in self._live.items()}


class Countdown:
    """A duration that runs down while it is not held; None never ends."""

    def __init__(self, length_ms: int | None) -> None:
        self._left_ms = length_ms
        self._ends_ms: int | None = None

    @property
    def ends_ms(self) -> int | None:
        """When it ends if nothing holds it; None while held, and for ever without a length."""
        return self._ends_ms

    def run(self, now_ms: int) -> None:
        """Let it run."""
        if self._left_ms is not None:
            self._ends_ms, self._left_ms = now_ms + self._left_ms, None

    def hold(self, now_ms: int) -> None:
        """Stop it where it is."""
        if self._ends_ms is not None:
            self._left_ms, self._ends_ms = max(0, self._ends_ms - now_ms), None

    def shift(self, by_ms: int) -> None:
        """Move its end."""
        if self._ends_ms is not None:
            self._ends_ms += by_ms
