"""How a run rests: whether all of it waits, who hears of that, and when it may be left to the ledger (ADR 5)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.openings.states import NodeResumed, NodeWaiting

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runloop.runs.run import Run

_KEPT_MS_PER_RECORD = 1
"""So much longer a run that only waits is kept for each of its records, some ten times what a record costs when it is taken up again."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How a run and its children rest: ``idle`` where nothing is at work and all waits for somebody or stands in line.

    ``quiet`` where nothing goes on but through a person, a time or a resumption: such a run can be left to the ledger.
    """

    idle: bool = False
    quiet: bool = False


@dataclass(slots=True)
class Rests:
    """How child runs under way rest, by what they last said of themselves, and what their parent said of itself.

    What a child is at the moment does not matter: it may be about to look at something that changes nothing, and would not say so.
    """

    said: Rest = field(default=Rest(), init=False)
    """What the run has said to its parent."""
    _heard: dict[str, Rest] = field(default_factory=dict, init=False)
    """By run id."""
    _not_idle: int = field(default=0, init=False)
    _not_quiet: int = field(default=0, init=False)

    @property
    def all(self) -> Rest:
        """How all of them rest."""
        return Rest(self._not_idle == 0, self._not_quiet == 0)

    def begins(self, child: str, rest: Rest = Rest()) -> None:  # noqa: B008 - it never changes
        """A child run is under way from now on."""
        self.ends(child)
        self._heard[child] = rest
        self._not_idle += not rest.idle
        self._not_quiet += not rest.quiet

    def ends(self, child: str) -> None:
        """It is not any more."""
        before = self._heard.pop(child, None)
        if before is not None:
            self._not_idle -= not before.idle
            self._not_quiet -= not before.quiet

    def hears(self, child: str, rest: Rest) -> None:
        """A child run rests so, if it is under way."""
        if child in self._heard:
            self.begins(child, rest)


def is_quiet(run: Run) -> bool:
    """Whether everything in the run and its children waits for a person, a time, or a resumption."""
    return _is_quiet(run) and all(is_quiet(child) for child in run.children.values())


def say(run: Run) -> None:
    """Let the parent look whenever the run begins to wait, or goes on.

    A nested opening that only waits does not use up the time of the node that it is, at whatever depth.
    """
    if run.parent is None or (rest := _rest(run)) == run.rests.said:
        return
    before, run.rests.said = run.rests.said, rest
    run.parent.rests.hears(run.run_id, rest)
    if before.idle is rest.idle or run.parent_attempt is None:
        run.parent.look()
    else:
        run.parent.tell((NodeWaiting if rest.idle else NodeResumed)(*run.parent_attempt))


def may_park_in(run: Run) -> float | None:
    """In how many seconds the run may be parked if nothing happens; None where something is at work, here or in a child run."""
    return kept_s(run) if run.parks is not None and _rest(run).quiet else None


def kept_s(run: Run) -> float | None:
    """How long the run is kept in memory while it only waits: longer the longer its records and its children's. None is for ever."""
    after_ms = run.services.rules.park_after_ms
    if after_ms is None:
        return None
    return max(after_ms, sum(each.recorder.last_seq for each in run.family()) * _KEPT_MS_PER_RECORD) / 1000


def _rest(run: Run) -> Rest:
    children = run.rests.all
    idle = children.idle and _rests(run, run.under_way.in_line | run.under_way.placeless, run.under_way.unmade)
    return Rest(idle, children.quiet and _is_quiet(run))


def _is_quiet(run: Run) -> bool:
    """As :func:`is_quiet`, of this run alone."""
    return _rests(run, run.under_way.in_line if run.paused else frozenset())  # nobody in line gets a turn in a pause


def _rests(run: Run, in_line: AbstractSet[str], unmade: AbstractSet[str] = frozenset()) -> bool:
    if run.going is None or run.ending or run.changing.locked() or run.expects:
        return False
    if run.under_way.waits.children - len(unmade) != len(run.children):
        return False  # one is being made, or has just ended
    return run.under_way.waits.covers(run.under_way.tasks.keys(), in_line)
