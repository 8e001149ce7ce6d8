"""How often workers may be replaced: a budget a minute, so that a worker that cannot live is shown with its cause, not started for ever."""

from __future__ import annotations

from collections import deque
from dataclasses import field

from runloop.dataclass import dataclass

WINDOW_S = 60.0


@dataclass(slots=True)
class RestartBudget:
    """At most ``per_minute`` replacements within a minute; times are monotonic seconds and come from the caller."""

    per_minute: int
    total: int = 0
    last_cause: str = ""
    _times: deque[float] = field(default_factory=deque)

    def lost(self, now: float, cause: str) -> float:
        """Book a worker that was lost; how many seconds to wait before another one may take its place."""
        self.total += 1
        self.last_cause = cause
        self._forget(now)
        start = now if len(self._times) < self.per_minute else self._times[-self.per_minute] + WINDOW_S
        self._times.append(start)
        return start - now

    def last_minute(self, now: float) -> int:
        """How many were replaced within the last minute, or wait to be."""
        self._forget(now)
        return len(self._times)

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - WINDOW_S:
            self._times.popleft()
