"""The derived tables made anew: in a file beside, while everybody goes on reading the old ones, and exchanged at once.

Where something was taken out of the ledger (an erasure, a prune), that has to be done. One process at a time does it, whichever is first;
whoever finds it undone, because that process was killed, does it again.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.errors import RunloopError
from runloop.kb import views
from runloop.kb.database import fold, translated
from runloop.kb.keeping.locks import alone, exclusive
from runloop.kb.making import LOCK, Tick, note, turn
from runloop.kb.materialise import Synced, derived, open_views, outdated, sync, watermark
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runloop.kb.ledger import Ledger
    from runloop.kb.tables import Tables

BATCH = 2048  # events in one transaction, where nobody waits for it
FAR = 20_000  # events that tables lack, and more than they have, from which on a new file beside is filled sooner
FOLD_MS = 500  # how long to wait for readers, so that what the old tables held leaves the log as well


@contextmanager
def built(
    path: Path,
    ledger: Ledger,
    *,
    until: int | None = None,
    tick: Callable[[int], None] = lambda _done: None,
    pass_by: Callable[[Tables], object] = lambda _tables: None,
) -> Iterator[tuple[Tables, Synced]]:
    """Tables made from nothing, of every event or of those up to ``until``, in a new file that is only the caller's.

    ``tick`` hears how far they are, ``pass_by`` sees them on the way, both after each batch.
    """
    fresh = open_views(path, ledger)

    def on_the_way(done: int) -> None:
        tick(done)
        pass_by(fresh)

    try:
        with derived(path, fresh), views.in_bulk(fresh):
            synced = sync(fresh, path, ledger, until=until, batch=BATCH, tick=on_the_way)
        yield fresh, synced
    finally:
        fresh.close()


def discard(path: Path) -> None:
    """Remove tables that cannot be read any more: whoever opens the base next makes them anew.

    Raises:
        KnowledgeInUse: another process has the base open.

    """
    with alone(path.parent):
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


class Rebuilder:
    """Makes the tables of one open base anew. ``live`` is their write connection, used only while ``guard`` is held.

    ``keep`` is given the new ones where they are half and three quarters done, with the newest event of the ledger when they were begun;
    ``taken`` is called before outdated ones are made anew: what else was made of the ledger holds what was taken out of it.
    """

    def __init__(
        self,
        live: Tables,
        path: Path,
        ledger: Ledger,
        guard: threading.Lock,
        keep: Callable[[Tables, int], object] = lambda _tables, _head: None,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._live, self._path, self._ledger, self._guard, self._keep, self._taken = live, path, ledger, guard, keep, taken
        self._lock = path.with_name(LOCK)  # of those who make tables anew
        self._thread: threading.Thread | None = None
        self._failed = False

    def rebuild(self, tick: Callable[[int], None] = lambda _done: None) -> Synced:
        """Make them anew and exchange them; readers and appends go on. Takes as much room again as they do.

        Raises:
            LedgerFull: there is no room; the old tables stay.

        """
        with exclusive(self._lock, wait=True):
            return self._rebuild(tick)

    def catch_up(self, tick: Tick) -> None:
        """Make them anew where they are so far behind that it takes less time than going on with them; raises as :meth:`rebuild`.

        ``tick`` hears how far that is, also where another process does it.
        """
        if self._is_far():
            with turn(self._path.parent, tick):
                if self._is_far():
                    head = self._ledger.head().id
                    self._rebuild(lambda done: tick(done, head))

    def settle(self) -> None:
        """Make them anew where they are outdated; returns when they are not. Raises as :meth:`rebuild`."""
        with exclusive(self._lock, wait=True):
            self._settle()

    def settle_later(self) -> None:
        """As :meth:`settle`, in a thread, if nobody is at it; once where it fails."""
        if self._failed or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._try, name="tables-rebuilder", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join()

    def _try(self) -> None:
        try:
            with exclusive(self._lock, wait=False) as mine:
                if mine:
                    self._settle()
        except RunloopError:  # they stay without what was taken, and whoever opens them next tries again
            self._failed = True

    def _settle(self) -> None:
        while self._is_outdated():
            self._taken()
            self._rebuild(lambda _done: None)

    def _is_outdated(self) -> bool:
        with self._guard, derived(self._path, self._live):
            return outdated(self._live)

    def _is_far(self) -> bool:
        with self._guard, derived(self._path, self._live):
            done = watermark(self._live)
        return self._ledger.head().id - done > max(FAR, done)

    def _rebuild(self, tick: Callable[[int], None]) -> Synced:
        head = self._ledger.head().id
        marks = [head * 3 // 4, head // 2]
        note(self._path.parent, 0, head)

        def on_the_way(done: int) -> None:
            note(self._path.parent, done, head)
            tick(done)

        def pass_by(tables: Tables) -> None:
            if marks and watermark(tables) >= marks[-1]:
                marks.pop()
                self._keep(tables, head)

        with (
            translated(self._path.parent),
            scratch(self._path.parent) as folder,
            built(folder / self._path.name, self._ledger, tick=on_the_way, pass_by=pass_by) as (fresh, synced),
            self._guard,
            derived(self._path, self._live),
        ):
            views.carry_over(fresh, self._path)
            with self._live.backup("main", fresh, "main") as copy:
                while not copy.done:
                    copy.step()
            fold(self._live, wait_ms=FOLD_MS)
            behind = sync(self._live, self._path, self._ledger)
        return Synced(synced.applied + behind.applied, behind.watermark, synced.set_aside + behind.set_aside)
