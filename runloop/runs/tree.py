"""What a run of nested openings runs, at every depth: found when the run is submitted, and the same from then on, whatever is installed."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.openings import OpeningError, parse_once
from runloop.openings.checks import check_ports, opening_ports
from runloop.openings.errors import Report
from runloop.openings.nesting import check_filled, check_params
from runloop.openings.recursion import Recursion
from runloop.runs.lookup import OpeningText, where_used
from runloop.runs.recovery import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runloop.bundles import Bundle
    from runloop.openings import Opening
    from runloop.openings.model import Node

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Tree:
    """The nested openings of a run by name, and the agents of all of them by name and variant, or by digest where they are not loaded."""

    openings: Mapping[str, OpeningText] = field(default_factory=dict)
    agents: dict[tuple[str, str | None], Bundle] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    def recorded(self) -> dict[str, Any] | None:
        """The openings as ``run.submitted`` holds them."""
        return {name: {"source": text.source, "file": text.file} for name, text in self.openings.items()} or None

    def agent(self, name: str, variant: str | None, kept: Callable[[str], Bundle]) -> Bundle | None:
        """A pinned agent; None where the tree has none of that name. Raises RunloopError where it is not kept any more."""
        found = self.agents.get((name, variant))
        if found is None and (digest := digest_of(self.digests, name, variant)) is not None:
            found = self.agents[name, variant] = kept(digest)
        return found

    def over(self, other: Tree) -> Tree:
        """With what only the other has."""
        return Tree({**other.openings, **self.openings}, {**other.agents, **self.agents}, {**other.digests, **self.digests})


def find_tree(opening: Opening, text_of: Callable[[str], OpeningText], agent_of: Callable[[str, str | None], Bundle]) -> Tree:
    """Everything below ``opening``.

    Raises:
        OpeningError: it leads to itself without a condition, gives a nested opening what is no parameter of it, or takes another port
            than ``out``.
        RunloopError: an opening or an agent is not here; with the node.

    """
    tree, openings = Tree(), dict[str, OpeningText]()
    pending = [opening]
    while pending:
        at = pending.pop()
        for node in at.nodes:
            if node.kind == "agent":
                if at is not opening and (node.name, node.variant) not in tree.agents:
                    tree.agents[node.name, node.variant] = _found(at, node, partial(agent_of, node.name, node.variant))
            elif node.name not in openings:
                openings[node.name] = _found(at, node, partial(text_of, node.name))
                pending += _parsed(openings[node.name])
    _check_nested(opening, {name: child for name, text in openings.items() for child in _parsed(text)})
    return Tree(openings, tree.agents)


def nests(opening: Opening) -> bool:
    """Whether there is anything below the opening."""
    return any(node.kind == "opening" for node in opening.nodes)


def recorded_tree(submitted: Mapping[str, Any]) -> Tree:
    """The tree of a ``run.submitted`` (its meta)."""
    openings = {name: OpeningText(said["source"], said.get("file")) for name, said in (submitted.get("nested") or {}).items()}
    return Tree(openings, digests=submitted["versions"].get("bundles") or {} if openings else {})


def _check_nested(opening: Opening, below: Mapping[str, Opening]) -> None:
    """What is below a nested opening is checked as that is submitted, with the parameters that it has then."""
    report = Report(opening.file)
    recursion = Recursion(opening, below.get)
    known, revised = {}, {node.gate.revise_to for node in opening.nodes if node.gate}
    for node in opening.nodes:
        if node.kind == "opening" and recursion.check(node, report) and (child := below.get(node.name)) is not None:
            check_params(node, child, report)
            check_filled(node, child, revised, report)
            known[node.id] = opening_ports(child)
    check_ports(opening, known, report)
    if report.problems:
        raise OpeningError(report.problems)


def _found(opening: Opening, node: Node, find: Callable[[], Thing]) -> Thing:
    try:
        return find()
    except RunloopError as error:
        error.where = where_used(opening, node, error.where)
        raise


def _parsed(text: OpeningText) -> Iterable[Opening]:
    """The opening; nothing where it needs parameters to be one, or is none, which its node will tell."""
    try:
        return [parse_once(text.source, file=text.file)]
    except OpeningError:
        return []
