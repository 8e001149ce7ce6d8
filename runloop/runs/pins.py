"""Which bundles an opening runs: resolved and checked for each run, but not checked again while nothing has changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import field
from operator import is_
from typing import TYPE_CHECKING, TypeAlias

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.openings import AgentPorts, OpeningError, check
from runloop.runs.lookup import where_used

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runloop.bundles import Bundle
    from runloop.openings import Opening
    from runloop.runs.services import Services

AgentKey: TypeAlias = tuple[str, str | None]
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class _Pinned:
    """An opening that was checked against these bundles, whose guests are compiled. It is held, so that its identity stays its own."""

    opening: Opening
    services: Services
    agents: tuple[Bundle, ...]
    nodes: Mapping[str, Bundle]

    def fits(self, opening: Opening, services: Services, found: Mapping[AgentKey, Bundle]) -> bool:
        """Whether nothing has changed since."""
        return self.opening is opening and self.services is services and all(map(is_, self.agents, found.values()))


@dataclass(slots=True)
class Pins:
    """Remembers the newest openings that were checked; ``prepare`` compiles the guests of a run's bundles."""

    prepare: Callable[[Mapping[str, Bundle]], Awaitable[None]]
    _known: OrderedDict[int, _Pinned] = field(default_factory=OrderedDict)

    async def pin(self, opening: Opening, services: Services, resolve: Callable[[str, str | None], Bundle]) -> Mapping[str, Bundle]:
        """The verified bundle of every agent node, ready to run; what the opening asks of them is checked against them.

        Raises:
            OpeningError: the opening does not fit the agents.
            RunloopError: an agent cannot be used.

        """
        found = _resolve(opening, resolve)
        known = self._known.get(id(opening))
        if known is not None and known.fits(opening, services, found):
            return known.nodes
        problems = check(opening, lambda name, variant: agent_ports(found[name, variant]))
        if problems:
            raise OpeningError(problems)
        nodes = {node.id: found[node.name, node.variant] for node in opening.nodes if node.kind == "agent"}
        await self.prepare(nodes)
        self._known[id(opening)] = _Pinned(opening, services, tuple(found.values()), nodes)
        self._known.move_to_end(id(opening))
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return nodes


def _resolve(opening: Opening, resolve: Callable[[str, str | None], Bundle]) -> dict[AgentKey, Bundle]:
    found: dict[AgentKey, Bundle] = {}
    for node in opening.nodes:
        key = (node.name, node.variant)
        if node.kind == "agent" and key not in found:
            try:
                found[key] = resolve(node.name, node.variant)
            except RunloopError as error:
                error.where = where_used(opening, node, error.where)
                raise
    return found


def agent_ports(bundle: Bundle) -> AgentPorts:
    """What the check of an opening asks of a bundle."""
    schema = dict(bundle.with_schema) if bundle.with_schema is not None else None
    return AgentPorts(frozenset(bundle.ports_in), frozenset(bundle.ports_out), schema, _needs(bundle))


def _needs(bundle: Bundle) -> frozenset[str]:
    if bundle.kind != "python":
        return frozenset()
    from runloop.bundles.python_entry import needed_arguments

    return needed_arguments(bundle.code())
