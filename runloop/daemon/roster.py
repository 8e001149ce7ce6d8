"""The daemon's runs that have not ended, wherever each stands, and how the last ones ended."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.daemon.backlog import Backlog
from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, RunloopError
from runloop.runs.unfinished import own_run

if TYPE_CHECKING:
    from runloop.daemon.hosted import Hosted, Stub
    from runloop.daemon.parking import Parking
    from runloop.kb import KnowledgeBase

_REMEMBERED = 4096
_ENDS = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(slots=True)
class Roster:
    """Runs in memory are ``hosted``, queued or under way; each of the others is in one of four places. All are by run id."""

    kb: KnowledgeBase
    parking: Parking
    hosted: dict[str, Hosted] = field(default_factory=dict)
    queue: Backlog = field(default_factory=Backlog)
    returning: dict[str, Stub] = field(default_factory=dict)
    """Runs that are to be taken up, until they are."""
    left: dict[str, tuple[Stub, RunloopError]] = field(default_factory=dict)
    """Runs that broke off or could not be taken up: that is tried again when somebody wants something of them."""
    ended: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """How the last runs ended."""

    def end(self, run_id: str, status: str) -> None:
        """Remember how a run ended."""
        self.ended[run_id] = status
        if len(self.ended) > _REMEMBERED:
            self.ended.popitem(last=False)

    def ids(self) -> list[str]:
        """The runs that can go on by themselves or be changed: all but those that could not be taken up."""
        return [*self.hosted, *self.queue.behind, *self.returning, *self.parking.stubs]

    def listing(self) -> list[dict[str, Any]]:
        """The runs that have not ended: those in memory, then those that are parked, each oldest first."""
        aside = {**self.queue.behind, **self.parking.stubs, **self.returning}
        return [*(hosted.shown() for hosted in self.hosted.values()), *(stub.shown() for stub in aside.values())]

    def not_taken_up(self) -> list[dict[str, Any]]:
        """The runs that broke off or could not be taken up, and why."""
        return [
            {"run_id": run_id, "opening_name": stub.identity.opening_name, "error": error.to_dict()}
            for run_id, (stub, error) in self.left.items()
        ]

    def has(self, run_id: str) -> bool:
        """Whether the run has not ended and is this daemon's, in memory or not."""
        return any(run_id in each for each in (self.hosted, self.queue.behind, self.returning, self.parking.stubs, self.left))

    def find(self, ref: str) -> Hosted | None:
        """The run in memory of that id, trace id or beginning of an id; raises InvalidInput ``run.ambiguous`` where there are several."""
        text = ref.strip().removeprefix("trace:").lower()
        if text in self.hosted:
            return self.hosted[text]
        found = [run_id for run_id in self.hosted if run_id.startswith(text)] if len(text) >= 4 else []
        if len(found) > 1:
            raise InvalidInput(f"{ref!r} begins more than one run", code="run.ambiguous", hint="give more letters")
        return self.hosted[found[0]] if found else None

    def run_id_of(self, ref: str) -> str:
        """The id of a run here or in the ledger. Raises InvalidInput ``run.unknown`` or ``run.ambiguous``."""
        hosted = self.find(ref)
        return hosted.run.run_id if hosted is not None else own_run(self.kb, ref)

    async def state_of(self, run_id: str) -> str:
        """The state of a run, here or in the ledger; ``unfinished`` where it has no end and does not run here, once that is known."""
        hosted = self.hosted.get(run_id)
        if hosted is not None:
            return str(hosted.shown()["state"])
        stub = self.parking.stubs.get(run_id) or self.returning.get(run_id) or self.queue.behind.get(run_id)
        if stub is not None:
            return str(stub.shown()["state"])
        if run_id in self.ended:
            return self.ended[run_id]
        row = await asyncio.to_thread(self.kb.run, run_id)
        return str(row["status"]) if row is not None and row["status"] in _ENDS else "unfinished"
