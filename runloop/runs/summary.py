"""Runs in a line each, read from their first and last records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runloop.kb import Ledger

_ENDS = ("run.finished",)
_PAGE = 200


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run. ``status`` is ``running`` while it has no end; costs are None until it has one."""

    run_id: str
    opening_name: str
    status: str
    started_ms: int
    nodes: int
    parent_run_id: str | None = None
    ms: int | None = None
    tokens: int | None = None
    usd: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def summarise(ledger: Ledger, run_id: str) -> RunSummary:
    """The summary of one run that is in the ledger."""
    first = ledger.read(0, 1, run_id=run_id)[0]
    ends = ledger.read(0, 1, run_id=run_id, kinds=_ENDS)
    nodes = {event.payload["meta"]["node"] for event in ledger.read(0, 10_000, run_id=run_id, kinds=("node.ready", "node.finished"))}
    payload, end = first.payload, ends[0].payload["meta"] if ends else {}
    return RunSummary(
        run_id,
        payload["opening_name"],
        end.get("status", "running"),
        first.ts_ms,
        len(nodes),
        payload["parent_run_id"],
        end.get("ms"),
        end.get("tokens"),
        end.get("usd"),
        end.get("reason"),
    )


def list_runs(ledger: Ledger, *, limit: int, status: str | None = None, opening: str | None = None) -> list[RunSummary]:
    """Summaries, newest first, of the runs that match."""
    found: list[RunSummary] = []
    for run_id in ledger.run_ids(limit=_PAGE * 50):
        summary = summarise(ledger, run_id)
        if status in {None, summary.status} and opening in {None, summary.opening_name}:
            found.append(summary)
            if len(found) >= limit:
                break
    return found
