"""The run manager: checks and pins what a run needs, starts it, and answers for the runs of this process."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from operator import is_
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from runloop.effects.types import CallError, CallErrorKind
from runloop.errors import RunloopError, Where
from runloop.events import RunIdentity
from runloop.events.records import NodeText, RunStarted, Versions
from runloop.openings import AgentPorts, OpeningError, check, parse_opening
from runloop.openings.budget import least
from runloop.policy import OpeningPolicy
from runloop.runs.approvals import ApprovalDesk
from runloop.runs.attempt import AttemptSpec
from runloop.runs.recorder import Draft, Recorder, Subscriber
from runloop.runs.run import ChildResult, Run, RunHalted, RunResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runloop.bundles import Bundle
    from runloop.effects.perform.ports import Artifact
    from runloop.effects.types import CallContext
    from runloop.models.budget import Budget
    from runloop.openings import Opening
    from runloop.runs.operator import Operator
    from runloop.runs.services import Lookup, Services

SEED_BYTES = 32
_PINNED = 256
"""Openings whose check is remembered."""
AgentKey: TypeAlias = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class _Pinned:
    """An opening that was checked against its agents, whose guests are compiled. It is kept, so that its identity stays its own."""

    opening: Opening
    services: Services
    agents: tuple[Bundle, ...]
    nodes: Mapping[str, Bundle]

    def fits(self, opening: Opening, services: Services, found: Mapping[AgentKey, Bundle]) -> bool:
        """Whether nothing has changed since."""
        return self.opening is opening and self.services is services and all(map(is_, self.agents, found.values()))


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


@dataclass(slots=True)
class RunManager:
    """Runs of one process; lives on one event loop. ``watchers`` see the records of every run, child runs included."""

    services: Services
    watchers: list[Subscriber] = field(default_factory=list)
    _active: dict[str, Run] = field(default_factory=dict, init=False)
    _pinned: OrderedDict[int, _Pinned] = field(default_factory=OrderedDict, init=False)

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

    def family(self, run_id: str) -> list[Run]:
        """The active run and its active children, at every depth."""
        return [run for run in self._active.values() if any(each.run_id == run_id for each in _ancestry(run))]

    @property
    def active(self) -> tuple[Run, ...]:
        """The runs that are being driven, child runs included."""
        return tuple(self._active.values())

    async def child(self, parent: Run, name: str, params: Mapping[str, Any], taint: frozenset[str]) -> ChildResult:
        """Run the opening ``name`` as a child of ``parent``, on its budget and within what it may approve."""
        found = (parent.lookup.opening if parent.lookup else self.services.resolve_opening)(name)
        return await self._child(parent, parse_opening(found.source, file=found.file, params=dict(params)), taint)

    async def child_agent(self, parent: Run, name: str, with_args: Mapping[str, Any], taint: frozenset[str]) -> ChildResult:
        """Run one agent as a child of ``parent``: an opening of a single node, made on the spot."""
        import yaml

        document = {
            "version": 0,
            "name": f"agent-{name.replace('@', '-')}",
            "nodes": [{"id": "agent", "use": f"agent:{name}", "with": dict(with_args)}],
            "edges": [],
        }
        opening = parse_opening(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))
        return await self._child(parent, opening, taint, whole="agent")

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
        draft = Draft("artifact.created", f"{ctx.node} made {artifact.name}", meta, agent_id=f"agent:{ctx.agent}")
        stored = await self.run_of(ctx).recorder.write(draft)
        return stored[0].id

    # ── making runs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, submission: Submission, parent: Run | None, subscribers: tuple[Subscriber, ...], taint: frozenset[str]) -> Run:
        services, opening = self.services, submission.opening
        bundles = await self._pin(opening, submission.lookup)
        run_id = submission.run_id or str(uuid.UUID(bytes=services.fresh(16), version=4))
        identity = RunIdentity(
            run_id=run_id,
            trace_id=f"trace:{run_id}" if parent is None else parent.recorder.identity.trace_id,
            opening_id=f"opening:{uuid.UUID(bytes=services.fresh(16), version=4)}",
            opening_name=opening.name,
            parent_run_id=None if parent is None else parent.run_id,
        )
        recorder = Recorder(identity, services.ledger, services.clock_ms)
        for subscriber in (*subscribers, *self.watchers):
            recorder.subscribe(subscriber)
        seed = submission.seed or services.fresh(SEED_BYTES)
        submitted_ms = services.clock_ms()
        meta = self._started_meta(submission, bundles, seed, submitted_ms)
        await recorder.write(Draft("run.submitted", f"run of {opening.name} submitted", meta, key=submission.run_id and submit_key(run_id)))
        return Run(
            opening=opening,
            recorder=recorder,
            services=services,
            bundles=bundles,
            seed=seed,
            desk=self._desk(recorder, submission, parent),
            budget=self._budget(opening) if parent is None else parent.budget,
            depth=0 if parent is None else parent.depth + 1,
            child=self.child,
            submitted_ms=submitted_ms,
            start=Draft("run.started", "run started", {**_plain(meta), "opening": None}),
            base_taint=taint,
            mode=submission.mode,
            lookup=submission.lookup,
            parent=parent,
        )

    async def _pin(self, opening: Opening, lookup: Lookup | None) -> Mapping[str, Bundle]:
        """The verified bundle of every agent node, ready to run; what the opening asks of them is checked against them.

        An opening that was checked against these very bundles is not checked again.
        """
        found = self._resolve(opening, lookup)
        known = self._pinned.get(id(opening))
        if known is not None and known.fits(opening, self.services, found):
            return known.nodes
        problems = check(opening, lambda name, variant: _ports(found.get((name, variant))))
        if problems:
            raise OpeningError(problems)
        nodes = {node.id: found[node.name, node.variant] for node in opening.nodes if node.kind == "agent"}
        services = self.services
        await self._prepare(nodes)
        self._pinned[id(opening)] = _Pinned(opening, services, tuple(found.values()), nodes)
        while len(self._pinned) > _PINNED:
            self._pinned.popitem(last=False)
        return nodes

    def _resolve(self, opening: Opening, lookup: Lookup | None) -> dict[AgentKey, Bundle]:
        found: dict[AgentKey, Bundle] = {}
        resolve = lookup.agent if lookup else self.services.resolve_agent
        for node in opening.nodes:
            key = (node.name, node.variant)
            if node.kind == "agent" and key not in found:
                try:
                    found[key] = resolve(node.name, node.variant)
                except RunloopError as error:
                    if error.where.node is None:
                        error.where = Where(file=error.where.file, line=error.where.line, column=error.where.column, node=node.id)
                    raise
        return found

    async def _prepare(self, bundles: Mapping[str, Bundle]) -> None:
        """Compile the guests before anything is recorded: a node's time-out counts its own work only."""
        if any(bundle.kind == "python" for bundle in bundles.values()):
            await self.services.guests.prepare()
        for bundle in {bundle.digest: bundle for bundle in bundles.values() if bundle.kind != "python"}.values():
            spec = AttemptSpec("", "", 1, {}, {}, bytes(SEED_BYTES), 0)
            await self.services.guests.prepare(spec.guest(bundle, self.services.limits_of(bundle)))

    def _started_meta(self, submission: Submission, bundles: Mapping[str, Bundle], seed: bytes, now_ms: int) -> RunStarted:
        opening, services = submission.opening, self.services
        policy = opening.policy
        budget = {"tokens": policy.budget_tokens, "usd_micros": policy.budget_usd_micros, "timeout_ms": policy.timeout_ms}
        return RunStarted(
            opening.digest,
            dict(opening.params),
            Versions(services.runloop_version, services.guest_digest, {bundle.ref: bundle.digest for bundle in bundles.values()}),
            submission.mode,
            budget={name: value for name, value in budget.items() if value is not None} or None,
            seed=seed.hex(),
            start_ms=now_ms,
            opening={"source": opening.source, "file": opening.file},
        )

    def _desk(self, recorder: Recorder, submission: Submission, parent: Run | None) -> ApprovalDesk:
        policy = submission.opening.policy
        in_advance = frozenset(policy.approve_in_advance)
        if self.services.rules.approve_in_advance is not None:
            in_advance &= self.services.rules.approve_in_advance
        if parent is not None:
            in_advance &= parent.desk.opening.approve_in_advance
        opening = OpeningPolicy(submission.opening.digest, policy.confirm_external, in_advance)
        operator = submission.operator or self.services.operator
        return ApprovalDesk(recorder, operator, opening, self.services.rules, submission.yes)

    def _budget(self, opening: Opening) -> Budget:
        rules = self.services.rules
        return self.services.budget(
            least(opening.policy.budget_tokens, rules.max_tokens), least(opening.policy.budget_usd_micros, rules.max_usd_micros)
        )

    async def _child(self, parent: Run, opening: Opening, taint: frozenset[str], whole: str | None = None) -> ChildResult:
        """``whole`` names a node whose ports are the child's outputs; else they are what the opening saves."""
        limit = self.services.rules.max_depth
        if parent.depth + 1 > limit:
            message = f"openings are nested more than {limit} deep"
            raise CallError(CallErrorKind.BUDGET, message, code="run.too_deep", hint="an opening that starts itself never ends")
        submission = Submission(opening, mode=parent.mode, yes=parent.desk.yes, operator=parent.desk.operator, lookup=parent.lookup)
        run = await self._submit(submission, parent, (), taint | parent.base_taint)
        task = asyncio.create_task(self.drive(run))
        try:
            result = await asyncio.shield(task)
        except asyncio.CancelledError:
            if parent.recorder.halted:
                run.halt()
                with suppress(RunHalted):
                    await task
            else:
                run.cancel("the run that asked for this one was stopped")
                await task
            raise
        outputs = result.saved if whole is None else run.outputs_of(whole)
        return ChildResult(run.run_id, result.status, result.reason, result.code, outputs, run.taint)


def _ports(bundle: Bundle | None) -> AgentPorts | None:
    if bundle is None:
        return None
    schema = dict(bundle.with_schema) if bundle.with_schema is not None else None
    return AgentPorts(frozenset(bundle.ports_in), frozenset(bundle.ports_out), schema)


def submit_key(run_id: str) -> str:
    """The ledger key of the ``run.submitted`` of a run whose id its submitter chose."""
    return f"submit:{run_id}"


def _ancestry(run: Run) -> Iterator[Run]:
    each: Run | None = run
    while each is not None:
        yield each
        each = each.parent


def _plain(meta: RunStarted) -> dict[str, Any]:
    from runloop.events.runrecord import meta_dict

    return meta_dict(meta)
