"""Runs that the daemon has and does not hold in memory: parked until an answer or a time, or queued; a few hundred bytes each."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.events import RunIdentity

_LONGEST_S = 30.0
"""How long at most until the clock is looked at again: a machine that slept, or whose clock was set, is at most so late."""


@dataclass(frozen=True, slots=True)
class Stub:
    """What is left of a run that is parked, or queued behind many others."""

    identity: RunIdentity
    why: str
    since_ms: int
    until_ms: int | None
    paused: bool = False
    queued: bool = False
    """It waits for its turn, not for something that happens."""

    def shown(self) -> dict[str, Any]:
        """Ids, state, and what it waits for."""
        identity = self.identity
        shown: dict[str, Any] = {
            "run_id": identity.run_id,
            "trace_id": identity.trace_id,
            "opening_id": identity.opening_id,
            "opening_name": identity.opening_name,
        }
        if self.queued:
            return {**shown, "state": "queued", "waiting_for": None}
        waits = {"waiting_for": self.why, "waiting_since_ms": self.since_ms, "waiting_until_ms": self.until_ms}
        return {**shown, "state": "paused" if self.paused else "waiting", **waits}


@dataclass(slots=True)
class Parking:
    """The parked runs by id; calls ``due(run_id)`` when a run's time has come. Lives on one event loop."""

    clock_ms: Callable[[], int]
    due: Callable[[str], object]
    stubs: dict[str, Stub] = field(default_factory=dict)
    _times: list[tuple[int, str]] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None

    def put(self, stub: Stub) -> None:
        """Park a run."""
        self.stubs[stub.identity.run_id] = stub
        if stub.until_ms is not None:
            heapq.heappush(self._times, (stub.until_ms, stub.identity.run_id))
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
        if self._times:
            seconds = min(_LONGEST_S, max(0, self._times[0][0] - self.clock_ms()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        now_ms = self.clock_ms()
        while self._times and self._times[0][0] <= now_ms:
            until_ms, run_id = heapq.heappop(self._times)
            stub = self.stubs.get(run_id)
            if stub is not None and stub.until_ms == until_ms:
                self.due(run_id)
        self._set_timer()
