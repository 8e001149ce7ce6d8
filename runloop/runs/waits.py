"""What the attempts of a run wait for, and what a run that only waits leaves behind when it is dropped."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from runloop.events.records import OpenQuestion

Why = Literal["person", "timer", "child", "paused"]


@dataclass(frozen=True, slots=True)
class Wait:
    """One attempt's wait: until when at most (Unix milliseconds), and what a person can answer."""

    why: Why
    until_ms: int | None = None
    asked: OpenQuestion | None = None
    dated: bool = False
    """Whether it ends at that date, however the clock is set; else when so much time has passed."""


@dataclass(slots=True)
class Waits:
    """The waits of one run, by node."""

    _by_node: dict[str, Wait] = field(default_factory=dict, init=False)
    children: int = field(default=0, init=False)
    """How many of the waits are for a child run."""

    def begin(self, node: str, wait: Wait) -> None:
        """``node`` waits from now on."""
        self.end(node)
        self._by_node[node] = wait
        self.children += wait.why == "child"

    def end(self, node: str) -> None:
        """It does not wait any more."""
        before = self._by_node.pop(node, None)
        self.children -= before is not None and before.why == "child"

    def set_clock(self, by_ms: int) -> None:
        """The clock was set, by so much: what is left of a time stays, the dates stay where they are."""
        for node, wait in self._by_node.items():
            if wait.until_ms is not None and not wait.dated:
                self._by_node[node] = replace(wait, until_ms=wait.until_ms + by_ms)

    def covers(self, nodes: AbstractSet[str], others: AbstractSet[str] = frozenset()) -> bool:
        """Whether each of ``nodes`` waits, or is one of the ``others``."""
        if len(nodes) > len(self._by_node) + len(others):
            return False
        return nodes - others <= self._by_node.keys()

    @property
    def until_ms(self) -> int | None:
        """When the first of the waits ends by itself; None where only somebody can end them."""
        return min((wait.until_ms for wait in self._by_node.values() if wait.until_ms is not None), default=None)

    @property
    def questions(self) -> list[OpenQuestion]:
        """What a person can answer."""
        return [wait.asked for wait in self._by_node.values() if wait.asked is not None]

    @property
    def whys(self) -> set[Why]:
        """Why, each once."""
        return {wait.why for wait in self._by_node.values()}
