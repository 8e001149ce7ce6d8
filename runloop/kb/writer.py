"""The ledger's one writer thread: takes whatever is queued, writes it in one transaction, and then wakes everybody.

Commits therefore group by themselves: while one batch waits for the disk, the next one gathers.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import apsw
from msgspec import Struct

from runloop.errors import RunloopError, Where
from runloop.events import StoredEvent, chain_hash
from runloop.kb.database import connect, translate
from runloop.kb.errors import KeyConflict, LedgerClosed, LedgerError
from runloop.kb.migrations import immediate, migrate
from runloop.kb.rows import COLUMNS, stored

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable
    from pathlib import Path

    from runloop.kb.rows import Row

MAX_BATCH = 4096  # submissions in one transaction: bounds how long the first of them waits

_CHUNKS = (64, 32, *range(16, 0, -1))  # rows in one statement: SQLite leaves Python's lock once a statement, not once a row
_INSERTS = {size: f"INSERT INTO events({COLUMNS}) VALUES{', '.join(['(?,?,?,?,?,?,?,?,?,?)'] * size)}" for size in _CHUNKS}
_BY_KEY = f"SELECT {COLUMNS} FROM events WHERE idempotency_key = ?"  # noqa: S608
_WHOLE_FILE = (
    *(apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError, apsw.CorruptError, apsw.NotADBError),
    *(apsw.CantOpenError, RunloopError, OSError),
)
_SET_HEAD = "UPDATE head SET last_id = ?, chain = ?"


class Waiter(Protocol):
    """Who is woken when submissions are decided; called on the writer thread, once per commit."""

    def deliver(self, submissions: list[Submission]) -> None:
        """Take the results or errors of these submissions."""


class Submission(Struct, eq=False):
    """Events of one caller, appended together or not at all; ``keyed`` when one of them has an idempotency key."""

    rows: list[Row]
    waiter: Waiter
    keyed: bool
    future: asyncio.Future[list[StoredEvent]] | None = None
    result: list[StoredEvent] = []
    error: Exception | None = None


class Writer:
    """Owns the write connection; nothing else in this process writes to the file."""

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._db: apsw.Connection | None = self._open()
        self._lock = threading.Lock()  # guards _pending and _closed
        self._pending: list[Submission] = []
        self._wake = threading.Lock()  # free while there is something for the thread to do
        self._wake.acquire()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, submission: Submission) -> None:
        """Queue a submission; its waiter hears of it after the commit."""
        with self._lock:
            if self._closed:
                raise LedgerClosed("the ledger was closed", where=Where(file=str(self._path)))
            self._pending.append(submission)
            if len(self._pending) == 1:
                self._wake.release()

    def close(self) -> None:
        """Write what is queued, then close the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._pending:
                self._wake.release()
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
        closed = False
        while not closed:
            self._wake.acquire()
            with self._lock:
                batch, self._pending, closed = self._pending, [], self._closed
            for start in range(0, len(batch), MAX_BATCH):
                part = batch[start : start + MAX_BATCH]
                self._write(part)
                _deliver(part)
        if self._db is not None:
            self._db.close()

    def _write(self, batch: list[Submission]) -> None:
        """One transaction for all; when one submission spoils it, one for each, so that only the guilty fails."""
        try:
            if self._db is None:
                self._db = self._open()
            with immediate(self._db):
                self._insert(self._db, batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it and the thread must live
            if len(batch) == 1 or isinstance(error, _WHOLE_FILE):
                self._fail(batch, error)
                return
            for submission in batch:
                submission.result, submission.error = [], None
                self._write([submission])

    def _insert(self, db: apsw.Connection, batch: list[Submission]) -> None:
        last_id, chain = db.execute("SELECT last_id, chain FROM head").get
        now_ms = time.time_ns() // 1_000_000
        inserts: list[Any] = []
        by_key: dict[str, StoredEvent] = {}
        first_id = last_id
        for submission in batch:
            known = self._known(db, submission, by_key) if submission.keyed else by_key
            if submission.error is not None:
                continue
            for row in submission.rows:
                new = row.event
                key = new.key
                if key is not None and key in known:
                    submission.result.append(known[key])
                    continue
                last_id += 1
                ts_ms = now_ms if new.ts_ms is None else new.ts_ms
                content = row.content
                chain = chain_hash(chain, last_id, ts_ms, content, key)
                event = StoredEvent(last_id, ts_ms, new.kind, new.actor, new.scope, row.payload, new.provenance, content, chain, key)
                submission.result.append(event)
                if key is not None:
                    known[key] = by_key[key] = event
                inserts += (last_id, ts_ms, new.kind, new.actor, new.scope, row.payload_json, row.provenance_json, content, chain, key)
                if row.blobs:
                    _insert_blobs(db, last_id, row.blobs)
        if last_id != first_id:
            _insert_rows(db, inserts)
            db.execute(_SET_HEAD, (last_id, chain))

    def _known(self, db: apsw.Connection, submission: Submission, by_key: dict[str, StoredEvent]) -> dict[str, StoredEvent]:
        """The events that the submission's keys already stand for; a key used for something else is the submission's error."""
        known: dict[str, StoredEvent] = {}
        content: dict[str, bytes] = {}
        for row in submission.rows:
            key = row.event.key
            if key is None:
                continue
            event = by_key.get(key)
            if event is None:
                found = db.execute(_BY_KEY, (key,)).fetchone()
                event = None if found is None else stored(found)
            if event is not None:
                known[key] = event
            if (event.content_hash if event else content.setdefault(key, row.content)) != row.content:
                submission.error = KeyConflict(
                    f"idempotency key {key!r} stands for another event" + (f" (event {event.id}, {event.kind})" if event else ""),
                    where=Where(file=str(self._path), key=key),
                    hint="use a new key for a new event",
                )
                break
        return known

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


def _insert_rows(db: apsw.Connection, values: list[Any]) -> None:
    """Insert rows whose columns lie one after the other in ``values``."""
    start, width = 0, COLUMNS.count(",") + 1
    for size in _CHUNKS:
        step = size * width
        while len(values) - start >= step:
            db.execute(_INSERTS[size], values[start : start + step])
            start += step


def _insert_blobs(db: apsw.Connection, event_id: int, blobs: Iterable[tuple[bytes, bytes]]) -> None:
    for name, data in blobs:
        db.execute("INSERT INTO blobs(hash, data) VALUES(?, ?) ON CONFLICT DO NOTHING", (name, data))
        db.execute("INSERT INTO event_blobs(event_id, hash) VALUES(?, ?) ON CONFLICT DO NOTHING", (event_id, name))


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
