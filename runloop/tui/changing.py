"""What a person wants of runs that have not ended: the verbs `cancel`, `pause` and `resume` of `rlp`, of one run or of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput
from runloop.text import clean_line
from runloop.tui.model import ENDED, RunModel

MEANS: Final = {
    "cancel": "What works is interrupted, what waits is dropped, what is queued never starts. It cannot be taken back: a run that was "
    "cancelled does not go on, and what has left has left.",
    "pause": "No node and no call begins until the run is resumed, over restarts too; what is under way goes on to its next call.",
    "resume": "What was held goes on: every paused run, whoever paused it, and every one that no process has.",
}
"""What each verb does."""
_DONE: Final = {"pause": "paused", "resume": "resumed"}


@dataclass(frozen=True, slots=True)
class Change:
    """A verb of MEANS for one run, or for every one where ``run_id`` is None."""

    verb: str
    run_id: str | None = None
    reason: str | None = None

    @property
    def asks_first(self) -> bool:
        """Whether nothing takes it back: what was paused before and what was not is told apart by nobody once all are."""
        return self.verb == "cancel" or self.run_id is None

    def fields(self) -> dict[str, Any]:
        """As the daemon takes it."""
        reason = self.reason or f"{_DONE.get(self.verb, 'cancelled')} in agtop"
        return {"run": self.run_id, "all": True if self.run_id is None else None, "reason": reason}


def confirmed(change: Change, typed: str) -> Change:
    """The change with the reason that stands behind its verb. Raises InvalidInput ``tui.answer`` where another word was typed."""
    word, _, reason = typed.strip().partition(" ")
    if word.casefold() != change.verb:
        hint = f"type {change.verb}, and a reason behind it if you like; Escape changes nothing"
        raise InvalidInput(f"{typed.strip()!r} is no answer to this", code="tui.answer", hint=hint)
    return replace(change, reason=reason.strip() or None)


def refused(change: Change, run: RunModel | None) -> InvalidInput | None:
    """Why nothing of it can be, where that is known here."""
    if run is None or run.state not in ENDED:
        return None
    return InvalidInput(f"run {run.run_id} has ended: {run.state}", code="run.ended", hint=f"nothing of it is left to {change.verb}")


def became(change: Change, answer: Mapping[str, Any]) -> str:
    """What the daemon did, in the words of `rlp`."""
    if change.run_id is None:
        return f"{_DONE[change.verb]}: {answer['runs']} {'run' if answer['runs'] == 1 else 'runs'}"
    return clean_line(f"run {answer['run_id'][:8]} {answer['state']}")
