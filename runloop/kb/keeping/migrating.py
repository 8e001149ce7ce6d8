"""Migrating a ledger to this version's schema: a backup first, then every missing step in one transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.kb.database import connected, translated
from runloop.kb.keeping.backup import copy_ledger, require_ledger, require_room, write_backup
from runloop.kb.keeping.locks import alone
from runloop.kb.keeping.progress import silent
from runloop.kb.ledger import Ledger
from runloop.kb.migrations import MIGRATIONS, migrate, version
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runloop.kb.keeping.progress import Progress


@dataclass(frozen=True, slots=True)
class Migrated:
    """From which schema to which, the steps (name, what it does), their time, where the backup is; ``done`` or only rehearsed."""

    before: int
    after: int
    steps: tuple[tuple[str, str], ...]
    ms: int
    backup: Path | None
    done: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        steps = [{"name": name, "does": does} for name, does in self.steps]
        place = None if self.backup is None else str(self.backup)
        return {"from": self.before, "to": self.after, "steps": steps, "ms": self.ms, "backup": place, "done": self.done}


def migrate_ledger(ledger: Path, backup: Path, beside: Mapping[str, Path], *, progress: Progress = silent) -> Migrated:
    """Back the base up to ``backup``, then migrate the ledger; nothing happens where there is nothing to do.

    Raises:
        BackupRefused, LedgerFull, LedgerCorrupt: there is no backup, and the ledger is as it was.
        KnowledgeInUse: the daemon or another process has the base open.

    """
    require_ledger(ledger)
    with alone(ledger.parent):
        before = _version(ledger)
        if before == len(MIGRATIONS):
            return Migrated(before, before, (), 0, None, done=True)
        made = write_backup(ledger, backup, beside, progress=progress)
        return Migrated(before, len(MIGRATIONS), missing(before), _take_steps(ledger), made.path, done=True)


def rehearse(ledger: Path, *, progress: Progress = silent) -> Migrated:
    """Migrate a copy that is gone afterwards, verify it, and say how long that took; the ledger may be in use meanwhile."""
    require_ledger(ledger)
    before = _version(ledger)
    if before == len(MIGRATIONS):
        return Migrated(before, before, (), 0, None, done=False)
    require_room(ledger.parent, 2 * ledger.stat().st_size)
    with translated(ledger), scratch(ledger.parent) as part:
        copied = part / ledger.name
        copy_ledger(ledger, copied, progress)
        ms = _take_steps(copied)
        with Ledger.open(copied, writable=False) as opened:
            opened.verify(progress=progress).require(str(ledger))
    return Migrated(before, len(MIGRATIONS), missing(before), ms, None, done=False)


def missing(before: int) -> tuple[tuple[str, str], ...]:
    """The steps after a schema, each with the first line of what it says about itself."""
    return tuple((step.__name__, (step.__doc__ or "").strip().partition("\n")[0]) for step in MIGRATIONS[before:])


def _version(ledger: Path) -> int:
    with connected(ledger, readonly=True) as db:
        return version(db, ledger)


def _take_steps(ledger: Path) -> int:
    start = time.monotonic()
    with connected(ledger) as db:
        migrate(db, ledger)
    return round((time.monotonic() - start) * 1000)
