"""What agtop takes from outside: where records come from, and what only the command line can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.tui.board import Board
from runloop.tui.changing import Change
from runloop.tui.deciding import Decision


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that a search found; ``key`` is what :meth:`Desk.why` explains."""

    key: str
    kind: str
    title: str
    excerpt: str
    when: str


class Desk(Protocol):
    """The knowledge base and the masks, as the command line has them. Its methods may take long; they are called in threads."""

    def mask(self, value: Any) -> Any:
        """A JSON value as it may be shown."""
        ...

    def search(self, words: str) -> Sequence[Hit]:
        """Best first. Raises RunloopError."""
        ...

    def why(self, key: str) -> Sequence[str]:
        """What made it what it is, as lines of a tree. Raises RunloopError."""
        ...


class Feed(Protocol):
    """Where the board's content comes from."""

    mode: str
    """LIVE, FILE or PAST."""

    async def fill(self, board: Board, changed: Callable[[], None]) -> None:
        """Fill the board until cancelled or until nothing more can come; ``changed`` is called after each change.

        Raises RunloopError where nothing can come at all.
        """
        ...

    async def know(self, run_id: str) -> None:
        """Bring what is missing of a run that somebody looks at; live, the beginning of its id is enough."""
        ...

    async def whole(self, value: Any) -> Any:
        """A recorded value with its blob fetched. Raises RunloopError."""
        ...

    async def answer(self, approval_id: str, decision: Decision) -> None:
        """Decide what waits. Raises RunloopError: somebody else was first, the daemon is gone, or this shows the past."""
        ...

    async def change(self, change: Change) -> str:
        """Cancel, pause or resume; what became of it, for people. Raises RunloopError as :meth:`answer`, and where the run ended."""
        ...

    def now_ms(self) -> int:
        """The time that it is there, in Unix milliseconds."""
        ...


async def sought(board: Board, feed: Feed, beginning: str) -> list[str]:
    """The ids of the runs whose id begins so; one that is not listed, because it is old, is fetched."""
    found = board.named(beginning)
    if not found and feed.mode == "LIVE":
        with suppress(RunloopError):
            await feed.know(beginning)
        found = board.named(beginning)
    return found
