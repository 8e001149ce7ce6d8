"""The ledger for asyncio: every commit wakes the loop once, whatever the number of tasks that wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from runloop.events import NewEvent, StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.submission import Submission
    from runloop.kb.writer import StallListener

T = TypeVar("T")
_GATHER_S = 0.004
"""How long what nobody waits for gathers: fewer commits, and fewer changes between the loop and the writer."""


class AsyncLedger:
    """Appends to a ledger from the running loop; make one per loop. Closing the ledger stays with its owner."""

    def __init__(self, ledger: Ledger) -> None:
        from asyncio import get_running_loop  # slow to import, and the command line may never need it

        self.ledger = ledger
        self._loop = get_running_loop()
        self._gathered: list[Submission] = []
        self._urgent = False
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, on_stall: StallListener) -> None:
        """As ``Ledger.watch``, with ``on_stall`` called on the loop."""
        self.ledger.watch(lambda full: self._call(on_stall, full))

    def append(self, events: Iterable[NewEvent], *, check: bool = True, urgent: bool = True) -> asyncio.Future[list[StoredEvent]]:
        """Store the events together, or none; the future is done when they are on disk.

        Invalid events raise here. Calls are stored in their order, those of one turn of the loop together: that is fewer commits, and the
        writer is woken when the turn is over instead of fighting for the interpreter. What is not ``urgent`` gathers for some milliseconds,
        or until something urgent comes. Cancelling the future does not take them back.
        """
        future: asyncio.Future[list[StoredEvent]] = self._loop.create_future()
        self._gathered.append(self.ledger.prepare(events, self, check=check, future=future))
        if urgent:
            if not self._urgent:
                self._urgent = True
                self._loop.call_soon(self.hand_over)
        elif self._timer is None and not self._urgent:
            self._timer = self._loop.call_later(_GATHER_S, self.hand_over)
        return future

    def hand_over(self) -> None:
        """Give the writer what gathers; call it before the ledger is closed, which stores what the writer has."""
        self._urgent = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        for submission, error in self.ledger.put_all(gathered):
            submission.error = error
            self._resolve([submission])

    def deliver(self, submissions: list[Submission]) -> None:
        """Called by the writer thread after each commit."""
        self._call(self._resolve, submissions)

    def _call(self, function: Callable[[T], None], argument: T) -> None:
        try:
            self._loop.call_soon_threadsafe(function, argument)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _resolve(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            future = submission.future
            if future is None or future.done():
                continue
            if submission.error is None:
                future.set_result(submission.result)
            else:
                future.set_exception(submission.error)
