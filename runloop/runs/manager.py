"""The run manager: checks and pins what a run needs, starts it, and answers for the runs of this process."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.effects.types import CallError, CallErrorKind
from runloop.errors import InvalidInput
from runloop.events import RunIdentity, record_of
from runloop.events.records import EffectDelta, NodeText, RunStarted, Versions
from runloop.openings import parse_once
from runloop.openings.budget import least
from runloop.policy import OpeningPolicy
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.attempt import AttemptSpec
from runloop.runs.errors import driven
from runloop.runs.forking import fork_events, plan_fork
from runloop.runs.pins import Pins
from runloop.runs.recorder import Draft, Recorder, Subscriber
from runloop.runs.recovery import grants_of, kept_bundles, spent_by_family
from runloop.runs.results import ChildCall, ChildResult, RunHalted, RunResult, child_id
from runloop.runs.run import Run
from runloop.runs.submitted import opening_of
from runloop.runs.tree import Tree, find_tree, nests, recorded_tree
from runloop.runs.unfinished import is_patient
from runloop.sandbox.spec import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runloop.bundles import Bundle
    from runloop.effects.perform.ports import Artifact
    from runloop.effects.types import CallContext
    from runloop.models.budget import Budget
    from runloop.openings import Opening
    from runloop.runs.forking import ForkRequest
    from runloop.runs.history import RecordedRun
    from runloop.runs.lookup import OpeningText
    from runloop.runs.operator import Operator
    from runloop.runs.services import Lookup, Services
    from runloop.runs.sources import RunSource

SEED_BYTES = 32
_CHILD_SEED = "runloop child run seed v1"
_STOPPED = "the run that asked for this one was stopped"


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that somebody wants. ``yes`` approves in advance what the opening's policy allows to be approved in advance."""

    opening: Opening
    mode: Literal["local", "daemon"] = "local"
    yes: bool = False
    seed: bytes | None = None
    run_id: str | None = None
    """A UUID that the submitter chose: a second submission under it cannot make a second run."""
    operator: Operator | None = None
    lookup: Lookup | None = None
    workdir: str | None = None
    """Whose names ``lookup`` adds, for a recovery."""
    patient: bool = False
    """Approvals wait until somebody answers."""
    parks: Callable[[Run], None] | None = None
    """Hears that the run is about to be left to the ledger because all of it waits; None where it must stay in memory."""


@dataclass(slots=True)
class RunManager:
    """Runs of one process; lives on one event loop. ``watchers`` see the records of every run, child runs included."""

    services: Services
    watchers: list[Subscriber] = field(default_factory=list)
    _active: dict[str, Run] = field(default_factory=dict, init=False)
    _pins: Pins = field(init=False)

    def __post_init__(self) -> None:
        self._pins = Pins(self._prepare)

    async def submit(self, submission: Submission, subscribers: tuple[Subscriber, ...] = ()) -> Run:
        """Check the opening against the agents that are here, pin them, and record the submission.

        Raises:
            OpeningError: the opening does not fit the agents.
            RunloopError: an agent cannot be used; the ledger cannot write.

        """
        return await self._submit(submission, None, subscribers, frozenset())

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

    async def child(self, parent: Run, call: ChildCall) -> ChildResult:
        """Run what ``call`` asks for as a child of ``parent``, on its budget and within what it may approve.

        The child's id follows from the call, so a recovered parent finds the child that it had.
        """
        making = asyncio.create_task(self._child_of(parent, call))
        try:
            run = await asyncio.shield(making)
        except asyncio.CancelledError:
            await self._unmake(parent, call, making)
            raise
        whole = "agent" if call.agent else None
        return run if isinstance(run, ChildResult) else await self._drive_child(parent, call, run, whole)

    async def end_child(self, parent: Run, call: ChildCall, reason: str) -> None:
        """Bring a child to its end that an earlier process began for an attempt which is not taken up again."""
        recorded = await self._recorded_child(child_id(parent.run_id, call.node, call.attempt, call.call))
        if recorded is not None and recorded.finished is None:
            run = await self._taken_up(recorded, parent, parent.desk.operator, parent.lookup, (), ended=True)
            await self._end(parent, run, call, reason)

    async def _end(self, parent: Run, run: Run, call: ChildCall, reason: str = _STOPPED) -> None:
        """Drive a child that has not begun here to its end, which is recorded with that of the node that asked for it."""
        run.end(reason, partial(parent.closing.child, call.node))
        with suppress(RunHalted):
            await self.drive(run)

    async def _child_of(self, parent: Run, call: ChildCall) -> Run | ChildResult:
        """The child in this process, or what it came to where it has ended already."""
        recorded = await self._recorded_child(run_id := child_id(parent.run_id, call.node, call.attempt, call.call))
        if recorded is not None and recorded.finished is not None:
            return _ended_child(recorded, whole="agent" if call.agent else None)
        if recorded is not None:
            run = await self._taken_up(recorded, parent, parent.desk.operator, parent.lookup, ())
        else:
            limit = self.services.rules.max_depth
            if parent.depth + 1 > limit:
                message = f"openings are nested more than {limit} deep"
                raise CallError(CallErrorKind.BUDGET, message, code="run.too_deep", hint="an opening that starts itself never ends")
            submission = Submission(
                self._child_opening(parent, call), mode=parent.mode, yes=parent.desk.yes, seed=_child_seed(parent.seed, call),
                run_id=run_id, operator=parent.desk.operator, lookup=parent.lookup, patient=parent.patient,
            )  # fmt: skip
            run = await self._submit(submission, parent, (), call.taint | parent.base_taint)
        if not call.call:
            run.parent_attempt = call.node, call.attempt
        return run

    async def _recorded_child(self, run_id: str) -> RecordedRun | None:
        try:
            return await self.services.recorded(run_id)
        except InvalidInput:
            return None

    async def _unmake(self, parent: Run, call: ChildCall, making: asyncio.Task[Run | ChildResult]) -> None:
        """Nobody wants the child any more that is being made: once it is recorded it needs an end, unless a recovery will find it."""
        if parent.recorder.halted:
            making.cancel()
        await asyncio.wait({making})
        run = None if making.cancelled() or making.exception() is not None else making.result()
        if isinstance(run, Run) and not parent.recorder.halted:
            await self._end(parent, run, call)

    def _child_opening(self, parent: Run, call: ChildCall) -> Opening:
        if not call.agent:
            find = parent.lookup.opening if parent.lookup else self.services.resolve_opening
            found = parent.tree.openings.get(call.name) or find(call.name)
            return parse_once(found.source, file=found.file, params=dict(call.params))
        import yaml

        document = {
            "version": 0,
            "name": f"agent-{call.name.replace('@', '-')}",
            "nodes": [{"id": "agent", "use": f"agent:{call.name}", "with": dict(call.params)}],
            "edges": [],
        }
        return parse_once(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))

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
            raise InvalidInput(f"run {run_id} has ended: {recorded.status}", code="run.ended", hint=f"`rlp show {run_id[:8]}` shows it")
        if self.services.driven(recorded.owner):
            raise driven(run_id)
        ended = ending is not None or recorded.cancelled is not None
        run = await self._taken_up(recorded, None, operator, lookup(recorded.submitted.get("workdir")), subscribers, ended=ended)
        run.parks = parks
        if recorded.owner != self.services.owner:
            await run.claim(recorded)
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

    # ── what performers report to and ask of the run that a call belongs to ─────────────────────────────────────────────

    def run_of(self, ctx: CallContext) -> Run:
        """The active run of a call."""
        return self._active[ctx.run_id]

    def budget_of(self, ctx: CallContext) -> Budget:
        """The budget of the attempt that a call belongs to."""
        return self.run_of(ctx).budget_of(ctx.node)

    async def progress(self, ctx: CallContext, text: str, fraction: float | None) -> None:
        """Show how far the node is."""
        self.run_of(ctx).recorder.live("node.progress", text, NodeText(ctx.node, text, ctx.attempt, fraction=fraction))

    def delta(self, ctx: CallContext, at: int, text: str) -> None:
        """Show a piece of an answer that is still coming."""
        meta = EffectDelta(ctx.node, ctx.call, text, ctx.attempt, at)
        self.run_of(ctx).recorder.live("effect.delta", f"{ctx.node} gets an answer", meta)

    async def log(self, ctx: CallContext, level: str, text: str) -> None:
        """Record a line."""
        meta = NodeText(ctx.node, text, ctx.attempt, level)  # type: ignore[arg-type]  # the catalogue's schema allows the four words only
        self.run_of(ctx).recorder.note(Draft("node.log", text, meta, level=level, agent_id=f"agent:{ctx.agent}"))

    async def mark(self, ctx: CallContext, label: str) -> None:
        """Record a named place of the run."""
        meta = NodeText(ctx.node, f"checkpoint: {label}", ctx.attempt, "debug")
        self.run_of(ctx).recorder.note(Draft("node.log", f"checkpoint: {label}", meta, level="debug", agent_id=f"agent:{ctx.agent}"))

    async def artifact(self, ctx: CallContext, artifact: Artifact) -> int:
        """Record an artifact; the id of its event."""
        meta = {
            "node": ctx.node,
            "kind": artifact.kind,
            "path": artifact.path,
            "blake3": artifact.blake3,
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
            **({"summary": artifact.summary} if artifact.summary else {}),
            **({"sources": [dict(source) for source in artifact.sources]} if artifact.sources else {}),
        }
        run = self.run_of(ctx)
        if ctx.asked_ms is not None:  # an earlier process asked for it and may have recorded it
            asked = run.requests[ctx.node, ctx.attempt, ctx.call]
            for event_id, made in (await self.services.recorded(ctx.run_id)).artifacts:
                if event_id > asked and (made["node"], made["path"], made["blake3"]) == (ctx.node, artifact.path, artifact.blake3):
                    return event_id
        draft = Draft("artifact.created", f"{ctx.node} made {artifact.name}", meta, agent_id=f"agent:{ctx.agent}")
        stored = await run.recorder.write(draft)
        return stored[0].id

    # ── making runs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, submission: Submission, parent: Run | None, subscribers: tuple[Subscriber, ...], taint: frozenset[str]) -> Run:
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
            budget=self._budget(opening) if parent is None else parent.budget,
            depth=0 if parent is None else parent.depth + 1,
            child=self.child,
            end_child=self.end_child,
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

    async def _taken_up(
        self,
        recorded: RecordedRun,
        parent: Run | None,
        operator: Operator | None,
        lookup: Lookup | None,
        subscribers: tuple[Subscriber, ...],
        *,
        ended: bool = False,
    ) -> Run:
        """The run of these records, with what it began with, in this process; one that is only to be ``ended`` needs no agents."""
        services, submitted = self.services, recorded.submitted
        opening = opening_of(submitted)
        bundles = kept_bundles(opening, submitted, services.kept) if not ended else {}
        guest = submitted["versions"].get("guest")
        recorder = self._recorder(recorded.identity, subscribers, recorded.last_seq)
        desk = self._desk(recorder, opening, operator, parent, yes=bool(submitted.get("approve_in_advance")))
        desk.asked.update(recorded.asked)
        desk.decisions = recorded.decisions
        desk.grants += grants_of(recorded, bundles, opening.digest)
        run = Run(
            opening=opening,
            recorder=recorder,
            services=services,
            bundles=bundles,
            seed=recorded.seed,
            desk=desk,
            budget=self._budget(opening) if parent is None else parent.budget,
            depth=0 if parent is None else parent.depth + 1,
            child=self.child,
            end_child=self.end_child,
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
        if parent is None:
            spent = await spent_by_family(recorded, services.recorded)
            run.budget.spent_tokens += spent.tokens
            run.budget.spent_usd_micros += spent.usd_micros
        return run

    async def _prepare(self, bundles: Mapping[str, Bundle], python_guest: str | None = None) -> None:
        """Compile the guests before anything is recorded: a node's time-out counts its own work only."""
        python = next((bundle for bundle in bundles.values() if bundle.kind == "python"), None)
        if python is not None and python_guest is not None:
            await self.services.guests.prepare(AttemptSpec("", "", 1, {}, {}, bytes(SEED_BYTES), 0).guest(python, Limits(), python_guest))
        elif python is not None:
            await self.services.guests.prepare()
        for bundle in {bundle.digest: bundle for bundle in bundles.values() if bundle.kind != "python"}.values():
            spec = AttemptSpec("", "", 1, {}, {}, bytes(SEED_BYTES), 0)
            await self.services.guests.prepare(spec.guest(bundle, self.services.limits_of(bundle)))

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
        )

    def _desk(self, recorder: Recorder, opening: Opening, operator: Operator | None, parent: Run | None, *, yes: bool) -> ApprovalDesk:
        policy = opening.policy
        in_advance = frozenset(policy.approve_in_advance)
        if self.services.rules.approve_in_advance is not None:
            in_advance &= self.services.rules.approve_in_advance
        if parent is not None:
            in_advance &= parent.desk.opening.approve_in_advance
        rules = OpeningPolicy(opening.digest, policy.confirm_external, in_advance)
        return ApprovalDesk(recorder, operator or self.services.operator, rules, self.services.rules, yes, standing=self.services.grants)

    def _budget(self, opening: Opening) -> Budget:
        rules = self.services.rules
        return self.services.budget(
            least(opening.policy.budget_tokens, rules.max_tokens), least(opening.policy.budget_usd_micros, rules.max_usd_micros)
        )

    async def _drive_child(self, parent: Run, call: ChildCall, run: Run, whole: str | None) -> ChildResult:
        """``whole`` names a node whose ports are the child's outputs; else they are what the opening saves."""
        parent.children[run.run_id] = run
        task = asyncio.create_task(self.drive(run))
        try:
            result = await asyncio.shield(task)
        except asyncio.CancelledError:
            if parent.recorder.halted:
                run.halt()
                task.cancel()  # it may wait for a ledger that does not answer any more
                with suppress(RunHalted, asyncio.CancelledError):
                    await task
            else:
                run.end(_STOPPED, partial(parent.closing.child, call.node))
                with suppress(RunHalted):
                    await task
            raise
        finally:
            del parent.children[run.run_id]
        outputs = result.saved if whole is None else run.outputs_of(whole)
        return ChildResult(run.run_id, result.status, result.reason, result.code, outputs, run.taint)


def _child_seed(parent: bytes, call: ChildCall) -> bytes:
    """A child run's seed follows from its parent's, so that the parent's seed decides the chance of the whole family."""
    hasher = blake3(derive_key_context=_CHILD_SEED)
    hasher.update(parent)
    hasher.update(f"{call.node}\0{call.attempt}\0{call.call}".encode())
    return hasher.digest(length=SEED_BYTES)


def submit_key(run_id: str) -> str:
    """The ledger key of the ``run.submitted`` of a run whose id its submitter chose."""
    return f"submit:{run_id}"


def _start(meta: RunStarted | Mapping[str, Any]) -> Draft:
    """``run.started``: what was submitted, without the openings' texts."""
    from runloop.events.runrecord import meta_dict

    return Draft("run.started", "run started", {**meta_dict(meta), "opening": None, "nested": None})


def _ended_child(recorded: RecordedRun, whole: str | None) -> ChildResult:
    """What a child run that ended before its parent was taken up gives to it."""
    finished = recorded.finished or {}
    taint = frozenset(recorded.submitted.get("taint") or ()).union(*(attempt.taint for attempt in recorded.attempts))
    outputs: dict[str, list[Any]] = {}
    if whole is not None:
        outputs = {port: list(values) for port, values in recorded.outputs.get(whole, {}).items()}
    else:
        for ref in opening_of(recorded.submitted).save:
            values = recorded.outputs.get(ref.node, {}).get(ref.port)
            if values is not None:
                outputs[str(ref)] = list(values)
    error = finished.get("error") or {}
    return ChildResult(recorded.run_id, str(recorded.status), recorded.reason or "", error.get("code", ""), outputs, taint)
