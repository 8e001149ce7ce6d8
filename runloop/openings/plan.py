"""The plan of a run: a pure state machine. Events in, commands out; no I/O, no clock, no randomness but the seed.

Rules, all of them here and in what this is made of, and nowhere else (docs/openings.md argues them):

* A node is decided when its ``merge`` says so; without one, when every in-edge is. It runs if at least one in-edge delivered and every
  guard held; else it is skipped. A node without in-edges runs. A node that is skipped or failed delivers nothing, and no guard on its
  outputs holds.
* Values arrive in the order of the edges, whatever the order of completion.
* An attempt that times out, or fails retryably, is repeated after a pause while attempts are left; one whose output breaks its contract
  is repeated at once while tries are left.
* A final failure ends the run (``fail``), lets independent nodes go on and fails the run at the end (``continue``), or is forgiven
  (``skip``).
* Ending the run stops what runs (``cancelled``) and skips what did not start. There is exactly one RunDone, and it is the last command.
* Reports about another attempt than the one that runs, and answers to another gate than the one that is open, are ignored: they are
  late, or repeated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from runloop.openings.clauses import ACCEPT, GATE_PORT, REJECT, RETRY, REVISE, ContractRetry
from runloop.openings.contract import failure as contract_failure
from runloop.openings.contract import faults, feedback
from runloop.openings.flow import Flow, failure_text
from runloop.openings.graph import OpenedGate
from runloop.openings.retry import pause_ms
from runloop.openings.states import (
    Begin,
    Cancel,
    ClockSet,
    CloseGate,
    Command,
    Event,
    Failure,
    Forked,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    State,
    Status,
    StopNode,
    TakenUp,
    Tick,
    Told,
    Warn,
)
from runloop.openings.timers import Countdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runloop.openings.clauses import Contract
    from runloop.openings.expressions import Ports
    from runloop.openings.graph import Step
    from runloop.openings.model import Opening

NOBODY = "nobody answered in time"
"""Why a gate chose by itself; the comment of its answer in a history."""


class Plan(Flow):
    """One run of ``opening``; ``seed`` decides the jitter of retries, ``max_parallel`` narrows the policy's."""

    def step(self, event: Event, now_ms: int) -> list[Command]:
        """Take ``event`` in and say what to do; time never goes back. Raises KeyError for an unknown node."""
        self._now = max(self._now, now_ms)
        if self.done:
            return []
        self._commands = []
        self._handlers[type(event)](self, event)
        self._advance()
        return self._commands

    @classmethod
    def rebuild(
        cls,
        opening: Opening,
        seed: bytes,
        history: Iterable[tuple[int, Told]],
        now_ms: int | None,
        *,
        max_parallel: int | None = None,
    ) -> tuple[Plan, list[Command]]:
        """The plan after ``history`` (times and facts from a run's records), and the commands that take the run up again at ``now_ms``.

        While folding, nothing starts and nothing expires by itself: only what was recorded happened. Attempts that were under way are
        started again under their number, open gates opened again under theirs. The time between the last record and ``now_ms`` counts
        against no time-out; waits and gates end when they would have ended. With None for ``now_ms`` the run is taken up only to be
        ended: nothing starts or expires any more.

        Raises UnknownNode where the history is not one of this opening.
        """
        plan = cls(opening, seed, max_parallel=max_parallel)
        plan._folding = True
        for at_ms, event in history:
            plan._now = max(plan._now, at_ms - event.by_ms if isinstance(event, ClockSet) else at_ms)
            if not plan.done:
                plan._handlers[type(event)](plan, event)
                plan._advance()
        plan._folding = now_ms is None
        plan.ended = {command.node: command for command in plan._commands if isinstance(command, NodeDone)}
        plan._commands = []
        if plan.final is not None:
            return plan, [plan.final]
        gap = 0 if now_ms is None else max(0, now_ms - plan._now)
        plan._now += gap
        plan._clock.shift(gap)
        for step in plan._steps:
            if step.occupies:
                plan._resume_held(step)
                plan._timers.set(step.index, plan._now + step.timeout_ms)
                plan._commands.append(plan._start_command(step))
            elif step.gate is not None:
                plan._commands.append(plan._gate_command(step, step.gate))
        if plan.status is Status.RUNNING:
            plan._advance()
        return plan, plan._commands

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, _event: Begin) -> None:
        if self.status is not Status.QUEUED:
            return
        self._move_run(Status.RUNNING)
        self._clock.run(self._now)
        for step in self._steps:
            if not step.incoming:
                self._decide(step)

    def _forked(self, _event: Forked) -> None:
        self._clock = Countdown(self.opening.policy.timeout_ms)
        for step in self._steps:
            gate = step.node.gate
            if step.gate is not None and step.gate.contract is None and gate is not None and gate.timeout_ms is not None:
                step.gate = replace(step.gate, deadline_ms=self._now + gate.timeout_ms)
                self._dates.set(step.index, self._now + gate.timeout_ms)

    def _readied(self, event: NodeReady) -> None:
        """Only in a history: if the node waited for a time, it came; everything else that makes a node ready follows by itself."""
        step = self._named(event.node)
        if step.parked and step.gate is None:
            self._wait_over(step)

    def _started(self, event: NodeStarted) -> None:
        self._readied(NodeReady(event.node.partition("[")[0]))
        step = self._named(event.node)
        if step.state is State.READY or (step.state is State.WAITING and not step.held and not step.parked):
            self._start(step)

    def _succeeded(self, event: NodeSucceeded) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is None or self._overdrawn(step, event.tokens - step.attempt_tokens, event.usd_micros - step.attempt_usd):
            return
        self._leave(step)
        contract = step.node.output
        found = event.faults
        if found is None:
            found = faults(contract, event.outputs) if contract is not None else ()
        if contract is None or not found:
            self._pass(step, event.outputs)
        else:
            self._broken(step, contract, event.outputs, found)

    def _failed(self, event: NodeFailed) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is not None and not self._overdrawn(step, event.tokens - step.attempt_tokens, event.usd_micros - step.attempt_usd):
            self._attempt_failed(step, Failure(event.code, event.reason), retryable=event.retryable)

    def _taken_up(self, event: TakenUp) -> None:
        self._clock.shift(max(0, self._now - event.since_ms))

    def _clock_set(self, event: ClockSet) -> None:
        self.set_clock(event.by_ms, event.set_ms)

    def _spent(self, event: NodeSpent) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is not None:
            self._overdrawn(step, event.tokens, event.usd_micros, stop=True)

    def _waiting(self, event: NodeWaiting) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is None or step.held:
            return
        self._move(step, State.WAITING)
        self._running -= 1
        self._held += 1
        step.held = True
        step.left_ms = max(0, (self._timers.clear(step.index) or self._now) - self._now)

    def _resumed(self, event: NodeResumed) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is not None and self._resume_held(step):
            self._timers.set(step.index, self._now + step.left_ms)

    def set_clock(self, by_ms: int, set_ms: int) -> None:
        """As :class:`ClockSet`; the dates stay where they are."""
        self._now += by_ms
        self._timers.shift(by_ms)
        self._clock.shift(by_ms)
        for step in self._steps if set_ms and self._parked else ():
            wait, ends_ms = step.node.wait, self._dates.at(step.index)
            if ends_ms is not None and step.gate is None and wait is not None and wait.for_ms is not None:
                self._dates.set(step.index, ends_ms + set_ms)

    def _tick(self, _event: Tick) -> None:
        """Deadlines are looked at after every event; this one brings only the time."""

    def _cancel(self, event: Cancel) -> None:
        self._end(Status.CANCELLED, event.reason, event.code, State.CANCELLED)

    # ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _attempt_failed(self, step: Step, failure: Failure, *, retryable: bool) -> None:
        self._leave(step)
        failures = step.tries - step.broken
        if retryable and failures < step.node.retry.max_attempts:
            self._again(step, failure, pause_ms(step.node.retry, self.seed, step.id, failures))
        else:
            self._fail(step, failure)

    def _again(self, step: Step, failure: Failure, pause: int = 0, outputs: Ports | None = None) -> None:
        """Another attempt after a pause."""
        if step.state is State.RUNNING:
            self._move(step, State.WAITING)
        self._commands.append(NodeRetrying(step.id, step.attempt, failure, self._now + pause, outputs or {}))
        if pause:
            self._timers.set(step.index, self._now + pause)
        else:
            self._enqueue(step)

    def _broken(self, step: Step, contract: Contract, outputs: Ports, found: Sequence[dict[str, Any]]) -> None:
        """An attempt ended well, and its output breaks the node's contract."""
        step.broken += 1
        failure, left = contract_failure(contract, found), step.broken < contract.attempts
        if contract.retry is ContractRetry.ESCALATE:
            options = (ACCEPT, RETRY, REJECT) if left else (ACCEPT, REJECT)
            self._open_gate(step, OpenedGate(failure.message, options, outputs, contract=contract, faults=tuple(found)))
        elif left:
            if contract.retry is ContractRetry.CONTINUE:
                step.feedback = [feedback(contract, outputs, found, "")]
            self._again(step, failure, outputs=outputs)
        elif contract.warn:
            self._commands.append(Warn(step.id, failure.message))
            self._pass(step, outputs)
        else:
            self._fail(step, failure, gave=outputs)

    # ── gates ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answered(self, event: GateAnswered) -> None:
        step = self._named(event.node)
        if step.gate is not None and step.gate.round == event.round and event.option in step.gate.options:
            self._answer(step, step.gate, event.option, event.comment)

    def _answer(self, step: Step, gate: OpenedGate, option: str, comment: str) -> None:
        self._unpark(step)
        if gate.contract is not None:
            self._judged(step, gate.contract, gate, option, comment)
        elif option == REJECT:
            self._fail(step, Failure("gate.rejected", f"rejected at the gate{f': {comment}' if comment else ''}"))
        elif option == REVISE:
            self._revise(step, self._by_id[gate.revise_to], comment)
        else:
            self._deliver(step, {**gate.outputs, GATE_PORT: [option]})

    def _judged(self, step: Step, contract: Contract, gate: OpenedGate, option: str, comment: str) -> None:
        """A person's word about an output that breaks its contract."""
        failure = contract_failure(contract, gate.faults)
        if option == ACCEPT:
            self._pass(step, gate.outputs)
        elif option == RETRY:
            step.feedback = [feedback(contract, gate.outputs, gate.faults, comment)]
            self._again(step, failure, outputs=gate.outputs)
        else:
            self._fail(step, failure)

    def _overdrawn(self, step: Step, tokens: int, usd_micros: int, *, stop: bool = False) -> bool:
        """Book what an attempt spent; if that is too much, the node fails, or the run if the opening's budget is gone."""
        self._book(step, tokens, usd_micros)
        whole, own = self._account.excess(), step.account.excess()
        if not whole and not own:
            return False
        failure = Failure("budget", f"the {'opening' if whole else 'node'} used {whole or own}")
        if stop:
            self._commands.append(StopNode(step.id, step.attempt, failure.message))
        if whole:
            self._leave(step)
            self._finish(step, State.ERROR, failure)
            self._end(Status.FAILED, failure_text(step, failure), "budget", State.SKIPPED)
        else:
            self._leave(step)
            self._fail(step, failure, whole=True)
        return True

    def book(self, event: NodeSpent) -> None:
        """Count what an attempt spent, and let nothing follow from it: the run is to end for another reason."""
        step = self._under_way(event.node, event.attempt)
        if step is not None:
            self._book(step, event.tokens, event.usd_micros)

    def _book(self, step: Step, tokens: int, usd_micros: int) -> None:
        tokens, usd_micros = max(0, tokens), max(0, usd_micros)
        step.attempt_tokens += tokens
        step.attempt_usd += usd_micros
        step.account.spend(tokens, usd_micros)
        self._account.spend(tokens, usd_micros)

    # ── the way of the run ───────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        """After an event: what follows, what is due, what can start, whether all is done."""
        if self.status is not Status.RUNNING:
            return
        self._carry()
        if self._open and not self._folding:
            self._expire()
            self._fill_places()
        if self._open == 0 and not self.done:
            self._conclude()
        if (self._held or self._parked) and not self._running:
            self._clock.hold(self._now)
        else:
            self._clock.run(self._now)

    def _expire(self) -> None:
        if self._clock.ends_ms is not None and self._clock.ends_ms <= self._now:
            reason = f"opening timed out after {self.opening.policy.timeout_ms} ms"
            self._end(Status.FAILED, reason, "timeout", State.SKIPPED)
        while not self.done and (index := self._timers.pop_due(self._now)) is not None:
            step = self._steps[index]
            if step.state is State.WAITING:
                self._enqueue(step)
                continue
            failure = step.timeout_failure()
            self._commands.append(StopNode(step.id, step.attempt, failure.message))
            self._attempt_failed(step, failure, retryable=True)
            self._carry()
        while not self.done and (index := self._dates.pop_due(self._now)) is not None:
            self._date_came(self._steps[index])
            self._carry()

    def _date_came(self, step: Step) -> None:
        """A wait is over, or nobody answered a gate in time."""
        gate = step.gate
        if gate is None:
            self._wait_over(step)
            return
        self._commands.append(CloseGate(step.id, gate.round, NOBODY, gate.on_timeout))
        self._answer(step, gate, gate.on_timeout, NOBODY)

    def _fill_places(self) -> None:
        while self._queue and not self.done and (self.max_parallel is None or self._running + self._held < self.max_parallel):
            ticket, step = self._queue.popleft()
            if step.ticket == ticket:
                self._start(step)

    _handlers: ClassVar[dict[type, Callable[[Plan, Any], None]]] = {
        Begin: _begin,
        Forked: _forked,
        NodeReady: _readied,
        NodeStarted: _started,
        TakenUp: _taken_up,
        ClockSet: _clock_set,
        NodeSucceeded: _succeeded,
        NodeFailed: _failed,
        NodeSpent: _spent,
        NodeWaiting: _waiting,
        NodeResumed: _resumed,
        GateAnswered: _answered,
        Tick: _tick,
        Cancel: _cancel,
    }
