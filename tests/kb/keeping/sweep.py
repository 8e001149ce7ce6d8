"""Keeping a base while the process is killed, or the disk is full, at any step: as a script, one operation with every step of it.

A step is a call that changes the disk: what SQLite writes, and every file, directory and name that Python makes, moves or removes.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import apsw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path += [str(Path(__file__).parents[1] / each) for each in ("faults", "pruning")]
from faulty_disk import Fault, FaultyVFS
from small_runs import BEFORE, LARGE, identity, records

from runloop.errors import RunloopError
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase, Ledger
from runloop.kb.exporting.events import export_events
from runloop.kb.exporting.taking import take_export
from runloop.kb.importers.notes import import_notes
from runloop.kb.keeping.backup import make_backup, read_backup
from runloop.kb.keeping.copying import whole_file
from runloop.kb.keeping.migrating import migrate_ledger
from runloop.kb.keeping.restoring import restore
from runloop.kb.keeping.vacuuming import vacuum
from runloop.kb.pruning import prune as pruning
from runloop.kb.pruning.restoring import restore_archive

SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SHIPPED = Path(__file__).parents[2] / "data" / "ledgers"
_MAKING = os.O_CREAT | os.O_TRUNC
_EVENTS = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"})


class Steps(FaultyVFS):
    """Counts the steps, and at one of them ends the process or says that the disk is full."""

    def __init__(self, at: int, how: str) -> None:
        super().__init__()
        self.fault = Fault(0, apsw.SQLITE_FULL, times=0)
        self.at, self.how, self.count, self.on = at, how, 0, True
        sys.addaudithook(self._audit)

    def _strikes(self) -> bool:
        self.count += 1
        if not self.on or self.count - 1 != self.at:
            return False
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    def call(self, kind: str, name: str) -> BaseException | None:
        if kind in {"sync", "open", "delete"} and self.how == "full":
            return None  # they need no room
        return apsw.exception_for(apsw.SQLITE_FULL) if self._strikes() else None

    def _audit(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        making = event == "open" and isinstance(args[2], int) and args[2] & _MAKING
        if self.how == "full" and event in {"os.remove", "os.rmdir"}:
            return
        if (making or event in _EVENTS) and self._strikes():
            raise OSError(errno.ENOSPC, "No space left on device")


class Place:
    """A home: the ledger, what is derived, what lies beside, backups, and an export."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = root / "pog" / "events.sqlite"
        self.derived = [root / "pog" / "pog.sqlite"]
        self.beside = {"kept": root / "pog" / "kept", "artifacts": root / "artifacts"}
        self.made = root / "backups" / "made"
        self.saved = root / "backups" / "saved"
        self.aside = root / "backups" / "aside"
        self.export = root / "all.jsonl"

    def rows(self) -> list:
        """Every event, blob and the head."""
        db = apsw.Connection(str(self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            tables = ("SELECT * FROM events ORDER BY id", "SELECT * FROM blobs ORDER BY hash", "SELECT * FROM head")
            return [db.execute(sql).fetchall() for sql in tables]
        finally:
            db.close()

    def leftovers(self) -> list[Path]:
        return [path for path in self.root.rglob(".*") if path.name.endswith(".part")]


def _contact(number: int) -> NewEvent:
    email = f"{number}@example.com"
    return NewEvent(
        "contact.upserted",
        {"name": f"N{number}", "email": email, "source": "x" * 900},
        "user",
        "user",
        {},
        1000 + number,
        None,
        (email.encode(),),
    )


def _write(place: Place) -> None:
    with Ledger.open(place.ledger, writable=False) as ledger, whole_file(place.export) as out:
        export_events(ledger, out, mask=None)


def prepare(name: str, place: Place) -> None:
    """What each operation begins with."""
    place.root.mkdir()
    for file in (place.beside["kept"] / "bundles" / "abc" / "agent.py", place.beside["artifacts"] / "letter.txt"):
        file.parent.mkdir(parents=True)
        file.write_text(file.name)
    if name == "migrate":
        shutil.copy(SHIPPED / "v1.sqlite", place.ledger)
        db = apsw.Connection(str(place.ledger))
        db.pragma("journal_mode", "wal")  # as every ledger in use has it
        db.close()
        return
    with KnowledgeBase.open(place.ledger.parent) as kb:
        kb.ledger.append([_contact(number) for number in range(12)])
        kb.sync()
    if name.startswith("restore"):
        make_backup(place.ledger, place.saved, place.beside)
        (place.beside["artifacts"] / "letter.txt").unlink()
    if name == "continue":
        _write(place)
        shutil.copy(place.export, place.root / "first.jsonl")
    if name in {"restore", "restore broken", "continue"}:
        with KnowledgeBase.open(place.ledger.parent) as kb:
            kb.ledger.append([_contact(number) for number in range(12, 20)])
            kb.sync()
    if name == "restore broken":
        data = place.ledger.read_bytes()
        place.ledger.write_bytes(b"\xff" * 200 + data[200:])
    if name in {"import", "continue"}:
        _write(place)
        shutil.rmtree(place.ledger.parent)
        place.ledger.parent.mkdir()
    if name == "continue":
        take_export(io.BytesIO((place.root / "first.jsonl").read_bytes()), "first", place.ledger, place.derived)
    if name == "restore to nothing":
        shutil.rmtree(place.ledger.parent)
    _prepare_events(name, place)
    if name == "vacuum":
        db = apsw.Connection(str(place.ledger))
        db.execute(
            "CREATE TABLE padding(x); INSERT INTO padding SELECT zeroblob(50000); DROP TABLE padding; PRAGMA wal_checkpoint(truncate)"
        )
        db.close()


def _prepare_events(name: str, place: Place) -> None:
    if name in {"prune", "take back"}:
        with Ledger.open(place.ledger) as ledger:
            ledger.append([event for number in range(4) for event in records(identity(), large=LARGE if number % 2 else None)])
            if name == "take back":
                pruning.PORTION = 15  # two portions
                pruning.prune(ledger, BEFORE, key=SIGNER)
    if name == "import notes":
        (place.root / "notes").mkdir()
        for number in range(5):
            (place.root / "notes" / f"{number}.md").write_text(f"# {number}\n\n{'word ' * 4000}\n")


def operate(name: str, place: Place) -> None:
    """The operation; a second time after one that was cut off, too."""
    if name == "backup":
        make_backup(place.ledger, _free(place.made), place.beside)
    elif name.startswith("restore"):
        restore(place.saved, place.ledger, place.derived, place.beside, _free(place.aside))
    elif name == "migrate":
        migrate_ledger(place.ledger, _free(place.made), place.beside)
    elif name == "vacuum":
        vacuum(place.ledger, place.derived)
    elif name == "export":
        _write(place)
    elif name == "prune":
        with Ledger.open(place.ledger) as ledger:
            pruning.prune(ledger, BEFORE, key=SIGNER)
    elif name == "take back":
        with Ledger.open(place.ledger) as ledger:
            restore_archive(ledger, "1")
    elif name in {"import notes", "verify", "rebuild"}:
        with KnowledgeBase.open(place.ledger.parent) as kb:
            if name == "import notes":
                import_notes(kb, place.root / "notes")
            elif name == "verify":
                kb.verify(views=True).require(name)
            else:
                kb.rebuild()
    else:
        with place.export.open("rb") as source:
            take_export(source, "all", place.ledger, place.derived)


def _free(path: Path) -> Path:
    return next(each for each in (path.with_name(f"{path.name}{number}") for number in range(9)) if not each.exists())


def check(name: str, place: Place, allowed: list) -> None:
    """After a step at which it was cut off: the old state or the new one, and nothing half under a name of its own."""
    if place.ledger.exists() and place.ledger.stat().st_size:
        try:
            now = place.rows()
        except apsw.Error:
            now = None  # broken before, and not replaced yet; or a file of its own that has no tables yet
        assert now in allowed, f"{name}: the ledger is neither the old one nor the new one"
    else:
        assert None in allowed, f"{name}: the ledger is gone"
    for backup in place.root.glob("backups/*"):
        raw_copy = name == "restore broken" and not (backup / "backup.json").exists()
        if not raw_copy and not backup.name.endswith(".part"):
            read_backup(backup)
    if name == "export" and place.export.exists():
        assert place.export.read_bytes().splitlines()[-1].startswith(b'{"end"'), "half an export"


def sweep(name: str, how: str, stride: int, first: int) -> int:
    """Try every ``stride``-th step; how many were tried."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        start = Place(Path(folder) / "start")
        prepare(name, start)
        done = Place(Path(folder) / "place")
        shutil.copytree(start.root, done.root)
        between = _states(name, done)
        after = done.rows()
        try:
            before = start.rows()
        except apsw.Error:
            before = None
        allowed = [before, *between, after, *([[[], [], None]] if before is None else [])]
        tried, at = 0, first
        while True:
            place = Place(Path(folder) / "place")
            shutil.rmtree(place.root, ignore_errors=True)
            shutil.copytree(start.root, place.root)
            finished = _child(name, how, at, place)
            if not finished or how == "full":
                _check_one(name, how, at, place, allowed, after)
            if finished and how == "kill":
                return tried
            if finished is None:
                return tried
            tried, at = tried + 1, at + stride


def _states(name: str, place: Place) -> list:
    """Do it; what the ledger held after each of its commits."""
    states = []

    def noted(append: Callable) -> Callable:
        def and_note(*args: object, **more: object) -> object:
            found = append(*args, **more)
            states.append(place.rows())
            return found

        return and_note

    with mock.patch.multiple(Ledger, append=noted(Ledger.append), append_new=noted(Ledger.append_new)):
        operate(name, place)
    return states


def _check_one(name: str, how: str, at: int, place: Place, allowed: list, after: list) -> None:
    try:
        rows = [each for each in allowed if each is None or each[2] is not None]
        if name in {"import", "restore to nothing"}:
            _check_fresh(name, place, after)
        else:
            check(name, place, rows)
        if how == "full":
            assert not place.leftovers(), place.leftovers()
        operate(name, place)
        assert _lasting(name, place.rows()) == _lasting(name, after), "a second time it is not what it should be"
        assert not place.leftovers(), place.leftovers()
        with KnowledgeBase.open(place.ledger.parent) as kb:
            assert kb.verify(views=True).ok
    except BaseException as error:
        raise AssertionError(f"{name}, {how} at step {at}: {error!r}") from error


def _lasting(name: str, rows: list) -> list:
    """What must be there in the end, however often it was cut off: not the notice that an import took place, nor its place in the chain."""
    events, blobs, head = rows
    return [[event[2:8] for event in events if event[3] != "import.finished"], blobs] if name == "import notes" else [events, blobs, head]


def _check_fresh(name: str, place: Place, after: list) -> None:
    """Where there was no ledger: none, an empty one, or the whole."""
    try:
        now = place.rows()
    except apsw.Error:
        return
    assert now == after or (now[0] == [] and now[1] == []), f"{name}: a part of a ledger"


def _child(name: str, how: str, at: int, place: Place) -> bool | None:
    """Whether it came to its end; None when it did without meeting the step."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            steps = Steps(at, how)
            try:
                operate(name, place)
                code = 0
            except RunloopError as error:
                code = 1 if error.code in {"kb.disk_full", "kb.no_room", "ledger.failed"} else 3
                if code == 3:
                    print(repr(error), error.code, file=sys.stderr)
            finally:
                steps.on = False
            if steps.count <= at:
                code = 2
        except BaseException as error:  # noqa: BLE001 - a child that was forked ends here, whatever happens
            print(f"{name}, {how} at {at}: {error!r}", file=sys.stderr)
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return False
    code = os.WEXITSTATUS(status)
    assert code != 3, f"{name}, {how} at step {at}: another error than one of a full disk"
    return None if code == 2 else True if how == "full" else code == 0


if __name__ == "__main__":
    time.time_ns = lambda: 10**13  # two tries write the same events
    print(sweep(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
