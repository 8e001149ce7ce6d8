"""The nodes' side of a plan: states, the places they occupy, and how one node's end decides the next."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

from runloop.openings.budget import Account, least
from runloop.openings.graph import Step, link_up
from runloop.openings.states import (
    NODE_TRANSITIONS,
    RUN_TRANSITIONS,
    Command,
    Failure,
    NodeDone,
    NodeReady,
    RunDone,
    StartNode,
    State,
    Status,
)
from runloop.openings.timers import Countdown, Timers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings.expressions import Ports
    from runloop.openings.model import Opening


class Machine:
    """One run of ``opening``; ``seed`` decides the jitter of retries, ``max_parallel`` narrows the policy's."""

    def __init__(self, opening: Opening, seed: bytes, *, max_parallel: int | None = None) -> None:
        self.opening = opening
        self.seed = seed
        self.max_parallel = least(max_parallel, opening.policy.max_parallel)
        self.status = Status.QUEUED
        self.final: RunDone | None = None
        self._steps = link_up(opening)
        self._by_id = {step.node.id: step for step in self._steps}
        self._states = {step.node.id: State.PENDING for step in self._steps}
        self._outputs: dict[str, Ports] = {}
        self._account = Account(opening.policy.budget_tokens, opening.policy.budget_usd_micros)
        self._queue: deque[Step] = deque()
        self._timers = Timers()
        self._clock = Countdown(opening.policy.timeout_ms)
        self._now = 0
        self._open = len(self._steps)
        self._running = 0
        self._held = 0
        self._failure: tuple[Step, Failure] | None = None
        self._folding = False
        self._commands: list[Command] = []

    @property
    def states(self) -> Mapping[str, State]:
        """Every node's state, in declaration order."""
        return MappingProxyType(self._states)

    @property
    def outputs(self) -> Mapping[str, Ports]:
        """What the nodes that ended well produced."""
        return MappingProxyType(self._outputs)

    @property
    def done(self) -> bool:
        """Whether the run ended."""
        return self.final is not None

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next Tick is due, if nothing happens before."""
        return None if self.done else least(self._timers.next(), self._clock.ends_ms)

    @property
    def spent(self) -> tuple[int, int]:
        """Tokens and millionths of a dollar so far."""
        return self._account.tokens, self._account.usd_micros

    def remaining_tokens(self, node: str) -> int | None:
        """Tokens that ``node`` may still use; None if there is no limit. Raises KeyError for an unknown node."""
        return least(self._by_id[node].account.tokens_left(), self._account.tokens_left())

    def remaining_usd_micros(self, node: str) -> int | None:
        """Money that ``node`` may still use; None if there is no limit. Raises KeyError for an unknown node."""
        return least(self._by_id[node].account.usd_left(), self._account.usd_left())

    def _make_ready(self, step: Step) -> None:
        self._move(step, State.READY)
        self._enqueue(step)
        self._commands.append(NodeReady(step.node.id))

    def _enqueue(self, step: Step) -> None:
        step.queued = True
        self._queue.append(step)

    def _start(self, step: Step) -> None:
        step.queued = False
        step.attempt += 1
        step.attempt_tokens = step.attempt_usd = 0
        self._move(step, State.RUNNING)
        self._running += 1
        self._timers.set(step.index, self._now + step.timeout_ms)
        self._commands.append(self._start_command(step))

    def _start_command(self, step: Step) -> StartNode:
        return StartNode(step.node.id, step.attempt, step.inputs(), step.timeout_ms, step.node.use)

    def _leave(self, step: Step) -> None:
        """The attempt no longer occupies a place."""
        if step.held:
            self._held -= 1
            step.held = False
        else:
            self._running -= 1
        self._timers.clear(step.index)

    def _resume_held(self, step: Step) -> bool:
        if not step.held:
            return False
        step.held = False
        self._held -= 1
        self._running += 1
        self._move(step, State.RUNNING)
        return True

    def _decide_from(self, first: Step) -> None:
        """Carry a node's end along its edges, and on from every node that is skipped by it."""
        ended = deque([first])
        while ended:
            source = ended.popleft()
            ports = self._outputs.get(source.node.id, {})
            for link in source.outgoing:
                values, guard, target = ports.get(link.edge.source.port), link.edge.guard, link.target
                if guard is not None and not guard.holds(values):
                    target.blocked = True
                elif values:
                    link.values = values
                    target.delivered = True
                target.undecided -= 1
                if target.undecided:
                    continue
                if target.delivered and not target.blocked:
                    self._make_ready(target)
                else:
                    self._finish(target, State.SKIPPED, why=target.why_skipped())
                    ended.append(target)

    def _finish(self, step: Step, state: State, error: Failure | None = None, why: str = "") -> None:
        self._move(step, state)
        self._open -= 1
        self._commands.append(NodeDone(step.node.id, step.attempt, state, self._outputs.get(step.node.id, {}), error, why))

    def _under_way(self, node: str, attempt: int) -> Step | None:
        """The step of ``node`` if that attempt is the one that runs or is held."""
        step = self._by_id[node]
        return step if step.attempt == attempt and (step.state is State.RUNNING or step.held) else None

    def _move(self, step: Step, state: State) -> None:
        if state not in NODE_TRANSITIONS[step.state]:
            raise AssertionError(f"node '{step.node.id}' cannot go from {step.state} to {state}")
        step.state = self._states[step.node.id] = state

    def _move_run(self, status: Status) -> None:
        if status not in RUN_TRANSITIONS[self.status]:
            raise AssertionError(f"a run cannot go from {self.status} to {status}")
        self.status = status
