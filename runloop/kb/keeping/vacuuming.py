"""Vacuum: the files written anew without what was deleted in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.database import connected
from runloop.kb.keeping.backup import require_ledger, require_room
from runloop.kb.keeping.locks import alone

if TYPE_CHECKING:
    from collections.abc import Iterable


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

    """
    require_ledger(ledger)
    with alone(ledger.parent):
        return [_vacuum(path, analyze=analyze) for path in (ledger, *derived) if path.is_file()]


def _vacuum(path: Path, *, analyze: bool) -> Vacuumed:
    before = _size(path)
    for folder in (path.parent, _temporary()):  # SQLite writes the new file to the second, and then the log that takes it over
        require_room(folder, before)
    with connected(path) as db:
        db.execute("VACUUM")
        if analyze:
            db.execute("ANALYZE")
    return Vacuumed(str(path), before, _size(path))


def _temporary() -> Path:
    """Where SQLite puts temporary files."""
    named = (os.environ.get(name) for name in ("SQLITE_TMPDIR", "TMPDIR"))
    places = (Path(name) for name in (*named, "/var/tmp", "/usr/tmp", "/tmp") if name)  # noqa: S108 - SQLite's own list
    return next((place for place in places if os.access(place, os.W_OK | os.X_OK)), Path())


def _size(path: Path) -> int:
    return sum(each.stat().st_size for suffix in ("", "-wal") if (each := path.with_name(path.name + suffix)).exists())
