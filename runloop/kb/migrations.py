"""The ledger file's schema: an append-only list of named steps. Never change a step that was released; add one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import apsw

from runloop.errors import Where
from runloop.events import genesis, new_uuid
from runloop.kb.errors import NotALedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

APPLICATION_ID = 0x524C504C  # "RLPL", in the SQLite header of every ledger


def m001_events(db: apsw.Connection) -> None:
    """Events as in spec 15.1, with their chain, their idempotency key, blobs, and the head that betrays a cut tail.

    Only the start of a run is indexed: an index over every record of every run would touch as many pages as runs are
    active, in every commit (measured: 20 microseconds an event with 64 of them); the projections have that index.
    """
    db.execute("""
        CREATE TABLE events(
            id INTEGER PRIMARY KEY,
            ts_ms INTEGER NOT NULL,
            actor TEXT NOT NULL,
            kind TEXT NOT NULL,
            scope TEXT NOT NULL,
            payload_json TEXT NOT NULL,
            provenance_json TEXT NOT NULL,
            hash_blake3 BLOB NOT NULL,
            chain_blake3 BLOB NOT NULL,
            idempotency_key TEXT,
            run_id TEXT GENERATED ALWAYS AS (json_extract(payload_json, '$.run_id')) VIRTUAL,
            seq INTEGER GENERATED ALWAYS AS (json_extract(payload_json, '$.seq')) VIRTUAL
        ) STRICT;
        CREATE INDEX events_run ON events(run_id) WHERE kind IN ('run.submitted', 'run.started');
        CREATE UNIQUE INDEX events_key ON events(idempotency_key) WHERE idempotency_key IS NOT NULL;
        CREATE TABLE blobs(hash BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT;
        CREATE TABLE event_blobs(event_id INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(event_id, hash)) STRICT, WITHOUT ROWID;
        CREATE TABLE head(one INTEGER PRIMARY KEY CHECK(one = 1), last_id INTEGER NOT NULL, chain BLOB NOT NULL) STRICT;
        CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
    """)
    ledger_id = new_uuid()
    db.execute("INSERT INTO head VALUES(1, 0, ?)", (genesis(ledger_id),))
    db.executemany("INSERT INTO meta VALUES(?, ?)", [("ledger_id", ledger_id), ("mask_salt", os.urandom(16).hex())])


def m002_run_numbers(db: apsw.Connection) -> None:
    """The last record number of every run that has not ended, as of the event ``run_numbers_at``; see ``runloop.kb.numbers``."""
    db.execute("CREATE TABLE run_numbers(run_id TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT, WITHOUT ROWID")
    db.execute("INSERT INTO meta VALUES('run_numbers_at', 0)")


def m003_pruning(db: apsw.Connection) -> None:
    """What stands for events that left the ledger for an archive; see ``runloop.kb.pruning``."""
    db.execute("""
        CREATE TABLE checkpoints(
            number INTEGER PRIMARY KEY, event_id INTEGER NOT NULL, archive TEXT NOT NULL, digest BLOB NOT NULL, carried BLOB NOT NULL,
            public_key BLOB NOT NULL, signature BLOB NOT NULL
        ) STRICT;
        CREATE TABLE pruned_stretches(
            first_id INTEGER PRIMARY KEY, last_id INTEGER NOT NULL, chain BLOB NOT NULL, checkpoint INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE archived_runs(
            run_id TEXT PRIMARY KEY, opening_name TEXT NOT NULL, parent_run_id TEXT, status TEXT NOT NULL, submitted_ms INTEGER NOT NULL,
            finished_ms INTEGER NOT NULL, records INTEGER NOT NULL, offset INTEGER NOT NULL, checkpoint INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE archived_keys(key TEXT PRIMARY KEY, event_id INTEGER NOT NULL, checkpoint INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """)


MIGRATIONS: tuple[Callable[[apsw.Connection], None], ...] = (m001_events, m002_run_numbers, m003_pruning)
NUMBERED_FROM = 2  # m002_run_numbers
READABLE_FROM = 1  # the oldest schema that reading alone does with: later steps added only what writers need


def open_schema(db: apsw.Connection, path: Path) -> None:
    """Make the tables of a new file; several processes may try at once. Any other schema is refused, as :func:`refuse_other` says."""
    if refuse_other(db, path) == 0:
        migrate(db, path)


def refuse_other(db: apsw.Connection, path: Path) -> int:
    """Refuse a ledger that cannot be written as it is: `rlp kb migrate` makes a backup of an older one first. The schema, 0 for a new file.

    Raises:
        NotALedger: ``ledger.older``, ``ledger.newer``, or ``ledger.foreign`` for a file of another program.

    """
    if 0 < (found := version(db, path)) < len(MIGRATIONS):
        message = f"was written by an older Runloop (schema {found}, this one has {len(MIGRATIONS)})"
        hint = "run `rlp kb migrate`: it makes a backup, then brings the file up to date"
        raise NotALedger(message, code="ledger.older", where=Where(file=str(path)), hint=hint)
    return found


def migrate(db: apsw.Connection, path: Path) -> list[str]:
    """Bring the file to this version in one transaction; the names of the steps that were taken. Raises :class:`NotALedger`."""
    with immediate(db):
        done = version(db, path)
        if done == 0:
            db.execute("CREATE TABLE migrations(version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ms INTEGER NOT NULL) STRICT")
            db.pragma("application_id", APPLICATION_ID)
        for number, step in enumerate(MIGRATIONS[done:], done + 1):
            step(db)
            db.execute("INSERT INTO migrations VALUES(?, ?, ?)", (number, step.__name__, time.time_ns() // 1_000_000))
        db.pragma("user_version", len(MIGRATIONS))
    return [step.__name__ for step in MIGRATIONS[done:]]


def check(db: apsw.Connection, path: Path) -> None:
    """Refuse a file that this version cannot read."""
    if version(db, path) < READABLE_FROM:
        raise NotALedger("is not a ledger yet", where=Where(file=str(path)), hint="append something first, or name another file")


class immediate:  # noqa: N801 - a context manager, used like a function
    """A write transaction that takes the lock at once: rolled back on any exception."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
            except apsw.Error:
                self._rollback()
                raise
        else:
            self._rollback()

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def version(db: apsw.Connection, path: Path) -> int:
    """The schema of a file, 0 for an empty one. Raises :class:`NotALedger` for foreign and newer files."""
    number = int(db.pragma("user_version"))
    owner = int(db.pragma("application_id"))
    where = Where(file=str(path))
    if owner != APPLICATION_ID and (owner or number or db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").get):
        raise NotALedger("is an SQLite file of another program", where=where, hint="name another file")
    if number > len(MIGRATIONS):
        message = f"was written by a newer Runloop (schema {number}, this one knows {len(MIGRATIONS)})"
        hint = "update Runloop; this version would not understand what it reads"
        raise NotALedger(message, code="ledger.newer", where=where, hint=hint)
    return number
