"""The ledger's one writer thread: takes whatever is queued, writes it in one transaction, and then wakes everybody.

Commits therefore group by themselves: while one batch waits for the disk, the next one gathers.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import apsw

from runloop.errors import RunloopError, Where
from runloop.events import StoredEvent, chain_hash
from runloop.kb.database import connect, translate
from runloop.kb.errors import KeyConflict, LedgerClosed, LedgerError, SeqConflict
from runloop.kb.migrations import immediate, migrate
from runloop.kb.rows import COLUMNS, stored

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runloop.kb.rows import Row

MAX_BATCH = 4096  # submissions in one transaction: bounds how long the first of them waits

_INSERT = f"""INSERT INTO events({COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_BY_KEY = f"SELECT {COLUMNS} FROM events WHERE idempotency_key = ?"  # noqa: S608
_SET_HEAD = "UPDATE head SET last_id = ?, chain = ?"


class Waiter(Protocol):
    """Who is woken when submissions are decided; called on the writer thread, once per commit."""

    def deliver(self, submissions: list[Submission]) -> None:
        """Take the results or errors of these submissions."""


class Submission:
    """Events of one caller, appended together or not at all."""

    __slots__ = ("error", "result", "rows", "waiter")

    def __init__(self, rows: list[Row], waiter: Waiter) -> None:
        self.rows = rows
        self.waiter = waiter
        self.result: list[StoredEvent] = []
        self.error: Exception | None = None


class Writer:
    """Owns the write connection; nothing else in this process writes to the file."""

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._db: apsw.Connection | None = self._open()
        self._queue: queue.SimpleQueue[Submission | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, submission: Submission) -> None:
        """Queue a submission; its waiter hears of it after the commit."""
        with self._lock:
            if self._closed:
                raise LedgerClosed("the ledger was closed", where=Where(file=str(self._path)))
            self._queue.put(submission)

    def close(self) -> None:
        """Write what is queued, then close the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _open(self) -> apsw.Connection:
        db = connect(self._path, busy_ms=self._busy_ms)
        try:
            migrate(db, self._path)
        except apsw.Error as error:
            db.close()
            raise translate(error, self._path) from error
        except RunloopError:
            db.close()
            raise
        return db

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._take()
            if batch:
                self._write(batch)
                _deliver(batch)
        if self._db is not None:
            self._db.close()

    def _take(self) -> tuple[list[Submission], bool]:
        """Wait for a submission and take everything behind it; False when the ledger is closing."""
        item = self._queue.get()
        batch: list[Submission] = []
        while item is not None:
            batch.append(item)
            if len(batch) >= MAX_BATCH:
                return batch, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _write(self, batch: list[Submission]) -> None:
        """One transaction for all; when one submission spoils it, one for each, so that only the guilty fails."""
        try:
            if self._db is None:
                self._db = self._open()
            with immediate(self._db):
                self._insert(self._db, batch)
        except apsw.ConstraintError as error:
            if len(batch) == 1:
                batch[0].error = self._conflict(error)
                return
            for submission in batch:
                self._write([_fresh(submission)])
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the thread must live
            self._fail(batch, error)

    def _insert(self, db: apsw.Connection, batch: list[Submission]) -> None:
        last_id, chain = db.execute("SELECT last_id, chain FROM head").get
        now_ms = time.time_ns() // 1_000_000
        inserts: list[tuple[Any, ...]] = []
        by_key: dict[str, StoredEvent] = {}
        first_id = last_id
        for submission in batch:
            known = self._known(db, submission, by_key)
            if submission.error is not None:
                continue
            for row in submission.rows:
                if row.key is not None and row.key in known:
                    submission.result.append(known[row.key])
                    continue
                last_id += 1
                ts_ms = now_ms if row.ts_ms is None else row.ts_ms
                chain = chain_hash(chain, last_id, ts_ms, row.content, row.key)
                event = StoredEvent(
                    last_id, ts_ms, row.kind, row.actor, row.scope, row.payload, row.provenance, row.content, chain, row.key
                )
                submission.result.append(event)
                if row.key is not None:
                    known[row.key] = by_key[row.key] = event
                inserts.append(
                    (last_id, ts_ms, row.kind, row.actor, row.scope, row.payload_json, row.provenance_json, row.content, chain, row.key)
                )
                if row.blobs:
                    _insert_blobs(db, last_id, row.blobs)
        if last_id != first_id:
            db.executemany(_INSERT, inserts)
            db.execute(_SET_HEAD, (last_id, chain))

    def _known(self, db: apsw.Connection, submission: Submission, by_key: dict[str, StoredEvent]) -> dict[str, StoredEvent]:
        """The events that the submission's keys already stand for; a key used for something else is the submission's error."""
        known: dict[str, StoredEvent] = {}
        content: dict[str, bytes] = {}
        for row in submission.rows:
            if row.key is None:
                continue
            event = by_key.get(row.key)
            if event is None:
                found = db.execute(_BY_KEY, (row.key,)).fetchone()
                event = None if found is None else stored(found)
            if event is not None:
                known[row.key] = event
            if (event.content_hash if event else content.setdefault(row.key, row.content)) != row.content:
                submission.error = KeyConflict(
                    f"idempotency key {row.key!r} stands for another event" + (f" (event {event.id}, {event.kind})" if event else ""),
                    where=Where(file=str(self._path), key=row.key),
                    hint="use a new key for a new event",
                )
                break
        return known

    def _conflict(self, error: apsw.ConstraintError) -> RunloopError:
        if "events.run_id" in str(error):
            return SeqConflict(
                "the run already has a record with this seq", where=Where(file=str(self._path)), hint="another process drives the same run"
            )
        return translate(error, self._path)

    def _fail(self, batch: list[Submission], error: Exception) -> None:
        """Give everyone the error; after trouble with the file, open it anew for the next batch."""
        if isinstance(error, RunloopError):
            ours: Exception = error
        elif isinstance(error, apsw.Error):
            ours = translate(error, self._path)
        else:
            ours = LedgerError(f"{type(error).__name__}: {error}", where=Where(file=str(self._path)))
        for submission in batch:
            submission.result = []
            submission.error = ours
        if isinstance(error, (apsw.IOError, apsw.CorruptError, apsw.NotADBError)) and self._db is not None:
            self._db.close(True)
            self._db = None


def _insert_blobs(db: apsw.Connection, event_id: int, blobs: Iterable[tuple[bytes, bytes]]) -> None:
    for name, data in blobs:
        db.execute("INSERT INTO blobs(hash, data) VALUES(?, ?) ON CONFLICT DO NOTHING", (name, data))
        db.execute("INSERT INTO event_blobs(event_id, hash) VALUES(?, ?) ON CONFLICT DO NOTHING", (event_id, name))


def _fresh(submission: Submission) -> Submission:
    submission.result = []
    submission.error = None
    return submission


def _deliver(batch: list[Submission]) -> None:
    """Wake each waiter once."""
    by_waiter: dict[int, list[Submission]] = {}
    for submission in batch:
        by_waiter.setdefault(id(submission.waiter), []).append(submission)
    for submissions in by_waiter.values():
        submissions[0].waiter.deliver(submissions)
