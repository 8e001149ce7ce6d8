"""Checks that need more than the document: agents' and nested openings' ports, and a node's arguments against schemas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Final, TypeAlias

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.openings.clauses import ERRORS_PORT, FILLED_PORTS, GATE_PORT
from runloop.openings.errors import Report
from runloop.openings.expressions import PortRef, valid_name
from runloop.openings.fields import tree_at
from runloop.openings.hints import violations
from runloop.openings.model import ORDER_PORT
from runloop.openings.nesting import check_filled, check_params
from runloop.openings.params import template_name
from runloop.openings.recursion import Recursion
from runloop.openings.yamltree import Scalar

if TYPE_CHECKING:
    from runloop.openings.errors import Place, Problem
    from runloop.openings.model import Edge, Node, Opening
    from runloop.openings.nesting import Nested
    from runloop.openings.scalars import Json


@dataclass(frozen=True, slots=True)
class AgentPorts:
    """What an agent's manifest says about its edges; without ``ports_out`` its only output is ``out``.

    ``needs`` are the arguments without which it fails.
    """

    ports_in: frozenset[str] = frozenset()
    ports_out: frozenset[str] = frozenset()
    with_schema: Json = field(default=None, hash=False)
    needs: frozenset[str] = frozenset()

    def inputs(self, *, arguments: bool = False) -> set[str]:
        """What an edge can give; with ``arguments`` also what only has a name under ``with``: an item is given by name, not by an edge."""
        schema = self.with_schema if arguments and isinstance(self.with_schema, dict) else {}
        return {*self.ports_in, ORDER_PORT, *schema.get("properties", ())}


def opening_ports(child: Opening) -> AgentPorts:
    """The ports of a nested opening: parameters go in, ``out`` comes out."""
    return AgentPorts(frozenset(child.params), frozenset({"out"}))


Resolve: TypeAlias = Callable[[str, str | None], AgentPorts | None]
"""An agent's ports by name and variant; None or an error of ``_MISSING`` if it is not installed, another if it cannot be used."""
_MISSING: Final = frozenset({"bundle.not_found", "opening.not_found"})
"""Codes of errors that tell what is near to a name that nothing has."""
_SIZES: Final = frozenset({"maxLength", "minLength", "maxItems", "minItems"})
_MAX_MESSAGE: Final = 300


def check(opening: Opening, resolve: Resolve, nested: Nested | None = None) -> list[Problem]:
    """The problems of ``opening`` with the agents installed here, in document order; nested openings are looked at with ``nested``."""
    report = Report(opening.file)
    supplied = _supplied(opening.nodes, opening.edges)
    agents, openings = _Agents(resolve), _Openings(opening, nested)
    known: dict[str, AgentPorts] = {}
    for node in opening.nodes:
        ports = agents.ports(node, report) if node.kind == "agent" else openings.ports(node, report)
        if ports is None:
            continue
        known[node.id] = ports
        if ports.with_schema is not None:
            hint = f"the manifest of agent '{node.name}' says so under [schemas.with]"
            _check_schema(node, ports.with_schema, supplied.get(node.id, ()), report, hint)
        _check_needs(node, ports, supplied.get(node.id, ()), report)
    check_ports(opening, known, report)
    return report.problems


def check_ports(opening: Opening, known: dict[str, AgentPorts], report: Report) -> None:
    """Report references to ports that the nodes in ``known`` do not have."""
    _Ports(opening, known, report).check()


def check_arguments(nodes: Sequence[Node], edges: Iterable[Edge], report: Report) -> None:
    """Report arguments that break their node's schema_hints; what an edge supplies counts as given."""
    hinted = [node for node in nodes if node.with_schema is not None]
    supplied = _supplied(hinted, edges) if hinted else {}
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
        hint = "rlp agent list shows what is installed; rlp agent install adds one"
        if isinstance(answer, RunloopError) and answer.code in _MISSING:
            hint, answer = answer.hint or hint, None
        if isinstance(answer, RunloopError):
            message = f"agent '{node.name}' cannot be used: {answer.message}"
            report.add("unusable_agent", message, node.use_at, node=node.id, key="use", hint=answer.hint)
            return None
        if answer is None:
            variant = f" with variant '{node.variant}'" if node.variant else ""
            report.add("unknown_agent", f"agent '{node.name}'{variant} is not installed", node.use_at, node=node.id, key="use", hint=hint)
        return answer


class _Openings:
    """The ports of nested openings, and what is wrong with those at the nodes that use them."""

    def __init__(self, opening: Opening, nested: Nested | None) -> None:
        self._opening = opening
        self._nested = nested
        self._revised = {node.gate.revise_to for node in opening.nodes if node.gate}
        self._recursion: Recursion | None = None

    def ports(self, node: Node, report: Report) -> AgentPorts | None:
        if self._nested is None:
            return None
        if self._recursion is None:
            self._recursion = Recursion(self._opening, self._nested)
        if not self._recursion.check(node, report):
            return None
        hint = "give the name of a file in one of openings.search_dirs"
        try:
            child = self._nested(node.name)
        except RunloopError as error:
            if error.code not in _MISSING:
                message = f"opening '{node.name}' cannot be used: {error}"
                report.add("unusable_opening", message, node.use_at, node=node.id, key="use", hint=error.hint)
                return None
            hint, child = error.hint or hint, None
        if child is None:
            report.add("unknown_opening", f"there is no opening '{node.name}'", node.use_at, node=node.id, key="use", hint=hint)
            return None
        check_params(node, child, report)
        check_filled(node, child, self._revised, report)
        return opening_ports(child)


class _Ports:
    """References to ports against the ports that there are; nodes that are not in ``known`` are left alone."""

    def __init__(self, opening: Opening, known: dict[str, AgentPorts], report: Report) -> None:
        self._opening = opening
        self._known = known
        self._nodes = {node.id: node for node in opening.nodes}
        self._report = report

    def check(self) -> None:
        opening = self._opening
        for edge in opening.edges:
            self._output(edge.source, edge.from_at)
            each = self._nodes[edge.target.node].for_each if edge.target.node in self._known else None
            if each is None or each.port != edge.target.port:
                self._input(edge.target, edge.to_at)
        if opening.success is not None:
            for expression, at in zip(opening.success.expressions, opening.success_at, strict=True):
                self._output(expression.ref, at)
        for ref, at in zip(opening.save, opening.save_at, strict=True):
            self._output(ref, at)
        for node in opening.nodes:
            if node.for_each is not None and valid_name(node.for_each.name):
                key = "for_each.as" if "for_each.as" in node.clause_at else "for_each.in"
                self._input(PortRef(node.id, node.for_each.name), node.clause_at.get(key, node.at), arguments=True)
            if node.output is not None:
                key = "output.port" if "output.port" in node.clause_at else "output"
                self._output(PortRef(node.id, node.output.port), node.clause_at.get(key, node.at), added=False)

    def _output(self, ref: PortRef, at: Place, *, added: bool = True) -> None:
        ports = self._known.get(ref.node)
        if ports is None:
            return
        node = self._nodes[ref.node]
        known = set(ports.ports_out or {"out"})
        if added and node.gate is not None:
            known.add(GATE_PORT)
        if added and node.for_each is not None and node.for_each.keep_going:
            known.add(ERRORS_PORT)
        self._look_up(ref, known, "output", at)

    def _input(self, ref: PortRef, at: Place, *, arguments: bool = False) -> None:
        ports = self._known.get(ref.node)
        if ports is not None:
            self._look_up(ref, ports.inputs(arguments=arguments), "input", at)

    def _look_up(self, ref: PortRef, known: set[str], which: str, at: Place) -> None:
        if ref.port not in known:
            node = self._nodes[ref.node]
            message = f"{node.kind} '{node.name}' has no {which} port '{ref.port}'"
            more = f"others are declared under [ports.{which[:-3]}] in the agent's manifest.toml" if node.kind == "agent" else ""
            self._report.add("port", message, at, node=ref.node, port=ref.port, near=(ref.port, known), more=more)


def _supplied(nodes: Iterable[Node], edges: Iterable[Edge]) -> dict[str, list[str]]:
    """The ports of each node that get values while it runs: from edges, from the items of a for_each. Such a value is an argument too."""
    ports: dict[str, list[str]] = {node.id: [node.for_each.name] for node in nodes if node.for_each is not None}
    for edge in edges:
        ports.setdefault(edge.target.node, []).append(edge.target.port)
    return ports


def _check_needs(node: Node, ports: AgentPorts, supplied: Collection[str], report: Report) -> None:
    """Report what nothing gives to the agent; not what its schema requires, nor beside an edge to a port that it does not have."""
    if not ports.inputs(arguments=True).issuperset(supplied):
        return
    required = ports.with_schema.get("required", ()) if isinstance(ports.with_schema, dict) else ()
    for name in sorted(ports.needs - {*node.with_args, *supplied, *required, *FILLED_PORTS}):
        hint = f"give it under `with`, or connect an edge to {node.id}.{name}"
        report.add("argument", f"agent '{node.name}' needs '{name}'", node.use_at, node=node.id, key=f"with.{name}", hint=hint)


def _check_schema(node: Node, schema: Json, supplied: Iterable[str], report: Report, hint: str = "") -> None:
    for message, path, rule in violations(schema, node.with_args, supplied):
        tree = tree_at(node.with_tree, path) if node.with_tree is not None else None
        at = node.at if tree is None else tree.at
        shown = message if len(message) <= _MAX_MESSAGE else f"{message[: _MAX_MESSAGE // 2]} … {message[-_MAX_MESSAGE // 4 :]}"
        key = ".".join(map(str, ("with", *path)))
        told = "with"
        if isinstance(tree, Scalar) and (param := template_name(tree.value)) is not None:
            told, key = f"parameter '{param}', as {key}", f"params.{param}"
        report.add("argument", f"{told}: {shown}{_size(schema, rule)}", at, node=node.id, key=key, hint=hint)


def _size(schema: Json, rule: Sequence[str | int]) -> str:
    """The size that a rule allows, where its message only says that something is too long or too short."""
    if not rule or rule[-1] not in _SIZES:
        return ""
    for step in rule:
        schema = schema.get(str(step)) if isinstance(schema, dict) else schema[int(step)] if isinstance(schema, list) else None
    return f" ({rule[-1]} {schema})" if isinstance(schema, int) else ""
