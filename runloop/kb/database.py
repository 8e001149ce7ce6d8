"""SQLite connections: how files are opened, and what SQLite's errors mean here."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from runloop.errors import RunloopError, Where
from runloop.kb.errors import LedgerCorrupt, LedgerError, LedgerFull, LedgerLocked, LedgerReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_MS = 30_000  # how long a writer waits for another process
CHECKPOINT_PAGES = 4000  # 16 MB of log before it is folded in: with SQLite's 1000, one commit in fifty waited 5 ms

_MEANINGS: tuple[tuple[tuple[type[Exception], ...], type[RunloopError], str, str], ...] = (
    ((apsw.FullError,), LedgerFull, "no space left", "free some space; nothing that was acknowledged is lost"),
    ((apsw.ReadOnlyError, PermissionError), LedgerReadOnly, "cannot be written", "check owner and mode of the file and its directory"),
    ((apsw.BusyError, apsw.LockedError), LedgerLocked, "another process holds the lock", "try again, or stop the other process"),
    ((apsw.CorruptError, apsw.NotADBError), LedgerCorrupt, "the file is damaged", "run `rlp kb verify`, then restore a backup"),
    ((apsw.CantOpenError, FileNotFoundError), LedgerError, "cannot be opened", "check that the path exists and can be read"),
)


def connect(path: Path, *, readonly: bool = False, synchronous: str = "full", busy_ms: int = BUSY_MS) -> apsw.Connection:
    """A connection in WAL mode; a new file is readable by its owner only."""
    with translated(path):
        if not readonly:
            _create_private(path)
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        db = apsw.Connection(str(path), flags=flags)
        db.set_busy_timeout(busy_ms)
        if not readonly:
            _wal(db, busy_ms)
            db.pragma("synchronous", synchronous)
            db.pragma("foreign_keys", 1)
            db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            db.pragma("journal_size_limit", 64 * 1024 * 1024)
        return db


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, with the file's name."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise translate(error, path) from error


def translate(error: Exception, path: Path) -> RunloopError:
    """Our error for SQLite's or the system's."""
    where = Where(file=str(path))
    for types, ours, message, hint in _MEANINGS:
        if isinstance(error, types):
            return ours(f"{message}: {error}", where=where, hint=hint)
    if isinstance(error, OSError):
        return LedgerError(f"{error.strerror or error}", where=where, hint="check the path and its permissions")
    return LedgerError(f"SQLite: {error}", where=where)


def _create_private(path: Path) -> None:
    """Make the file, if it is not there, before SQLite does: its journal files then take the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _wal(db: apsw.Connection, busy_ms: int) -> None:
    """Switch to WAL; SQLite does not wait by itself when two processes do that to a new file at once."""
    waited = 0
    while True:
        try:
            db.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if waited >= busy_ms:
                raise
            time.sleep(0.01)
            waited += 10
        else:
            return
