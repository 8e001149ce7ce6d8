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
STOOD_STILL_S = 5.0
"""Who looks far more often, and finds that so much has passed, did not run meanwhile: that counts against nobody."""


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
    """The same, but it stands still also while this process does, as :meth:`follows` hears or sees.

    Stopped (``SIGSTOP``, Ctrl-Z) it hears of; frozen (``docker pause``) it was where nobody has looked for long.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s, self._looked_s, self._stopped_s, self._goes_on, self._looks = clock_s, clock_s(), 0.0, False, False

    def ms(self) -> int:
        """Now, in milliseconds."""
        return int(self.s() * 1000)

    def s(self) -> float:
        """Now; what passed between the look before and a stop's end is left out."""
        now_s = self._clock_s()
        passed_s = now_s - self._looked_s
        if self._goes_on or (self._looks and passed_s >= STOOD_STILL_S):
            self._goes_on, self._stopped_s = False, self._stopped_s + passed_s
        self._looked_s = now_s
        return now_s - self._stopped_s

    @contextmanager
    def follows(self) -> Iterator[None]:
        """Look now and then, so that it is known when a stop began, and hear of its end in the main thread, which alone gets signals.

        The timers of the loop go by this clock from here on, so that no call times out because of a stop; those of uvloop cannot.
        """
        from asyncio import BaseEventLoop, TimerHandle, get_running_loop

        loop, timer = get_running_loop(), list[TimerHandle]()

        def look() -> None:
            self.s()
            timer[:] = [loop.call_later(_LOOK_S, look)]

        if isinstance(loop, BaseEventLoop) and type(loop).time is BaseEventLoop.time:
            loop.time = self.s  # type: ignore[method-assign]
        # not by the loop: what is due is called before what a signal queues there
        hears = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGCONT, self._went_on) if hears else None
        self.s()
        self._looks = True
        look()
        try:
            yield
        finally:
            timer[0].cancel()
            self._looks = False
            if hears:
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
