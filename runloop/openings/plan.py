"""The plan of a run: a pure state machine. Events in, commands out; no I/O, no clock, no randomness but the seed.

Rules, all of them here and nowhere else (docs/openings.md argues them):

* A node is decided when every in-edge is. It runs if at least one in-edge delivered and every guard held; else it is skipped. A node
  without in-edges runs. A node that is skipped or failed delivers nothing, and no guard on its outputs holds.
* Values arrive in the order of the edges, whatever the order of completion.
* An attempt that times out, or fails retryably, is repeated after a pause while attempts are left.
* A final failure ends the run (``fail``), lets independent nodes go on and fails the run at the end (``continue``), or is forgiven
  (``skip``).
* Ending the run stops what runs (``cancelled``) and skips what did not start. There is exactly one RunDone, and it is the last command.
* Reports about another attempt than the one that runs are ignored: they are late, or repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from runloop.openings.machine import Machine
from runloop.openings.model import OnFailure
from runloop.openings.retry import pause_ms
from runloop.openings.states import (
    TERMINAL,
    Begin,
    Cancel,
    Command,
    Event,
    Failure,
    NodeFailed,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    RunDone,
    State,
    Status,
    StopNode,
    Tick,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runloop.openings.graph import Step
    from runloop.openings.model import Opening


class Plan(Machine):
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
        history: Iterable[tuple[int, Event | NodeStarted]],
        now_ms: int,
        *,
        max_parallel: int | None = None,
    ) -> tuple[Plan, list[Command]]:
        """The plan after ``history`` (times and facts from a run's records), and the commands that take the run up again at ``now_ms``.

        While folding, nothing starts and nothing expires by itself: only what was recorded happened. Attempts that were under way are
        started again under their number. The time between the last record and ``now_ms`` counts against no deadline.
        """
        plan = cls(opening, seed, max_parallel=max_parallel)
        plan._folding = True
        for at_ms, event in history:
            plan._now = max(plan._now, at_ms)
            if not plan.done:
                plan._handlers[type(event)](plan, event)
                plan._advance()
        plan._folding = False
        plan._commands = []
        if plan.final is not None:
            return plan, [plan.final]
        gap = max(0, now_ms - plan._now)
        plan._now += gap
        plan._timers.shift(gap)
        plan._clock.shift(gap)
        for step in plan._steps:
            if step.state is State.RUNNING or step.held:
                plan._resume_held(step)
                plan._timers.set(step.index, plan._now + step.timeout_ms)
                plan._commands.append(plan._start_command(step))
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
                self._make_ready(step)

    def _started(self, event: NodeStarted) -> None:
        step = self._by_id[event.node]
        if step.state is State.READY or (step.state is State.WAITING and not step.held):
            self._start(step)

    def _succeeded(self, event: NodeSucceeded) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is None or self._overdrawn(step, event.tokens - step.attempt_tokens, event.usd_micros - step.attempt_usd):
            return
        self._leave(step)
        self._outputs[event.node] = event.outputs
        self._finish(step, State.OK)
        self._decide_from(step)

    def _failed(self, event: NodeFailed) -> None:
        step = self._under_way(event.node, event.attempt)
        if step is not None and not self._overdrawn(step, event.tokens - step.attempt_tokens, event.usd_micros - step.attempt_usd):
            self._attempt_failed(step, Failure(event.code, event.reason), retryable=event.retryable)

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

    def _tick(self, _event: Tick) -> None:
        """Deadlines are looked at after every event; this one brings only the time."""

    def _cancel(self, event: Cancel) -> None:
        self._end(Status.CANCELLED, event.reason, "cancelled", State.CANCELLED)

    # ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _attempt_failed(self, step: Step, failure: Failure, *, retryable: bool) -> None:
        self._leave(step)
        if not retryable or step.attempt >= step.node.retry.max_attempts:
            self._node_failed(step, failure)
            return
        if step.state is State.RUNNING:
            self._move(step, State.WAITING)
        at_ms = self._now + pause_ms(step.node.retry, self.seed, step.node.id, step.attempt)
        self._timers.set(step.index, at_ms)
        self._commands.append(NodeRetrying(step.node.id, step.attempt, failure, at_ms))

    def _node_failed(self, step: Step, failure: Failure) -> None:
        self._finish(step, State.ERROR, failure)
        if step.node.on_failure is OnFailure.FAIL:
            self._end(Status.FAILED, _reason(step, failure), failure.code, State.SKIPPED)
            return
        if step.node.on_failure is OnFailure.CONTINUE and (self._failure is None or step.index < self._failure[0].index):
            self._failure = (step, failure)
        self._decide_from(step)

    def _overdrawn(self, step: Step, tokens: int, usd_micros: int, *, stop: bool = False) -> bool:
        """Book what an attempt spent; if that is too much, the node fails, or the run if the opening's budget is gone."""
        tokens, usd_micros = max(0, tokens), max(0, usd_micros)
        step.attempt_tokens += tokens
        step.attempt_usd += usd_micros
        step.account.spend(tokens, usd_micros)
        self._account.spend(tokens, usd_micros)
        whole, own = self._account.excess(), step.account.excess()
        if not whole and not own:
            return False
        failure = Failure("budget", f"the {'opening' if whole else 'node'} used {whole or own}")
        if stop:
            self._commands.append(StopNode(step.node.id, step.attempt, failure.message))
        if whole:
            self._leave(step)
            self._finish(step, State.ERROR, failure)
            self._end(Status.FAILED, _reason(step, failure), "budget", State.SKIPPED)
        else:
            self._attempt_failed(step, failure, retryable=False)
        return True

    # ── the way of the run ───────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        """After an event: what is due, what can start, whether all is done."""
        if self.status is not Status.RUNNING:
            return
        if self._open and not self._folding:
            self._expire()
            self._fill_places()
        if self._open == 0 and not self.done:
            self._conclude()
        if self._held and not self._running:
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
            self._commands.append(StopNode(step.node.id, step.attempt, failure.message))
            self._attempt_failed(step, failure, retryable=True)

    def _fill_places(self) -> None:
        while self._queue and not self.done and (self.max_parallel is None or self._running + self._held < self.max_parallel):
            step = self._queue.popleft()
            if step.queued:
                self._start(step)

    def _conclude(self) -> None:
        success = self.opening.success
        if self._failure is not None:
            step, failure = self._failure
            self._close(Status.FAILED, _reason(step, failure), failure.code)
        elif success is not None and not success.holds(self._outputs):
            self._close(Status.FAILED, f"success expression did not hold ({success})", "success")
        else:
            self._close(Status.SUCCEEDED, "", "")

    def _end(self, status: Status, reason: str, code: str, never_started: State) -> None:
        """Stop what runs, decide the rest, and close."""
        for step in self._steps:
            if step.state in TERMINAL:
                continue
            if step.state is State.RUNNING or step.held:
                self._leave(step)
                self._commands.append(StopNode(step.node.id, step.attempt, reason))
            self._finish(step, State.CANCELLED if step.attempt else never_started, why=reason)
        self._close(status, reason, code)

    def _close(self, status: Status, reason: str, code: str) -> None:
        self._move_run(status)
        self._queue.clear()
        saved = {}
        for ref in self.opening.save:
            values = self._outputs.get(ref.node, {}).get(ref.port)
            if values is not None:
                saved[str(ref)] = list(values)
        self.final = RunDone(status, reason, saved, code, *self.spent)
        self._commands.append(self.final)

    _handlers: ClassVar[dict[type, Callable[[Plan, Any], None]]] = {
        Begin: _begin,
        NodeStarted: _started,
        NodeSucceeded: _succeeded,
        NodeFailed: _failed,
        NodeSpent: _spent,
        NodeWaiting: _waiting,
        NodeResumed: _resumed,
        Tick: _tick,
        Cancel: _cancel,
    }


def _reason(step: Step, failure: Failure) -> str:
    if failure == step.timeout_failure():
        return f"node '{step.node.id}' timed out after {step.timeout_ms} ms"
    return f"node '{step.node.id}' failed: {failure.message}"
