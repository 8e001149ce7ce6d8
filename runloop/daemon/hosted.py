"""A run that the daemon has and that has not ended: in memory, or as the few hundred bytes that are left of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.runs.parking import waits_for

if TYPE_CHECKING:
    from runloop.events import RunIdentity
    from runloop.runs.run import Run


@dataclass(slots=True, eq=False)
class Hosted:
    """A run in memory."""

    run: Run
    state: str = "queued"
    task: asyncio.Task[None] | None = None

    @property
    def identity(self) -> RunIdentity:
        """The run's ids, without what was made of them for its records."""
        return replace(self.run.recorder.identity)

    def shown(self) -> dict[str, Any]:
        """Ids, state, and what it waits for."""
        run = self.run
        state, waiting = self.state, None
        if run.paused:
            state = "paused"
        elif state == "running" and run.quiet and (why := waits_for(run)):
            state, waiting = "waiting", why
        return {**ids_of(run.recorder.identity), "state": state, "waiting_for": waiting}


@dataclass(frozen=True, slots=True)
class Stub:
    """What is left of a run that is parked, or queued behind many others."""

    identity: RunIdentity
    why: str
    since_ms: int
    until_ms: int | None
    paused: bool = False
    queued: bool = False
    """It waits for its turn, not for something that happens."""

    def shown(self) -> dict[str, Any]:
        """Ids, state, and what it waits for."""
        shown = ids_of(self.identity)
        if self.queued:
            return {**shown, "state": "queued", "waiting_for": None}
        waits = {"waiting_for": self.why, "waiting_since_ms": self.since_ms, "waiting_until_ms": self.until_ms}
        return {**shown, "state": "paused" if self.paused else "waiting", **waits}


def ids_of(identity: RunIdentity) -> dict[str, Any]:
    """What a run is called, as replies have it."""
    return {
        "run_id": identity.run_id,
        "trace_id": identity.trace_id,
        "opening_id": identity.opening_id,
        "opening_name": identity.opening_name,
    }
