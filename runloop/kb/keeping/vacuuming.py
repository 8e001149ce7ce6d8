"""Vacuum: the files written anew without what was deleted in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.database import connected
from runloop.kb.errors import LedgerReadOnly
from runloop.kb.keeping.backup import require_ledger, require_room
from runloop.kb.keeping.locks import alone

if TYPE_CHECKING:
    from collections.abc import Iterable

_ELSEWHERE = "make room there, or name a directory on another disk that can be written: SQLITE_TMPDIR=DIRECTORY before the command"


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """One file: its size with its log before and after, in bytes."""

    file: str
    before: int
    after: int

    @property
    def gained(self) -> int:
        """What the disk got back; less than 0 where a file grew, as it may by statistics."""
        return self.before - self.after

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"file": self.file, "before": self.before, "after": self.after, "gained": self.gained}


def vacuum(ledger: Path, derived: Iterable[Path], *, analyze: bool = False) -> list[Vacuumed]:
    """Write the ledger and the derived files anew, ``analyze`` with fresh statistics for queries. A crash leaves them as they were.

    Raises:
        KnowledgeInUse: the daemon or another process has the base open; writers would wait for too long.
        LedgerFull: ``kb.no_room`` before anything is written.
        LedgerReadOnly: there is no directory for temporary files.

    """
    require_ledger(ledger)
    with alone(ledger.parent):
        return [_vacuum(path, analyze=analyze) for path in (ledger, *derived) if path.is_file()]


def _vacuum(path: Path, *, analyze: bool) -> Vacuumed:
    before = _size(path)
    require_room(path.parent, before)  # the log that takes the new file over; the file itself is written to the other place
    require_room(_temporary(), before, hint=_ELSEWHERE)
    with connected(path) as db:
        db.pragma("temp_store", 1)  # in a file: it is as large as this one
        db.execute("VACUUM")
        if analyze:
            db.execute("ANALYZE")
    return Vacuumed(str(path), before, _size(path))


def _temporary() -> Path:
    """Where SQLite puts temporary files. Raises LedgerReadOnly where there is no such place."""
    named = (os.environ.get(name) for name in ("SQLITE_TMPDIR", "TMPDIR"))
    places = [Path(name) for name in (*named, "/var/tmp", "/usr/tmp", "/tmp", ".") if name]  # noqa: S108 - SQLite's own list
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place
    tried = ", ".join(str(place.absolute()) for place in places)
    raise LedgerReadOnly(f"there is no directory for a temporary file: none of {tried} can be written", hint=_ELSEWHERE)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for suffix in ("", "-wal") if (each := path.with_name(path.name + suffix)).exists())
