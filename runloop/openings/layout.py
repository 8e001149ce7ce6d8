"""Layers of an opening's graph, ordered so that few edges cross. An edge over several layers passes through a bend in each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.openings.model import Node, Opening

_SWEEPS = 4


@dataclass(slots=True, eq=False)
class Item:
    """A node's box or, with ``node`` None, a bend; ``net`` is the id of the node whose values pass through."""

    net: str
    node: Node | None
    above: list[Item] = field(default_factory=list)
    below: list[Item] = field(default_factory=list)
    left: int = 0
    width: int = 3
    middle: int = 0


def layer_numbers(opening: Opening) -> dict[str, int]:
    """Each node's layer: 0 without in-edges, else one below its lowest source. Edges to or from unknown nodes do not count."""
    layers = {node.id: 0 for node in opening.nodes}
    outgoing: dict[str, list[str]] = defaultdict(list)
    undecided = dict.fromkeys(layers, 0)
    for edge in opening.edges:
        if edge.source.node in layers and edge.target.node in layers:
            outgoing[edge.source.node].append(edge.target.node)
            undecided[edge.target.node] += 1
    ready = [node for node, count in undecided.items() if count == 0]
    for node in ready:
        for target in outgoing[node]:
            layers[target] = max(layers[target], layers[node] + 1)
            undecided[target] -= 1
            if undecided[target] == 0:
                ready.append(target)
    return layers


def lay_out(opening: Opening) -> list[list[Item]]:
    """The items of every layer from left to right, linked to those above and below."""
    numbers = layer_numbers(opening)
    layers: list[list[Item]] = [[] for _ in range(max(numbers.values(), default=-1) + 1)]
    boxes = {}
    for node in opening.nodes:
        boxes[node.id] = Item(node.id, node)
        layers[numbers[node.id]].append(boxes[node.id])
    bends: dict[tuple[str, int], Item] = {}
    linked = set()
    for edge in opening.edges:
        source, target = edge.source.node, edge.target.node
        if (source, target) in linked:
            continue
        linked.add((source, target))
        upper = boxes[source]
        for number in range(numbers[source] + 1, numbers[target]):
            bend = bends.get((source, number))
            if bend is None:
                bend = bends[source, number] = Item(source, None)
                layers[number].append(bend)
                _link(upper, bend)
            upper = bend
        _link(upper, boxes[target])
    for _ in range(_SWEEPS):
        _sort(layers, downwards=True)
        _sort(layers, downwards=False)
    _sort(layers, downwards=True)
    return layers


def _link(upper: Item, lower: Item) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _sort(layers: list[list[Item]], *, downwards: bool) -> None:
    """Order every layer by the mean position of its neighbours in the layer before it."""
    for layer in layers if downwards else reversed(layers):
        neighbours = {id(item): item.above if downwards else item.below for item in layer}
        weights = {
            id(item): sum(each.middle for each in neighbours[id(item)]) / len(neighbours[id(item)]) if neighbours[id(item)] else item.middle
            for item in layer
        }
        layer.sort(key=lambda item: weights[id(item)])
        for position, item in enumerate(layer):
            item.middle = position
