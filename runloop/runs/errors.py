"""Why a run cannot go on by itself."""

from __future__ import annotations

from typing import Final

from runloop.errors import Denied, InvalidInput, Unavailable


class RunEnded(InvalidInput):
    """The run has ended, as ``status`` says, and nothing of it can be changed any more."""

    code = "run.ended"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"run {run_id} has ended: {status}", hint=f"`rlp show {run_id[:8]}` shows it")
        self.run_id, self.status = run_id, status


class NeedsPerson(Denied):
    """Only a person can say how a recovered run goes on, and nobody is there. The run stays as it is."""

    code = "run.needs_person"


OF_ANOTHER: Final = frozenset({"run.driven", "run.ended"})
"""Codes of a run that another process has taken up, or brought to its end, where this one was about to."""


def driven(run_id: str) -> Unavailable:
    """Another process has the run, and lives."""
    message = f"another process has taken up run {run_id}"
    return Unavailable(message, code="run.driven", hint="let it, or end that process first", retryable=False)


def child_of(run_id: str, root: str) -> InvalidInput:
    """The run is a part of the one that ``root`` names, which is what can be held, let go on or stopped."""
    return InvalidInput(f"run {run_id} belongs to run {root}", code="run.child", hint=f"name that one: {root[:8]}")
