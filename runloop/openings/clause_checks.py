"""Clauses against the graph: what a node says about its in-edges, its ancestors and its ports must be so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.clauses import FEEDBACK_PORT, GATE_PORT, REVISE_PORT, VOTE_PORT, ContractRetry, MergeRule

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runloop.openings.errors import Report
    from runloop.openings.model import Edge, Node


def check_clauses(nodes: Sequence[Node], edges: Sequence[Edge], node_ids: Collection[str], report: Report) -> None:
    """Report clauses that the graph contradicts."""
    incoming: dict[str, list[Edge]] = {node.id: [] for node in nodes}
    for edge in edges:
        incoming.setdefault(edge.target.node, []).append(edge)
    checks = _Checks(report, incoming)
    for node in nodes:
        checks.merge(node)
        checks.for_each(node)
        checks.revision(node, node_ids)
    checks.filled_ports(nodes)
    checks.gate_guards(nodes, edges)


class _Checks:
    def __init__(self, report: Report, incoming: dict[str, list[Edge]]) -> None:
        self._report = report
        self._incoming = incoming

    def _problem(self, node: Node, message: str, hint: str = "", *, key: str) -> None:
        at = node.clause_at.get(key, node.at)
        self._report.add("clause", message, at, node=node.id, key=key, hint=hint)

    def merge(self, node: Node) -> None:
        edges, merge = self._incoming[node.id], node.merge
        if merge.rule is MergeRule.ALL:
            return
        sources = len({edge.source.node for edge in edges})
        if not edges:
            self._problem(node, f"node '{node.id}' has no in-edges to merge", key="merge")
        elif merge.needed > sources:
            self._problem(node, f"at_least {merge.needed} of {sources} sources can never be", "lower it, or add edges", key="merge")
        elif merge.vote is not None and merge.vote.port and all(edge.target.port != merge.vote.port for edge in edges):
            self._problem(node, f"no edge leads to port '{merge.vote.port}', so nobody votes", _ports_hint(edges), key="merge.vote.of")

    def for_each(self, node: Node) -> None:
        each, edges = node.for_each, self._incoming[node.id]
        if each is None:
            return
        if each.port and all(edge.target.port != each.port for edge in edges):
            self._problem(node, f"no edge leads to port '{each.port}', so there are no items", _ports_hint(edges), key="for_each.in")
        if each.name != each.port and any(edge.target.port == each.name for edge in edges):
            key = "for_each.as" if "for_each.as" in node.clause_at else "for_each.in"
            self._problem(node, f"an edge leads to port '{each.name}', which is for the items", "choose another name with 'as'", key=key)

    def revision(self, node: Node, node_ids: Collection[str]) -> None:
        target = node.gate.revise_to if node.gate else ""
        if not target:
            return
        at = node.clause_at.get("gate.revise_to", node.at)
        if target not in node_ids:
            message = f"gate.revise_to names unknown node '{target}'"
            self._report.add("reference", message, at, node=node.id, key="gate.revise_to", near=(target, node_ids))
        elif target not in (above := self._above(node.id)):
            hint = f"it can be: {', '.join(sorted(above))}"
            self._problem(
                node, f"'{target}' does not lead to node '{node.id}', so it cannot be revised from there", hint, key="gate.revise_to"
            )

    def _above(self, node: str) -> set[str]:
        found = {node}
        for name in (order := [node]):
            for edge in self._incoming.get(name, ()):
                if edge.source.node not in found:
                    found.add(edge.source.node)
                    order.append(edge.source.node)
        return found

    def filled_ports(self, nodes: Sequence[Node]) -> None:
        """Edges must not lead to ports that the run fills."""
        filled: dict[tuple[str, str], str] = {}
        for node in nodes:
            if node.merge.vote is not None:
                filled[node.id, VOTE_PORT] = "the result of the vote"
            if node.output is not None and node.output.retry is not ContractRetry.FRESH:
                filled[node.id, FEEDBACK_PORT] = "what was wrong with the last output"
            if node.gate is not None and node.gate.revise_to:
                filled[node.gate.revise_to, REVISE_PORT] = f"the comment at the gate of '{node.id}'"
        for edges in self._incoming.values():
            for edge in edges:
                what = filled.get((edge.target.node, edge.target.port))
                if what is not None:
                    message = f"port '{edge.target.port}' of node '{edge.target.node}' is for {what}"
                    self._report.add("port", message, edge.to_at, node=edge.target.node, port=edge.target.port, hint="use another port")

    def gate_guards(self, nodes: Sequence[Node], edges: Sequence[Edge]) -> None:
        """A guard on a gate's choice must compare with one of its options."""
        gates = {node.id: node.gate for node in nodes if node.gate is not None}
        for edge in edges:
            gate, guard = gates.get(edge.source.node), edge.guard
            if gate is None or edge.source.port != GATE_PORT or guard is None or guard.literal in gate.options:
                continue
            message = f"{guard.literal!r} is not an option of the gate of '{edge.source.node}'"
            near = str(guard.literal), gate.options
            self._report.add("clause", message, edge.from_at, node=edge.source.node, port=GATE_PORT, near=near)


def _ports_hint(edges: Sequence[Edge]) -> str:
    ports = sorted({edge.target.port for edge in edges})
    return f"edges lead to: {', '.join(ports)}" if ports else "add an edge"
