"""What the attempts of a run wait for, and what a run that only waits leaves behind when it is dropped."""

from __future__ import annotations

from dataclasses import field
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


@dataclass(slots=True)
class Waits:
    """The waits of one run, by node."""

    _by_node: dict[str, Wait] = field(default_factory=dict)

    def begin(self, node: str, wait: Wait) -> None:
        """``node`` waits from now on."""
        self._by_node[node] = wait

    def end(self, node: str) -> None:
        """It does not wait any more."""
        self._by_node.pop(node, None)

    def covers(self, nodes: AbstractSet[str]) -> bool:
        """Whether each of these waits."""
        return nodes <= self._by_node.keys()

    @property
    def children(self) -> int:
        """How many of the waits are for a child run."""
        return sum(wait.why == "child" for wait in self._by_node.values())

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
