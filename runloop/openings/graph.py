"""The plan's working copy of an opening: nodes and edges linked, each with what is known of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runloop.openings.budget import Account
from runloop.openings.model import DEFAULT_TIMEOUT_MS, ORDER_PORT
from runloop.openings.states import Failure, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.openings.model import Edge, Node, Opening
    from runloop.openings.scalars import Json


@dataclass(slots=True, eq=False)
class Step:
    """A node in the making; ``held`` means that its attempt waits for a person or a timer, with ``left_ms`` of its time-out left."""

    index: int
    node: Node
    timeout_ms: int
    account: Account
    state: State = State.PENDING
    attempt: int = 0
    incoming: list[Link] = field(default_factory=list)
    outgoing: list[Link] = field(default_factory=list)
    undecided: int = 0
    delivered: bool = False
    blocked: bool = False
    queued: bool = False
    held: bool = False
    left_ms: int = 0
    attempt_tokens: int = 0
    attempt_usd: int = 0

    def inputs(self) -> dict[str, list[Json]]:
        """The values of every input port that got some, in the order of the edges; the port that only orders is left out."""
        ports: dict[str, list[Json]] = {}
        for link in self.incoming:
            if link.values and link.edge.target.port != ORDER_PORT:
                ports.setdefault(link.edge.target.port, []).extend(link.values)
        return ports

    def timeout_failure(self) -> Failure:
        """What it is to run into the time-out."""
        return Failure("timeout", f"timeout after {self.timeout_ms} ms")

    def why_skipped(self) -> str:
        """Why a node whose in-edges are all decided does not run; the first guard in the order of the edges speaks."""
        for link in self.incoming:
            if link.edge.guard is not None and not link.values:
                return f"guard {link.edge.source} {link.edge.guard} did not hold"
        return "no input was delivered"


@dataclass(slots=True, eq=False)
class Link:
    """An edge in the making; ``values`` is what it delivered."""

    edge: Edge
    target: Step
    values: Sequence[Json] = ()


def link_up(opening: Opening) -> list[Step]:
    """The steps of ``opening`` in declaration order."""
    default_timeout = opening.policy.timeout_ms or DEFAULT_TIMEOUT_MS
    steps = [
        Step(index, node, node.timeout_ms or default_timeout, Account(node.budget_tokens, node.budget_usd_micros))
        for index, node in enumerate(opening.nodes)
    ]
    by_id = {step.node.id: step for step in steps}
    for edge in opening.edges:
        source, target = by_id[edge.source.node], by_id[edge.target.node]
        link = Link(edge, target)
        source.outgoing.append(link)
        target.incoming.append(link)
        target.undecided += 1
    return steps
