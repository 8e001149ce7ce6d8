"""Questions to a person."""

from __future__ import annotations

from dataclasses import dataclass

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Reply", "person"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, and by whom. It equals the word that was answered: ``ask.person(…) == "yes"``; in a text it is that word."""

    answer: str
    by: str = ""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.answer == other
        return isinstance(other, Reply) and (self.answer, self.by) == (other.answer, other.by)

    def __hash__(self) -> int:
        return hash(self.answer)

    def __str__(self) -> str:
        return self.answer

    def __bool__(self) -> bool:
        raise TypeError('a reply is neither true nor false, "no" is one too: compare it, as in reply == "yes"')


def person(
    question: str, *, options: list[str] | None = None, default: str | None = None, detail: str | None = None, timeout_ms: int | None = None
) -> Reply:
    """Ask and wait; with ``options`` the answer is one of them. Raises TimedOut, or Unavailable where nobody can answer."""
    request = {"question": question, "options": options, "default": default, "detail": detail, "timeout_ms": timeout_ms}
    return record(Reply, call("ask.person", request))
