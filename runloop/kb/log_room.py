"""Room ahead of the log's end: a commit that only overwrites is on the disk in half the time of one that makes the file longer.

A file that grows has its length written down with every sync. SQLite overwrites its log once it was folded in, so this is for the first
megabytes of a daemon's life, and for all of a short one.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from runloop.kb.database import CHECKPOINT_PAGES, PAGE
from runloop.kb.unsynced import log_file

_HEADER, _FRAME = 32, 24 + PAGE  # bytes of the log before its first page, and of each page in it
_FROM_PAGES = 32
"""A log that is shorter belongs to a process that says little."""
_LEAST_BYTES, _STEP_BYTES, _WRITE_BYTES = 1 << 18, 1 << 20, 1 << 16


class LogRoom:
    """The room behind the log of one connection."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._enough_to = _FROM_PAGES
        """So many pages of the log need no look."""

    def keep(self, pages: int) -> None:
        """Put zeros behind the log where its file ends soon after the ``pages`` that are in it.

        Nobody appends meanwhile: the write lock is held. SQLite takes zeros for what they are, no pages. Raises apsw errors as a
        commit does.
        """
        if not self._enough_to <= pages < CHECKPOINT_PAGES:
            return
        size = Path(self._db.filename_wal).stat().st_size
        if size - _HEADER - pages * _FRAME < _LEAST_BYTES:
            size = self._lengthen()
        self._enough_to = max(_FROM_PAGES, (size - _HEADER - _LEAST_BYTES) // _FRAME)

    def _lengthen(self) -> int:
        with log_file(self._db) as file:
            size = file.xFileSize()
            for offset in range(size, size + _STEP_BYTES, _WRITE_BYTES):
                file.xWrite(bytes(_WRITE_BYTES), offset)
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
        return size + _STEP_BYTES
