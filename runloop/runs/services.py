"""What every run of a process shares, as narrow ports; the composition root (:mod:`runloop.runs.compose`) hands in the real ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from runloop.dataclass import dataclass
from runloop.runs.clock import monotonic_ms, since_boot_ms
from runloop.runs.grants import StandingGrants
from runloop.runs.turns import Turns

if TYPE_CHECKING:
    from runloop.bundles import Bundle
    from runloop.effects.types import Performer
    from runloop.events import StoredEvent
    from runloop.models.budget import Budget
    from runloop.runs.history import RecordedRun
    from runloop.runs.lookup import OpeningText
    from runloop.runs.operator import Operator
    from runloop.runs.recorder import Appender
    from runloop.sandbox.spec import GuestResult, GuestSpec, Hostcall, InLine, Limits, Taped


class Guests(Protocol):
    """Runs guests; cancelling the task that awaits ``run`` stops the guest."""

    async def prepare(self, spec: GuestSpec | None = None) -> None:
        """Compile what ``spec`` needs (None: the Python guest), so that no node's time is spent on it."""
        ...

    async def run(self, spec: GuestSpec, hostcall: Hostcall, tape: Sequence[Taped] = (), in_line: InLine | None = None) -> GuestResult:
        """Run one guest to its result, answered from ``tape`` as far as that goes. Raises GuestError.

        While it has no place, it waits inside of ``in_line(again)``; ``again``: it began, takes long, and was taken out for others.
        """
        ...


class Lookup(Protocol):
    """Where a run finds agents and openings by name."""

    def agent(self, name: str, variant: str | None) -> Bundle:
        """The verified bundle, narrowed to what it may do here. Raises RunloopError."""
        ...

    def opening(self, name: str) -> OpeningText:
        """The opening's text. Raises RunloopError."""
        ...


class Kept(Protocol):
    """What unfinished runs need to be taken up, whatever is installed meanwhile."""

    async def keep(self, bundles: Iterable[Bundle]) -> None:
        """Keep these, and the Python guest where one of them runs in it."""
        ...

    def bundle(self, digest: str) -> Bundle:
        """A kept bundle, narrowed to what it may do here now. Raises RunloopError."""
        ...


@dataclass(frozen=True, slots=True)
class RunRules:
    """The settings and hard limits that runs obey; docs/configuration.md says which key each one is."""

    confirm_external_actions: bool = True
    audit_on_deny: bool = True
    audit_on_allow: bool = False
    max_parallel: int = 8
    max_depth: int = 8
    max_tokens: int | None = None
    max_usd_micros: int | None = None
    denied_actions: frozenset[str] = frozenset()
    approve_in_advance: frozenset[str] | None = None
    evict_after_ms: int | None = 1000
    """How long a call may take before its guest is dropped from memory; None never."""
    park_after_ms: int | None = 5000
    """How long a hosted run only waits before all of it is dropped from memory; None never."""


@dataclass(frozen=True, slots=True)
class Services:
    """The world of the run manager. ``performers`` is filled after the manager exists, since some of them report to it."""

    ledger: Appender
    recorded: Callable[[str], Awaitable[RecordedRun]]
    """Reads a run back from the ledger. Raises InvalidInput ``run.unknown``."""
    events: Callable[[Sequence[int]], Awaitable[list[StoredEvent]]]
    """Reads events back by their ids, whole."""
    kept: Kept
    owner: str
    """Which process this is, in the records of the runs that it has."""
    guests: Guests
    resolve_agent: Callable[[str, str | None], Bundle]
    resolve_opening: Callable[[str], OpeningText]
    limits_of: Callable[[Bundle], Limits]
    budget: Callable[[int | None, int | None], Budget]
    operator: Operator
    clock_ms: Callable[[], int]
    fresh: Callable[[int], bytes]
    runloop_version: str
    guest_digest: str
    artifacts_dir: str
    rules: RunRules = field(default_factory=RunRules)
    performers: dict[str, Performer] = field(default_factory=dict)
    grants: StandingGrants = field(default_factory=StandingGrants)
    turns: Turns = field(default_factory=Turns)
    """Who of the nodes may work."""
    steady_ms: Callable[[], int] = monotonic_ms
    """Milliseconds by a clock that nobody sets; what is left of a time-out is measured by it."""
    boot_ms: Callable[[], int] = since_boot_ms
    """The same, but it goes on while the machine sleeps; how long runs and nodes took is measured by it."""
    ahead_ms: dict[str, int] = field(default_factory=dict)
    """By how much the wall clock was ahead of that one when a run was parked here, by run id."""
    driven: Callable[[str | None], bool] = lambda _owner: False
    """Whether another process that lives has the runs of that owner."""
