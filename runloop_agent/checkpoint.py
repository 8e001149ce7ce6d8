"""Marks in the run's journal."""

from __future__ import annotations

from runloop_agent._calls import call

__all__ = ["mark"]


def mark(label: str) -> None:
    """Name this point of the run, so that a fork can start here."""
    call("checkpoint.mark", {"label": label})
