"""What was under way when a node ended: its open calls and child runs end in the commit in which the node does.

A process that dies before that commit leaves all of it open, one that dies after it nothing: no agent is ever taken up again behind the
end of its own call.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.runs.recorder import Draft, Ending


@dataclass(slots=True)
class Closing:
    """What is to be written with the ends of a run's nodes, by node."""

    _calls: dict[str, list[Draft]] = field(default_factory=dict)
    _runs: dict[str, list[Ending]] = field(default_factory=dict)

    def call(self, node: str, *drafts: Draft) -> None:
        """Records that end a call of ``node``."""
        self._calls.setdefault(node, []).extend(drafts)

    def child(self, node: str, endings: Iterable[Ending]) -> None:
        """The ends of a child run of ``node`` and of its own children, innermost first."""
        self._runs.setdefault(node, []).extend(endings)

    def take(self, nodes: Iterable[str]) -> tuple[list[Ending], list[Draft]]:
        """What belongs to these nodes: the ends of other runs, and the records of this one that follow them."""
        runs: list[Ending] = []
        calls: list[Draft] = []
        for node in dict.fromkeys(nodes):
            runs += self._runs.pop(node, [])
            calls += self._calls.pop(node, [])
        return runs, calls
