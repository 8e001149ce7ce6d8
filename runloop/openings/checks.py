"""Checks that need more than the document: agents' ports, and a node's arguments against schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from runloop.errors import RunloopError
from runloop.openings.errors import Report
from runloop.openings.fields import place_at
from runloop.openings.hints import violations
from runloop.openings.model import ORDER_PORT

if TYPE_CHECKING:
    from runloop.openings.errors import Place, Problem
    from runloop.openings.expressions import PortRef
    from runloop.openings.model import Edge, Node, Opening
    from runloop.openings.scalars import Json


@dataclass(frozen=True, slots=True)
class AgentPorts:
    """What an agent's manifest says about its edges; without ``ports_out`` its only output is ``out``."""

    ports_in: frozenset[str] = frozenset()
    ports_out: frozenset[str] = frozenset()
    with_schema: Json = field(default=None, hash=False)


Resolve: TypeAlias = Callable[[str, str | None], AgentPorts | None]
"""An agent's ports by name and variant; None if it is not installed, a RunloopError if it is there and cannot be used."""


def check(opening: Opening, resolve: Resolve) -> list[Problem]:
    """The problems of ``opening`` with the agents installed here, in document order; nested openings' ports are not looked at."""
    report = Report(opening.file)
    supplied = _supplied(opening.edges)
    ask = _Agents(resolve)
    agents: dict[str, AgentPorts] = {}
    for node in opening.nodes:
        ports = ask.ports(node, report) if node.kind == "agent" else None
        if ports is None:
            continue
        agents[node.id] = ports
        if ports.with_schema is not None:
            hint = f"the manifest of agent '{node.name}' says so"
            _check_schema(node, ports.with_schema, supplied.get(node.id, ()), report, hint)
    names = {node.id: node.name for node in opening.nodes}
    for edge in opening.edges:
        _check_output(edge.source, agents, names, edge.from_at, report)
        _check_input(edge.target, agents, names, edge.to_at, report)
    if opening.success is not None:
        for expression, at in zip(opening.success.expressions, opening.success_at, strict=True):
            _check_output(expression.ref, agents, names, at, report)
    for ref, at in zip(opening.save, opening.save_at, strict=True):
        _check_output(ref, agents, names, at, report)
    return report.problems


def check_arguments(nodes: Sequence[Node], edges: Iterable[Edge], report: Report) -> None:
    """Report arguments that break their node's schema_hints; what an edge supplies counts as given."""
    hinted = [node for node in nodes if node.with_schema is not None]
    supplied = _supplied(edges) if hinted else {}
    for node in hinted:
        _check_schema(node, node.with_schema, supplied.get(node.id, ()), report)


class _Agents:
    """Asks once for each agent, and reports at each node that uses one that is missing or broken."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._answers: dict[tuple[str, str | None], AgentPorts | RunloopError | None] = {}

    def ports(self, node: Node, report: Report) -> AgentPorts | None:
        key = node.name, node.variant
        if key not in self._answers:
            try:
                self._answers[key] = self._resolve(*key)
            except RunloopError as error:
                self._answers[key] = error
        answer = self._answers[key]
        if isinstance(answer, RunloopError):
            message = f"agent '{node.name}' cannot be used: {answer.message}"
            report.add("unusable_agent", message, node.use_at, node=node.id, key="use", hint=answer.hint)
            return None
        if answer is None:
            variant = f" with variant '{node.variant}'" if node.variant else ""
            hint = "rlp agent list shows what is installed; rlp agent install adds one"
            report.add("unknown_agent", f"agent '{node.name}'{variant} is not installed", node.use_at, node=node.id, key="use", hint=hint)
        return answer


def _supplied(edges: Iterable[Edge]) -> dict[str, list[str]]:
    """The ports of each node that edges lead to: an edge's value is an argument too."""
    ports: dict[str, list[str]] = {}
    for edge in edges:
        ports.setdefault(edge.target.node, []).append(edge.target.port)
    return ports


def _check_schema(node: Node, schema: Json, supplied: Iterable[str], report: Report, hint: str = "") -> None:
    for message, path, _ in violations(schema, node.with_args, supplied):
        at = place_at(node.with_tree, path) if node.with_tree is not None else node.at
        report.add("argument", f"with: {message}", at, node=node.id, key=".".join(map(str, ("with", *path))), hint=hint)


def _check_output(ref: PortRef, agents: dict[str, AgentPorts], names: dict[str, str], at: Place, report: Report) -> None:
    ports = agents.get(ref.node)
    known = (ports.ports_out or frozenset({"out"})) if ports else frozenset({ref.port})
    if ref.port not in known:
        message = f"agent '{names[ref.node]}' has no output port '{ref.port}'"
        report.add("port", message, at, node=ref.node, port=ref.port, near=(ref.port, known))


def _check_input(ref: PortRef, agents: dict[str, AgentPorts], names: dict[str, str], at: Place, report: Report) -> None:
    ports = agents.get(ref.node)
    known = ports.ports_in | {ORDER_PORT} if ports else frozenset({ref.port})
    if ref.port not in known:
        message = f"agent '{names[ref.node]}' has no input port '{ref.port}'"
        report.add("port", message, at, node=ref.node, port=ref.port, near=(ref.port, known))
