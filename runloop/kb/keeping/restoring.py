"""Restoring: the ledger of a backup in place of the one that is there, which is kept aside first.

The ledger changes in one transaction of SQLite's, so a crash leaves the old one or the new one, in which runs without an end are paused:
what they did since the backup is not known, and must not be done again unasked. What is derived goes first and is rebuilt.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.events import RunIdentity, is_run_record, record_of, run_event
from runloop.events.records import RunChanged
from runloop.kb.database import connected, create_directory, sync_directory, translated
from runloop.kb.errors import LedgerCorrupt, NotALedger, SeqMissing, SeqTaken
from runloop.kb.keeping.backup import LEDGER, copy_ledger, read_backup, refuse_overlap, require_room, write_backup
from runloop.kb.keeping.copying import copy, make_directory, put, sync_tree
from runloop.kb.keeping.locks import alone
from runloop.kb.keeping.progress import silent
from runloop.kb.ledger import Ledger
from runloop.kb.migrations import migrate
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runloop.kb.keeping.backup import Manifest
    from runloop.kb.keeping.progress import Progress

RESTORED = "restored from a backup"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_WITHOUT_END = """SELECT run_id FROM events WHERE kind = 'run.submitted' AND json_extract(payload_json, '$.parent_run_id') IS NULL
    AND run_id NOT IN (SELECT run_id FROM events WHERE kind = 'run.finished' AND run_id IS NOT NULL) ORDER BY id"""
_PAUSED = {"run.paused": True, "run.resumed": False}
_UNUSABLE = (RunloopError, apsw.Error)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: the backup's list, where the old base is kept (None where there was none), how many events that has beyond the backup.

    ``erased_again`` says how many contents that were erased since the backup came back with it, ``paused`` which runs had no end in it.
    """

    manifest: Manifest
    aside: Path | None
    aside_broken: bool
    undone: int
    erased_again: int
    files: int
    paused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "ledger_id": self.manifest.ledger_id,
            "head_id": self.manifest.head_id,
            "head_chain": self.manifest.head_chain,
            "made_ms": self.manifest.made_ms,
            "aside": None if self.aside is None else str(self.aside),
            "aside_broken": self.aside_broken,
            "undone": self.undone,
            "erased_again": self.erased_again,
            "files": self.files,
            "paused": list(self.paused),
        }


def restore(
    backup: Path, ledger: Path, derived: Iterable[Path], beside: Mapping[str, Path], aside: Path, *, progress: Progress = silent
) -> Restored:
    """Put a backup's ledger in the place of ``ledger``, and what of ``beside`` is missing there; nothing that is there is removed.

    The old ledger is first kept as ``aside``: as a backup where it is sound, as plain copies of its files where it is not. ``derived``
    are files that the next opening makes anew.

    Raises:
        BackupBroken, LedgerCorrupt: the backup is not sound; nothing was changed.
        BackupRefused: the backup is a part of what is in use.
        KnowledgeInUse: the daemon or another process has the base open.
        LedgerFull: there is no room; the old ledger is as it was.

    """
    refuse_overlap(backup, [ledger.parent, *beside.values()])
    manifest, _ = read_backup(backup, progress=progress)
    with alone(ledger.parent), translated(ledger):
        old = _old(ledger)
        kept, broken = (None, False) if old is None else _keep_aside(ledger, aside, progress)
        require_room(ledger.parent, 2 * manifest.bytes)
        erased = 0 if old is None or broken else _erased_after(ledger, manifest)
        files = sum(_put_back(backup, manifest, name, place) for name, place in beside.items())
        for path in derived:
            _remove(path)
        with scratch(ledger.parent) as part:
            fresh = part / "fresh" / ledger.name  # in a directory that nobody has locked
            make_directory(fresh.parent)
            copy_ledger(backup / LEDGER, fresh)
            _bring_up(fresh)
            paused = _pause_unfinished(fresh)
            if old is None or broken:
                _replace(fresh, ledger)
            else:
                _overwrite(fresh, ledger)
    undone = max(0, (old or 0) - manifest.head_id)
    return Restored(manifest, kept, broken, undone, erased, files, tuple(paused))


def _pause_unfinished(path: Path) -> list[str]:
    """Pause the runs of a ledger that have no end and are not paused; which."""
    held = []
    with Ledger.open(path) as ledger:
        with ledger.reading() as db:
            unfinished = [str(run_id) for (run_id,) in db.execute(_WITHOUT_END)]
        for run_id in unfinished:
            paused, last = False, dict[str, Any]()
            for event in filter(is_run_record, ledger.read_run(run_id)):
                paused, last = _PAUSED.get(event.kind, paused), record_of(event)
            if not paused:
                identity = RunIdentity(run_id, last["trace_id"], last["opening_id"], last["opening_name"])
                record = run_event(identity, last["seq"] + 1, "run.paused", RunChanged(RESTORED), f"run paused: {RESTORED}")
                with suppress(SeqTaken, SeqMissing):  # it takes no record any more, so that nobody goes on with it
                    ledger.append([record])
                    held.append(run_id)
    return held


def _old(ledger: Path) -> int | None:
    """How many events the ledger that is there has; None where there is nothing to lose. A broken one counts as having some."""
    if not ledger.is_file() or ledger.stat().st_size == 0:
        return None
    try:
        with Ledger.open(ledger, writable=False) as opened:
            return opened.head().id or None
    except _UNUSABLE:
        return 1


def _keep_aside(ledger: Path, aside: Path, progress: Progress) -> tuple[Path, bool]:
    """Keep the ledger under another name, and say whether it is broken."""
    try:
        return write_backup(ledger, aside, {}, progress=progress).path, False
    except (LedgerCorrupt, NotALedger):
        create_directory(aside.parent)
        with scratch(aside.parent) as part:
            made = part / "broken"
            made.mkdir(mode=0o700)
            for suffix in ("", "-wal", "-journal"):
                if (source := ledger.with_name(ledger.name + suffix)).exists():
                    copy(source, made / (LEDGER + suffix))
            sync_tree(made)
            made.rename(aside)
            sync_directory(aside.parent)
        return aside, True


def _put_back(backup: Path, manifest: Manifest, name: str, place: Path) -> int:
    """Add the files of one directory that are missing; how many those were."""
    inside = [file.path for file in manifest.files if file.path.startswith(f"{name}/")]
    if not inside:
        return 0
    make_directory(place)
    with scratch(place) as part:
        return sum(put(backup / path, place / path.removeprefix(f"{name}/"), part / str(number)) for number, path in enumerate(inside))


def _erased_after(ledger: Path, manifest: Manifest) -> int:
    """How many events say that something was erased since the backup: its content comes back with it."""
    with Ledger.open(ledger, writable=False) as opened, opened.reading() as db:
        if opened.id != manifest.ledger_id:
            return 0
        return int(db.execute("SELECT count(*) FROM events WHERE id > ? AND kind = 'events.erased'", (manifest.head_id,)).get)


def _overwrite(source: Path, ledger: Path) -> None:
    """Make the ledger's content that of ``source``, in one transaction."""
    with connected(source, readonly=True) as fresh, connected(ledger) as db, db.backup("main", fresh, "main") as step:
        step.step(-1)


def _replace(source: Path, ledger: Path) -> None:
    """Put a file in the place of one that SQLite cannot use, or of none; what was there is kept aside already."""
    for suffix in _SIDE_FILES[1:]:
        ledger.with_name(ledger.name + suffix).unlink(missing_ok=True)
    sync_directory(ledger.parent)
    source.replace(ledger)
    sync_directory(ledger.parent)


def _bring_up(ledger: Path) -> None:
    """Make a copy what a ledger in use is: of this version's schema, with a log of its own from the next opening on."""
    with connected(ledger) as db:
        migrate(db, ledger)


def _remove(path: Path) -> None:
    """Remove a file with what SQLite keeps beside it; the file itself goes last, so that no log outlives it."""
    for suffix in reversed(_SIDE_FILES):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
    with suppress(FileNotFoundError):
        sync_directory(path.parent)
