"""The ledger: an append-only, hash-chained file of events. An append returns when it is on disk."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from msgspec import structs

from runloop.errors import RunloopError, Where
from runloop.events import StoredEvent, kind_of, restore
from runloop.kb.database import BUSY_MS, abandon, connect, translated
from runloop.kb.errors import BlobMissing, LedgerReadOnly
from runloop.kb.keeping.progress import silent
from runloop.kb.migrations import NUMBERED_FROM, check
from runloop.kb.numbers import LAST_SAVED
from runloop.kb.rows import COLUMNS, prepare, stored
from runloop.kb.submission import Submission
from runloop.kb.writer import Writer

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import apsw

    from runloop.events import NewEvent
    from runloop.kb.errors import LedgerFull, LedgerMoved
    from runloop.kb.keeping.anchor import Anchor
    from runloop.kb.keeping.progress import Progress
    from runloop.kb.submission import Waiter
    from runloop.kb.verify import VerifyReport
    from runloop.kb.writer import StallListener

_RUN_STARTS = "kind IN ('run.submitted', 'run.started')"  # word for word the condition of the index of runs
_RUN_BOUNDS = "'run.submitted', 'run.started', 'run.finished'"
_FIRST = f"coalesce((SELECT min(id) FROM events WHERE run_id = ? AND {_RUN_STARTS}), 0)"  # noqa: S608 - only placeholders
_WINDOW, _WIDEST = 1024, 65_536
"""How many events are looked at for the first records of a run, and at once at most: a run costs its span, not the ledger's length."""

_KNOWS = f"""SELECT 1 WHERE EXISTS(SELECT 1 FROM events WHERE idempotency_key = ?1)
             OR EXISTS(SELECT 1 FROM events WHERE run_id = ?2 AND {_RUN_STARTS})
             OR EXISTS(SELECT 1 FROM archived_keys WHERE key = ?1) OR EXISTS(SELECT 1 FROM archived_runs WHERE run_id = ?2)"""  # noqa: S608 - only placeholders


class Head(NamedTuple):
    """The newest event: its id (0 when there is none) and the chain value after it."""

    id: int
    chain: bytes


class Ledger:
    """One ledger file, open in this process; safe to use from any thread, and next to other processes.

    ``writable=False`` opens an existing file for reading only. On a full disk appends wait for room, and the listener of stalls is told.
    """

    def __init__(self, path: Path, *, writable: bool, busy_ms: int, on_stall: StallListener | None = None) -> None:
        self.path = path
        self._writer = Writer(path, busy_ms=busy_ms, on_stall=on_stall) if writable else None
        self._busy_ms = busy_ms
        self._readers: deque[apsw.Connection] = deque()
        self._closed = False
        try:
            self.id = self.meta("ledger_id")
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = True, busy_ms: int = BUSY_MS, on_stall: StallListener | None = None) -> Self:
        """Open or, when writable, create the file; ``busy_ms`` bounds the wait for other processes; ``on_stall``: see :meth:`watch`."""
        return cls(Path(path), writable=writable, busy_ms=busy_ms, on_stall=on_stall)

    def watch(self, on_stall: StallListener | None) -> None:
        """Call ``on_stall``, from now on and alone: with the error when a full disk stops the writer, with None when it goes on.

        On the writer thread; it must not raise and must not block. ``AsyncLedger`` calls its own on the loop.
        """
        if self._writer is not None:
            self._writer.on_stall = on_stall

    @property
    def stalled(self) -> LedgerFull | None:
        """Why appends wait for room on the disk, or None when they do not."""
        return None if self._writer is None else self._writer.stalled

    @property
    def moved(self) -> LedgerMoved | None:
        """Why appends are refused since the file was moved, removed or replaced, or None where it was not."""
        return None if self._writer is None else self._writer.moved

    def poke(self) -> None:
        """Look for room on the disk now; without that, after 0.1 s and, the longer it lasts, up to 5 s."""
        if self._writer is not None:
            self._writer.poke()

    def append(
        self, events: Iterable[NewEvent], *, check: bool = True, also: Callable[[apsw.Connection, list[StoredEvent]], None] | None = None
    ) -> list[StoredEvent]:
        """Store the events together, or none; returns when they are on disk, which on a full disk is when there is room.

        ``check=False`` skips the schemas, for events from the typed builders of ``runloop.events``. ``also``: see ``Submission.also``.
        """
        waiter = _Blocked()
        submission = self.prepare(events, waiter, check=check)
        submission.also = also
        self.put(submission)
        waiter.wait()
        if submission.error is not None:
            raise submission.error
        return submission.result

    def append_new(self, events: Iterable[NewEvent]) -> dict[str | None, int]:
        """As :meth:`append`; gives the ids, by key, of only those events that were not there before under their keys."""
        waiter = _Blocked()
        submission = self.enqueue(events, waiter, check=True)
        waiter.wait()
        if submission.error is not None:
            raise submission.error
        repeated = set(submission.repeats)
        return {event.key: event.id for position, event in enumerate(submission.result) if position not in repeated}

    def submit(self, events: Iterable[NewEvent], *, check: bool = True) -> concurrent.futures.Future[list[StoredEvent]]:
        """As :meth:`append`, without waiting; events of one thread are stored in the order they were submitted."""
        waiter = _Future()
        self.enqueue(events, waiter, check=check)
        return waiter.future

    def enqueue(
        self, events: Iterable[NewEvent], waiter: Waiter, *, check: bool, future: asyncio.Future[list[StoredEvent]] | None = None
    ) -> Submission:
        """Hand events to the writer; ``waiter`` hears of them on the writer thread. Invalid events raise here."""
        submission = self.prepare(events, waiter, check=check, future=future)
        self.put(submission)
        return submission

    def prepare(
        self, events: Iterable[NewEvent], waiter: Waiter, *, check: bool, future: asyncio.Future[list[StoredEvent]] | None = None
    ) -> Submission:
        """The first half of :meth:`enqueue`: everything that can be wrong with the events raises here."""
        if self._writer is None:
            raise LedgerReadOnly("the ledger was opened for reading only", where=Where(file=str(self.path)))
        rows = [prepare(event, check=check) for event in events]
        return Submission(rows, waiter, any([row.event.key is not None for row in rows]), future)  # noqa: C419 - faster for one row

    def put(self, submission: Submission) -> None:
        """The second half: queue what was prepared. Raises LedgerClosed."""
        assert self._writer is not None  # noqa: S101 - it was prepared
        self._writer.put(submission)

    def put_all(self, submissions: list[Submission]) -> list[tuple[Submission, RunloopError]]:
        """As :meth:`put` for several at once; those that could not be queued, and why."""
        assert self._writer is not None  # noqa: S101 - they were prepared
        return self._writer.put_all(submissions)

    def read(
        self,
        after_id: int = 0,
        limit: int = 1000,
        *,
        kinds: Sequence[str] | None = None,
        run_id: str | None = None,
    ) -> list[StoredEvent]:
        """Events with an id above ``after_id``, oldest first; of some kinds, or of one run."""
        where: list[str] = ["id > ?"]
        values: list[str | int] = [after_id]
        if run_id is not None:
            where = [f"id >= max(?, {_FIRST}) AND run_id = ?"]
            values = [after_id + 1, run_id, run_id]
        if kinds is not None:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values.extend(kinds)
        sql = f"SELECT {COLUMNS} FROM events WHERE {' AND '.join(where)} ORDER BY id LIMIT ?"  # noqa: S608 - only placeholders
        with self.reading() as db:
            return [stored(row) for row in db.execute(sql, (*values, limit))]

    def read_back(self, before_id: int, limit: int = 1000, *, without: Sequence[str] = ()) -> list[StoredEvent]:
        """Events with an id below ``before_id``, newest first, those of some kinds left out."""
        marks = ", ".join("?" * len(without))
        sql = f"SELECT {COLUMNS} FROM events WHERE id < ? AND kind NOT IN ({marks}) ORDER BY id DESC LIMIT ?"  # noqa: S608 - placeholders
        with self.reading() as db:
            return [stored(row) for row in db.execute(sql, (before_id, *without, limit))]

    def get(self, event_id: int) -> StoredEvent | None:
        """The event with this id, or None."""
        with self.reading() as db:
            row = db.execute(f"SELECT {COLUMNS} FROM events WHERE id = ?", (event_id,)).fetchone()  # noqa: S608
        return None if row is None else stored(row)

    def those(self, event_ids: Sequence[int]) -> list[StoredEvent]:
        """The events with these ids that are there, in the order of the ids."""
        sql = f"SELECT {COLUMNS} FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
        with self.reading() as db:
            return [stored(row) for row in db.execute(sql, (json.dumps(event_ids),))]

    def by_key(self, key: str) -> StoredEvent | None:
        """The event that was stored under this idempotency key, or None."""
        with self.reading() as db:
            row = db.execute(f"SELECT {COLUMNS} FROM events WHERE idempotency_key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else stored(row)

    def knows(self, key: str, run_id: str) -> bool:
        """Whether an event has this idempotency key or begins this run, by one look into the file."""
        with self.reading() as db:
            return db.execute(_KNOWS, (key, run_id)).fetchone() is not None

    def run_ids(self, prefix: str = "", limit: int = 10, *, children: bool = True) -> list[str]:
        """Ids of runs that begin with ``prefix``, newest first; without ``children`` only those that no other run started."""
        own = "" if children else "AND json_extract(payload_json, '$.parent_run_id') IS NULL"
        if prefix:
            sql = f"""SELECT run_id FROM events WHERE {_RUN_STARTS} AND run_id >= ? AND run_id < ? {own}
                      GROUP BY run_id ORDER BY min(id) DESC LIMIT ?"""  # noqa: S608
            values: tuple[str | int, ...] = prefix, prefix + "\U0010ffff", limit
        else:  # backwards from the end, not over all runs
            sql = f"SELECT run_id FROM events NOT INDEXED WHERE kind = 'run.submitted' {own} ORDER BY id DESC LIMIT ?"  # noqa: S608
            values = (limit,)
        with self.reading() as db:
            return [str(run_id) for (run_id,) in db.execute(sql, values)]

    def children(self, run_id: str) -> list[str]:
        """Ids of the runs that this run started, oldest first; looks no further than its end, or over the starts of runs."""
        starts = f"""SELECT run_id FROM events INDEXED BY events_run WHERE {_RUN_STARTS} AND id BETWEEN ?2 AND ?3
                     AND instr(payload_json, ?1) AND json_extract(payload_json, '$.parent_run_id') = ?1 ORDER BY id"""  # noqa: S608
        sql = f"""SELECT run_id, run_id = ?1, kind FROM events
                  WHERE id BETWEEN ?2 AND ?3 AND kind IN ({_RUN_BOUNDS}) AND instr(payload_json, ?1)
                  AND (run_id = ?1 OR json_extract(payload_json, '$.parent_run_id') = ?1) ORDER BY id"""  # noqa: S608 - only placeholders
        found: dict[str, None] = {}
        at, (_, open_until) = self._first_of(run_id), self._numbered(run_id)
        if open_until:
            with self.reading() as db:
                found.update((str(each), None) for (each,) in db.execute(starts, (run_id, at, open_until)))
            at = open_until + 1
        for first, last in self._spans(at):
            with self.reading() as db:
                rows = db.execute(sql, (run_id, first, last)).fetchall()
            for each, own, kind in rows:
                if not own:
                    found[str(each)] = None
                elif kind == "run.finished":
                    return list(found)
        return list(found)

    def was_pruned(self, event_id: int) -> bool:
        """Whether the event left the ledger for an archive."""
        from runloop.kb.pruning.checkpoints import Holes

        with self.reading() as db:
            return Holes(db).around(event_id) is not None

    def head(self) -> Head:
        """The newest event and the chain value after it: kept elsewhere, it proves later that nothing was cut off."""
        with self.reading() as db:
            return Head(*db.execute("SELECT last_id, chain FROM head").get)

    def meta(self, key: str) -> str:
        """A fact about the file itself: ``ledger_id`` or ``mask_salt``."""
        with self.reading() as db:
            return str(db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get)

    def blob(self, name: str) -> bytes:
        """The bytes stored under a hexadecimal BLAKE3; :class:`BlobMissing` when there are none."""
        with self.reading() as db:
            row = db.execute("SELECT data FROM blobs WHERE hash = ?", (bytes.fromhex(name),)).fetchone()
        if row is None:
            raise BlobMissing(f"blob {name} is not in the ledger", where=Where(file=str(self.path)), hint="run `rlp kb verify`")
        return bytes(row[0])

    def full(self, event: StoredEvent) -> StoredEvent:
        """The event as it was given: blobs loaded, escapes undone."""
        return structs.replace(event, payload=restore(event.payload, kind_of(event.kind).blob_fields, self.blob))

    def verify(self, *, anchors: Sequence[Anchor] = (), progress: Progress = silent) -> VerifyReport:
        """Recompute every hash and look for the first event that is not as it was written."""
        from runloop.kb.verify import verify

        return verify(self, anchors=anchors, progress=progress)

    def read_run(self, run_id: str, after_seq: int = 0) -> Iterator[StoredEvent]:
        """Every record of a run after ``after_seq``, oldest first; looks no further than its end."""
        return self._records(run_id, after_seq, self._first_of(run_id))

    def newer(self, run_id: str, after_seq: int, after_id: int) -> list[StoredEvent]:
        """As :meth:`read_run`, among the events after ``after_id``."""
        return list(self._records(run_id, after_seq, max(self._first_of(run_id), after_id + 1)))

    def _first_of(self, run_id: str) -> int:
        """The id of the event that begins a run; 0 where there is none."""
        with self.reading() as db:
            return int(db.execute(f"SELECT {_FIRST}", (run_id,)).get)

    def _numbered(self, run_id: str) -> tuple[int, int]:
        """Of a run without an end as far as numbers are saved: its last one, and the event up to which that is; else zeros."""
        with self.reading() as db:
            row = db.execute(LAST_SAVED, (run_id,)).fetchone() if int(db.pragma("user_version")) >= NUMBERED_FROM else None
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def _records(self, run_id: str, after_seq: int, at: int) -> Iterator[StoredEvent]:
        """From the event ``at`` on; 2 µs for each event up to the last record that has a saved number, and for each that came since."""
        last_seq, open_until = self._numbered(run_id)
        if last_seq > after_seq:
            for event in self._among(run_id, at, open_until):
                if (seq := event.payload.get("seq") or 0) > after_seq:
                    yield event
                if seq == last_seq:
                    break
        for event in self._among(run_id, max(at, open_until + 1)):
            if (event.payload.get("seq") or 0) > after_seq:
                yield event
            if event.kind == "run.finished":
                return

    def _among(self, run_id: str, at: int, to: int | None = None) -> Iterator[StoredEvent]:
        """The events of a run from ``at`` on, to ``to`` or the head."""
        sql = f"""SELECT {COLUMNS} FROM events WHERE id BETWEEN ? AND ? AND instr(payload_json, ?) AND run_id = ?
                  ORDER BY id LIMIT ?"""  # noqa: S608 - placeholders
        for begin, last in self._spans(at, to):
            first = begin
            while first <= last:
                with self.reading() as db:
                    events = [stored(row) for row in db.execute(sql, (first, last, run_id, run_id, _WINDOW))]
                yield from events
                first = (events[-1].id if len(events) == _WINDOW else last) + 1

    def _spans(self, at: int, to: int | None = None) -> Iterator[tuple[int, int]]:
        """Stretches of events from ``at`` to ``to`` or the head, the first and the last id of each, ever wider."""
        window = _WINDOW
        while at <= (head := self.head().id if to is None else to):
            last = min(at + window - 1, head)  # what comes after the head is for the next look
            yield at, last
            at, window = last + 1, min(2 * window, _WIDEST)

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A read-only connection for the caller alone."""
        try:
            db = self._readers.pop()
        except IndexError:
            db = connect(self.path, readonly=True, busy_ms=self._busy_ms)
            with translated(self.path, db):
                check(db, self.path)
        try:
            with translated(self.path, db):
                yield db
        finally:
            if self._closed:
                abandon(db)
            else:
                self._readers.append(db)

    def close(self) -> None:
        """Store what is queued and close the file; on a full disk what is queued fails with ``kb.disk_full``.

        The writer comes last, because only it can fold the log in and remove it.
        """
        self._closed = True
        while self._readers:
            abandon(self._readers.pop())
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Blocked:
    """A thread that waits for its submission."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        self._lock.acquire()

    def deliver(self, submissions: list[Submission]) -> None:
        self._lock.release()


class _Future:
    """A future that stands for one submission."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        import concurrent.futures  # slow to import, and the command line never submits

        self.future: concurrent.futures.Future[list[StoredEvent]] = concurrent.futures.Future()

    def deliver(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            if not self.future.set_running_or_notify_cancel():
                continue
            if submission.error is None:
                self.future.set_result(submission.result)
            else:
                self.future.set_exception(submission.error)
