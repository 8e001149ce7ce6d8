"""The write connection of a ledger: one transaction for many submissions, and what is done after the device failed.

After an error of the device nothing that the file handles say about earlier writes is believed: the connection is given up. The next
transaction gets a new one, with the log written again (see ``unsynced``) and the events since the last acknowledged one checked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import apsw

from runloop.errors import Where
from runloop.events import StoredEvent, chain_hash
from runloop.kb.database import CHECKPOINT_PAGES, abandon, connect, create, translate, translated
from runloop.kb.errors import DAMAGED, KeyArchived, KeyConflict, LedgerCorrupt, LedgerMoved
from runloop.kb.log_room import LogRoom
from runloop.kb.migrations import immediate, open_schema
from runloop.kb.numbers import RunNumbers
from runloop.kb.rows import COLUMNS, insert_blobs, stored
from runloop.kb.unsynced import Presence, fold_on_close, write_log_again

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from runloop.kb.rows import Row
    from runloop.kb.submission import Submission

_CHUNKS = (64, 32, *range(16, 0, -1))  # rows in one statement: SQLite leaves Python's lock once a statement, not once a row
_INSERTS = {size: f"INSERT INTO events({COLUMNS}) VALUES{', '.join(['(?,?,?,?,?,?,?,?,?,?)'] * size)}" for size in _CHUNKS}
_BY_KEY = f"SELECT {COLUMNS} FROM events WHERE idempotency_key = ?"  # noqa: S608
_ARCHIVED_KEY = "SELECT event_id, checkpoint FROM archived_keys WHERE key = ?"
_HEAD = "SELECT last_id, chain FROM head"
_SET_HEAD = "UPDATE head SET last_id = ?, chain = ?"
_WHOLE_FILE = (
    *(apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError, apsw.LockedError, apsw.CorruptError, apsw.NotADBError),
    *(apsw.CantOpenError, OSError),
)
_UNSEEN = (0, 0)
_DEVICE = (apsw.IOError, apsw.CorruptError, apsw.NotADBError)


class Store:
    """Owns the write connection. Not thread-safe: the writer thread alone uses it after it was made."""

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._numbers = RunNumbers(path)
        self._log_pages = 0
        self._presence: Presence
        self._room: LogRoom
        db = self._open()
        self._file = _identity(path)
        self._db: apsw.Connection | None = db
        self._acknowledged = _head(db, path)

    @property
    def moved(self) -> LedgerMoved | None:
        """Why nothing is stored: the file was moved, removed or replaced since it was opened; None where it was not. For any thread."""
        if _identity(self._path) in (self._file, _UNSEEN):
            return None
        message = "the ledger is not where it was opened: it was moved, removed or replaced, so nothing is recorded"
        hint = "put the file back, or end what has it open (`rlp down`) and start it with the one that is there now"
        return LedgerMoved(message, where=Where(file=str(self._path)), hint=hint)

    def append(self, batch: list[Submission]) -> None:
        """Store the submissions in one transaction; each then has its result or an error of its own.

        Raises a RunloopError when the file cannot be written (``kb.disk_full``, ``kb.io``, ``ledger.…``: nothing is decided), and
        anything else when a submission spoils the transaction for all.
        """
        if (moved := self.moved) is not None:
            raise moved
        db = self._db or self._reopen()
        try:
            with immediate(db):
                head = self._insert(db, batch)
                for submission in batch:
                    if submission.also is not None and submission.error is None:
                        submission.also(db, submission.result)
        except _WHOLE_FILE as error:
            ours = translate(error, self._path, db)
            if isinstance(error, _DEVICE):
                self._give_up()
            raise ours from error
        self._numbers.commit(head[0])
        self._acknowledged = head

    def tend(self) -> None:
        """Write the log back into the file once it is long, and keep room behind it before.

        Nothing depends on its success: what was acknowledged is in the log.
        """
        if self._db is None:
            return
        try:
            if self._log_pages >= CHECKPOINT_PAGES:
                self._db.wal_checkpoint()
            else:
                self._room.keep(self._log_pages)
        except _DEVICE:
            self._give_up()
        except (apsw.Error, OSError):
            return  # no room, or somebody reads: after the next commit again

    def close(self) -> None:
        """Close the file; the log is folded in when nobody else has it open."""
        if self._db is not None:
            db, self._db = self._db, None
            abandon(db)
            self._presence.end()

    def _open(self, *, suspect: bool = False) -> apsw.Connection:
        """A connection that rests on nothing the device may have forgotten; ``suspect`` after it failed here."""
        with translated(self._path):
            create(self._path)
            presence = Presence(self._path.parent)
        with presence:
            db = connect(self._path, busy_ms=self._busy_ms)
            try:
                with translated(self._path, db):
                    db.pragma("secure_delete", 1)  # so that no copy is left in a page's free space when something is erased
                    fold_on_close(db, yes=False)
                    if suspect or presence.alone:
                        write_log_again(db)
                    open_schema(db, self._path)
                    _head(db, self._path)  # a ledger that lost it takes no events
                    fold_on_close(db, yes=True)
                    db.set_wal_hook(self._grew)  # in place of SQLite's own, which folds before the commit is answered
            except BaseException:
                abandon(db)
                raise
        self._presence, self._room = presence, LogRoom(db)
        return db

    def _reopen(self) -> apsw.Connection:
        """Raises ``kb.io`` or, when something that was acknowledged is gone, ``ledger.rolled_back``."""
        db = self._open(suspect=True)
        try:
            with translated(self._path, db):
                self._check_tail(db)
        except BaseException:
            self._db = db
            self._give_up()
            raise
        self._db = db
        return db

    def _check_tail(self, db: apsw.Connection) -> None:
        from runloop.kb.verify import first_broken_after

        broken = first_broken_after(db, *self._acknowledged)
        if broken is not None:
            raise LedgerCorrupt(
                f"after an error of the device, event {broken.event_id} is not as it was acknowledged: {broken.what} differs",
                code="ledger.rolled_back",
                where=Where(file=str(self._path)),
                hint="look at the disk's health, run `rlp kb verify`, then restore a backup",
            )

    def _give_up(self) -> None:
        """Close without folding the log in: what it holds may not be on the disk, and must not get into the file before it is."""
        if self._db is not None:
            fold_on_close(self._db, yes=False)
        self.close()

    def _grew(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _insert(self, db: apsw.Connection, batch: list[Submission]) -> tuple[int, bytes]:
        """Insert what can be inserted; the head afterwards."""
        last_id, chain = _head(db, self._path)
        self._numbers.begin(db, last_id)
        now_ms = time.time_ns() // 1_000_000
        inserts: list[Any] = []
        by_key: dict[str, StoredEvent] = {}
        first_id = last_id
        for submission in batch:
            known = self._known(db, submission, by_key) if submission.keyed else by_key
            if submission.error is None:
                submission.error = self._numbers.admit(db, _fresh(submission, known))
            if submission.error is not None:
                continue
            for row in submission.rows:
                new = row.event
                key = new.key
                if key is not None and key in known:
                    submission.repeats.append(len(submission.result))
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
                    insert_blobs(db, last_id, row.blobs)
        if last_id != first_id:
            _insert_rows(db, inserts)
            self._numbers.settle(db, last_id)
            db.execute(_SET_HEAD, (last_id, chain))
        return last_id, chain

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
                if found is None and (gone := db.execute(_ARCHIVED_KEY, (key,)).fetchone()) is not None:
                    submission.error = KeyArchived(
                        f"idempotency key {key!r} stands for event {gone[0]}, which is in the archive of checkpoint {gone[1]}",
                        where=Where(file=str(self._path), key=key),
                        hint="use a new key for a new event; `rlp runs --archived` shows what was archived",
                    )
                    break
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


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at the path; None where none is."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # the device fails, or this process may not look any more
        return _UNSEEN
    return found.st_dev, found.st_ino


def _head(db: apsw.Connection, path: Path) -> tuple[int, bytes]:
    head: tuple[int, bytes] | None = db.execute(_HEAD).fetchone()
    if head is None:
        raise LedgerCorrupt("the head is missing", where=Where(file=str(path)), hint=DAMAGED)
    return head


def _fresh(submission: Submission, known: dict[str, StoredEvent]) -> Iterable[Row]:
    """The rows that will be stored: not those that an idempotency key stands for already, here or earlier in the submission."""
    if not submission.keyed:
        return submission.rows
    keyed = {row.event.key: row for row in reversed(submission.rows)}
    return [row for row in submission.rows if (key := row.event.key) is None or (key not in known and keyed[key] is row)]


def _insert_rows(db: apsw.Connection, values: list[Any]) -> None:
    """Insert rows whose columns lie one after the other in ``values``."""
    start, width = 0, COLUMNS.count(",") + 1
    for size in _CHUNKS:
        step = size * width
        while len(values) - start >= step:
            db.execute(_INSERTS[size], values[start : start + step])
            start += step
