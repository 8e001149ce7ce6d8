"""One run: feeds what happens into the plan and carries out what the plan says, each step on disk before the next."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from runloop.effects.journal import Journal
from runloop.effects.types import CallError
from runloop.errors import RunloopError
from runloop.events import NodeResult, final_hash, outputs_hash, record_of, value_hash
from runloop.events.records import AgentRef, ErrorInfo, NodeFinished, NodeStarted, RunChanged, RunFinished
from runloop.openings.budget import least
from runloop.openings.plan import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    Command,
    Event,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeSucceeded,
    NodeWaiting,
    RunDone,
    StartNode,
    State,
    StopNode,
    Tick,
)
from runloop.runs.artifacts import SavedFile, save_ports
from runloop.runs.attempt import AttemptSpec, failure_of, ports_of
from runloop.runs.budgets import AttemptBudget
from runloop.runs.crossings import AttemptIdentity, Crossings, Usage, dollars
from runloop.runs.recorder import Draft
from runloop.sandbox.spec import GuestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runloop.bundles import Bundle
    from runloop.models.budget import Budget
    from runloop.openings import Opening
    from runloop.runs.approvals import ApprovalDesk
    from runloop.runs.recorder import Recorder
    from runloop.runs.services import Lookup, Services

_NOTHING = Usage()
_NO_WORKER = frozenset({"pool.restarts", "worker.start"})
_LEVELS = {State.OK: "info", State.ERROR: "error", State.SKIPPED: "warn", State.CANCELLED: "warn"}


class RunHalted(Exception):  # noqa: N818 - it says what happened
    """The process stops and leaves the run unfinished in the ledger, to be recovered."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, as its last record says it; ``code`` is the failure's stable code, empty on success."""

    run_id: str
    status: str
    reason: str
    code: str
    record: Mapping[str, Any]
    saved: Mapping[str, list[Any]]


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a child run gives to the node that asked for it."""

    run_id: str
    status: str
    reason: str
    code: str
    outputs: Mapping[str, list[Any]]
    taint: frozenset[str]


@dataclass(slots=True)
class Run:
    """A run in this process. ``drive`` runs it to its end; ``cancel`` may be called at any time from its loop.

    ``bundles`` are the pinned agents by node; ``child`` runs a nested opening with this run as its parent.
    """

    opening: Opening
    recorder: Recorder
    services: Services
    bundles: Mapping[str, Bundle]
    seed: bytes
    desk: ApprovalDesk
    budget: Budget
    depth: int
    child: Callable[[Run, str, Mapping[str, Any], frozenset[str]], Awaitable[ChildResult]]
    submitted_ms: int
    start: Draft
    base_taint: frozenset[str] = frozenset()
    mode: Literal["local", "daemon"] = "local"
    lookup: Lookup | None = None
    parent: Run | None = None
    requests: dict[tuple[str, int, int], int] = field(default_factory=dict, init=False)
    """Event ids of the ``effect.requested`` records that are on disk, by node, attempt and call."""
    _plan: Plan = field(init=False)
    _inbox: asyncio.Queue[Event | BaseException] = field(default_factory=asyncio.Queue, init=False)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _taint: dict[str, frozenset[str]] = field(default_factory=dict, init=False)
    _started_ms: dict[str, int] = field(default_factory=dict, init=False)
    _results: dict[str, NodeResult] = field(default_factory=dict, init=False)
    _usage: dict[str, Usage] = field(default_factory=dict, init=False)
    _budgets: dict[str, Budget] = field(default_factory=dict, init=False)
    _details: dict[str, str] = field(default_factory=dict, init=False)
    _usages: list[Usage] = field(default_factory=list, init=False)
    _result: RunResult | None = field(default=None, init=False)
    _going: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _held_starts: list[tuple[StartNode, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._plan = Plan(self.opening, self.seed, max_parallel=self.services.rules.max_parallel)
        self._going.set()

    @property
    def run_id(self) -> str:
        """The run's UUID."""
        return self.recorder.identity.run_id

    def cancel(self, reason: str) -> None:
        """Stop the run: what runs is interrupted, what waits is dropped, and the records say so."""
        self._inbox.put_nowait(Cancel(reason))

    def halt(self) -> None:
        """Stop without an end: :meth:`drive` raises :class:`RunHalted`, and nothing more is recorded of what was under way."""
        self.recorder.halted = True
        self._inbox.put_nowait(RunHalted())

    @property
    def paused(self) -> bool:
        """Whether nodes and calls are held back."""
        return not self._going.is_set()

    async def pause(self, why: str) -> None:
        """Begin no node and no call any more; what is under way goes on to its next call."""
        if self._result is None and self._going.is_set():
            self._going.clear()
            self.services.turns.hold(self.run_id)
            await self.recorder.write(Draft("run.paused", f"run paused: {_first_line(why)}", RunChanged(why)))

    async def resume(self, why: str) -> None:
        """Go on after :meth:`pause`."""
        if self._result is None and not self._going.is_set():
            await self.recorder.write(Draft("run.resumed", f"run resumed: {_first_line(why)}", RunChanged(why)))
            self._going.set()
            self.services.turns.release(self.run_id)
            starts, self._held_starts = self._held_starts, []
            for command, started_ms in starts:
                self._inbox.put_nowait(NodeResumed(command.node, command.attempt))
                self._launch(command, started_ms)

    @property
    def taint(self) -> frozenset[str]:
        """Where content that reached any of the run's nodes came from."""
        return self.base_taint.union(*self._taint.values())

    def budget_of(self, node: str) -> Budget:
        """What the running attempt of ``node`` may spend."""
        return self._budgets[node]

    def outputs_of(self, node: str) -> Mapping[str, list[Any]]:
        """What a node that ended well produced, by port."""
        return {port: list(values) for port, values in self._plan.outputs.get(node, {}).items()}

    async def drive(self) -> RunResult:
        """Run to the end. Raises what makes going on impossible, above all a ledger that cannot write."""
        try:
            await self._begin()
            while self._result is None:
                commands: list[Command] = []
                for event in await self._next_events():
                    if isinstance(event, BaseException):
                        await self._carry_out(commands)  # what happened before stays recorded
                        self._raise_unless_ended(event)
                        break
                    commands.extend(self._step(event))
                else:
                    await self._carry_out(commands)
        finally:
            self.services.turns.release(self.run_id)
            await self._stop_all()
        return self._result

    def _raise_unless_ended(self, event: BaseException) -> None:
        if self._result is None:
            raise event

    async def _begin(self) -> None:
        """Start, unless the run was cancelled while it was queued: then it ends without having started."""
        if self._inbox.empty():
            await self._carry_out(self._step(Begin()), first=self.start)
            return
        event = self._inbox.get_nowait()
        if isinstance(event, BaseException):
            raise event
        await self._carry_out(self._step(event))

    def _step(self, event: Event) -> list[Command]:
        return self._plan.step(event, self.services.clock_ms())

    async def _next_events(self) -> list[Event | BaseException]:
        """Everything that has happened, at least one thing; a Tick when the plan's next deadline comes first."""
        deadline = self._plan.next_deadline_ms
        seconds = None if deadline is None else max(0, deadline - self.services.clock_ms()) / 1000
        try:
            async with asyncio.timeout(seconds):
                events = [await self._inbox.get()]
        except TimeoutError:
            return [Tick()]
        while not self._inbox.empty():
            events.append(self._inbox.get_nowait())
        return events

    async def _carry_out(self, commands: list[Command], first: Draft | None = None) -> None:
        """One commit for all that the plan said, then the starts: a node runs only after its start is on disk."""
        await self._stop([command.node for command in commands if isinstance(command, StopNode)])
        drafts: list[Draft] = [] if first is None else [first]
        starts: list[tuple[StartNode, int]] = []
        done: RunDone | None = None
        for command in commands:
            match command:
                case NodeReady(node):
                    meta = NodeStarted(node, 1, self._agent_ref(node))
                    drafts.append(Draft("node.ready", f"node {node} is ready", meta, level="debug"))
                case StartNode():
                    drafts.append(self._start_draft(command))
                    starts.append((command, len(drafts) - 1))
                case NodeRetrying():
                    drafts.append(self._retry_draft(command))
                case NodeDone():
                    drafts.append(self._done_draft(command))
                case RunDone():
                    done = command
                case StopNode():
                    pass
        if done is not None:
            await self._finish(done, drafts)
            return
        if not drafts:
            return
        stored = await self.recorder.write(*drafts)
        for command, position in starts:
            self._started_ms[command.node] = stored[position].ts_ms
            if self.paused:
                self._held_starts.append((command, stored[position].ts_ms))
                self._inbox.put_nowait(NodeWaiting(command.node, command.attempt))
            else:
                self._launch(command, stored[position].ts_ms)

    def _launch(self, command: StartNode, started_ms: int) -> None:
        self._tasks[command.node] = asyncio.create_task(self._attempt(command, started_ms))

    # ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _agent_ref(self, node: str) -> AgentRef:
        bundle = self.bundles.get(node)
        if bundle is None:
            return AgentRef(self.opening.node(node).use)
        return AgentRef(bundle.name, bundle.version, bundle.digest, bundle.variant)

    def _start_draft(self, command: StartNode) -> Draft:
        inputs = {port: list(values) for port, values in command.inputs.items()}
        meta = NodeStarted(command.node, command.attempt, self._agent_ref(command.node), inputs=inputs, inputs_hash=value_hash(inputs))
        return Draft("node.started", f"node {command.node} started (attempt {command.attempt})", meta)

    def _retry_draft(self, command: NodeRetrying) -> Draft:
        now = self.services.clock_ms()
        usage = self._usage.get(command.node, _NOTHING)
        meta = NodeFinished(
            command.node,
            command.attempt,
            "error",
            error=ErrorInfo(command.error.code, command.error.message, retryable=True, detail=self._details.pop(command.node, None)),
            ms=max(0, now - self._started_ms.get(command.node, now)),
            tokens=usage.tokens,
            usd=usage.usd,
            retry_ms=max(0, command.at_ms - now),
        )
        message = f"node {command.node} failed on attempt {command.attempt}, trying again: {_first_line(command.error.message)}"
        return Draft("node.finished", message, meta, level="warn")

    def _done_draft(self, command: NodeDone) -> Draft:
        node, now = command.node, self.services.clock_ms()
        outputs = {port: list(values) for port, values in command.outputs.items()} if command.status is State.OK else None
        hashed = None if outputs is None else outputs_hash(outputs)
        error = None
        if command.error is not None:
            error = ErrorInfo(command.error.code, command.error.message, detail=self._details.pop(node, None))
        if command.attempt:
            self._results[node] = NodeResult(hashed, None if error is None else error.message)
        usage = self._usage.get(node, _NOTHING)
        started = self._started_ms.get(node)
        meta = NodeFinished(
            node,
            command.attempt,
            command.status.value,  # type: ignore[arg-type]  # the plan's terminal states are the record's four words
            outputs=outputs,
            outputs_hash=hashed,
            error=error,
            ms=None if started is None else max(0, now - started),
            tokens=usage.tokens,
            usd=usage.usd,
        )
        why = _first_line(command.error.message) if command.error else command.why
        message = f"node {node} {command.status.value}" + (f": {why}" if why else "")
        return Draft("node.finished", message, meta, level=_LEVELS[command.status])

    async def _finish(self, done: RunDone, drafts: list[Draft]) -> None:
        """The last commit of the run: the ends of its nodes, its artifacts, its own end."""
        status, reason, code = done.status.value, done.reason, done.code
        saved: list[SavedFile] = []
        try:
            if done.saved:
                saved = await asyncio.to_thread(save_ports, self.services.artifacts_dir, self.run_id, done.saved)
        except RunloopError as error:
            if status == "succeeded":
                status, reason, code = "failed", error.message, error.code
        drafts += [Draft("artifact.created", f"saved {file.record.path}", file.record) for file in saved]
        order = [node.id for node in self.opening.nodes]
        meta = RunFinished(
            status,  # type: ignore[arg-type]  # the plan's terminal states are the record's three words
            max(0, self.services.clock_ms() - self.submitted_ms),
            final_hash=final_hash(self._results[node] for node in order if node in self._results),
            tokens=done.tokens,
            usd=dollars(done.usd_micros) if all(usage.priced for usage in self._usages) else None,
            artifacts=[file.saved for file in saved] or None,
            reason=reason or None,
            error=ErrorInfo(code, reason) if code else None,
        )
        level = "info" if status == "succeeded" else "error" if status == "failed" else "warn"
        drafts.append(Draft("run.finished", f"run {status}" + (f": {_first_line(reason)}" if reason else ""), meta, level=level))
        stored = await self.recorder.write(*drafts)
        self._result = RunResult(self.run_id, status, reason, code, record_of(stored[len(drafts) - 1]), done.saved)

    # ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _attempt(self, command: StartNode, started_ms: int) -> None:
        """Run one attempt and report its end; never raises."""
        node = command.node
        try:
            if node in self.bundles:
                event = await self._run_agent(command, started_ms)
            else:
                event = await self._run_opening(command)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is must reach the run, not die with the task
            self._inbox.put_nowait(error)
            return
        if self._tasks.get(node) is asyncio.current_task():
            del self._tasks[node]
        self._inbox.put_nowait(event)

    async def _run_agent(self, command: StartNode, started_ms: int) -> Event:
        turns, waited_ms = self.services.turns, 0
        if not turns.try_take(self.run_id):
            waited_ms = await self._wait_for_turn(command)
        try:
            return await self._work(command, started_ms, started_ms + command.timeout_ms + waited_ms)
        finally:
            turns.give_back(self.run_id)

    async def _wait_for_turn(self, command: StartNode) -> int:
        """Take a turn; the node's time-out stands still meanwhile. How many milliseconds it took."""
        began_ms = self.services.clock_ms()
        self._inbox.put_nowait(NodeWaiting(command.node, command.attempt))
        await self.services.turns.take(self.run_id)
        self._inbox.put_nowait(NodeResumed(command.node, command.attempt))
        return max(0, self.services.clock_ms() - began_ms)

    async def _work(self, command: StartNode, started_ms: int, deadline_ms: int) -> Event:
        node, attempt, bundle = command.node, command.attempt, self.bundles[command.node]
        spec = AttemptSpec(self.run_id, node, attempt, self.opening.node(node).with_args, command.inputs, self.seed, started_ms)
        crossings = Crossings(
            AttemptIdentity(self.run_id, node, attempt, bundle, deadline_ms),
            self.recorder,
            Journal(node, attempt),
            self.services.performers,
            self.desk,
            set(self._inherited_taint(node)),
            requests=self.requests,
            waiting=lambda waits: self._wait(node, attempt, waits=waits),
            away=lambda goes: self._leave(goes=goes, outside=True),
            going=self._going,
            spent=lambda tokens, micros: self._inbox.put_nowait(NodeSpent(node, attempt, tokens, micros)),
        )
        limits, plan = bundle.limits, self._plan
        self._budgets[node] = AttemptBudget(
            self.budget, least(limits.tokens, plan.remaining_tokens(node)), least(limits.usd_micros, plan.remaining_usd_micros(node))
        )
        usage = self._usage[node] = crossings.usage
        self._usages.append(usage)
        try:
            result = await self.services.guests.run(spec.guest(bundle, self.services.limits_of(bundle)), crossings)
            outputs = ports_of(json.loads(result.result_json), bundle.ports_out)
            value_hash(outputs)
        except GuestError as error:
            failed = failure_of(error, crossings.refusal, asked_outside=crossings.asked_outside)
        except RunloopError as error:
            if error.code in _NO_WORKER:
                failed = failure_of(GuestError(error.message, code=error.code, retryable=True), None)
            elif error.code.startswith("events."):
                failed = failure_of(GuestError(f"the result cannot be kept: {error.message}", code="guest.result"), None)
            else:
                raise
        else:
            self._taint[node] = frozenset(crossings.taint)
            return NodeSucceeded(node, attempt, outputs, usage.tokens, usage.usd_micros)
        if failed.detail is not None:
            self._details[node] = failed.detail
        return NodeFailed(node, attempt, failed.message, failed.code, failed.retryable, usage.tokens, usage.usd_micros)

    def _wait(self, node: str, attempt: int, *, waits: bool) -> None:
        self._inbox.put_nowait(NodeWaiting(node, attempt) if waits else NodeResumed(node, attempt))
        self._leave(goes=waits)

    def _leave(self, *, goes: bool, outside: bool = False) -> None:
        turns = self.services.turns
        (turns.leave if goes else turns.come_back)(self.run_id, outside=outside)

    async def _run_opening(self, command: StartNode) -> Event:
        node, attempt = self.opening.node(command.node), command.attempt
        params = {**node.with_args, **{port: values[-1] for port, values in command.inputs.items() if port != "in" and values}}
        try:
            child = await self.child(self, node.name, params, self._inherited_taint(node.id))
        except CallError as error:
            return NodeFailed(node.id, attempt, error.message, error.code)
        except RunloopError as error:
            return NodeFailed(node.id, attempt, str(error), error.code)
        if child.status != "succeeded":
            return NodeFailed(node.id, attempt, f"run {child.run_id} {child.status}: {child.reason}", child.code or "child.failed")
        self._taint[node.id] = child.taint
        return NodeSucceeded(node.id, attempt, {"out": [{"run_id": child.run_id, "status": child.status, "outputs": dict(child.outputs)}]})

    def _inherited_taint(self, node: str) -> frozenset[str]:
        labels: set[str] = set(self.base_taint)
        for edge in self.opening.edges:
            if edge.target.node == node:
                labels |= self._taint.get(edge.source.node, frozenset())
        return frozenset(labels)

    async def _stop(self, nodes: list[str]) -> None:
        """Cancel the attempts of ``nodes`` and wait until their calls are recorded."""
        if self._held_starts:
            self._held_starts = [(command, started_ms) for command, started_ms in self._held_starts if command.node not in nodes]
        tasks = [task for node in nodes if (task := self._tasks.pop(node, None)) is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_all(self) -> None:
        await self._stop(list(self._tasks))


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
