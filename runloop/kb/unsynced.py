"""Logs that rest on a sync that failed: who must look after them, and how they are made whole.

When a sync fails, the system may throw the written pages away, mark them as written, and report success the next time, while everybody
goes on reading them from memory. SQLite takes such a tail of the log for committed when it opens the file anew. A commit on top of it
would be lost with it in a power cut; folding it into the file would destroy the file when the log comes back shorter. So whoever
opens a ledger that nobody else writes, and whoever met an error of the device, first writes the log again as it reads now and
syncs it: then it is on the disk, or the ledger is not appended to.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import apsw

from runloop.errors import unlockable
from runloop.kb.migrations import immediate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_COPY_BYTES = 1 << 16  # SQLite's own files take less than 128 KiB at once, and write nothing of more


class Presence:
    """That this writer has the ledger open, for other writers to see: a shared lock on its directory.

    As a context manager it is exclusive where nobody else is present (``alone``), so that others wait until the log was looked after.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.alone = False

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._handle, fcntl.LOCK_SH)
        except OSError as error:
            self.end()
            raise unlockable(error, self._directory) from error
        else:
            self.alone = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.end()
        elif self.alone:
            fcntl.flock(self._handle, fcntl.LOCK_SH)

    def end(self) -> None:
        """The writer is gone, or its word is worth nothing any more."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def fold_on_close(db: apsw.Connection, *, yes: bool) -> None:
    """Whether the last connection that is closed writes the log back into the file."""
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(not yes))


@contextmanager
def log_file(db: apsw.Connection) -> Iterator[apsw.VFSFile]:
    """The log's file, with all writers kept out meanwhile. Through SQLite's own files: what they open and close does not end its locks."""
    with immediate(db):
        file = apsw.VFSFile("", db.filename_wal, [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            yield file
        finally:
            file.xClose()


def write_log_again(db: apsw.Connection) -> None:
    """Write the log where it is, byte for byte, and sync it through a handle that no failed sync has touched."""
    log = Path(db.filename_wal)
    if not log.exists() or log.stat().st_size == 0:
        return
    with log_file(db) as file:
        size = file.xFileSize()
        for offset in range(0, size, _COPY_BYTES):
            file.xWrite(file.xRead(min(_COPY_BYTES, size - offset), offset), offset)
        file.xSync(apsw.SQLITE_SYNC_FULL)
