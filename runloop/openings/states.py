"""What goes into a plan, what comes out, and which state may follow which.

Node states (contracts.md section 3)::

       ┌────── wait: ───────────────────────┐
    pending ──> ready ──> running <──> waiting
       ↑ │        │          │            │
       │ └────────┴──────────┴────────────┴──> ok | error | skipped | cancelled
       └──────────────── revision ─────────────────────────┘

A node waits before it starts (``wait``), between two attempts, because its attempt waits for a person or a timer, or at its gate.
``ok`` follows an attempt, ``skipped`` is for nodes that did not start, and a node that is ready fails without an attempt where it cannot
have one (a vote without a winner, too many items). A revision brings nodes back: they end once more.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from runloop.dataclass import dataclass
from runloop.openings.expressions import Ports
from runloop.openings.scalars import Json

if TYPE_CHECKING:
    from collections.abc import Sequence


class State(StrEnum):
    """A node's state."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    OK = "ok"
    ERROR = "error"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Status(StrEnum):
    """The plan's state; a run has more of them (paused, waiting), which are the run manager's."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({State.OK, State.ERROR, State.SKIPPED, State.CANCELLED})

NODE_TRANSITIONS: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.READY, State.WAITING, State.SKIPPED, State.CANCELLED}),
    State.READY: frozenset({State.RUNNING, State.ERROR, State.SKIPPED, State.CANCELLED}),
    State.RUNNING: frozenset({State.WAITING, State.OK, State.ERROR, State.CANCELLED}),
    State.WAITING: frozenset({State.READY, State.RUNNING, State.OK, State.ERROR, State.SKIPPED, State.CANCELLED}),
    **dict.fromkeys(TERMINAL, frozenset({State.PENDING})),
}

RUN_TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt, a node or a run failed; ``code`` is stable, ``message`` is for people."""

    code: str
    message: str


# ── events: what happened ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Begin:
    """The run starts."""


@dataclass(frozen=True, slots=True)
class NodeSucceeded:
    """An attempt ended well; ``tokens`` and ``usd_micros`` are the attempt's totals, whatever NodeSpent told before.

    ``faults`` are those of its outputs by the node's contract, where they were looked for already; with None the plan does.
    """

    node: str
    attempt: int
    outputs: Ports = field(default_factory=dict)
    tokens: int = 0
    usd_micros: int = 0
    faults: Sequence[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """An attempt failed; totals as in NodeSucceeded."""

    node: str
    attempt: int
    reason: str
    code: str = "failed"
    retryable: bool = False
    tokens: int = 0
    usd_micros: int = 0


@dataclass(frozen=True, slots=True)
class NodeSpent:
    """A running attempt used this much more; keeps the budgets right while nodes run side by side."""

    node: str
    attempt: int
    tokens: int = 0
    usd_micros: int = 0


@dataclass(frozen=True, slots=True)
class NodeWaiting:
    """An attempt waits for a person or a timer: its time-out stands still (not for a model; that is work)."""

    node: str
    attempt: int


@dataclass(frozen=True, slots=True)
class NodeResumed:
    """What the attempt waited for is there."""

    node: str
    attempt: int


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """A person, or the gate's time-out, chose ``option`` at gate ``round`` of the node; options that it does not offer are ignored."""

    node: str
    round: int
    option: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """Only in a history that a plan is rebuilt from: the next attempt of the node was started."""

    node: str


@dataclass(frozen=True, slots=True)
class TakenUp:
    """Only in a history: nothing was under way since ``since_ms`` (no process had the run), so that time counts against no time-out."""

    since_ms: int


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Only in a history: the clock moved by so much other than by itself; what is left of every time-out stays.

    By ``set_ms`` of that it was set: what is left of a wait ``for`` a time stays, too.
    """

    by_ms: int
    set_ms: int = 0


@dataclass(frozen=True, slots=True)
class Forked:
    """Only in a history: a fork goes on from here, with a clock of its own, and asks at open gates with their whole time."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; send one at ``next_deadline_ms``."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody wants the run to end, or nobody is there who could let it go on; ``code`` is the run's then."""

    reason: str = "cancelled"
    code: str = "cancelled"


Event: TypeAlias = Begin | NodeSucceeded | NodeFailed | NodeSpent | NodeWaiting | NodeResumed | GateAnswered | Tick | Cancel


# ── commands: what to do, in order ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class NodeReady:
    """All inputs are decided; the node starts as soon as there is room."""

    node: str


@dataclass(frozen=True, slots=True)
class StartNode:
    """Start an attempt of ``use`` (an agent, or an opening to run as a child) with the values of its input ports.

    ``since`` is the first attempt since the node was last sent back by a gate: those from there on are tries at the same work.
    """

    node: str
    attempt: int
    inputs: dict[str, list[Json]]
    timeout_ms: int
    use: str
    since: int = 1


@dataclass(frozen=True, slots=True)
class StopNode:
    """Stop a running attempt; nothing that it still reports will count."""

    node: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class NodeRetrying:
    """The attempt failed, and the next one starts at ``at_ms``; ``outputs`` are those of an attempt that broke its contract."""

    node: str
    attempt: int
    error: Failure
    at_ms: int
    outputs: Ports = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Ask a person about ``outputs``; ``round`` counts the node's gates from 1.

    At ``deadline_ms`` nobody's answer is taken any more, and ``on_timeout`` is chosen.
    The attempt has ended, and the node holds no place. The answer comes as GateAnswered.
    """

    node: str
    attempt: int
    round: int
    ask: str
    options: tuple[str, ...]
    deadline_ms: int | None
    outputs: Ports
    on_timeout: str = ""


@dataclass(frozen=True, slots=True)
class CloseGate:
    """The gate is closed without an answer; ``option`` is what its time-out chose, empty if nothing was."""

    node: str
    round: int
    why: str
    option: str = ""


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that a person should know, and that stops nothing."""

    node: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeDone:
    """The node ended, in this round; ``attempt`` is its last one, 0 if it did not start; ``why`` explains skipped and cancelled.

    The ``outputs`` of a node that failed are those that broke its contract; nobody gets them. A revision brings a node back: NodeReady
    follows, and another NodeDone.
    """

    node: str
    attempt: int
    status: State
    outputs: Ports = field(default_factory=dict)
    error: Failure | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RunDone:
    """The run ended: exactly one, the last command. ``saved`` has the ports of ``artifacts.save`` that were produced, by ``node.port``."""

    status: Status
    reason: str
    saved: dict[str, list[Json]]
    code: str = ""
    tokens: int = 0
    usd_micros: int = 0


Command: TypeAlias = NodeReady | StartNode | StopNode | NodeRetrying | OpenGate | CloseGate | Warn | NodeDone | RunDone
Told: TypeAlias = Event | NodeReady | NodeStarted | TakenUp | ClockSet | Forked
"""What a history is made of."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A node that waits for something outside: ``why`` is ``timer``, ``gate`` or ``person``; ``until_ms`` is when it ends by itself."""

    node: str
    why: str
    until_ms: int | None
