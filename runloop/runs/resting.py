"""How a run rests: whether all of it waits, who hears of that, and when it may be left to the ledger (ADR 5)."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Final

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


_AT_WORK: Final = Rest()


@dataclass(slots=True, eq=False)
class Resting:
    """How one run rests, and its child runs by what they last said of themselves.

    What a child is at the moment does not matter: it may be about to look at something that changes nothing, and would not say so.
    """

    run: Run
    _said: Rest = field(default=_AT_WORK, init=False)
    """What the run has said to its parent."""
    _heard: dict[str, Rest] = field(default_factory=dict, init=False)
    """What child runs under way have said, by run id."""
    _not_idle: int = field(default=0, init=False)
    _not_quiet: int = field(default=0, init=False)

    @property
    def quiet(self) -> bool:
        """Whether everything in the run and its children waits for a person, a time, or a resumption."""
        return self._is_quiet() and all(child.resting.quiet for child in self.run.children.values())

    def begins(self, child: str) -> None:
        """A child run is at work from now on."""
        self._hear(child, _AT_WORK)

    def ends(self, child: str) -> None:
        """It is not there any more."""
        before = self._heard.pop(child, None)
        if before is not None:
            self._not_idle -= not before.idle
            self._not_quiet -= not before.quiet

    def say(self) -> None:
        """Let the parent look whenever this run begins to wait, or goes on.

        A nested opening that only waits does not use up the time of the node that it is, at whatever depth.
        """
        run = self.run
        if run.parent is None or (rest := self._rest()) == self._said:
            return
        before, self._said = self._said, rest
        run.parent.resting.hears(run.run_id, rest)
        if before.idle is rest.idle or run.parent_attempt is None:
            run.parent.look()
        else:
            run.parent.tell((NodeWaiting if rest.idle else NodeResumed)(*run.parent_attempt))

    def hears(self, child: str, rest: Rest) -> None:
        """A child run under way rests so."""
        if child in self._heard:
            self._hear(child, rest)

    def kept_s(self) -> float | None:
        """How long the run is kept in memory if nothing happens; None for as long as it takes, or as something is at work.

        The longer the records of a run and its children, the longer it is kept.
        """
        after_ms = self.run.services.rules.park_after_ms
        if self.run.parks is None or after_ms is None or not self._rest().quiet:
            return None
        return max(after_ms, sum(each.recorder.last_seq for each in self.run.family()) * _KEPT_MS_PER_RECORD) / 1000

    def _hear(self, child: str, rest: Rest) -> None:
        self.ends(child)
        self._heard[child] = rest
        self._not_idle += not rest.idle
        self._not_quiet += not rest.quiet

    def _rest(self) -> Rest:
        run = self.run
        idle = self._not_idle == 0 and self._rests(run.in_line | run.placeless, run.unmade)
        return Rest(idle, self._not_quiet == 0 and self._is_quiet())

    def _is_quiet(self) -> bool:
        """As :attr:`quiet`, of this run alone."""
        return self._rests(self.run.in_line if self.run.paused else frozenset())  # nobody in line gets a turn in a pause

    def _rests(self, in_line: AbstractSet[str], unmade: AbstractSet[str] = frozenset()) -> bool:
        run = self.run
        if run.going is None or run.ending or run.changing or run.expects:
            return False
        if run.waits.children - len(unmade) != len(run.children):
            return False  # one is being made, or has just ended
        return run.waits.covers(run.tasks.keys(), in_line)
