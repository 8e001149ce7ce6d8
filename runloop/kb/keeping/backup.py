"""Backups: a directory with the ledger as of one head, what its events name by digest, and a list of it all.

A backup is made beside its final place while everybody goes on, verified like a ledger in use, and only then gets its name.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from runloop import __version__
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events.canonical import NOT_JSON
from runloop.kb.database import connect, create_directory, free_in, sync_directory, translated
from runloop.kb.errors import BackupBroken, BackupRefused, LedgerFull
from runloop.kb.keeping.copying import Copied, copy_tree, digest, sync_tree, tree
from runloop.kb.keeping.locks import one_keeper
from runloop.kb.keeping.progress import silent
from runloop.kb.ledger import Ledger
from runloop.links import followed, regular
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from runloop.kb.keeping.progress import Progress
    from runloop.kb.verify import VerifyReport

LEDGER = "events.sqlite"  # its name in every backup
LIST = "backup.json"
FORMAT = 1
SPARE_BYTES = 4 << 20  # room that must be left beyond what a backup takes
_PAGES = 1024  # copied between two looks at the progress: 4 MiB


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says about itself: which ledger, up to which event, when (Unix milliseconds), and every file in it."""

    format: int
    made_ms: int
    runloop: str
    ledger_id: str
    schema: int
    head_id: int
    head_chain: str
    files: tuple[Copied, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in its place; ``removed`` are older ones that ``keep`` made room of."""

    path: Path
    manifest: Manifest
    report: VerifyReport
    removed: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        said = {key: value for key, value in asdict(self.manifest).items() if key != "files"}
        more = {"files": len(self.manifest.files), "bytes": self.manifest.bytes, "removed": [str(path) for path in self.removed]}
        return {"path": str(self.path), **said, **more, "ok": self.report.ok}


def make_backup(ledger: Path, target: Path, beside: Mapping[str, Path], *, keep: int | None = None, progress: Progress = silent) -> Backup:
    """Back up the ledger file and the directories ``beside`` it (by the name that each gets inside) to ``target``, which must not exist.

    The daemon and runs go on. ``keep`` removes all but so many backups of this ledger in the target's directory, the new one included.

    Raises:
        BackupRefused: ``kb.backup_overlap``, ``kb.backup_exists``, ``kb.no_ledger``.
        KnowledgeInUse: another keeper is at work.
        LedgerFull: ``kb.no_room`` before anything is written, ``kb.disk_full`` when the room is gone meanwhile.
        LedgerCorrupt: the ledger is broken, and so was its copy; there is no backup then.

    """
    require_ledger(ledger)
    with one_keeper(ledger.parent):
        return write_backup(ledger, target, beside, keep=keep, progress=progress)


def write_backup(ledger: Path, target: Path, beside: Mapping[str, Path], *, keep: int | None = None, progress: Progress = silent) -> Backup:
    """As :func:`make_backup`, for a caller that is the keeper already."""
    require_ledger(ledger)
    refuse_overlap(target, [ledger.parent, *beside.values()])
    with translated(target):
        if target.exists() or target.is_symlink():
            raise BackupRefused("is there already", code="kb.backup_exists", where=Where(file=str(target)), hint="give a name that is free")
        create_directory(target.parent)
        _require_room(target, [ledger, ledger.with_name(ledger.name + "-wal"), *(path for each in beside.values() for path in tree(each))])
        with scratch(target.parent) as part:
            made = part / "backup"
            made.mkdir(mode=0o700)
            schema = copy_ledger(ledger, made / LEDGER, progress)
            files = [
                Copied(LEDGER, *digest(made / LEDGER)),
                *(each for name in sorted(beside) for each in copy_tree(beside[name], made, name)),
            ]
            with Ledger.open(made / LEDGER, writable=False) as copied:
                report = copied.verify(progress=progress)
                report.require(str(ledger))
                ledger_id = copied.id
            now_ms = time.time_ns() // 1_000_000
            manifest = Manifest(FORMAT, now_ms, __version__, ledger_id, schema, report.head_id, report.head_chain, tuple(files))
            _write_list(made / LIST, manifest)
            sync_tree(made)
            made.rename(target)
            sync_directory(target.parent)
        removed = () if keep is None else _remove_older(target, manifest, keep)
    return Backup(target, manifest, report, removed)


def copy_ledger(source: Path, target: Path, progress: Progress = silent) -> int:
    """Copy one consistent head of a ledger that is in use into one new file; its schema version. Writers go on meanwhile."""
    db = connect(source, readonly=True)
    try:
        copied = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            with translated(source, db):
                db.execute("BEGIN")
                schema = int(db.pragma("user_version"))  # what is read from now on stays at this head
            with translated(target, copied):
                with copied.backup("main", db, "main") as step:
                    while not step.done:
                        step.step(_PAGES)
                        progress("copy", step.page_count - step.remaining, step.page_count)
                copied.pragma("journal_mode", "delete")  # one file, with no log beside it
                copied.pragma("synchronous", "full")
        finally:
            with suppress(apsw.Error):
                copied.close()
    finally:
        db.close()
    target.chmod(0o600)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return schema


def read_backup(path: Path, *, progress: Progress = silent) -> tuple[Manifest, VerifyReport]:
    """What a backup says about itself, after a look at every byte of it. Raises BackupBroken, and LedgerCorrupt for its ledger."""
    manifest = read_list(path)
    for number, file in enumerate(manifest.files):
        progress("files", number, len(manifest.files))
        try:
            found = digest(path / file.path)
        except OSError as error:
            raise _broken(path / file.path, f"cannot be read: {error.strerror}") from None
        if found != (file.bytes, file.blake3):
            raise _broken(path / file.path, "has another content than the list of the backup says")
    with Ledger.open(path / LEDGER, writable=False) as ledger:
        report = ledger.verify(progress=progress)
        report.require(str(path / LEDGER))
        if (ledger.id, report.head_id, report.head_chain) != (manifest.ledger_id, manifest.head_id, manifest.head_chain):
            raise _broken(path / LEDGER, "is another ledger, or another state of it, than the list of the backup says")
    return manifest, report


def read_list(path: Path) -> Manifest:
    """The list of a backup, unverified. Raises BackupBroken where there is none that can be understood."""
    try:
        with regular(path / LIST) as file:
            data = file.read()
        manifest = msgspec.convert(msgspec.json.decode(data), Manifest, strict=True)
    except OSError as error:
        raise _broken(path, f"is no backup: {LIST}: {error.strerror}") from None
    except NOT_JSON as error:
        raise _broken(path / LIST, f"cannot be understood: {error}") from None
    if manifest.format != FORMAT:
        raise _broken(path / LIST, f"has format {manifest.format}, this Runloop knows {FORMAT}")
    if any(part in {"", ".", ".."} for file in manifest.files for part in file.path.split("/")):
        raise _broken(path / LIST, "names files outside of the backup")
    return manifest


def require_ledger(ledger: Path) -> None:
    """Raise ``kb.no_ledger`` unless the ledger is there."""
    if not ledger.is_file():
        raise BackupRefused(f"there is no {ledger}", code="kb.no_ledger", hint="the first run or import makes the knowledge base")


def refuse_overlap(target: Path, live: Iterable[Path]) -> None:
    """Refuse a target in, around or equal to what is in use, whatever links or spellings lead there."""
    whole = followed(target)
    for place in live:
        inside = any(_same(each, place) for each in (whole, *whole.parents))
        around = any(_same(each, whole) for each in followed(place).parents)
        if inside or around:
            message = f"backup destination {str(target)!r} overlaps {str(place)!r}, which is in use"
            raise BackupRefused(message, code="kb.backup_overlap", hint="name a directory of its own, best on another disk")


def _same(one: Path, two: Path) -> bool:
    with suppress(OSError):
        return one.samefile(two)
    return one == two


def _require_room(target: Path, sources: Iterable[Path]) -> None:
    needed = SPARE_BYTES
    for path in sources:
        with suppress(FileNotFoundError):
            needed += path.stat().st_size
    require_room(target.parent, needed)


def require_room(folder: Path, needed: int, *, hint: str = "make room, or name a place on another disk") -> None:
    """Raise ``kb.no_room`` unless so many bytes are free where ``folder`` lies."""
    free = free_in(folder)
    if free < needed:
        message = f"{needed:,} bytes are needed and {free:,} are free"
        raise LedgerFull(message, code="kb.no_room", where=Where(file=str(folder)), hint=hint)


def _write_list(path: Path, manifest: Manifest) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _remove_older(newest: Path, manifest: Manifest, keep: int) -> tuple[Path, ...]:
    """Remove all but the newest ``keep`` backups of the same ledger beside this one; each loses its name before its content."""
    found: list[tuple[int, Path]] = []
    for path in newest.parent.iterdir():
        with suppress(BackupBroken):
            if not path.is_symlink() and path != newest and (other := read_list(path)).ledger_id == manifest.ledger_id:
                found.append((other.made_ms, path))
    removed = [path for _, path in sorted(found, reverse=True)[max(keep, 1) - 1 :]]
    for path in removed:
        with scratch(newest.parent) as bin_:
            path.rename(bin_ / path.name)
    return tuple(removed)


def _broken(path: Path, why: str) -> BackupBroken:
    return BackupBroken(why, where=Where(file=str(path)), hint="use another backup; `rlp kb backup` makes sound ones")
