"""Reading ``edges``, ``success`` and ``artifacts``: references, guards and the shape of the graph (spec 8.1, 8.2, 8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.expressions import Expression, ExpressionError, PortRef, parse_expression, parse_guarded, parse_ref
from runloop.openings.fields import Section
from runloop.openings.model import Edge, Success
from runloop.openings.yamltree import Fields, Items, Scalar

if TYPE_CHECKING:
    from runloop.openings.errors import Place, Report
    from runloop.openings.yamltree import Tree

_REPORTED_CYCLES = 10


def read_edges(tree: Items, node_ids: set[str], report: Report) -> list[Edge]:
    """The edges that can be read, duplicates and cycles reported."""
    edges: list[Edge] = []
    lines: dict[Edge, int] = {}
    for item in tree.items:
        if not isinstance(item, Fields):
            report.add("type", "edge entries must be mappings with 'from' and 'to'", item.at, hint="write '- {from: a.out, to: b.in}'")
            continue
        edge = _read_edge(item, node_ids, report)
        if edge is None:
            continue
        if edge in lines:
            report.add("duplicate_edge", f"duplicate edge {edge}", item.at, hint=f"it is already there on line {lines[edge]}; remove one")
            continue
        lines[edge] = item.at.line
        edges.append(edge)
    _report_cycles(edges, report)
    return edges


def read_success(tree: Tree | None, node_ids: set[str], report: Report) -> tuple[Success | None, tuple[Place, ...]]:
    """``{any_of: […]}`` or ``{all_of: […]}``, and where each expression stands."""
    if tree is None:
        return None, ()
    if not isinstance(tree, Fields):
        report.add(
            "type", "success must be a mapping", tree.at, key="success", hint="write 'any_of:' or 'all_of:' with a list of expressions"
        )
        return None, ()
    section = Section(tree, report, ("any_of", "all_of"), "success")
    modes = [mode for mode in ("any_of", "all_of") if section.get(mode) is not None]
    if len(modes) != 1:
        problem = "define either 'any_of' or 'all_of', not both" if modes else "specify 'any_of' or 'all_of'"
        at = max(section.key_at(mode) for mode in modes) if modes else section.at
        report.add("success", f"success must {problem}", at, key="success")
        return None, ()
    mode = modes[0]
    texts = section.texts(mode, f"success.{mode} must be a sequence", "success expressions must be strings")
    listed = section.get(mode)
    if isinstance(listed, Items) and not listed.items:
        report.add("success", "success expressions must not be empty", listed.at, key=mode)
    found: list[Expression] = []
    places: list[Place] = []
    for text, at in texts:
        if not text.strip():
            report.add("success", "success expressions must not be empty", at, key=mode)
            continue
        try:
            expression = parse_expression(text)
        except ExpressionError as error:
            report.add("expression", str(error), at, key=mode, hint=error.hint)
            continue
        if _known(expression.ref.node, node_ids, "success", at, report):
            found.append(expression)
            places.append(at)
    return Success(mode, tuple(found)), tuple(places)


def read_artifacts(tree: Tree | None, node_ids: set[str], report: Report) -> tuple[tuple[PortRef, ...], tuple[Place, ...]]:
    """The ports of ``artifacts.save``, and where each stands."""
    if tree is None:
        return (), ()
    if not isinstance(tree, Fields):
        report.add("type", "artifacts must be a mapping", tree.at, key="artifacts", hint="write 'artifacts: {save: [node.port]}'")
        return (), ()
    section = Section(tree, report, ("save",), "artifacts")
    refs: dict[PortRef, Place] = {}
    for text, at in section.texts("save", "artifacts.save must be a sequence", "artifacts.save entry {i} must be a string"):
        ref = _read_ref(text, at, report, "save")
        if ref is None or not _known(ref.node, node_ids, "artifacts.save", at, report):
            continue
        if ref in refs:
            report.add("duplicate_key", f"artifacts.save lists '{ref}' twice", at, key="save")
            continue
        refs[ref] = at
    return tuple(refs), tuple(refs.values())


def find_cycle(edges: list[Edge]) -> list[Edge]:
    """The edges of one cycle in order, or nothing if the graph has none."""
    outgoing: dict[str, list[Edge]] = {}
    for edge in edges:
        outgoing.setdefault(edge.source.node, []).append(edge)
    done: set[str] = set()
    for start, first_edges in outgoing.items():
        path: list[Edge] = []
        on_path = {start}
        pending = [iter(first_edges)]
        while pending:
            following = next(pending[-1], None)
            if following is None:
                pending.pop()
                finished = path.pop().target.node if path else start
                on_path.discard(finished)
                done.add(finished)
                continue
            target = following.target.node
            if target in on_path:
                path.append(following)
                while path[0].source.node != target:
                    path.pop(0)
                return path
            if target not in done:
                path.append(following)
                on_path.add(target)
                pending.append(iter(outgoing.get(target, ())))
    return []


def _report_cycles(edges: list[Edge], report: Report) -> None:
    remaining = list(edges)
    for _ in range(_REPORTED_CYCLES):
        cycle = find_cycle(remaining)
        if not cycle:
            return
        closing = max(cycle, key=lambda edge: edge.from_at)
        names = " -> ".join([cycle[0].source.node, *(edge.target.node for edge in cycle)])
        report.add(
            "cycle",
            "opening graph contains a cycle; ensure edges form a DAG",
            closing.from_at,
            node=closing.source.node,
            hint=f"the cycle is {names}",
        )
        remaining.remove(closing)


def _read_edge(tree: Fields, node_ids: set[str], report: Report) -> Edge | None:
    section = Section(tree, report, ("from", "to"), "an edge")
    from_text, to_text = section.text("from"), section.text("to")
    from_tree, to_tree = section.get("from"), section.get("to")
    source = target = guard = None
    if from_text is not None and isinstance(from_tree, Scalar):
        try:
            source, guard = parse_guarded(from_text)
        except ExpressionError as error:
            report.add("expression", str(error), from_tree.at, key="from", hint=error.hint)
    if to_text is not None and isinstance(to_tree, Scalar):
        target = _read_ref(to_text, to_tree.at, report, "to")
    if source is not None and from_tree is not None and not _known(source.node, node_ids, "edge", from_tree.at, report):
        source = None
    if target is not None and to_tree is not None and not _known(target.node, node_ids, "edge", to_tree.at, report):
        target = None
    if source is None or target is None or from_tree is None or to_tree is None:
        return None
    return Edge(source, target, guard, from_tree.at, to_tree.at)


def _read_ref(text: str, at: Place, report: Report, key: str) -> PortRef | None:
    try:
        return parse_ref(text, into=key == "to")
    except ExpressionError as error:
        report.add("expression", str(error), at, key=key, hint=error.hint)
        return None


def _known(node: str, node_ids: set[str], what: str, at: Place, report: Report) -> bool:
    if node in node_ids or not node_ids:  # where no node could be read that is the problem, and it is told
        return True
    report.add("reference", f"{what} references unknown node '{node}'", at, node=node, near=(node, node_ids))
    return False
