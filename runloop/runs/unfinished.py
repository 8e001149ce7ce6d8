"""Which runs in the ledger have no end, who has them, and what they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runloop.events import RunIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runloop.kb import KnowledgeBase

_OWNING = ("run.submitted", "run.recovered", "run.waiting")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run without an end. ``waiting`` is the meta of its last record where that is ``run.waiting``, with ``waiting_ms`` its time."""

    identity: RunIdentity
    owner: str | None
    guest: str | None
    workdir: str | None
    patient: bool
    waiting: Mapping[str, Any] | None
    waiting_ms: int


def unfinished_runs(kb: KnowledgeBase) -> Iterator[Unfinished]:
    """The runs without an end that no other run asked for, oldest first. Blocking; brings the views up to date first."""
    kb.sync()
    for row in kb.open_runs():
        run_id = str(row["run_id"])
        owning = kb.ledger.read(run_id=run_id, kinds=_OWNING, limit=100_000)
        last = kb.ledger.get(row["source_event"])
        if not owning or owning[0].kind != "run.submitted" or last is None:
            continue
        submitted = owning[0].payload["meta"]
        versions = submitted["versions"]
        owner = next((owner for event in reversed(owning) if (owner := event.payload["meta"].get("owner")) is not None), None)
        identity = RunIdentity(run_id, str(row["trace_id"]), str(row["opening_id"]), str(row["opening_name"]))
        yield Unfinished(
            identity,
            owner,
            versions.get("guest"),
            submitted.get("workdir"),
            bool(submitted.get("patient")),
            last.payload["meta"] if last.kind == "run.waiting" else None,
            last.ts_ms,
        )
