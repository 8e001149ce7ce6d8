"""The ledger's one writer thread: takes whatever is queued, writes it in one transaction, and then wakes everybody.

Commits therefore group by themselves: while one batch waits for the disk, the next one gathers. On a full disk nobody gets an
error: the queue stands still, its listener is told, and it goes on by itself once there is room.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import apsw

from runloop.errors import RunloopError, Where
from runloop.kb.database import translate
from runloop.kb.errors import LedgerClosed, LedgerError, LedgerFull
from runloop.kb.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runloop.kb.errors import LedgerMoved
    from runloop.kb.submission import Submission, Waiter

    StallListener = Callable[[LedgerFull | None], None]

MAX_BATCH = 4096  # submissions in one transaction: bounds how long the first of them waits
MAX_HELD_BYTES = 64 * 1024 * 1024  # of what waits for room on a full disk
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0


class Writer:
    """Owns the write connection; nothing else in this process writes to the file.

    ``on_stall`` is called on the writer thread: with the error when the disk is full and the queue stands still, with None when it
    goes on. It must not raise and must not block.
    """

    def __init__(self, path: Path, *, busy_ms: int, on_stall: StallListener | None = None) -> None:
        self.on_stall = on_stall
        self.stalled: LedgerFull | None = None
        self._path = path
        self._store = Store(path, busy_ms=busy_ms)
        self._lock = threading.Lock()  # guards _pending, _held_bytes, stalled and _closed
        self._pending: list[Submission] = []
        self._held_bytes = 0  # counted while stalled only
        self._wake = threading.Lock()  # free while there is something for the thread to do
        self._wake.acquire()
        self._again = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, submission: Submission) -> None:
        """Queue a submission; its waiter hears of it after the commit. Raises ``kb.disk_full`` when too much waits for room already."""
        for _, error in self.put_all([submission]):
            raise error

    def put_all(self, submissions: list[Submission]) -> list[tuple[Submission, RunloopError]]:
        """As :meth:`put` for several at once; those that could not be queued, and why."""
        refused: list[tuple[Submission, RunloopError]] = []
        with self._lock:
            idle = not self._pending
            for submission in submissions:
                try:
                    if self._closed:
                        raise LedgerClosed("the ledger was closed", where=Where(file=str(self._path)))
                    if self.stalled is not None:
                        self._hold(submission, self.stalled)
                except RunloopError as error:
                    refused.append((submission, error))
                else:
                    self._pending.append(submission)
            if idle and self._pending:
                self._wake.release()
        return refused

    @property
    def moved(self) -> LedgerMoved | None:
        """As :attr:`Store.moved`."""
        return self._store.moved

    def poke(self) -> None:
        """Look for room now, when the queue stands still."""
        self._again.set()

    def close(self) -> None:
        """Write what is queued, then close the file; what finds no room fails with ``kb.disk_full``."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._pending:
                self._wake.release()
        self._again.set()
        self._thread.join()

    def _run(self) -> None:
        closed = False
        while not closed:
            self._wake.acquire()
            with self._lock:
                batch, self._pending, closed = self._pending, [], self._closed
            for start in range(0, len(batch), MAX_BATCH):
                self._decide(batch[start : start + MAX_BATCH], batch[start + MAX_BATCH :])
                self._store.tend()
        self._store.close()

    def _decide(self, batch: list[Submission], behind: list[Submission]) -> None:
        """Write until all are decided, waiting for room on the disk where that is needed; ``behind`` are those to follow."""
        delay = FIRST_RETRY_S
        while batch:
            undecided, full = self._write(batch)
            done = len(batch) - len(undecided)
            if done:
                self._go_on()
                _deliver(batch[:done])
                delay = FIRST_RETRY_S
            batch = undecided
            if full is None:
                return
            if self._closed:
                _fail(batch, full)
                _deliver(batch)
                return
            self._stall(full, batch + behind)
            self._again.wait(delay)
            self._again.clear()
            delay = min(2 * delay, LAST_RETRY_S)

    def _write(self, batch: list[Submission]) -> tuple[list[Submission], LedgerFull | None]:
        """One transaction for all; when one spoils it, one for each, so that only the guilty fails. What found no room, and why."""
        try:
            self._store.append(batch)
        except LedgerFull as full:
            _undecide(batch)
            return batch, full
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the thread must live
            _undecide(batch)
            if len(batch) == 1 or (isinstance(error, RunloopError) and not any(submission.also for submission in batch)):
                _fail(batch, self._translated(error))
                return [], None
            for index, submission in enumerate(batch):
                undecided, full_now = self._write([submission])
                if undecided:
                    return batch[index:], full_now
        return [], None

    def _translated(self, error: Exception) -> RunloopError:
        if isinstance(error, RunloopError):
            return error
        if isinstance(error, apsw.Error):
            return translate(error, self._path)
        return LedgerError(f"{type(error).__name__}: {error}", where=Where(file=str(self._path)))

    def _stall(self, full: LedgerFull, held: list[Submission]) -> None:
        with self._lock:
            first = self.stalled is None
            self.stalled = full
            if first:
                self._held_bytes = sum(submission.size for submission in (*held, *self._pending))
        if first and self.on_stall is not None:
            self.on_stall(full)

    def _go_on(self) -> None:
        if self.stalled is None:
            return
        with self._lock:
            self.stalled = None
        if self.on_stall is not None:
            self.on_stall(None)

    def _hold(self, submission: Submission, full: LedgerFull) -> None:
        """Count what waits for room; refuse what would be too much."""
        size = submission.size
        if self._held_bytes + size > MAX_HELD_BYTES:
            message = f"{full.message}; {self._held_bytes:,} bytes wait for room already"
            raise LedgerFull(message, where=full.where, hint=full.hint)
        self._held_bytes += size


def _undecide(batch: list[Submission]) -> None:
    for submission in batch:
        submission.undecide()


def _fail(batch: list[Submission], error: Exception) -> None:
    for submission in batch:
        submission.error = error


def _deliver(batch: list[Submission]) -> None:
    """Wake each waiter once."""
    by_waiter: dict[Waiter, list[Submission]] = {}
    for submission in batch:
        mine = by_waiter.get(submission.waiter)
        if mine is None:
            by_waiter[submission.waiter] = [submission]
        else:
            mine.append(submission)
    for waiter, submissions in by_waiter.items():
        waiter.deliver(submissions)
