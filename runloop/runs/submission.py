"""A run that is asked for: what its submitter says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings import Opening
    from runloop.runs.operator import Operator
    from runloop.runs.run import Run
    from runloop.runs.services import Lookup

SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that somebody wants. ``yes`` approves in advance what the opening's policy allows to be approved in advance."""

    opening: Opening
    mode: Literal["local", "daemon"] = "local"
    yes: bool = False
    seed: bytes | None = None
    run_id: str | None = None
    """A UUID that the submitter chose: a second submission under it cannot make a second run."""
    operator: Operator | None = None
    lookup: Lookup | None = None
    workdir: str | None = None
    """Whose names ``lookup`` adds, for a recovery."""
    patient: bool = False
    """Approvals wait until somebody answers."""
    traceparent: str | None = None
    """The submitter's span that the run is part of (W3C Trace Context)."""
    parks: Callable[[Run], None] | None = None
    """Hears that the run is about to be left to the ledger because all of it waits; None where it must stay in memory."""


def submit_key(run_id: str) -> str:
    """The ledger key of the ``run.submitted`` of a run whose id its submitter chose."""
    return f"submit:{run_id}"
