"""The past: the derived tables as they were at an event, in files of their own beside the base, a few of them kept.

A state is made from the nearest earlier one and the events in between. So that there is one, the tables are copied as the base grows, and
on the way where they are made anew: whoever asks for a time waits for about a quarter of the events before it, not for all. A file gets
its name, ``EVENT.HEAD.sqlite``, when it is whole; HEAD is the newest event of the ledger when it was made. Whoever makes or removes one
holds the lock of the directory; readers need none: a file that is removed lives on for those who have it open.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import RunloopError
from runloop.kb import materialise, views
from runloop.kb.database import abandon, connect, translated
from runloop.kb.keeping.locks import exclusive
from runloop.kb.making import Tick
from runloop.kb.pruning.projection import leave_tables
from runloop.kb.rebuilding import built

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from runloop.kb.ledger import Ledger

MAX_STATES = 8
MAX_BYTES = 2 * 1024**3  # of all states; the newest stays, however large it is
_NAME = re.compile(r"(\d+)\.(\d+)\.sqlite")
_REMOVALS = "SELECT 1 FROM events WHERE id > ? AND kind IN ('events.erased', 'runs.archived', 'runs.restored') LIMIT 1"

STEP = 50_000
"""Events after which the tables are kept on their way, at least; more where there are more: a quarter of all."""


@dataclass(frozen=True, slots=True)
class State:
    """A kept state of the past, made when ``head`` was the newest event; ``used_ms`` is when somebody last read it."""

    event_id: int
    head: int
    path: Path
    bytes: int
    used_ms: int


class Past:
    """The states in one directory. Safe with several processes."""

    def __init__(self, directory: Path, ledger: Ledger, *, max_states: int = MAX_STATES, max_bytes: int = MAX_BYTES) -> None:
        self.directory, self._ledger = directory, ledger
        self._max_states, self._max_bytes = max_states, max_bytes
        self._look_from = STEP

    @contextmanager
    def at(self, event_id: int, tick: Tick = lambda _done, _of: None) -> Iterator[Path]:
        """The file with the tables as event ``event_id`` left them; made where it is missing, which ``tick`` hears of (done, of).

        It stays as long as the context does, unless something is erased.
        """
        with self._locked():
            self._tidy()
            kept = next((state.path for state in self.states() if state.event_id == event_id), None)
            path = kept or self._make(event_id, tick)
            os.utime(path)
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_SH)
            self._bound()
        try:
            yield path
        finally:
            os.close(handle)

    def states(self) -> list[State]:
        """The kept states, the one that was used last first."""
        found = []
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if (name := _NAME.fullmatch(path.name)) is not None:
                status = path.stat()
                found.append(State(int(name[1]), int(name[2]), path, status.st_size, status.st_mtime_ns // 1_000_000))
        return sorted(found, key=lambda state: (-state.used_ms, -state.event_id))

    def grown(self, db: apsw.Connection, done: int) -> bool:
        """As :meth:`keep`, of tables that followed the ledger up to that event; costs next to nothing where they grew little."""
        if done < self._look_from:
            return False
        self._look_from = done + STEP // 8
        return self.keep(db, head=done)

    def keep(self, db: apsw.Connection, *, head: int, in_bulk: bool = False) -> bool:
        """Keep a copy of these tables, where no state is near and nobody else makes one; whether that was done.

        ``db`` has no transaction open, and its tables say of the ledger what it said when ``head`` was its newest event. ``in_bulk``:
        they are being filled (``views.in_bulk``). Whatever stands in the way is no reason for trouble here.
        """
        event_id = materialise.watermark(db)
        if materialise.outdated(db) or not self._is_due(event_id, head):
            return False
        part = self.directory / f".{event_id}.{os.getpid()}.part"
        try:
            with self._locked(wait=False) as mine:
                if not mine or not self._is_due(event_id, head):
                    return False
                copy = connect(part)
                try:
                    with materialise.derived(part, copy):
                        with copy.backup("main", db, "main") as pages:
                            pages.step(-1)
                        if in_bulk:
                            views.leave_bulk(copy)
                    self._finish(copy, part)
                finally:
                    abandon(copy)
                part.rename(self.directory / f"{event_id}.{head}.sqlite")
                self._bound()
        except (RunloopError, OSError):
            return False
        finally:
            for leftover in self.directory.glob(f"{part.name}*"):
                leftover.unlink(missing_ok=True)
        return True

    def _is_due(self, event_id: int, head: int) -> bool:
        nearest = max((state.event_id for state in self.states() if state.event_id <= event_id), default=0)
        if event_id - nearest < max(STEP, event_id // 4):
            return False
        with self._ledger.reading() as events:
            return events.execute(_REMOVALS, (head,)).fetchone() is None

    def forget(self) -> None:
        """Remove every state: what they hold was erased, or is not to be kept any longer."""
        if self.directory.is_dir():
            with self._locked():
                for path in self.directory.iterdir():
                    if path.name != "lock":
                        path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the states that hold what was taken out of the ledger since."""
        if self.directory.is_dir():
            with self._locked():
                self._tidy()

    def _make(self, event_id: int, tick: Tick) -> Path:
        head = self._ledger.head().id
        path = self.directory / f"{event_id}.{head}.sqlite"
        part = path.with_name(f".{event_id}.{os.getpid()}.part")
        before = max((state for state in self.states() if state.event_id < event_id), key=lambda state: state.event_id, default=None)
        try:
            if before is None or not self._continue(before.path, part, event_id, tick):
                with built(part, self._ledger, until=event_id, tick=lambda done: tick(done, event_id)) as (db, _):
                    self._finish(db, part)
            with translated(path):
                part.rename(path)
        finally:
            for leftover in self.directory.glob(f"{part.name}*"):
                leftover.unlink(missing_ok=True)
        return path

    def _continue(self, before: Path, part: Path, event_id: int, tick: Tick) -> bool:
        """Make the state from an earlier one; not where something was taken in between that the earlier one was made with."""
        with translated(part):
            shutil.copyfile(before, part)
            part.chmod(0o600)
        db = materialise.open_views(part, self._ledger)
        try:
            if materialise.sync(db, part, self._ledger, until=event_id, tick=lambda done: tick(done, event_id)).outdated:
                return False
            self._finish(db, part)
        finally:
            db.close()
        return True

    def _finish(self, db: apsw.Connection, part: Path) -> None:
        from runloop.kb.pruning.archived import ArchivedRuns

        with materialise.derived(part, db):
            for run_id in ArchivedRuns(self._ledger).run_ids(limit=-1):
                leave_tables(db, run_id)  # records of it may have stayed; without the others it is no run
            db.pragma("journal_mode", "delete")  # no log beside it: a state is one file

    def _tidy(self) -> None:
        """Remove what an interrupted process left, and the states that are not what the ledger makes of its events now."""
        for part in self.directory.glob(".*.part*"):
            part.unlink(missing_ok=True)
        for state in self.states():
            if not self._holds(state):
                state.path.unlink(missing_ok=True)

    def _holds(self, state: State) -> bool:
        """Whether the state is of this ledger and these tables, and nothing was erased or archived since it was made."""
        try:
            db = connect(state.path, readonly=True)
            try:
                version: Any = db.execute("SELECT version FROM state").get
                anchor = materialise.anchor(db)
            finally:
                db.close()
        except Exception:  # noqa: BLE001 - whatever is wrong with a file that can be made again
            return False
        if version != views.VERSION or anchor.ledger_id != self._ledger.id or state.head > self._ledger.head().id:
            return False  # the last: an older ledger was restored, which may hold what had been erased
        event = self._ledger.get(anchor.id)
        if event is None or event.chain_hash != anchor.chain:
            return False
        with self._ledger.reading() as events:
            return events.execute(_REMOVALS, (state.head,)).fetchone() is None

    def _bound(self) -> None:
        """Remove the states that were not used for longest, until number and size are within bounds; not what somebody reads."""
        room = self._max_bytes
        for number, state in enumerate(self.states()):
            room -= state.bytes
            if (number >= self._max_states or room < 0) and not _in_use(state.path):
                state.path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[bool]:
        with translated(self.directory):
            self.directory.mkdir(mode=0o700, exist_ok=True)
        with exclusive(self.directory / "lock", wait=wait) as mine:
            yield mine


def note(db: apsw.Connection, states: list[State], now_ms: int) -> None:
    """Bring the table ``snapshots`` up to the files that are there; one that it does not have was made now."""
    ids = [state.event_id for state in states]
    db.execute(f"DELETE FROM snapshots WHERE event_id NOT IN ({', '.join('?' * len(ids))})", ids)  # noqa: S608
    for state in states:
        db.execute(
            """INSERT INTO snapshots VALUES(?, ?, ?, ?, ?)
               ON CONFLICT(event_id) DO UPDATE SET bytes = excluded.bytes, used_ms = excluded.used_ms""",
            (state.event_id, str(state.path), state.bytes, now_ms, state.used_ms),
        )


def _in_use(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
