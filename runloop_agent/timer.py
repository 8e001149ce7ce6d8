"""Waiting. ``time.sleep`` does the same."""

from __future__ import annotations

from runloop_agent._calls import call

__all__ = ["sleep"]


def sleep(seconds: float) -> None:
    """Wait; a waiting agent costs nothing, and the virtual clock has moved on when this returns."""
    if not seconds >= 0:  # nor is it a number, perhaps
        raise ValueError("sleep length must be a non-negative number")
    if seconds > 0:
        call("timer.sleep", {"ms": max(1, round(seconds * 1000))})
