"""Secrets by handle: the value is put in at the host's edge and never reaches an agent."""

from __future__ import annotations

from runloop_agent._calls import call

__all__ = ["handle"]


def handle(name: str) -> str:
    """Get an opaque handle to put where the value belongs, such as in a header."""
    return str(call("secrets.handle", {"name": name})["handle"])
