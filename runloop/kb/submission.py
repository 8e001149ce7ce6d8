"""What callers hand to the ledger's writer, and how they hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from runloop.events import StoredEvent

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import apsw

    from runloop.kb.rows import Row

_ROW_BYTES = 1024  # what a queued event takes besides its text and blobs


class Waiter(Protocol):
    """Who is woken when submissions are decided; called on the writer thread, once per commit."""

    def deliver(self, submissions: list[Submission]) -> None:
        """Take the results or errors of these submissions."""


class Submission(Struct, eq=False):
    """Events of one caller, appended together or not at all; ``keyed`` when one of them has an idempotency key.

    ``repeats`` are positions in the result of events that were there before, under their keys.
    """

    rows: list[Row]
    waiter: Waiter
    keyed: bool
    future: asyncio.Future[list[StoredEvent]] | None = None
    also: Callable[[apsw.Connection, list[StoredEvent]], None] | None = None
    """What else changes in the same transaction, once the events are in; what it raises is the submission's error and undoes all of it."""
    result: list[StoredEvent] = []
    error: Exception | None = None
    repeats: list[int] = []

    def undecide(self) -> None:
        """Forget what a transaction that was rolled back had made of it."""
        self.result, self.error, self.repeats = [], None, []

    @property
    def size(self) -> int:
        """About how many bytes it holds while it waits."""
        return sum(
            len(row.payload_json) + len(row.provenance_json) + sum(len(data) for _, data in row.blobs) + _ROW_BYTES for row in self.rows
        )
