"""What explanations need to know of runs: their records with what a fork shares, and which node gets whose outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.errors import RunloopError
from runloop.kb.pruning.archived import ArchivedRuns
from runloop.runs.fork import told_events
from runloop.runs.sources import OwnRuns
from runloop.runs.submitted import opening_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase
    from runloop.runs.sources import RunSource


class RunTelling:
    """As :class:`runloop.kb.stories.Telling`, from a base, by its index of records, and the archives of its pruned runs."""

    def __init__(self, kb: KnowledgeBase) -> None:
        self._own, self._archived = OwnRuns(kb), ArchivedRuns(kb.ledger)

    def events(self, run_id: str) -> Iterator[StoredEvent]:
        """The run's records; where a value of one is not there any more, all of them as they are stored. None where an archive is gone."""
        source: RunSource = self._own if self.archive(run_id) is None else self._archived
        try:
            return iter(list(told_events(source, run_id)))
        except (RunloopError, KeyError):
            pass
        try:
            return iter(list(source.read_run(run_id)))
        except RunloopError:
            return iter(())

    def archive(self, run_id: str) -> str | None:
        """The archive that the run's records were moved to."""
        place = self._archived.place(run_id)
        return None if place is None else str(place)

    def feeds(self, submitted: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        """For each node the nodes whose outputs it gets; the port that only orders does not count."""
        from runloop.openings.model import ORDER_PORT

        try:
            opening = opening_of(submitted)
        except (RunloopError, KeyError, TypeError):
            return None
        found: dict[str, list[str]] = {}
        for edge in opening.edges:
            if edge.target.port != ORDER_PORT and edge.source.node not in found.setdefault(edge.target.node, []):
                found[edge.target.node].append(edge.source.node)
        return found
