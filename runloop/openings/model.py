"""An opening as values: what the language says, checked, with templates filled in. Places do not count for equality."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.openings.clauses import Contract, ForEach, Gate, Merge, Wait, notes
from runloop.openings.errors import START, Place

if TYPE_CHECKING:
    from runloop.openings.examples import Example
    from runloop.openings.expressions import Condition, Expression, PortRef
    from runloop.openings.scalars import Json
    from runloop.openings.yamltree import Fields

ORDER_PORT = "in"
"""The input port that every node has; it orders, and its values are not handed to the node."""

DEFAULT_TIMEOUT_MS = 30_000
"""An attempt's wall time where neither node nor policy says otherwise (spec 9.1)."""

ACTIONS = ("mail.outbox", "mail.smtp", "files.write", "exec.run", "http.send", "kb.propose", "model.complete")
"""Actions that approvals name (ADR 1); ``policy.approve_in_advance`` lists some of them."""


class OnFailure(StrEnum):
    """What a node's final failure means for the run (docs/openings.md has the table)."""

    FAIL = "fail"
    CONTINUE = "continue"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Retry:
    """Attempts and the pause between them; the defaults are those of a node without ``retry``."""

    max_attempts: int = 1
    initial_ms: int = 0
    max_ms: int | None = None
    multiplier: float = 0.0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """The opening's limits; None means no limit. Money is in millionths of a dollar."""

    budget_tokens: int | None = None
    budget_usd_micros: int | None = None
    timeout_ms: int | None = None
    confirm_external: bool = True
    approve_in_advance: tuple[str, ...] = ()
    max_parallel: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One step: an agent, or a nested opening (``kind`` says which), and how to run it.

    ``with_tree`` has the places of its arguments, ``clause_at`` those of its clauses (``gate.revise_to``, ``merge``, …).
    """

    id: str
    kind: str
    name: str
    variant: str | None = None
    with_args: dict[str, Json] = field(default_factory=dict)
    with_schema: Json = None
    retry: Retry = field(default_factory=Retry)
    timeout_ms: int | None = None
    budget_tokens: int | None = None
    budget_usd_micros: int | None = None
    tags: tuple[str, ...] = ()
    on_failure: OnFailure = OnFailure.FAIL
    merge: Merge = field(default_factory=Merge)
    wait: Wait | None = None
    for_each: ForEach | None = None
    output: Contract | None = None
    gate: Gate | None = None
    at: Place = field(default=START, compare=False, repr=False)
    use_at: Place = field(default=START, compare=False, repr=False)
    with_tree: Fields | None = field(default=None, compare=False, repr=False)
    clause_at: dict[str, Place] = field(default_factory=dict, compare=False, repr=False)

    @property
    def notes(self) -> list[str]:
        """What is special about when and how it runs, a few words each."""
        return notes(self.wait, self.merge, self.for_each, self.output, self.gate)

    @property
    def use(self) -> str:
        """The reference as written: ``agent:<name>[@<variant>]`` or ``opening:<name>``."""
        return f"{self.kind}:{self.name}" + (f"@{self.variant}" if self.variant else "")


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection between two ports; with a guard it carries, and its target runs, only if the guard holds."""

    source: PortRef
    target: PortRef
    guard: Condition | None = None
    from_at: Place = field(default=START, compare=False, repr=False)
    to_at: Place = field(default=START, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.source}{f' {self.guard}' if self.guard else ''} -> {self.target}"


@dataclass(frozen=True, slots=True)
class Success:
    """When a run whose nodes did not fail has succeeded."""

    mode: str
    expressions: tuple[Expression, ...]

    def __str__(self) -> str:
        return f"{self.mode}: " + ", ".join(str(expression) for expression in self.expressions)

    def holds(self, outputs: dict[str, Any]) -> bool:
        """``any_of`` or ``all_of`` the expressions on the nodes' outputs."""
        combine = any if self.mode == "any_of" else all
        return combine(expression.holds(outputs) for expression in self.expressions)


@dataclass(frozen=True, slots=True)
class Opening:
    """A checked document; ``digest`` is the BLAKE3 of ``source``, ``params`` are the merged ones."""

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    version: int = 0
    goals: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    params: dict[str, Json] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    success: Success | None = None
    save: tuple[PortRef, ...] = ()
    digest: str = ""
    file: str | None = field(default=None, compare=False)
    source: str = field(default="", compare=False, repr=False)
    save_at: tuple[Place, ...] = field(default=(), compare=False, repr=False)
    success_at: tuple[Place, ...] = field(default=(), compare=False, repr=False)
    _by_id: dict[str, Node] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for node in self.nodes:
            self._by_id.setdefault(node.id, node)

    def node(self, node_id: str) -> Node:
        """The node of that id, or of that instance (``node[3]``); raises KeyError."""
        return self._by_id[node_id.partition("[")[0]]
