"""The derived tables of a base: they follow the ledger, are read at one moment, made anew, and shown as they were."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.errors import Where
from runloop.kb import materialise
from runloop.kb.database import abandon, connect
from runloop.kb.errors import LedgerClosed, LedgerFull
from runloop.kb.making import Tick
from runloop.kb.materialise import Synced
from runloop.kb.past import Past, note
from runloop.kb.rebuilding import Rebuilder
from runloop.kb.tables import open_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import apsw

    from runloop.kb.keeping.anchor import Anchor
    from runloop.kb.ledger import Ledger
    from runloop.kb.tables import Tables

READ_CACHE_KIB = 16 * 1024  # of pages, for each connection that reads: the parts of the search index that every query touches
PAST_DIRECTORY = "past"


class Views:
    """One file of derived tables; ``until`` is the event that they are at where they show the past, and stay at. Safe from any thread."""

    def __init__(self, root: Path, path: Path, ledger: Ledger, until: int | None) -> None:
        self.path = path
        self.until = until
        self.db = materialise.open_views(path, ledger) if until is None else open_tables(path, readonly=True)
        self.past = Past(root / PAST_DIRECTORY, ledger)
        self.behind: LedgerFull | None = None
        """Why they do not follow the ledger at the moment."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._closed = False
        self._readers: list[apsw.Connection] = []
        self.rebuilder = Rebuilder(self.db, path, ledger, self._lock, self._keep_half_made, self.past.tidy)

    def sync(self, most: int | None = None, tick: Tick = lambda _done, _of: None) -> Synced:
        """As :meth:`KnowledgeBase.sync`. Raises LedgerClosed."""
        try:
            if most is None and self.until is None and not self._closed:
                self.rebuilder.catch_up(tick)
        except LedgerFull as full:
            return self._stays(full)

        def on_the_way(done: int) -> None:
            self._keep_past(done)
            tick(done, self._ledger.head().id)

        with self._lock:
            if self._closed:
                raise LedgerClosed("the knowledge base was closed", where=Where(file=str(self.path)))
            if self.until is not None:
                return Synced(0, self.until, 0)
            try:
                until = None if most is None else materialise.watermark(self.db) + most
                synced = materialise.sync(self.db, self.path, self._ledger, until=until, tick=on_the_way)
            except LedgerFull as full:
                return self._stays(full)
            self.behind = None
            if synced.outdated:
                self.rebuilder.settle_later()
            return synced

    def _stays(self, full: LedgerFull) -> Synced:
        self.behind = full
        return Synced(0, materialise.watermark(self.db), 0)

    def settle(self) -> None:
        """As :meth:`sync`; where something was erased or archived, returns when exact tables are made. Raises LedgerFull."""
        self.sync()
        if self.until is None:
            self.rebuilder.settle()

    def rebuild(self, tick: Callable[[int], None]) -> Synced:
        """Make them anew from every event; readers see the old ones until then. ``tick`` hears how far it is."""
        return self.rebuilder.rebuild(tick)

    def anchor(self) -> Anchor:
        """The head of the ledger that they have seen last."""
        with self._lock:
            return materialise.anchor(self.db)

    def require_same_ledger(self) -> None:
        """As :meth:`KnowledgeBase.require_same_ledger`."""
        with self._lock, materialise.derived(self.path, self.db):
            materialise.check_anchor(materialise.anchor(self.db), self._ledger)

    @contextmanager
    def reading(self, *, synced: bool = True) -> Iterator[apsw.Connection]:
        """A read-only connection, the tables brought up to date with the ledger before: all that is read there is of one moment.

        It is kept for the next reader where nothing went wrong.
        """
        if synced:
            self.sync()
        try:
            db = self._readers.pop()
        except IndexError:
            db = connect(self.path, readonly=True, cache_kib=READ_CACHE_KIB)
        try:
            with materialise.derived(self.path, db):
                db.execute("BEGIN")
                yield db
                if db.in_transaction:
                    db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        if self._closed or db.db_names() != ["main", "temp"]:
            db.close()
        else:
            self._readers.append(db)

    @contextmanager
    def at(self, event_id: int, tick: Tick) -> Iterator[Path]:
        """The file of the tables as event ``event_id`` left them (ADR 6); ``tick`` hears how far the making of it is."""
        with self.past.at(event_id, tick) as path:
            with self._lock:
                self._note_past()
            yield path

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
        self.rebuilder.join()
        with self._lock:
            while self._readers:
                self._readers.pop().close()
            abandon(self.db)

    def _keep_past(self, done: int) -> None:
        """Keep a state of the past now and then, as the tables grow; the lock is held."""
        if self.past.grown(self.db, done):
            self._note_past()

    def _note_past(self) -> None:
        note(self.db, self.past.states(), time.time_ns() // 1_000_000)

    def _keep_half_made(self, tables: Tables, head: int) -> None:
        self.past.keep(tables, head=head, in_bulk=True)
