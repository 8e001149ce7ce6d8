"""The runs that wait and are not in memory, until an answer or a time."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.runs.clock import since_boot_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.daemon.hosted import Stub

_LONGEST_S = 30.0
"""How long at most until the clock is looked at again: a machine that slept, or whose clock was set, is at most so late."""


@dataclass(slots=True)
class Parking:
    """The parked runs by id; calls ``due(run_id)`` when a run's time has come. Lives on one event loop."""

    clock_ms: Callable[[], int]
    due: Callable[[str], object]
    boot_ms: Callable[[], int] = since_boot_ms
    stubs: dict[str, Stub] = field(default_factory=dict)
    _times: list[tuple[int, str]] = field(default_factory=list)
    """By the wall clock."""
    _spans: list[tuple[int, str, int]] = field(default_factory=list)
    """The same times by the clock that nobody sets, each with what the wall clock is to show then."""
    _timer: asyncio.TimerHandle | None = None

    def put(self, stub: Stub) -> None:
        """Park a run."""
        self.stubs[stub.identity.run_id] = stub
        if stub.until_ms is not None:
            heapq.heappush(self._times, (stub.until_ms, stub.identity.run_id))
            in_ms = stub.until_ms - self.clock_ms()
            heapq.heappush(self._spans, (self.boot_ms() + in_ms, stub.identity.run_id, stub.until_ms))
            self._set_timer()

    def take(self, run_id: str) -> Stub | None:
        """The run is not parked any more; None where it was not."""
        return self.stubs.pop(run_id, None)

    def close(self) -> None:
        """Let no time come any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.close()
        waits_ms = [first[0] - self.clock_ms() for first in self._times[:1]] + [first[0] - self.boot_ms() for first in self._spans[:1]]
        if waits_ms:
            seconds = min(_LONGEST_S, max(0, min(waits_ms)) / 1000)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        now_ms, boot_ms = self.clock_ms(), self.boot_ms()
        while self._times and self._times[0][0] <= now_ms:
            until_ms, run_id = heapq.heappop(self._times)
            self._come(run_id, until_ms)
        while self._spans and self._spans[0][0] <= boot_ms:
            _, run_id, until_ms = heapq.heappop(self._spans)
            self._come(run_id, until_ms)
        self._set_timer()

    def _come(self, run_id: str, until_ms: int) -> None:
        stub = self.stubs.get(run_id)
        if stub is not None and stub.until_ms == until_ms:
            self.due(run_id)
