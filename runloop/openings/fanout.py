"""The items of a for_each node: what they get, and how their outputs become the node's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.openings.clauses import ERRORS_PORT, GATE_PORT
from runloop.openings.states import Failure, State
from runloop.openings.votes import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runloop.openings.clauses import ForEach
    from runloop.openings.expressions import Ports
    from runloop.openings.graph import Step
    from runloop.openings.model import Opening
    from runloop.openings.scalars import Json


def item_inputs(each: ForEach, inputs: Mapping[str, list[Json]]) -> list[dict[str, list[Json]]] | Failure:
    """The inputs of each item: its own value on one port, on the others what the node got; a Failure if there are too many."""
    values: Sequence[Json] = spread(inputs.get(each.port, ())) if each.port else each.items
    if len(values) > each.max_items:
        return Failure("items.too_many", f"there are {len(values)} items, at most {each.max_items} are allowed (max of its for_each)")
    others = {port: given for port, given in inputs.items() if port != each.port}
    return [{**others, each.name: [value]} for value in values]


def collect(each: ForEach, items: Sequence[Step], outputs: Mapping[str, Ports], read: Iterable[str]) -> dict[str, list[Json]]:
    """One list for each port, in item order: every port that an item produced or that the opening reads (``read``).

    An item's place has its value, a list of them if it produced several, null if it produced none or failed.
    """
    produced = [outputs.get(item.id, {}) if item.state is State.OK else {} for item in items]
    ports = dict.fromkeys([*(port for ports in produced for port in ports), *read])
    found: dict[str, list[Json]] = {port: [[_cell(ports.get(port, ())) for ports in produced]] for port in ports}
    if each.keep_going:
        found[ERRORS_PORT] = [
            [
                {"index": index, "code": item.failure.code, "message": item.failure.message}
                for index, item in enumerate(items)
                if item.failure is not None
            ]
        ]
    return found


def ports_read(opening: Opening) -> dict[str, list[str]]:
    """The output ports that edges, success and artifacts name, by node; those that the plan itself adds are left out."""
    refs = [edge.source for edge in opening.edges] + list(opening.save)
    if opening.success is not None:
        refs += [expression.ref for expression in opening.success.expressions]
    found: dict[str, list[str]] = {}
    for ref in refs:
        if ref.port not in (GATE_PORT, ERRORS_PORT):
            found.setdefault(ref.node, []).append(ref.port)
    return found


def _cell(values: Sequence[Json]) -> Json:
    if len(values) == 1:
        return values[0]
    return list(values) if values else None
