"""Checks that need more than the document: agents' ports, and a node's arguments against schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from runloop.errors import RunloopError
from runloop.openings.errors import Report, did_you_mean
from runloop.openings.fields import place_at
from runloop.openings.hints import violations
from runloop.openings.model import ORDER_PORT

if TYPE_CHECKING:
    from runloop.openings.errors import Place, Problem
    from runloop.openings.expressions import PortRef
    from runloop.openings.model import Edge, Node, Opening
    from runloop.openings.nodes import ReadNode
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
    agents: dict[str, AgentPorts] = {}
    known: dict[tuple[str, str | None], AgentPorts | None] = {}
    for node in opening.nodes:
        if node.kind != "agent":
            continue
        key = node.name, node.variant
        if key not in known:
            try:
                known[key] = resolve(*key)
            except RunloopError as error:
                message = f"agent '{node.name}' cannot be used: {error.message}"
                report.add("unusable_agent", message, node.use_at, node=node.id, key="use", hint=error.hint)
                continue
        ports = known[key]
        if ports is None:
            variant = f" with variant '{node.variant}'" if node.variant else ""
            hint = "rlp agent list shows what is installed; rlp agent install adds one"
            report.add("unknown_agent", f"agent '{node.name}'{variant} is not installed", node.use_at, node=node.id, key="use", hint=hint)
            continue
        agents[node.id] = ports
        if ports.with_schema is not None:
            _check_schema(node, ports.with_schema, f"agent '{node.name}'", opening.edges, report)
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


def check_arguments(nodes: Sequence[ReadNode], edges: Iterable[Edge], report: Report) -> None:
    """Report arguments that break their node's schema_hints; what an edge supplies counts as given."""
    hinted = [entry for entry in nodes if entry.node.with_schema is not None]
    edges = tuple(edges) if hinted else ()
    for entry in hinted:
        for message, path in violations(entry.node.with_schema, entry.node.with_args, _supplied(entry.node, edges)):
            at = place_at(entry.with_tree, path) if entry.with_tree is not None else entry.node.at
            report.add("argument", f"with: {message}", at, node=entry.node.id, key=".".join(map(str, ("with", *path))))


def _check_schema(node: Node, schema: Json, whose: str, edges: Iterable[Edge], report: Report) -> None:
    for message, path in violations(schema, node.with_args, _supplied(node, edges)):
        key = ".".join(map(str, ("with", *path)))
        report.add("argument", f"with: {message}", node.at, node=node.id, key=key, hint=f"{whose} says so in its manifest")


def _supplied(node: Node, edges: Iterable[Edge]) -> list[str]:
    return [edge.target.port for edge in edges if edge.target.node == node.id]


def _check_output(ref: PortRef, agents: dict[str, AgentPorts], names: dict[str, str], at: Place, report: Report) -> None:
    ports = agents.get(ref.node)
    known = (ports.ports_out or frozenset({"out"})) if ports else frozenset({ref.port})
    if ref.port not in known:
        message = f"agent '{names[ref.node]}' has no output port '{ref.port}'"
        report.add("port", message, at, node=ref.node, port=ref.port, hint=did_you_mean(ref.port, known))


def _check_input(ref: PortRef, agents: dict[str, AgentPorts], names: dict[str, str], at: Place, report: Report) -> None:
    ports = agents.get(ref.node)
    known = ports.ports_in | {ORDER_PORT} if ports else frozenset({ref.port})
    if ref.port not in known:
        message = f"agent '{names[ref.node]}' has no input port '{ref.port}'"
        report.add("port", message, at, node=ref.node, port=ref.port, hint=did_you_mean(ref.port, known))
