"""Questions to a person."""

from __future__ import annotations

from dataclasses import dataclass

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Reply", "person"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, and by whom."""

    answer: str
    by: str = ""


def person(
    question: str, *, options: list[str] | None = None, default: str | None = None, detail: str | None = None, timeout_ms: int | None = None
) -> Reply:
    """Ask and wait; with ``options`` the answer is one of them. Raises TimedOut, or Unavailable where nobody can answer."""
    request = {"question": question, "options": options, "default": default, "detail": detail, "timeout_ms": timeout_ms}
    return record(Reply, call("ask.person", request))
