"""Where the content that reached each node of a run came from: labels of outputs, which go along the edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runloop.openings import Opening

_NONE: frozenset[str] = frozenset()


class Taint:
    """The labels of a run's nodes and, of a ``for_each`` node, of its items (``node[3]``); ``base`` is what the run itself was given."""

    __slots__ = ("_items", "_nodes", "_sources", "base")

    def __init__(self, opening: Opening, base: frozenset[str]) -> None:
        self.base = base
        self._nodes: dict[str, frozenset[str]] = {}
        self._items: dict[str, dict[str, frozenset[str]]] = {}
        self._sources: dict[str, list[str]] = {}
        for edge in opening.edges:
            self._sources.setdefault(edge.target.node, []).append(edge.source.node)

    def put(self, node: str, labels: frozenset[str]) -> None:
        """These are the labels of what a node or an item put out."""
        own, bracket, _ = node.partition("[")
        if bracket:
            self._items.setdefault(own, {})[node] = labels
        else:
            self._nodes[node] = labels

    def of(self, node: str) -> frozenset[str]:
        """The labels of a node's outputs; of one with many items, of all of these."""
        own, bracket, _ = node.partition("[")
        items = self._items.get(own)
        if bracket:
            return _NONE if items is None else items.get(node, _NONE)
        labels = self._nodes.get(node, _NONE)
        return labels if items is None else labels.union(*items.values())

    def inherited(self, node: str) -> frozenset[str]:
        """The labels that a declared node begins with: the run's, and those of the nodes before it."""
        return self.base.union(*map(self.of, self._sources.get(node, ())))

    def everywhere(self) -> frozenset[str]:
        """The labels of all nodes, and the run's."""
        return self.base.union(*self._nodes.values(), *(labels for items in self._items.values() for labels in items.values()))
