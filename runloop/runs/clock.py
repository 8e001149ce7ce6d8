"""The clock that records bear, and the one that tells how long something took."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_S = 1.0
"""A stop may count for so long."""


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def since_boot_ms() -> int:
    """Milliseconds by a clock that nobody sets and that goes on while the machine sleeps; only differences mean something."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds by a clock that nobody sets and that stands still while the machine sleeps; only differences mean something."""
    return time.monotonic_ns() // 1_000_000


class Steady:
    """The same, but it stands still also while this process is stopped alone (``SIGSTOP``, Ctrl-Z), as :meth:`follows` hears."""

    def __init__(self, clock_ms: Callable[[], int] = monotonic_ms) -> None:
        self._clock_ms, self._looked_ms, self._stopped_ms, self._goes_on = clock_ms, clock_ms(), 0, False

    def ms(self) -> int:
        """Now; what passed between the look before and a stop's end is left out."""
        now_ms = self._clock_ms()
        if self._goes_on:
            self._goes_on, self._stopped_ms = False, self._stopped_ms + now_ms - self._looked_ms
        self._looked_ms = now_ms
        return now_ms - self._stopped_ms

    @contextmanager
    def follows(self) -> Iterator[None]:
        """Hear of stops, in the main thread, which alone gets signals; look now and then, so that it is known when one began."""
        from asyncio import TimerHandle, get_running_loop

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, timer = get_running_loop(), list[TimerHandle]()

        def look() -> None:
            self.ms()
            timer[:] = [loop.call_later(_LOOK_S, look)]

        # not by the loop: what is due is called before what a signal queues there
        before = signal.signal(signal.SIGCONT, self._went_on)
        look()
        try:
            yield
        finally:
            timer[0].cancel()
            signal.signal(signal.SIGCONT, before)

    def _went_on(self, *_signal: object) -> None:
        self._goes_on = True


class Since:
    """How long something has gone on, by a clock that nobody sets.

    What an earlier process began is known by the wall clock only: from then to ``wall_ms``, now, its time counts as that clock says.
    """

    def __init__(self, boot_ms: Callable[[], int], wall_ms: int) -> None:
        self.now, self._wall_ms, self._made = boot_ms, wall_ms, boot_ms()

    def recorded(self, at_ms: int) -> int:
        """What ``now`` said at a time that a record bears; a time that is yet to come, as of a clock that was set back, is the present."""
        return self._made - max(0, self._wall_ms - at_ms)

    def ms(self, began: int) -> int:
        """How long ago ``now`` said ``began``."""
        return self.now() - began
