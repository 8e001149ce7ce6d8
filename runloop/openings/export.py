"""An opening's graph for other programs: Graphviz dot, Mermaid, JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runloop.openings.layout import layer_numbers

if TYPE_CHECKING:
    from runloop.openings.model import Edge, Opening

_MERMAID_SPECIAL = re.compile(r"[^\w .,:=@/-]")


def to_dot(opening: Opening) -> str:
    """A directed graph for Graphviz; guarded edges are dashed."""
    lines = [f"digraph {_dot(opening.name)} {{", "  rankdir=TB;", '  node [shape=box, style=rounded, fontname="Helvetica"];']
    lines += [f"  {_dot(node.id)} [label={_dot(chr(10).join((node.id, node.use, *node.notes)))}];" for node in opening.nodes]
    for edge in opening.edges:
        style = ", style=dashed" if edge.guard else ""
        lines.append(f"  {_dot(edge.source.node)} -> {_dot(edge.target.node)} [label={_dot(_label(edge))}{style}];")
    return "\n".join([*lines, "}"])


def to_mermaid(opening: Opening) -> str:
    """A flowchart for Mermaid; guarded edges are dotted."""
    numbers = {node.id: f"n{index}" for index, node in enumerate(opening.nodes)}
    lines = ["flowchart TD"]
    for node in opening.nodes:
        label = "<br/>".join(map(_mermaid, (node.id, node.use, *node.notes)))
        lines.append(f'  {numbers[node.id]}["{label}"]')
    for edge in opening.edges:
        arrow = "-.->" if edge.guard else "-->"
        lines.append(f'  {numbers[edge.source.node]} {arrow}|"{_mermaid(_label(edge))}"| {numbers[edge.target.node]}')
    return "\n".join(lines)


def to_graph(opening: Opening) -> dict[str, Any]:
    """The graph as a JSON value: nodes with their layer, edges with their guard."""
    layers = layer_numbers(opening)
    return {
        "name": opening.name,
        "digest": opening.digest,
        "nodes": [
            {
                "id": node.id,
                "use": node.use,
                "layer": layers[node.id],
                "attempts": node.retry.max_attempts,
                "timeout_ms": node.timeout_ms,
                "budget_tokens": node.budget_tokens,
                "on_failure": node.on_failure.value,
                "tags": list(node.tags),
                "notes": node.notes,
                "revises": node.gate.revise_to or None if node.gate else None,
            }
            for node in opening.nodes
        ],
        "edges": [
            {
                "from": {"node": edge.source.node, "port": edge.source.port},
                "to": {"node": edge.target.node, "port": edge.target.port},
                "guard": {"op": edge.guard.op, "literal": edge.guard.json_literal, "text": str(edge.guard)} if edge.guard else None,
            }
            for edge in opening.edges
        ],
        "success": str(opening.success) if opening.success else None,
        "save": [str(ref) for ref in opening.save],
    }


def _label(edge: Edge) -> str:
    guard = f" {edge.guard}" if edge.guard else ""
    return f"{edge.source.port}{guard} -> {edge.target.port}"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    return _MERMAID_SPECIAL.sub(lambda match: f"#{ord(match[0])};", text)
