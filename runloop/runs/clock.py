"""The clock that records bear, and the one that tells how long something took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def since_boot_ms() -> int:
    """Milliseconds by a clock that nobody sets and that goes on while the machine sleeps; only differences mean something."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


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
