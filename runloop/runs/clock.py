"""The clock that records bear."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def since_boot_ms() -> int:
    """Milliseconds by a clock that nobody sets and that goes on while the machine sleeps; only differences mean something."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
