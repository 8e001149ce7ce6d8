"""The way of a run through its graph: how one node's end decides the next, and how nodes are stopped, failed and brought back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runloop.openings.clauses import VOTE_PORT, MergeRule
from runloop.openings.fanout import collect, item_inputs, ports_read
from runloop.openings.graph import OpenedGate, Step, below, losers
from runloop.openings.machine import Machine
from runloop.openings.model import OnFailure
from runloop.openings.states import TERMINAL, CloseGate, Failure, NodeReady, RunDone, State, Status, StopNode
from runloop.openings.votes import decide

if TYPE_CHECKING:
    from runloop.openings.clauses import ForEach
    from runloop.openings.expressions import Ports
    from runloop.openings.model import Opening


class Flow(Machine):
    """What happens to nodes, apart from the events that make it happen."""

    def __init__(self, opening: Opening, seed: bytes, *, max_parallel: int | None = None) -> None:
        super().__init__(opening, seed, max_parallel=max_parallel)
        self._ports_read = ports_read(opening)

    # ── forwards ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _carry(self) -> None:
        """Carry the ends of nodes along their edges, until nothing more follows."""
        while self._ended:
            source = self._ended.popleft()
            ports = self._outputs.get(source.id, {})
            delivered: dict[Step, bool] = {}
            for link in source.outgoing:
                link.decide(ports)
                link.target.undecided -= 1
                link.target.blocked |= link.failed
                delivered[link.target] = delivered.get(link.target, False) or bool(link.values)
            for target, brought in delivered.items():
                target.delivered += brought
                self._decide(target)

    def _decide(self, step: Step) -> None:
        runs = step.verdict() if step.state is State.PENDING else None
        if runs:
            self._admit(step)
        elif runs is not None:
            self._finish(step, State.SKIPPED, why=step.why_skipped())

    def _admit(self, step: Step) -> None:
        """The node shall run: with what it got until now, and no earlier than its ``wait`` says."""
        inputs = step.inputs = step.collect()
        merge, wait = step.node.merge, step.node.wait
        if merge.vote is not None:
            result = decide(merge.vote, inputs.get(merge.vote.port, []))
            if isinstance(result, Failure):
                self._move(step, State.READY)
                self._fail(step, result)
                return
            inputs[VOTE_PORT] = [result]
        ends_ms = 0 if wait is None else wait.ends_ms(self._now)
        if ends_ms > self._now:
            self._park(step, ends_ms)
        else:
            self._make_ready(step)
        if merge.rule is MergeRule.FIRST_OK:
            for loser in losers(step):
                self._halt(loser, f"'{step.id}' has what it needs", State.CANCELLED)

    def _wait_over(self, step: Step) -> None:
        self._unpark(step)
        self._make_ready(step)

    def _make_ready(self, step: Step) -> None:
        self._move(step, State.READY)
        self._commands.append(NodeReady(step.id))
        if step.node.for_each is None:
            self._enqueue(step)
            return
        inputs = item_inputs(step.node.for_each, step.inputs)
        if isinstance(inputs, Failure):
            self._fail(step, inputs)
            return
        step.items = [self._item(step, index) for index in range(len(inputs))]
        step.left = len(inputs)
        for item, own in zip(step.items, inputs, strict=True):
            item.inputs = own
            self._enqueue(item)
        if not step.items:
            self._frame(step)
            self._collect(step, step.node.for_each)

    def _item(self, parent: Step, index: int) -> Step:
        """The step of an item, as ready as its node; that of an earlier round is taken again, so that attempts count on."""
        name = f"{parent.id}[{index}]"
        step = self._by_id.get(name)
        if step is None:
            step = Step.item(parent, len(self._steps), name)
            self._steps.append(step)
            self._by_id[name] = step
            self._states[name] = State.PENDING
        else:
            self._renew(step)
        step.revise = parent.revise
        self._move(step, State.READY)
        return step

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pass(self, step: Step, outputs: Ports) -> None:
        """The outputs are good: they go to the node's gate if it has one, else on."""
        gate = step.node.gate if step.parent is None else None
        if gate is None:
            self._deliver(step, outputs)
            return
        deadline_ms = None if gate.timeout_ms is None else self._now + gate.timeout_ms
        options, on_timeout = gate.offered(step.revisions), "" if deadline_ms is None else gate.on_timeout
        self._open_gate(step, OpenedGate(gate.ask, options, outputs, deadline_ms, on_timeout, gate.revise_to))

    def _open_gate(self, step: Step, gate: OpenedGate) -> None:
        step.gate_round += 1
        self._park(step, gate.deadline_ms)
        step.gate = replace(gate, round=step.gate_round)
        self._commands.append(self._gate_command(step, step.gate))

    def _deliver(self, step: Step, outputs: Ports) -> None:
        self._outputs[step.id] = outputs
        self._finish(step, State.OK)
        self._item_ended(step)

    def _item_ended(self, step: Step) -> None:
        """An item ended in a way with which its node goes on."""
        parent, each = step.parent, step.node.for_each
        if parent is None or each is None:
            return
        parent.left -= 1
        if parent.left == 0:
            self._collect(parent, each)

    def _collect(self, step: Step, each: ForEach) -> None:
        """All items of a for_each node ended."""
        self._pass(step, collect(each, step.items, self._outputs, self._ports_read.get(step.id, ["out"])))

    def _fail(self, step: Step, failure: Failure, *, whole: bool = False, gave: Ports | None = None) -> None:
        """The final failure of a node, or of an item; with ``whole`` it is that of the item's node, whatever the others do."""
        self._finish(step, State.ERROR, failure, gave=gave)
        parent, each = step.parent, step.node.for_each
        if parent is None or each is None:
            self._node_failed(step, failure)
            return
        step.failure = failure
        if each.keep_going and not whole:
            self._item_ended(step)
            return
        number = parent.items.index(step)
        self._halt_items(parent, f"item {number} failed")
        self._fail(parent, Failure(failure.code, f"item {number}: {failure.message}"))

    def _node_failed(self, step: Step, failure: Failure) -> None:
        if step.node.on_failure is OnFailure.FAIL:
            self._end(Status.FAILED, failure_text(step, failure), failure.code, State.SKIPPED)
        elif step.node.on_failure is OnFailure.CONTINUE:
            self._failures[step.index] = failure

    def _halt(self, step: Step, why: str, unstarted: State) -> None:
        """End what has not ended: stop its attempt and its items, close its gate, forget its pause."""
        if step.occupies:
            self._leave(step)
            self._commands.append(StopNode(step.id, step.attempt, why))
        if step.gate is not None:
            self._commands.append(CloseGate(step.id, step.gate.round, why))
        if step.parked:
            self._unpark(step)
        self._timers.clear(step.index)
        step.ticket = 0
        self._halt_items(step, why)
        self._finish(step, State.CANCELLED if step.tries else unstarted, why=why)

    def _halt_items(self, step: Step, why: str) -> None:
        step.waiting.clear()
        for item in step.items:
            if item.state not in TERMINAL:
                self._halt(item, why, State.SKIPPED)

    def _end(self, status: Status, reason: str, code: str, never_started: State) -> None:
        """Stop what runs, decide the rest, and close."""
        for step in self._steps:
            if step.state not in TERMINAL:
                self._halt(step, reason, never_started)
        self._close(status, reason, code)

    def _close(self, status: Status, reason: str, code: str) -> None:
        self._move_run(status)
        self._queue.clear()
        self._ended.clear()
        saved = {}
        for ref in self.opening.save:
            values = self._outputs.get(ref.node, {}).get(ref.port)
            if values is not None:
                saved[str(ref)] = list(values)
        self.final = RunDone(status, reason, saved, code, *self.spent)
        self._commands.append(self.final)

    def _conclude(self) -> None:
        """Every node has ended."""
        if self._failures:
            index = min(self._failures)
            failure = self._failures[index]
            self._close(Status.FAILED, failure_text(self._steps[index], failure), failure.code)
        elif self.opening.success is not None and not self.opening.success.holds(self._outputs):
            self._close(Status.FAILED, f"success expression did not hold ({self.opening.success})", "success")
        else:
            self._close(Status.SUCCEEDED, "", "")

    # ── backwards ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _revise(self, step: Step, first: Step, comment: str) -> None:
        """Decide anew ``first``, which gets the comment, and all that depends on it."""
        step.revisions += 1
        affected = below(first)
        for each in affected:
            if each.state not in TERMINAL and each.state is not State.PENDING:
                self._halt(each, f"revised after '{step.id}'", State.CANCELLED)
        self._ended.clear()  # none of these ends counts
        for each in affected:
            if each.state is not State.PENDING:
                self._open += 1
                self._renew(each)
            for link in each.outgoing:
                link.take_back()
        for each in affected:
            each.recount()
        first.revise = [comment]
        for each in affected:
            self._decide(each)

    def _renew(self, step: Step) -> None:
        """Be as if never decided, but for the count of attempts, gates and revisions, and what was spent."""
        self._move(step, State.PENDING)
        self._outputs.pop(step.id, None)
        self._failures.pop(step.index, None)
        step.tries = step.broken = 0
        step.revise = step.feedback = step.failure = None
        for item in step.items:
            self._outputs.pop(item.id, None)


def failure_text(step: Step, failure: Failure) -> str:
    """A node's failure as the reason of a run."""
    if failure == step.timeout_failure():
        return f"node '{step.id}' timed out after {step.timeout_ms} ms"
    return f"node '{step.id}' failed: {failure.message}"
