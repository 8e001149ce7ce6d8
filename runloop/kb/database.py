"""SQLite connections: how files are opened, and what SQLite's errors mean here."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import apsw

from runloop.errors import NO_ROOM, RunloopError, Where, exhausted
from runloop.kb.errors import DAMAGED, LedgerCorrupt, LedgerError, LedgerFull, LedgerIO, LedgerLocked, LedgerReadOnly, NotALedger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY_MS = 30_000  # how long a writer waits for another process
PAGE = 4096  # bytes, SQLite's default
CHECKPOINT_PAGES = 4000  # of that size, 16 MB of log before it is folded in: with SQLite's 1000, one commit in fifty waited 5 ms

_MOVE_AWAY = "move it away, or put back the file that was there (`rlp kb restore` takes a backup)"
_NO_ROOM = NO_ROOM | {errno.EFBIG}
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], type[RunloopError], str, str], ...] = (
    ((apsw.IOError,), LedgerIO, "the device failed", "look at the system's log and the disk's health, then run `rlp kb verify`"),
    ((apsw.ReadOnlyError, PermissionError), LedgerReadOnly, "cannot be written", "check owner and mode of the file and its directory"),
    ((apsw.BusyError, apsw.LockedError), LedgerLocked, "another process holds the lock", "try again, or stop the other process"),
    ((apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError), LedgerCorrupt, "the file is damaged", DAMAGED),
    ((apsw.CantOpenError, FileNotFoundError), LedgerError, "cannot be opened", "check that the path exists and can be read"),
)


def connect(
    path: Path,
    *,
    readonly: bool = False,
    synchronous: str = "full",
    busy_ms: int = BUSY_MS,
    cache_kib: int = 2000,
    page: int = PAGE,
    of: type[apsw.Connection] = apsw.Connection,
) -> apsw.Connection:
    """A connection in WAL mode; a new file is readable by its owner only and has pages of ``page`` bytes. Defaults are SQLite's."""
    with translated(path):
        if readonly:
            _require_file(path)
        else:
            create(path)
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
        db = of(str(path.absolute()), flags=flags | apsw.SQLITE_OPEN_URI)  # a URI is what may be attached
    try:
        with translated(path, db):
            db.set_busy_timeout(busy_ms)
            db.pragma("cache_size", -cache_kib)
            db.pragma("temp_store", 2)  # in memory: a file of its own would need a directory that others can fill, and would hold texts
            if readonly:
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # it could not, and would complain
            else:
                db.pragma("page_size", page)  # means nothing to a file that has pages already
                _wal(db, busy_ms)
                db.pragma("synchronous", synchronous)
                db.pragma("foreign_keys", 1)
                db.pragma("wal_autocheckpoint", CHECKPOINT_PAGES * PAGE // db.pragma("page_size"))
                db.pragma("journal_size_limit", 64 * 1024 * 1024)
    except BaseException:
        abandon(db)
        raise
    return db


def _require_file(path: Path) -> None:
    """Refuse what is there and no file: of a pipe or a device SQLite says that the disk failed. Raises OSError, NotALedger."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise NotALedger(f"it is {what}, and no file", where=Where(file=str(path)), hint=_MOVE_AWAY)


def memory() -> int:
    """Bytes that SQLite holds in this process: mostly pages, which each connection keeps up to a bound of its own."""
    return apsw.status(apsw.SQLITE_STATUS_MEMORY_USED)[0]


def fold(db: apsw.Connection, *, wait_ms: int) -> bool:
    """Write the log back into the file and empty it; whether nobody stood in the way for ``wait_ms``."""
    db.set_busy_timeout(wait_ms)
    try:
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
    finally:
        db.set_busy_timeout(BUSY_MS)
    return not busy


@contextmanager
def connected(path: Path, *, readonly: bool = False) -> Iterator[apsw.Connection]:
    """A connection for one piece of work, with SQLite's errors translated; the last one to a file folds its log in when it ends."""
    db = connect(path, readonly=readonly)
    try:
        with translated(path, db):
            yield db
    finally:
        abandon(db)


def abandon(db: apsw.Connection) -> None:
    """Close a connection that is of no more use, whatever the disk says to that: what was acknowledged is in the log."""
    with suppress(apsw.Error):
        db.close(True)


@contextmanager
def translated(path: Path, db: apsw.Connection | None = None) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, with the file's name; see :func:`translate`."""
    try:
        yield
    except (apsw.Error, OSError, UnicodeDecodeError) as error:
        raise translate(error, path, db) from error


def translate(error: Exception, path: Path, db: apsw.Connection | None = None) -> RunloopError:
    """Our error for SQLite's or the system's; the connection on which it happened knows the system's reason."""
    where = Where(file=str(path))
    if _no_room(error, db):
        return _full(error, path)
    if isinstance(error, OSError) and (spent := exhausted(error)) is not None:
        return spent
    if _no_writing(error, path):
        message = f"its directory cannot be written, which SQLite has to do also to read it: {error}"
        hint = f"make {path.parent} writable for this user, or copy the state directory to where it is, and set RUNLOOP_HOME to that"
        return LedgerReadOnly(message, where=where, hint=hint)
    if isinstance(error, apsw.ReadOnlyError) and _in_no_form_of_sqlite(path):
        return LedgerCorrupt("the file is damaged: its header names a form that SQLite does not write", where=where, hint=DAMAGED)
    if isinstance(error, apsw.SQLError) and str(error) == "malformed JSON":
        return LedgerCorrupt("an event in the file is damaged: malformed JSON", where=where, hint=DAMAGED)
    if isinstance(error, apsw.SQLError) and str(error).startswith("no such table"):
        return LedgerCorrupt(f"a part of the file is missing: {error}", where=where, hint="restore the file from a backup")
    for types, ours, message, hint in _MEANINGS:
        if isinstance(error, types):
            return ours(f"{message}: {error}", where=where, hint=hint)
    if isinstance(error, OSError):
        return LedgerError(f"{error.strerror or error}", where=where, hint="check the path and its permissions")
    return LedgerError(f"SQLite: {error}", where=where)


def _no_room(error: Exception, db: apsw.Connection | None) -> bool:
    """Whether the disk, a quota or a limit of file sizes is the reason; SQLite has a code for the first of these only."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    if isinstance(error, (apsw.IOError, apsw.CantOpenError)):
        return db is not None and db.system_errno in _NO_ROOM
    return isinstance(error, apsw.FullError)


def _no_writing(error: Exception, path: Path) -> bool:
    """Whether the reason is a read-only file system, or a directory of somebody else; SQLite says of both that it cannot open the file."""
    if isinstance(error, OSError):
        return error.errno == errno.EROFS
    return isinstance(error, apsw.CantOpenError) and os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK)


def _in_no_form_of_sqlite(path: Path) -> bool:
    """Whether the byte of the header that states how the file is written says neither journal nor WAL: SQLite then only reads it."""
    try:
        with path.open("rb") as file:
            return file.read(19)[18:] > b"\2"
    except OSError:
        return False


def _full(error: Exception, path: Path) -> LedgerFull:
    try:
        free = f"{free_in(path.parent):,} bytes free"
    except OSError:
        free = "free space unknown"
    return LedgerFull(
        f"no space left: {error}",
        where=Where(file=str(path)),
        hint=f"make room where {path} lies ({free}), or raise the quota; nothing that was acknowledged is lost",
    )


def create(path: Path) -> None:
    """Make the file, if it is not there, before SQLite does: its journal files then take the same mode.

    SQLite syncs the file's directory; that a new directory outlives a power cut is up to us.
    """
    _require_file(path)
    create_directory(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def free_in(folder: Path) -> int:
    """How many bytes a file there may still take."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def create_directory(folder: Path) -> None:
    """Make a directory that is missing, for its owner only, with its parents, on disk when this returns."""
    from runloop.private import make_private

    made = [each for each in (folder, *folder.parents) if not each.exists()]
    make_private(folder)
    for each in made:
        sync_directory(each.parent)


def sync_directory(folder: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _wal(db: apsw.Connection, busy_ms: int) -> None:
    """Switch to WAL; SQLite does not wait by itself when two processes do that to a new file at once."""
    until = time.monotonic() + busy_ms / 1000
    while True:
        try:
            db.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            return
