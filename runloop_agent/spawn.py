"""Work handed to another agent or opening."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Done", "agent", "opening"]


@dataclass(frozen=True, slots=True)
class Done:
    """What came back: ``outputs`` by port, each a list of values; of a run that failed ``code`` and ``reason``, empty otherwise."""

    outputs: dict[str, Any] = field(default_factory=dict)
    run_id: str = ""
    status: str = ""
    code: str = ""
    reason: str = ""


def agent(name: str, params: dict[str, Any] | None = None) -> Done:
    """Run another agent with ``params`` as its ``with`` and wait for it."""
    return record(Done, call("spawn.agent", {"name": name, "with": params}))


def opening(name: str, params: dict[str, Any] | None = None) -> Done:
    """Run an opening and wait for it."""
    return record(Done, call("spawn.opening", {"name": name, "params": params}))
