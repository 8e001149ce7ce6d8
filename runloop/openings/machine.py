"""The nodes' side of a plan: states, the places they occupy, and their clocks."""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING

from runloop.openings.budget import Account, least
from runloop.openings.graph import OpenedGate, Step, link_up
from runloop.openings.states import (
    NODE_TRANSITIONS,
    RUN_TRANSITIONS,
    Command,
    Failure,
    NodeDone,
    OpenGate,
    RunDone,
    StartNode,
    State,
    Status,
    Waiting,
)
from runloop.openings.timers import Countdown, Timers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.openings.expressions import Ports
    from runloop.openings.model import Opening


class UnknownNode(KeyError):  # noqa: N818 - it says what is wrong
    """Something is told of a node, or of an item, that the opening does not have with its parameters; the only argument is its name."""


class Machine:
    """One run of ``opening``; ``seed`` decides the jitter of retries, ``max_parallel`` narrows the policy's.

    Two kinds of deadlines: ``_timers`` (attempts, pauses) stand still while no process drives the run, ``_dates`` (waits, gates) do not.
    """

    def __init__(self, opening: Opening, seed: bytes, *, max_parallel: int | None = None) -> None:
        self.opening = opening
        self.seed = seed
        self.max_parallel = least(max_parallel, opening.policy.max_parallel)
        self.status = Status.QUEUED
        self.final: RunDone | None = None
        self._steps = link_up(opening)
        self._by_id = {step.id: step for step in self._steps}
        self._states = {step.id: State.PENDING for step in self._steps}
        self._outputs: dict[str, Ports] = {}
        self._account = Account(opening.policy.budget_tokens, opening.policy.budget_usd_micros)
        self._queue: deque[tuple[int, Step]] = deque()
        self._tickets = 0
        self._ended: deque[Step] = deque()
        self._timers = Timers()
        self._dates = Timers()
        self._clock = Countdown(opening.policy.timeout_ms)
        self._now = 0
        self._open = len(self._steps)
        self._running = 0
        self._held = 0
        self._parked = 0
        self._failures: dict[int, Failure] = {}
        self._folding = False
        self._commands: list[Command] = []
        self.ended: dict[str, NodeDone] = {}
        """The last ends of nodes in the history of a plan that was rebuilt."""

    @property
    def states(self) -> Mapping[str, State]:
        """Every node's state in declaration order, then those of the items of for_each nodes, as ``node[0]``."""
        return MappingProxyType(self._states)

    @property
    def outputs(self) -> Mapping[str, Ports]:
        """What the nodes and items that ended well produced."""
        return MappingProxyType(self._outputs)

    @property
    def done(self) -> bool:
        """Whether the run ended."""
        return self.final is not None

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next Tick is due, if nothing happens before."""
        return None if self.done else least(least(self._timers.next(), self._dates.next()), self._clock.ends_ms)

    @property
    def spent(self) -> tuple[int, int]:
        """Tokens and millionths of a dollar so far."""
        return self._account.tokens, self._account.usd_micros

    def waits(self) -> list[Waiting]:
        """What waits for a person or a time: attempts that do (``person``), open gates (``gate``), nodes with a ``wait`` (``timer``)."""
        found = []
        for step in self._steps:
            if step.held:
                found.append(Waiting(step.id, "person", None))
            elif step.parked:
                found.append(Waiting(step.id, "gate" if step.gate else "timer", self._dates.at(step.index)))
        return found

    def close(self) -> None:
        """Nothing happens to it any more. A node and its edges hold each other: what was delivered would stay until the collector looks."""
        for step in self._steps:
            step.incoming = step.outgoing = step.items = ()

    def remaining_tokens(self, node: str) -> int | None:
        """Tokens that ``node`` may still use; None if there is no limit. Raises KeyError for an unknown node."""
        return least(self._by_id[node].account.tokens_left(), self._account.tokens_left())

    def remaining_usd_micros(self, node: str) -> int | None:
        """Money that ``node`` may still use; None if there is no limit. Raises KeyError for an unknown node."""
        return least(self._by_id[node].account.usd_left(), self._account.usd_left())

    def _enqueue(self, step: Step) -> None:
        """Wait for a place; an item first for one of its node's. An older entry of the step, left over from folding, no longer counts."""
        self._tickets += 1
        step.ticket = self._tickets
        if step.parent is None:
            self._queue.append((step.ticket, step))
        else:
            step.parent.waiting.append((step.ticket, step))
            self._let_in(step.parent)

    def _let_in(self, parent: Step) -> None:
        """Let as many items of a for_each node wait for a place as its width allows."""
        width = parent.node.for_each.width if parent.node.for_each else None
        while parent.waiting and (width is None or len(parent.placed) < width):
            ticket, item = parent.waiting.popleft()
            if item.ticket == ticket:
                parent.placed.add(item.index)
                self._queue.append((ticket, item))

    def _start(self, step: Step) -> None:
        step.ticket = 0
        step.attempt += 1
        step.tries += 1
        step.attempt_tokens = step.attempt_usd = 0
        if step.parent is not None:
            step.parent.placed.add(step.index)
            self._frame(step.parent)
        self._move(step, State.RUNNING)
        self._running += 1
        self._timers.set(step.index, self._now + step.timeout_ms)
        self._commands.append(self._start_command(step))

    def _frame(self, parent: Step) -> None:
        """A for_each node runs from the start of its first item; one attempt in each round."""
        if parent.state is State.READY:
            parent.attempt += 1
            parent.tries = 1
            self._move(parent, State.RUNNING)

    def _start_command(self, step: Step) -> StartNode:
        return StartNode(step.id, step.attempt, step.given(), step.timeout_ms, step.node.use, step.attempt - step.tries + 1)

    def _gate_command(self, step: Step, gate: OpenedGate) -> OpenGate:
        return OpenGate(step.id, step.attempt, gate.round, gate.ask, gate.options, gate.deadline_ms, gate.outputs, gate.on_timeout)

    def _leave(self, step: Step) -> None:
        """The attempt no longer occupies a place."""
        if step.held:
            self._held -= 1
            step.held = False
        else:
            self._running -= 1
        self._timers.clear(step.index)
        if step.parent is not None:
            step.parent.placed.discard(step.index)
            self._let_in(step.parent)

    def _resume_held(self, step: Step) -> bool:
        if not step.held:
            return False
        step.held = False
        self._held -= 1
        self._running += 1
        self._move(step, State.RUNNING)
        return True

    def _park(self, step: Step, until_ms: int | None) -> None:
        """Wait without an attempt, until a date if there is one."""
        if step.state is not State.WAITING:
            self._move(step, State.WAITING)
        step.parked = True
        self._parked += 1
        if until_ms is not None:
            self._dates.set(step.index, until_ms)

    def _unpark(self, step: Step) -> None:
        step.parked = False
        step.gate = None
        self._parked -= 1
        self._dates.clear(step.index)

    def _finish(self, step: Step, state: State, error: Failure | None = None, why: str = "", gave: Ports | None = None) -> None:
        """The step's end, in this round; what depends on a node is decided by :meth:`Flow._carry`.

        ``gave`` is what it gave and is refused: that is told, and goes nowhere.
        """
        self._move(step, state)
        attempt = step.attempt if step.tries else 0
        self._commands.append(NodeDone(step.id, attempt, state, gave or self._outputs.get(step.id, {}), error, why))
        if step.parent is None:
            self._open -= 1
            self._ended.append(step)

    def _named(self, node: str) -> Step:
        step = self._by_id.get(node)
        if step is None:
            raise UnknownNode(node)
        return step

    def _under_way(self, node: str, attempt: int) -> Step | None:
        """The step of ``node`` if that attempt is the one that runs or is held."""
        step = self._named(node)
        return step if step.attempt == attempt and step.occupies else None

    def _move(self, step: Step, state: State) -> None:
        if state not in NODE_TRANSITIONS[step.state]:
            raise AssertionError(f"node '{step.id}' cannot go from {step.state} to {state}")
        step.state = self._states[step.id] = state

    def _move_run(self, status: Status) -> None:
        if status not in RUN_TRANSITIONS[self.status]:
            raise AssertionError(f"a run cannot go from {self.status} to {status}")
        self.status = status
