"""The plan's working copy of an opening: nodes and edges linked, each with what is known of it so far."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.openings.budget import Account
from runloop.openings.clauses import FEEDBACK_PORT, REVISE_PORT, MergeRule
from runloop.openings.model import DEFAULT_TIMEOUT_MS, ORDER_PORT
from runloop.openings.states import TERMINAL, Failure, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runloop.openings.clauses import Contract
    from runloop.openings.expressions import Ports
    from runloop.openings.model import Edge, Node, Opening
    from runloop.openings.scalars import Json


@dataclass(slots=True, eq=False)
class Step:
    """A node in the making, or one item of a ``for_each`` node (then ``parent`` is the node).

    ``attempt`` counts over all rounds, ``tries`` in this one (a revision begins another). ``ticket`` is that of its entry in a queue, 0
    without one. ``held``: its attempt waits for a person or a timer, with ``left_ms`` of its time-out left. ``parked``: it waits for its
    ``wait`` or at a gate, without an attempt. Of a ``for_each`` node: its ``items`` of this round, how many are ``left``, those
    ``waiting`` for a place in its width, the indices of those ``placed``.
    """

    index: int
    id: str
    node: Node
    timeout_ms: int
    account: Account
    state: State = State.PENDING
    attempt: int = 0
    tries: int = 0
    incoming: Sequence[Link] = ()
    outgoing: Sequence[Link] = ()
    undecided: int = 0
    delivered: int = 0
    blocked: bool = False
    ticket: int = 0
    held: bool = False
    left_ms: int = 0
    attempt_tokens: int = 0
    attempt_usd: int = 0
    inputs: Mapping[str, list[Json]] = field(default_factory=dict)
    parked: bool = False
    gate: OpenedGate | None = None
    gate_round: int = 0
    revisions: int = 0
    broken: int = 0
    revise: list[Json] | None = None
    feedback: list[Json] | None = None
    parent: Step | None = None
    items: Sequence[Step] = ()
    waiting: deque[tuple[int, Step]] = field(default_factory=deque)
    placed: set[int] = field(default_factory=set)
    left: int = 0
    failure: Failure | None = None

    @classmethod
    def item(cls, parent: Step, index: int, name: str) -> Step:
        """An item of a ``for_each`` node. None waits in it or has a place: thousands share what is empty, which nobody fills."""
        return cls(
            index, name, parent.node, parent.timeout_ms, parent.account, parent=parent, inputs=_PORTS, waiting=_WAITING, placed=_PLACED
        )

    @property
    def occupies(self) -> bool:
        """Whether an attempt is under way; that of a for_each node is only the frame of its items."""
        return (self.state is State.RUNNING or self.held) and not self.is_frame

    @property
    def is_frame(self) -> bool:
        """Whether it is a for_each node: its items run, it does not."""
        return self.parent is None and self.node.for_each is not None

    def given(self) -> dict[str, list[Json]]:
        """The values of the input ports as the next attempt gets them."""
        extra = {REVISE_PORT: self.revise, FEEDBACK_PORT: self.feedback}
        ports = {**self.inputs, **{port: values for port, values in extra.items() if values is not None}}
        return {port: list(values) for port, values in ports.items()}

    def collect(self) -> dict[str, list[Json]]:
        """The values of every input port that got some, in the order of the edges; the port that only orders is left out."""
        ports: dict[str, list[Json]] = {}
        for link in self.incoming:
            if link.values and link.edge.target.port != ORDER_PORT:
                ports.setdefault(link.edge.target.port, []).extend(link.values)
        return ports

    def verdict(self) -> bool | None:
        """Whether the node runs by what its in-edges brought; None while that is open (docs/openings.md has the table)."""
        merge = self.node.merge
        if not self.incoming:
            return True
        if not merge.waits_for_all and self.delivered >= merge.needed:
            return True
        if self.undecided:
            return None
        return merge.waits_for_all and self.delivered > 0 and not (self.blocked and merge.rule is MergeRule.ALL)

    def timeout_failure(self) -> Failure:
        """What it is to run into the time-out."""
        return Failure("timeout", f"timeout after {self.timeout_ms} ms")

    def why_skipped(self) -> str:
        """Why a node whose in-edges are all decided does not run; the first guard in the order of the edges speaks."""
        if self.delivered and not self.node.merge.waits_for_all:
            return f"{self.delivered} of {self.node.merge.needed} sources delivered"
        for link in self.incoming:
            if link.edge.guard is not None and not link.values:
                return f"guard {link.edge.source} {link.edge.guard} did not hold"
        return "no input was delivered"

    def recount(self) -> None:
        """Count again what the in-edges brought, after some were taken back."""
        self.undecided = sum(not link.decided for link in self.incoming)
        self.blocked = any(link.failed for link in self.incoming)
        self.delivered = len({link.source.index for link in self.incoming if link.values})


_PORTS: Mapping[str, list[Json]] = {}
_WAITING: deque[tuple[int, Step]] = deque()
_PLACED: set[int] = set()


@dataclass(slots=True, eq=False)
class Link:
    """An edge in the making; ``values`` is what it delivered, ``failed`` says that its guard did not hold."""

    edge: Edge
    source: Step
    target: Step
    values: Sequence[Json] = ()
    decided: bool = False
    failed: bool = False

    def decide(self, ports: Ports) -> None:
        """Take what its source produced; nothing if the source did not end well."""
        values, guard = ports.get(self.edge.source.port), self.edge.guard
        self.decided = True
        if guard is not None and not guard.holds(values):
            self.failed = True
        elif values:
            self.values = values

    def take_back(self) -> None:
        """Be undecided again."""
        self.decided = self.failed = False
        self.values = ()


@dataclass(frozen=True, slots=True)
class OpenedGate:
    """A gate that waits for a person; that of an output contract has the ``contract`` and its ``faults``."""

    ask: str
    options: tuple[str, ...]
    outputs: Ports
    deadline_ms: int | None = None
    on_timeout: str = ""
    revise_to: str = ""
    contract: Contract | None = None
    faults: tuple[dict[str, Any], ...] = ()
    round: int = 0


def link_up(opening: Opening) -> list[Step]:
    """The steps of ``opening`` in declaration order."""
    default_timeout = opening.policy.timeout_ms or DEFAULT_TIMEOUT_MS
    steps = [
        Step(index, node.id, node, node.timeout_ms or default_timeout, Account(node.budget_tokens, node.budget_usd_micros))
        for index, node in enumerate(opening.nodes)
    ]
    by_id = {step.id: step for step in steps}
    links = [Link(edge, by_id[edge.source.node], by_id[edge.target.node]) for edge in opening.edges]
    incoming, outgoing = defaultdict[Step, list[Link]](list), defaultdict[Step, list[Link]](list)
    for link in links:
        outgoing[link.source].append(link)
        incoming[link.target].append(link)
    for step in steps:
        step.incoming, step.outgoing = incoming.get(step, ()), outgoing.get(step, ())
        step.undecided = len(step.incoming)
    return steps


def below(first: Step) -> list[Step]:
    """``first`` and all that depends on it, each after one that it depends on."""
    found = {first: None}
    for step in (order := [first]):
        for link in step.outgoing:
            if link.target not in found:
                found[link.target] = None
                order.append(link.target)
    return order


def losers(target: Step) -> list[Step]:
    """What has not ended and leads to ``target`` alone, or to others of these, in declaration order."""
    above = {target: None}
    order = [target]
    for step in order:
        for link in step.incoming:
            if link.source not in above:
                above[link.source] = None
                order.append(link.source)
    doomed = [target]
    needed = {step: len(step.outgoing) for step in order}  # a source that something else needs goes on
    for each in doomed:
        for link in each.incoming:
            needed[link.source] -= 1
            if not needed[link.source] and link.source.state not in TERMINAL:
                doomed.append(link.source)
    return sorted(doomed[1:], key=lambda step: step.index)
