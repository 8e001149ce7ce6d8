"""The clock that records bear."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
