"""The queued runs in their order: the first of them ready to begin, those behind left to the ledger until their turn is near."""

from __future__ import annotations

from collections import deque
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.daemon.hosted import Hosted, Stub

READY = 256
"""Queued runs that are kept in memory, about 10 kB each; a further one is a stub, as cheap as a parked one."""


@dataclass(slots=True)
class Backlog:
    """First in, first out; what somebody wants something of comes before those that are left to the ledger."""

    ready: deque[Hosted] = field(default_factory=deque)
    behind: dict[str, Stub] = field(default_factory=dict)
    """By run id."""

    def __len__(self) -> int:
        return len(self.ready) + len(self.behind)

    @property
    def full(self) -> bool:
        """Whether a further run is to be left to the ledger."""
        return bool(self.behind) or len(self.ready) >= READY

    @property
    def wanted(self) -> str | None:
        """The run that is to be made ready next; None while there are enough."""
        return next(iter(self.behind)) if self.behind and len(self.ready) < READY // 2 else None
