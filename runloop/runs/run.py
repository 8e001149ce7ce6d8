"""One run: feeds what happens into the plan and carries out what the plan says, each step recorded before the next."""

from __future__ import annotations

import asyncio
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from runloop.dataclass import dataclass
from runloop.events.records import ClockSet, RunChanged
from runloop.kb.errors import SeqTaken
from runloop.openings.budget import least
from runloop.openings.machine import UnknownNode
from runloop.openings.plan import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    Command,
    Event,
    Forked,
    NodeResumed,
    NodeSpent,
    Tick,
)
from runloop.runs.budgets import InnerBudget
from runloop.runs.carrying_out import carry_out, launch
from runloop.runs.clock import Since
from runloop.runs.drafts import NodeBook, first_line
from runloop.runs.errors import driven
from runloop.runs.gates import Gates
from runloop.runs.inbox import Inbox
from runloop.runs.judging import judge_all
from runloop.runs.parking import park
from runloop.runs.pausing import in_step
from runloop.runs.recorder import Draft
from runloop.runs.recovery import given_up, recovered
from runloop.runs.resting import Rests, is_quiet, may_park_in, say
from runloop.runs.results import Parked, RunHalted, RunResult
from runloop.runs.stopping import stop
from runloop.runs.taint import Taint
from runloop.runs.tree import Tree
from runloop.runs.under_way import UnderWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runloop.bundles import Bundle
    from runloop.events import StoredEvent
    from runloop.models.budget import Budget
    from runloop.openings import Opening
    from runloop.runs.approvals import ApprovalDesk
    from runloop.runs.child_runs import ChildRuns
    from runloop.runs.history import RecordedRun, Spent
    from runloop.runs.recorder import Ending, Recorder
    from runloop.runs.services import Lookup, Services

_CLOCK_SET_MS = 1000
"""From here on a difference between the wall clock and the steady one is a clock that was set; less is how clocks drift."""
_LOOK_S = 30.0
"""How long at most until the clock is looked at again: the loop's timers stand still while the machine sleeps."""
_SETTLE_S = 1.0
"""So long a run that breaks off waits for what it has queued; a full disk takes nothing."""


@dataclass(slots=True, eq=False)
class Run:
    """A run in this process. ``drive`` runs it to its end; ``cancel`` may be called at any time from its loop.

    ``bundles`` are the pinned agents by node; ``child_runs`` are how it has children. ``recorded`` is what an earlier
    process recorded of it: the run goes on from there (ADR 5). With ``parks`` a run that only waits is left to the ledger: :meth:`drive`
    raises :class:`RunHalted` and ``parked`` says when to take it up again.
    """

    opening: Opening
    recorder: Recorder
    services: Services
    bundles: Mapping[str, Bundle]
    seed: bytes
    desk: ApprovalDesk
    budget: Budget
    depth: int
    child_runs: ChildRuns
    submitted_ms: int
    start: Draft
    base_taint: frozenset[str] = frozenset()
    mode: Literal["local", "daemon"] = "local"
    lookup: Lookup | None = None
    parent: Run | None = None
    parent_attempt: tuple[str, int] | None = None
    """Node and attempt of the parent that are this run, where it is a nested opening."""
    recorded: RecordedRun | None = None
    spent_before: Mapping[str, Spent] = field(default_factory=dict)
    """What its nodes, with the child runs below them, had used when it was taken up."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """What a fork has other than the run that it was forked from, as ``run.submitted`` says it."""
    patient: bool = False
    """Approvals wait until somebody answers."""
    tree: Tree = field(default_factory=Tree)
    """The openings and agents below this one, as they were when the run was submitted."""
    guest: str | None = None
    """Digest of the Python guest that the run began with, where that is not the installed one."""
    parks: Callable[[Run], None] | None = None
    """Hears that the run is about to be left to the ledger; None where it must stay in memory."""
    parked: Parked | None = field(default=None, init=False)
    cancelling: asyncio.Future[list[StoredEvent]] | None = field(default=None, init=False)
    """Done when it is on disk that somebody cancelled the run."""
    heir: Callable[[list[Ending]], None] | None = field(default=None, init=False)
    """Gets the last records of a run whose parent's commit is to hold them."""
    _claimed: bool = field(default=False, init=False)
    _wall_ms: int | None = field(default=None, init=False)
    """By how much the wall clock is ahead of the one that nobody sets; None before a record bears a time that counts."""
    _ahead_ms: int | None = field(default=None, init=False)
    """The same of the one that goes on while the machine sleeps; for a run that was parked here it is known from then."""
    since: Since = field(init=False)
    children: dict[str, Run] = field(default_factory=dict, init=False)
    """Child runs under way, by run id."""
    requests: dict[tuple[str, int, int], int] = field(default_factory=dict, init=False)
    """Event ids of the ``effect.requested`` records that are on disk, by node, attempt and call."""
    book: NodeBook = field(init=False)
    _plan: Plan = field(init=False)
    _inbox: Inbox[Event | BaseException] = field(default_factory=Inbox, init=False)
    under_way: UnderWay = field(default_factory=UnderWay, init=False)
    labels: Taint = field(init=False)
    _node_budgets: dict[str, InnerBudget] = field(default_factory=dict, init=False)
    _result: RunResult | None = field(default=None, init=False)
    going: asyncio.Event | None = field(default=None, init=False)
    """Set while nothing is held back; there is none before the run is driven."""
    _held: bool = field(default=False, init=False)
    begun: bool = field(default=False, init=False)
    """Whether the record with which this process begins it, or takes it up, is on its way to the disk."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Held by a pause or a resumption that is on its way to the disk."""
    gates: Gates = field(init=False)
    """Those that are open, once it is driven."""
    rests: Rests = field(default_factory=Rests, init=False)
    ending: bool = field(default=False, init=False)
    """Whether the last records are on their way to the disk: nothing may follow them."""

    def __post_init__(self) -> None:
        self.since = Since(self.services.boot_ms, self.services.clock_ms())
        if self.recorded is not None and self.recorded.paused:
            self.hold()

    def _prepare(self) -> None:
        """What a run needs once it is driven: thousands may be queued."""
        self._plan = Plan(self.opening, self.seed, max_parallel=self.services.rules.max_parallel)
        self.book = NodeBook(self.opening, self.bundles, self.since)
        self.labels = Taint(self.opening, self.base_taint)
        here = self.under_way
        self.gates = Gates(self.recorder, self.desk.operator, self.desk.asked, here.tasks, here.waits, self._inbox.put)
        self.recorder.first = self.look_at_clock
        self._ahead_ms = self.services.ahead_ms.pop(self.run_id, self._ahead_ms)
        self.going = asyncio.Event()
        if not self._held:
            self.going.set()

    @property
    def run_id(self) -> str:
        """The run's UUID."""
        return self.recorder.identity.run_id

    def cancel(self, reason: str) -> asyncio.Future[list[StoredEvent]] | None:
        """Stop the run: what runs is interrupted, what waits is dropped, and the records say so.

        Done once it is on disk that the run ends, whatever becomes of this process; None where its end is on its way already.
        """
        if self.ending:
            return None
        if self.cancelling is None:
            meta = RunChanged(reason, owner=self.services.owner)
            self.cancelling = self.recorder.write(Draft("run.cancelling", f"run is cancelled: {first_line(reason)}", meta))
            self._inbox.put(Cancel(reason), first=not self.recorder.halted)  # it ends so, whatever else has just happened
        return self.cancelling

    def end(self, reason: str, heir: Callable[[list[Ending]], None] | None = None) -> None:
        """Stop the run, whose records say already that it ends, or are to say so in one commit with those of its parent.

        In that case ``heir`` gets its last records, and :meth:`drive` raises :class:`RunHalted`.
        """
        self.heir = heir
        self._inbox.put(Cancel(reason), first=True)

    def tell(self, event: Event | BaseException) -> None:
        """Let the plan hear of something that happened in an attempt or outside of this run."""
        self._inbox.put(event)

    def halt(self) -> None:
        """Stop without an end: :meth:`drive` raises :class:`RunHalted`, and nothing more is recorded of what was under way."""
        self.recorder.halted = True
        self._inbox.put(RunHalted())

    async def claim(self, recorded: RecordedRun, *, ends: bool) -> None:
        """Take over a run that another process had; of several that try, the ledger has the record of one. ``ends``: only to end it.

        Raises Unavailable ``run.driven`` in the others.
        """
        try:
            await self.recorder.write(recovered(recorded, self.services, ends=ends), at_ms=self.look_at_clock())
        except SeqTaken as error:
            raise driven(self.run_id) from error
        self._claimed = True

    @property
    def paused(self) -> bool:
        """Whether nodes and calls are held back."""
        return self._held

    def hold(self) -> None:
        """Begin no node and no call any more."""
        self._held = True
        if self.going is not None:
            self.going.clear()
        self.look()
        self.services.turns.hold(self.run_id)

    def adopt(self, child: Run) -> None:
        """A child run is under way from now on."""
        self.children[child.run_id] = child
        self.rests.begins(child.run_id)

    def give_up(self, child: Run) -> None:
        """It is not under way any more."""
        del self.children[child.run_id]
        self.rests.ends(child.run_id)

    def look(self) -> None:
        """Have it looked whether all of the run waits now; one that is not driven yet hears of nothing but its end."""
        if self.going is not None:
            self._inbox.put(Tick())

    def release(self) -> None:
        """Go on after :meth:`hold`."""
        self._held = False
        if self.going is not None:
            self.going.set()
        self.look()
        self.services.turns.release(self.run_id)
        starts, self.under_way.held = self.under_way.held, []
        for command, started_ms in starts:
            self._inbox.put(NodeResumed(command.node, command.attempt))
            launch(self, command, started_ms)

    @property
    def taint(self) -> frozenset[str]:
        """Where content that reached any of the run's nodes came from."""
        return self.labels.everywhere()

    def node_budget(self, node: str) -> InnerBudget:
        """What all attempts of a node may spend together, with its items and the child runs below it."""
        declared = self.opening.node(node)
        if declared.id not in self._node_budgets:
            spent = self.spent_before.get(declared.id)
            self._node_budgets[declared.id] = InnerBudget(
                self.budget, declared.budget_tokens, declared.budget_usd_micros, ("node", declared.id), spent
            )
        return self._node_budgets[declared.id]

    def budget_of(self, node: str) -> Budget:
        """What the running attempt of ``node`` may spend."""
        return self.under_way.budgets[node]

    def outputs_of(self, node: str) -> Mapping[str, list[Any]]:
        """What a node that ended well produced, by port."""
        return {port: list(values) for port, values in self._plan.outputs.get(node, {}).items()}

    async def drive(self) -> RunResult:
        """Run to the end. Raises what makes going on impossible, above all a ledger that cannot write."""
        self._prepare()
        try:
            await self._drive()
        except Exception:
            await self.recorder.settled(_SETTLE_S)  # who hears of it, or takes the run up again, finds what came before
            raise
        finally:
            self._inbox.close()
            self.services.turns.release(self.run_id)
            self.under_way.held.clear()  # who is resuming it at this moment begins nothing any more
            await stop(self, list(self.under_way.tasks))
            self.recorder.first = None  # else it would hold the run
            self._plan.close()
        assert self._result is not None  # noqa: S101 - it was driven to its end
        return self._result

    async def _drive(self) -> None:
        await (self._take_up(self.recorded) if self.recorded is not None and self.recorded.begun else self._begin())
        while self._result is None:
            commands: list[Command | Draft] = []
            for event in await self._next_events():
                if isinstance(event, BaseException):
                    await self._carry_out(commands)  # what happened before stays recorded
                    self._raise_unless_ended(event)
                    break
                commands += self.gates.said_in(event, commands)
                commands += self._step(event)
            else:
                if commands:
                    await self._carry_out(commands)

    def _raise_unless_ended(self, event: BaseException) -> None:
        if self._result is None:
            self.recorder.halted = True  # what else is under way is left to a recovery
            raise event

    async def _begin(self) -> None:
        """Start, once no pause holds it; one that is cancelled before ends without having started. A child keeps step as it starts."""
        while (self.paused and self.parent is None) or not self._inbox.empty():
            for event in await self._next_events():
                if isinstance(event, BaseException):
                    raise event
                if not isinstance(event, Tick):
                    await self._carry_out(self._step(event))
                    return
        await self._carry_out(self._step(Begin()), self.start, *in_step(self))

    async def _take_up(self, recorded: RecordedRun) -> None:
        """Go on from the record: what had ended stays, what was under way is re-run, what was cancelled meanwhile ends."""
        await judge_all(self.opening, recorded)
        event: Event | BaseException | None = Tick()
        while isinstance(event, Tick):  # a pause meanwhile ends nothing
            event = None if self._inbox.empty() else self._inbox.first()
        if isinstance(event, BaseException):
            raise event
        self.book.restore(recorded)
        self.under_way.left_open = {attempt.node: attempt for attempt in recorded.open_attempts}
        follows: list[Command] = []
        try:
            commands = self._restored(recorded, event)
            follows += recorded.lacking(self._plan.ended)
        except UnknownNode as unknown:
            commands = given_up(recorded, unknown.args[0], event.reason if isinstance(event, Cancel) else None)
        if not recorded.started:  # a fork that has done nothing yet; its point may lie within a step, before ends that follow in it
            await self._carry_out([*follows, *commands], self.start, *in_step(self))
            return
        await self._carry_out(
            commands, *([] if self._claimed else [recovered(recorded, self.services, ends=event is not None)]), *in_step(self)
        )
        self.recorded = None  # what is needed of it is in its places

    def _restored(self, recorded: RecordedRun, event: Event | None) -> list[Command]:
        """Make the plan of the record; with an ``event`` that ends the run no time comes any more."""
        now_ms = None if event is not None else self.look_at_clock()  # before there is a plan of this time
        events = recorded.events if recorded.started else [*recorded.events, (now_ms or 0, Forked())]  # it begins
        self._plan, commands = Plan.rebuild(self.opening, self.seed, events, now_ms, max_parallel=self.services.rules.max_parallel)
        for attempt in recorded.attempts:
            if attempt.status is not None:
                self.labels.put(attempt.node, attempt.taint.union(*(crossing.taint for crossing in attempt.crossings)))
            self.requests.update({(attempt.node, attempt.attempt, call): event for call, event in attempt.requests.items()})
        left = self.under_way.left_open.values()
        spent = [NodeSpent(each.node, each.attempt, each.spent.tokens, each.spent.usd_micros) for each in left]
        if event is not None:  # it ends so, whatever its attempts had spent
            self.gates.reopen(commands)
            for each in spent:
                self._plan.book(each)
            return self._step(event) or commands
        for each in spent:
            commands += self._plan.step(each, now_ms or 0)
        return commands

    def _step(self, event: Event) -> list[Command]:
        return self._plan.step(event, self.look_at_clock())

    def look_at_clock(self) -> int:
        """The wall clock. Where somebody set it, or machine or process stood still, what is left of time-outs stays what it was.

        The record says so before anything that bears the new time, for whoever takes the run up.
        """
        now_ms = self.services.clock_ms()
        wall_ms, ahead_ms = now_ms - self.services.steady_ms(), now_ms - self.services.boot_ms()
        set_ms = 0 if self._ahead_ms is None else ahead_ms - self._ahead_ms
        moved_ms = set_ms if self._wall_ms is None else wall_ms - self._wall_ms
        moved = abs(moved_ms) >= _CLOCK_SET_MS
        if moved or self._wall_ms is None:
            self._wall_ms, self._ahead_ms = wall_ms, ahead_ms
        if moved:
            self._clock_set(moved_ms, set_ms if abs(set_ms) >= _CLOCK_SET_MS else 0)
        return now_ms

    def _clock_set(self, moved_ms: int, set_ms: int) -> None:
        self._plan.set_clock(moved_ms, set_ms)
        self.under_way.waits.set_clock(set_ms)
        if self.recorded is not None:
            self.recorded.set_clock(self.recorded.last_ms + moved_ms, moved_ms, set_ms)
            self.recorded.last_ms += moved_ms
        message = f"the clock moved by {moved_ms / 1000:+.0f} s other than by itself: it was set, or Runloop stood still"
        self.recorder.note(Draft("run.clock_set", message, ClockSet(moved_ms, set_ms or None)))

    def remember_clock(self) -> None:
        """The run leaves memory: where the clock is set meanwhile, what is left of its times stays what it was."""
        if self._ahead_ms is not None:
            self.services.ahead_ms[self.run_id] = self._ahead_ms

    async def _next_events(self) -> list[Event | BaseException]:
        """Everything that has happened, at least one thing; a Tick when the plan's next deadline comes first."""
        say(self)
        if not self._inbox.empty():
            return await self._inbox.take()
        now_ms, deadline_ms = self.look_at_clock(), self._plan.next_deadline_ms
        seconds = None if deadline_ms is None else max(0, deadline_ms - now_ms) / 1000
        park_s = may_park_in(self)
        parking = park_s is not None and (seconds is None or park_s < seconds)
        found = await self._inbox.take(park_s if parking else seconds and min(seconds, _LOOK_S))
        if not found and parking and self.quiet:
            await park(self)
        return found or [Tick()]

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def quiet(self) -> bool:
        """Whether everything in this run and its children waits for a person, a time, or a resumption."""
        return is_quiet(self)

    @property
    def expects(self) -> bool:
        """Whether something has happened that the plan has not heard of."""
        return not self._inbox.empty()

    @property
    def waits_for_time(self) -> bool:
        """Whether a node has not begun because its ``wait`` is not over."""
        return any(wait.why == "timer" for wait in self._plan.waits())

    @property
    def until_ms(self) -> int | None:
        """When this run goes on by itself; None where only somebody can let it."""
        return None if self.paused else least(self.under_way.waits.until_ms, self._plan.next_deadline_ms)

    def family(self) -> Iterator[Run]:
        """The run and its child runs under way, at every depth."""
        yield self
        for child in self.children.values():
            yield from child.family()

    async def _carry_out(self, commands: Sequence[Command | Draft], *first: Draft) -> None:
        self._result = await carry_out(self, commands, *first)

    def heed(self, written: asyncio.Future[list[StoredEvent]]) -> None:
        """A commit that nobody waited for: what went wrong ends the drive."""
        if not written.cancelled() and (error := written.exception()) is not None:
            self._inbox.put(error)
