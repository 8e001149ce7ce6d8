"""The numbers of run records: each is stored once and after the one before it, whichever process writes it.

The last number of every run that has not ended is kept in memory, brought up to date inside each write transaction with what
other processes stored since, and saved every thousand events, so that a new process reads only what came after. An index over
all records would do the same and cost more than everything else of an append (a page per active run in every commit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.errors import Where
from runloop.events import RUN_KINDS
from runloop.kb.errors import RunArchived, SeqMissing, SeqTaken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import apsw

    from runloop.kb.rows import Row

SAVE_EVERY = 1024  # events between two savings: what a new process may have to read

_ENDED = 2**53  # above every number: a run that ended takes no further record
_END = "run.finished"
_SAVED = "SELECT value FROM meta WHERE key = 'run_numbers_at'"
LAST_SAVED = f"SELECT last_seq, ({_SAVED}) FROM run_numbers WHERE run_id = ?"  # noqa: S608 - fixed text
_STORED_SINCE = "SELECT run_id, seq, kind FROM events WHERE id > ? AND seq IS NOT NULL AND run_id IS NOT NULL ORDER BY id"
_STARTED = """SELECT 1 FROM events WHERE run_id = ?1 AND kind IN ('run.submitted', 'run.started')
    UNION ALL SELECT 1 FROM archived_runs WHERE run_id = ?1 LIMIT 1"""


class RunNumbers:
    """Used by one writer: :meth:`begin`, :meth:`admit` and :meth:`settle` inside a write transaction, :meth:`commit` after it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, int] = {}  # by run, of those that have not ended
        self._at = -1  # the event up to which this holds; -1 before anything was read
        self._unsaved: set[str] = set()
        self._saved_at = 0
        self._new: dict[str, int] = {}  # of the transaction under way
        self._ended: set[str] = set()

    def begin(self, db: apsw.Connection, last_id: int) -> None:
        """A transaction begins on a ledger that ends with event ``last_id``."""
        self._new, self._ended = {}, set()
        if self._at == last_id:
            return
        if not 0 <= self._at < last_id:
            self._last = dict(db.execute("SELECT run_id, last_seq FROM run_numbers").fetchall())  # type: ignore[arg-type] # text and integer
            self._at = self._saved_at = int(db.execute(_SAVED).get)
            self._unsaved = set()
        for run_id, seq, kind in self._since(db):
            self._last[run_id] = _ENDED if kind == _END else max(seq, self._last.get(run_id, 0))
            self._unsaved.add(run_id)
        for run_id in self._unsaved:
            if self._last.get(run_id) == _ENDED and _has_start(db, run_id):
                del self._last[run_id]
        self._at = last_id

    def admit(self, db: apsw.Connection, rows: Iterable[Row]) -> SeqTaken | SeqMissing | RunArchived | None:
        """Take the numbers of one submission's rows, all or none; the error says which one is taken, or what they rest on is missing."""
        mine: dict[str, int] = {}
        for row in rows:
            kind, payload = row.event.kind, row.payload
            if kind not in RUN_KINDS or "v" not in payload:
                continue
            if kind == "run.submitted" and (gone := _archived_parent(db, payload)) is not None:
                return gone
            run_id, seq = payload["run_id"], payload["seq"]
            last = mine.get(run_id)
            if last is None:
                last = self._last_of(db, run_id)
            if seq <= last:
                return self._taken(run_id, seq, last)
            if 0 < last < seq - 1:
                return self._missing(run_id, seq, last)
            mine[run_id] = _ENDED if kind == _END else seq
        self._new.update(mine)
        return None

    def settle(self, db: apsw.Connection, last_id: int) -> None:
        """The transaction will end with event ``last_id``; what changed is saved with it once there is enough."""
        self._ended = {run_id for run_id, last in self._new.items() if last == _ENDED and _has_start(db, run_id)}
        if last_id - self._saved_at >= SAVE_EVERY:
            now = {run_id: self._new.get(run_id, self._last.get(run_id)) for run_id in self._unsaved | self._new.keys()}
            known = [(run_id, last) for run_id, last in now.items() if last is not None and run_id not in self._ended]
            db.executemany("DELETE FROM run_numbers WHERE run_id = ?", [(run_id,) for run_id in now])
            db.executemany("INSERT INTO run_numbers VALUES(?, ?)", known)
            db.execute("UPDATE meta SET value = ? WHERE key = 'run_numbers_at'", (last_id,))

    def commit(self, last_id: int) -> None:
        """The transaction is on disk."""
        self._last.update(self._new)
        for run_id in self._ended:
            del self._last[run_id]  # known from now on by its start, which is indexed
        if last_id - self._saved_at >= SAVE_EVERY:
            self._saved_at, self._unsaved = last_id, set()
        else:
            self._unsaved |= self._new.keys()
        self._at = last_id

    def _since(self, db: apsw.Connection) -> list[tuple[str, int, str]]:
        return db.execute(_STORED_SINCE, (self._at,)).fetchall()  # type: ignore[return-value] # text, integer, text

    def _last_of(self, db: apsw.Connection, run_id: str) -> int:
        last = self._new.get(run_id)
        if last is None:
            last = self._last.get(run_id)
        if last is None:
            last = _ENDED if _has_start(db, run_id) else 0
        return last

    def _taken(self, run_id: str, seq: int, last: int) -> SeqTaken:
        state = "has ended" if last == _ENDED else f"is at number {last}"
        return SeqTaken(
            f"record {seq} of run {run_id} cannot be stored: the run {state}",
            where=Where(file=str(self._path)),
            hint=f"another process drives this run; follow it with `rlp attach {run_id}`",
        )

    def _missing(self, run_id: str, seq: int, last: int) -> SeqMissing:
        return SeqMissing(
            f"record {seq} of run {run_id} cannot be stored: record {last + 1} is not there",
            where=Where(file=str(self._path)),
            hint=f"what kept that one from being stored was said before; `rlp resume {run_id}` goes on from what is there",
        )


def _has_start(db: apsw.Connection, run_id: str) -> bool:
    return db.execute(_STARTED, (run_id,)).fetchone() is not None


def _archived_parent(db: apsw.Connection, payload: Mapping[str, Any]) -> RunArchived | None:
    """Why a run cannot begin as a fork: the run whose history it shares was archived meanwhile."""
    forked = payload["meta"].get("forked_from")
    if not forked or db.execute("SELECT 1 FROM archived_runs WHERE run_id = ?", (forked["run_id"],)).fetchone() is None:
        return None
    return RunArchived(f"run {forked['run_id']} was archived; it cannot be forked", hint="`rlp runs --archived` says where it is")
