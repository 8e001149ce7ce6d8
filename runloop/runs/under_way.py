"""What is under way in a run: the attempts of its nodes, where each of them stands, and what an earlier process left of them."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.runs.closing import Closing
from runloop.runs.waits import Waits

if TYPE_CHECKING:
    import asyncio

    from runloop.models.budget import Budget
    from runloop.openings.states import StartNode
    from runloop.runs.crossings import Crossings
    from runloop.runs.history import RecordedAttempt


@dataclass(slots=True)
class UnderWay:
    """Of one run, by node."""

    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The attempts, and under names of their own the open gates."""
    crossings: dict[str, Crossings] = field(default_factory=dict)
    """What the attempts that have a guest ask."""
    budgets: dict[str, Budget] = field(default_factory=dict)
    """What the attempts may spend."""
    waits: Waits = field(default_factory=Waits)
    in_line: set[str] = field(default_factory=set)
    """Nodes whose attempt has no turn yet."""
    placeless: set[str] = field(default_factory=set)
    """Nodes whose guest has no place in a worker."""
    unmade: set[str] = field(default_factory=set)
    """Nodes whose child run is not there yet, since its guests are compiled."""
    left_open: dict[str, RecordedAttempt] = field(default_factory=dict)
    """Attempts that an earlier process left under way, until their guest has come to the call that was left open."""
    held: list[tuple[StartNode, int]] = field(default_factory=list)
    """Attempts that begin once the run goes on, and when they began on record, in Unix milliseconds."""
    closing: Closing = field(default_factory=Closing)

    def left(self, node: str, attempt: int) -> RecordedAttempt | None:
        """That attempt, where an earlier process began it and nothing here went on with it so far."""
        found = self.left_open.get(node)
        return found if found is not None and found.attempt == attempt else None
