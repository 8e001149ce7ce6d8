"""The run manager: checks and pins what a run needs, starts it, and answers for the runs of this process."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.events import RunIdentity, record_of
from runloop.events.records import RunStarted, Versions
from runloop.policy import OpeningPolicy
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.attempt import AttemptSpec
from runloop.runs.budgets import InnerBudget
from runloop.runs.child_runs import ChildRuns
from runloop.runs.errors import RunEnded, driven
from runloop.runs.forking import fork_events, plan_fork
from runloop.runs.pins import Pins
from runloop.runs.recorder import Draft, Recorder, Subscriber
from runloop.runs.recovery import grants_of, kept_bundles, spent_by_node
from runloop.runs.results import RunResult
from runloop.runs.run import Run
from runloop.runs.submission import SEED_BYTES, Submission, submit_key
from runloop.runs.submitted import opening_of
from runloop.runs.tree import Tree, find_tree, nests, recorded_tree
from runloop.runs.unfinished import is_patient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.bundles import Bundle
    from runloop.effects.types import CallContext
    from runloop.models.budget import Budget
    from runloop.openings import Opening
    from runloop.runs.forking import ForkRequest
    from runloop.runs.history import RecordedRun, Spent
    from runloop.runs.lookup import OpeningText
    from runloop.runs.operator import Operator
    from runloop.runs.services import Lookup, Services
    from runloop.runs.sources import RunSource
    from runloop.sandbox.spec import Limits


@dataclass(slots=True)
class RunManager:
    """Runs of one process; lives on one event loop. ``watchers`` see the records of every run, child runs included."""

    services: Services
    watchers: list[Subscriber] = field(default_factory=list)
    _active: dict[str, Run] = field(default_factory=dict, init=False)
    child_runs: ChildRuns = field(init=False)
    _pins: Pins = field(init=False)
    _spent: dict[str, Spent] = field(default_factory=dict, init=False)
    """What ended child runs used, with all below them."""

    def __post_init__(self) -> None:
        self.child_runs = ChildRuns(self)
        self._pins = Pins(self._prepare)

    async def submit(self, submission: Submission, subscribers: tuple[Subscriber, ...] = ()) -> Run:
        """Check the opening against the agents that are here, pin them, and record the submission.

        Raises:
            OpeningError: the opening does not fit the agents.
            RunloopError: an agent cannot be used; the ledger cannot write.

        """
        return await self.begin(submission, None, subscribers, frozenset())

    async def drive(self, run: Run) -> RunResult:
        """Run it to its end; the result of :meth:`Run.drive`."""
        self._active[run.run_id] = run
        try:
            return await run.drive()
        finally:
            del self._active[run.run_id]

    @property
    def active(self) -> tuple[Run, ...]:
        """The runs that are being driven, child runs included."""
        return tuple(self._active.values())

    async def recover(
        self, run_id: str, *, operator: Operator | None = None, parks: Callable[[Run], None] | None = None,
        lookup: Callable[[str | None], Lookup | None] = lambda _workdir: None, subscribers: tuple[Subscriber, ...] = (),
        ending: str | None = None, recorded: RecordedRun | None = None,
    ) -> Run:  # fmt: skip
        """Take up an unfinished run from its records; :meth:`drive` goes on with it. ``lookup`` gives the names of its working directory.

        ``recorded`` is what these tell, where the caller has read them.

        With ``ending``, why it is cancelled, that is all that it goes on to, and it needs neither its agents nor a guest.

        Raises:
            InvalidInput: ``run.unknown``; ``run.ended``.
            Unavailable: ``run.driven`` where another process has taken it up.
            RunloopError: what it needs is not here any more.

        """
        recorded = recorded or await self.services.recorded(run_id)
        if recorded.finished is not None:
            raise RunEnded(run_id, str(recorded.status))
        if self.services.driven(recorded.owner):
            raise driven(run_id)
        ended = ending is not None or recorded.cancelled is not None
        run = await self.taken_up(recorded, None, operator, lookup(recorded.submitted.get("workdir")), subscribers, ended=ended)
        run.parks = parks
        if recorded.owner != self.services.owner:
            await run.claim(recorded, ends=ended)
        if recorded.cancelled is not None:
            run.end(recorded.cancelled)
        elif ending is not None:
            run.cancel(ending)
        return run

    async def fork(
        self, source: RunSource, request: ForkRequest, *, operator: Operator | None = None, parks: Callable[[Run], None] | None = None,
        subscribers: tuple[Subscriber, ...] = (),
    ) -> Run:  # fmt: skip
        """Begin a run that shares the history of another one; :meth:`drive` goes on with it from there (ADR 5).

        Raises:
            InvalidInput: as :func:`runloop.runs.forking.plan_fork`.
            OpeningError: the opening does not fit the agents.

        """
        services = self.services
        fork = await asyncio.to_thread(plan_fork, services, source, request)
        agents = {(node.name, node.variant): fork.bundles[node.id] for node in fork.opening.nodes if node.kind == "agent"}
        await self._pins.pin(fork.opening, services, lambda name, variant: agents[name, variant])
        if fork.python_guest != services.guest_digest:
            await self._prepare(fork.bundles, fork.python_guest)
        await services.kept.keep(fork.bundles.values())
        key = None if request.run_id is None else submit_key(fork.run_id)
        events = await asyncio.to_thread(fork_events, services, source, fork, key)
        stored = await services.ledger.append(events)
        for subscriber in (*subscribers, *self.watchers):
            for event in stored:
                subscriber(record_of(event))
        lookup = request.lookup
        return await self.recover(fork.run_id, operator=operator, parks=parks, lookup=lambda _: lookup, subscribers=subscribers)

    def run_of(self, ctx: CallContext) -> Run:
        """The active run of a call."""
        return self._active[ctx.run_id]

    # ── making runs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(
        self, submission: Submission, parent: Run | None, subscribers: tuple[Subscriber, ...], taint: frozenset[str],
        node: str | None = None,
    ) -> Run:  # fmt: skip
        """As :meth:`submit`, as the child of ``parent`` if there is one, for its ``node``; ``taint`` is what reaches it from there."""
        services, opening = self.services, submission.opening
        inherited, guest = (Tree(), None) if parent is None else (parent.tree, parent.guest)

        def resolve(name: str, variant: str | None) -> Bundle:
            find = submission.lookup.agent if submission.lookup else services.resolve_agent
            return inherited.agent(name, variant, services.kept.bundle) or find(name, variant)

        def text_of(name: str) -> OpeningText:
            find = submission.lookup.opening if submission.lookup else services.resolve_opening
            return inherited.openings.get(name) or find(name)

        bundles = await self._pins.pin(opening, services, resolve)
        if guest is not None:
            await self._prepare(bundles, guest)
        tree = find_tree(opening, text_of, resolve) if nests(opening) else Tree()
        await services.kept.keep([*bundles.values(), *tree.agents.values()])
        run_id = submission.run_id or str(uuid.UUID(bytes=services.fresh(16), version=4))
        identity = RunIdentity(
            run_id=run_id,
            trace_id=f"trace:{run_id}" if parent is None else parent.recorder.identity.trace_id,
            opening_id=f"opening:{uuid.UUID(bytes=services.fresh(16), version=4)}",
            opening_name=opening.name,
            parent_run_id=None if parent is None else parent.run_id,
        )
        recorder = self._recorder(identity, subscribers)
        seed = submission.seed or services.fresh(SEED_BYTES)
        submitted_ms = services.clock_ms()
        pinned = [*bundles.values(), *tree.agents.values()]
        versions = Versions(services.runloop_version, guest or services.guest_digest, {bundle.ref: bundle.digest for bundle in pinned})
        meta = self._started_meta(submission, versions, tree, seed, submitted_ms, taint)
        await recorder.write(Draft("run.submitted", f"run of {opening.name} submitted", meta, key=submission.run_id and submit_key(run_id)))
        return Run(
            opening=opening,
            recorder=recorder,
            services=services,
            bundles=bundles,
            seed=seed,
            desk=self._desk(recorder, opening, submission.operator, parent, yes=submission.yes),
            budget=self._budget(opening, None if parent is None or node is None else parent.node_budget(node)),
            depth=0 if parent is None else parent.depth + 1,
            child_runs=self.child_runs,
            submitted_ms=submitted_ms,
            start=_start(meta),
            base_taint=taint,
            mode=submission.mode,
            lookup=submission.lookup,
            parent=parent,
            patient=submission.patient,
            parks=submission.parks,
            tree=tree.over(inherited),
            guest=guest,
        )

    def _recorder(self, identity: RunIdentity, subscribers: tuple[Subscriber, ...], last_seq: int = 0) -> Recorder:
        recorder = Recorder(identity, self.services.ledger, self.services.clock_ms, last_seq)
        for subscriber in (*subscribers, *self.watchers):
            recorder.subscribe(subscriber)
        return recorder

    async def taken_up(
        self,
        recorded: RecordedRun,
        parent: Run | None,
        operator: Operator | None,
        lookup: Lookup | None,
        subscribers: tuple[Subscriber, ...],
        *,
        node: str | None = None,
        ended: bool = False,
    ) -> Run:
        """The run of these records, with what it began with, in this process; one that is only to be ``ended`` needs no agents.

        ``node`` is that of ``parent`` which asked for it.
        """
        services, submitted = self.services, recorded.submitted
        opening = opening_of(submitted)
        bundles = kept_bundles(opening, submitted, services.kept) if not ended else {}
        guest = submitted["versions"].get("guest")
        recorder = self._recorder(recorded.identity, subscribers, recorded.last_seq)
        desk = self._desk(recorder, opening, operator, parent, yes=bool(submitted.get("approve_in_advance")))
        desk.asked.update(recorded.asked)
        desk.decisions, desk.unused = recorded.decisions, recorded.unused
        desk.grants += grants_of(recorded, bundles, opening.digest)
        before = await spent_by_node(recorded, services.recorded, self._spent)
        budget = self._budget(opening, None if parent is None or node is None else parent.node_budget(node))
        for spent in before.values():
            budget.spent_tokens += spent.tokens
            budget.spent_usd_micros += spent.usd_micros
        run = Run(
            opening=opening,
            recorder=recorder,
            services=services,
            bundles=bundles,
            seed=recorded.seed,
            desk=desk,
            budget=budget,
            spent_before=before,
            depth=0 if parent is None else parent.depth + 1,
            child_runs=self.child_runs,
            submitted_ms=submitted["start_ms"],
            start=_start(submitted),
            base_taint=frozenset(submitted.get("taint") or ()),
            mode=submitted["mode"],
            lookup=lookup,
            parent=parent,
            patient=is_patient(submitted),
            recorded=recorded,
            overrides=submitted.get("overrides") or {},
            tree=recorded_tree(submitted).over(Tree() if parent is None else parent.tree),
            guest=None if guest == services.guest_digest else guest,
        )
        await self._prepare(bundles, run.guest)
        return run

    async def _prepare(self, bundles: Mapping[str, Bundle], python_guest: str | None = None) -> None:
        """Compile the guests before anything is recorded: a node's time-out counts its own work only."""
        needed: dict[tuple[str, bool], tuple[Bundle, Limits]] = {}
        for bundle in bundles.values():
            limits = self.services.limits_of(bundle)
            code = "python" if bundle.kind == "python" else bundle.digest
            needed.setdefault((code, limits.fuel is not None), (bundle, limits))  # code that counts its fuel is compiled apart
        for bundle, limits in needed.values():
            spec = AttemptSpec("", "", 1, {}, {}, bytes(SEED_BYTES), 0)
            await self.services.guests.prepare(spec.guest(bundle, limits, python_guest))

    def _started_meta(
        self, submission: Submission, versions: Versions, tree: Tree, seed: bytes, now_ms: int, taint: frozenset[str]
    ) -> RunStarted:
        opening, services = submission.opening, self.services
        policy = opening.policy
        budget = {"tokens": policy.budget_tokens, "usd_micros": policy.budget_usd_micros, "timeout_ms": policy.timeout_ms}
        return RunStarted(
            opening.digest,
            dict(opening.params),
            versions,
            submission.mode,
            budget={name: value for name, value in budget.items() if value is not None} or None,
            seed=seed.hex(),
            start_ms=now_ms,
            opening={"source": opening.source, "file": opening.file},
            nested=tree.recorded(),
            taint=sorted(taint) or None,
            approve_in_advance=submission.yes or None,
            patient=submission.patient or None,
            workdir=submission.workdir,
            owner=services.owner,
            traceparent=submission.traceparent,
        )

    def _desk(self, recorder: Recorder, opening: Opening, operator: Operator | None, parent: Run | None, *, yes: bool) -> ApprovalDesk:
        policy = opening.policy
        in_advance = frozenset(policy.approve_in_advance)
        if self.services.rules.approve_in_advance is not None:
            in_advance &= self.services.rules.approve_in_advance
        confirm = policy.confirm_external
        if parent is not None:
            in_advance &= parent.desk.opening.approve_in_advance
            confirm = confirm or parent.desk.opening.confirm_external is True
        rules = OpeningPolicy(opening.digest, confirm, in_advance)
        return ApprovalDesk(recorder, operator or self.services.operator, rules, self.services.rules, yes, standing=self.services.grants)

    def _budget(self, opening: Opening, within: Budget | None) -> Budget:
        """That of an opening: a run's of its own, or a child run's ``within`` that of the node which asks for it."""
        policy, rules = opening.policy, self.services.rules
        if within is not None:
            return InnerBudget(within, policy.budget_tokens, policy.budget_usd_micros, ("opening", opening.name))
        budget = self.services.budget(policy.budget_tokens, policy.budget_usd_micros)
        budget.narrow(rules.max_tokens, rules.max_usd_micros, tokens_key="the limit policy.max_tokens", usd_key="the limit policy.max_usd")
        return budget


def _start(meta: RunStarted | Mapping[str, Any]) -> Draft:
    """``run.started``: what was submitted, without the openings' texts."""
    from runloop.events.runrecord import meta_dict

    return Draft("run.started", "run started", {**meta_dict(meta), "opening": None, "nested": None})
