"""Openings that use themselves: with a condition on the way that may be what is wanted, without one it never ends."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from runloop.errors import RunloopError
from runloop.openings.clauses import MergeRule
from runloop.openings.model import OnFailure, Opening

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.openings.errors import Report
    from runloop.openings.model import Edge, Node
    from runloop.openings.nesting import Nested

_MAIN_PORT = "out"
"""What every agent and nested opening delivers. Another output port may stay without a value, which is as good as a guard."""


class Recursion:
    """What ``opening`` leads to over the openings that it uses."""

    def __init__(self, opening: Opening, nested: Nested) -> None:
        self._opening = opening
        self._nested = nested
        same = self._found(opening.name)
        self._root = opening.name if same is None or same.digest == opening.digest else ""
        """The name under which nested openings use this one, empty if that is another one's."""
        self._always_run = always_run(opening)
        self._uses: dict[str, tuple[list[str], list[str]]] = {}
        """By name: the openings that an opening uses, and those of them that it always uses."""

    def check(self, node: Node, report: Report) -> bool:
        """Whether the opening of ``node`` can come to an end; reports where it leads to a ring of openings that always use the next."""
        chain = self._chain(node)
        if chain:
            message = f"opening '{node.name}' leads to itself without a condition: {' -> '.join(chain)}"
            hint = "that never ends: put a guard on an edge to one of them, or use another opening"
            report.add("recursion", message, node.use_at, node=node.id, key="use", hint=hint)
        return not chain

    def _chain(self, node: Node) -> list[str]:
        """The names from this opening over ``node`` around such a ring; empty if there is none."""
        self._uses[self._root] = _used([node], self._always_run)
        ways: dict[str, list[str]] = {self._root: []}
        pending = [self._root]
        done: set[str] = set()
        for name in pending:
            if ring := self._ring(name, done):
                return [each or self._opening.name for each in (*ways[name], *ring)]
            for other in self._uses_of(name)[0]:
                if other not in ways:
                    ways[other] = [*ways[name], name]
                    pending.append(other)
        return []

    def _ring(self, start: str, done: set[str]) -> list[str]:
        """The names from ``start``, each always using the next, to the one that is among them already; empty if they end."""
        if start in done:
            return []
        path, pending = [start], [iter(self._uses_of(start)[1])]
        while pending:
            following = next(pending[-1], None)
            if following is None:
                pending.pop()
                done.add(path.pop())
            elif following in path:
                return [*path, following]
            elif following not in done:
                path.append(following)
                pending.append(iter(self._uses_of(following)[1]))
        return []

    def _uses_of(self, name: str) -> tuple[list[str], list[str]]:
        if name not in self._uses:
            child = self._found(name)
            self._uses[name] = ([], []) if child is None else _used(child.nodes, always_run(child))
        return self._uses[name]

    def _found(self, name: str) -> Opening | None:
        """A nested opening; None as well if it cannot be read, which is said where it is checked itself."""
        try:
            return self._nested(name)
        except RunloopError:
            return None


def always_run(opening: Opening) -> set[str]:
    """The nodes without which no run ends well: no guard, failure that is passed over, person or race keeps them from running."""
    if any(node.merge.rule is MergeRule.FIRST_OK for node in opening.nodes):
        return set()
    nodes = {node.id: node for node in opening.nodes}
    guarded = {edge.target.node for edge in opening.edges if edge.guard is not None}
    outgoing: dict[str, list[Edge]] = defaultdict(list)
    for edge in opening.edges:
        outgoing[edge.source.node].append(edge)
    fed: dict[str, set[str]] = defaultdict(set)
    pending = list(nodes.keys() - {edge.target.node for edge in opening.edges})
    always = set(pending)
    while pending:
        source = nodes[pending.pop()]
        if source.gate is not None or source.on_failure is not OnFailure.FAIL:
            continue
        for edge in outgoing[source.id]:
            target = nodes[edge.target.node]
            if edge.guard is not None or edge.source.port != _MAIN_PORT or target.id in always:
                continue
            fed[target.id].add(source.id)
            if len(fed[target.id]) >= target.merge.needed and not (target.merge.rule is MergeRule.ALL and target.id in guarded):
                always.add(target.id)
                pending.append(target.id)
    return always


def _used(nodes: Iterable[Node], always_run: set[str]) -> tuple[list[str], list[str]]:
    using = [node for node in nodes if node.kind == "opening"]
    every = dict.fromkeys(node.name for node in using)
    always = dict.fromkeys(node.name for node in using if node.id in always_run and node.for_each is None)
    return list(every), list(always)
