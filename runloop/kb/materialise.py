"""Materialisation: bring `pog.sqlite` up to the ledger, in batches whose tables and watermark change together."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.events import current, genesis
from runloop.kb import views
from runloop.kb.clock import note_times
from runloop.kb.cutting import cut
from runloop.kb.database import translated
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.keeping.anchor import Anchor
from runloop.kb.migrations import immediate
from runloop.kb.projections import ERASING, apply, erased
from runloop.kb.pruning.projection import BACK as RESTORING
from runloop.kb.pruning.projection import KIND as ARCHIVING
from runloop.kb.pruning.projection import take_out_archived
from runloop.kb.tables import Tables, open_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger

BATCH = 512  # events in one transaction (spec 15.5)
CACHE_KIB = 16 * 1024  # of pages at most: keys of people and of words lie all over their tables
_REMOVING = frozenset({ERASING, ARCHIVING, RESTORING})
# The file's or the machine's trouble, not an event's.
_OF_THE_FILE = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CorruptError, apsw.CantOpenError, apsw.NoMemError)


@dataclass(frozen=True, slots=True)
class Synced:
    """How many events were applied, up to which, how many of them were set aside, and whether the tables have to be made anew."""

    applied: int
    watermark: int
    set_aside: int
    outdated: bool = False


@contextmanager
def derived(path: Path, db: apsw.Connection | None = None) -> Iterator[None]:
    """As :func:`translated`; of a damaged file it says that nothing is lost, since everything in it comes from the ledger."""
    try:
        with translated(path, db):
            yield
    except LedgerCorrupt as error:
        if error.where.file != str(path):
            raise  # the ledger's own trouble
        hint = f"`rlp kb rebuild` makes {path.name} anew: it holds nothing of its own; then run `rlp kb verify`"
        raise LedgerCorrupt(error.message, where=error.where, hint=hint) from error


def open_views(path: Path, ledger: Ledger) -> Tables:
    """The write connection of the derived file, made or rebuilt when it is missing or of another version."""
    with derived(path):
        db = open_tables(path, synchronous="normal", cache_kib=CACHE_KIB)
    with derived(path, db), immediate(db):
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'state'").get:
            views.create(db, ledger.id, genesis(ledger.id))
        elif db.execute("SELECT version FROM state").get != views.VERSION:
            views.recreate(db)
    db.begin()
    return db


def anchor(db: apsw.Connection) -> Anchor:
    """What was last seen of the ledger's head."""
    return Anchor(*db.execute("SELECT ledger_id, anchor_id, anchor_chain FROM state").get)


def watermark(db: apsw.Connection) -> int:
    """The event up to which the tables follow the ledger."""
    return int(db.execute("SELECT watermark FROM state").get)


def outdated(db: apsw.Connection) -> bool:
    """Whether something was taken out of the ledger that the tables were made with: only making them anew gives exact ones."""
    return bool(db.execute("SELECT outdated FROM state").get)


def sync(
    db: Tables,
    path: Path,
    ledger: Ledger,
    *,
    until: int | None = None,
    batch: int | None = None,
    tick: Callable[[int], None] = lambda _done: None,
) -> Synced:
    """Apply every event after the watermark that is stored now, or those up to ``until``; one that cannot be applied is set aside.

    What an erasure took from events that were applied before goes out of the tables at once, and they are ``outdated`` from then on; so
    they are where records that were applied are in an archive now. ``tick`` hears after each batch how far it is.
    """
    applied = aside = 0
    size = BATCH if batch is None else batch
    with derived(path, db):
        check_anchor(anchor(db), ledger)
        seen = mine = watermark(db)
        head = ledger.head().id
        if head == seen:
            return Synced(0, seen, 0, outdated(db))
        while True:
            with immediate(db):
                done = watermark(db)
                events = ledger.read(done, size if until is None else min(size, max(until - done, 0)))
                events = events if until is None else [event for event in events if event.id <= until]  # ids may have gaps
                if not events:
                    return Synced(applied, done, aside, outdated(db))
                seen = seen if done == mine else done
                for event in events:
                    if event.kind in _REMOVING:
                        _take_back(db, event, done if event.id > head else seen, ledger)
                aside += _apply_all(db, events, ledger)
                db.write_words()
                note_times(db, events)
                last = events[-1]
                db.execute("UPDATE state SET watermark = ?", (last.id,))
                db.execute("UPDATE state SET anchor_id = ?, anchor_chain = ? WHERE anchor_id < ?", (last.id, last.chain_hash, last.id))
            mine = last.id
            applied += len(events)
            tick(mine)
            if mine >= head:  # what is stored meanwhile is for the next time: a reader must not wait for writers that never pause
                return Synced(applied, mine, aside, outdated(db))


def _take_back(db: Tables, event: StoredEvent, applied: int, ledger: Ledger) -> None:
    """Do what the event says has to go of what was applied, the last of which is event ``applied``, or has come before it since.

    Of one that cannot be read nobody knows what it took, so it may be anything; that it cannot be read is noted when it is applied.
    """
    try:
        if event.kind == ERASING:
            gone = [each for each in erased(event) if each <= applied]
            cut(db, gone)
            stale = bool(gone)
        elif event.kind == RESTORING:
            stale = current(event).payload["first"] <= applied
        else:
            stale = take_out_archived(db, event, ledger)
    except _OF_THE_FILE:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        stale = applied > 0
    if stale:
        db.execute("UPDATE state SET outdated = ?", (event.id,))


def _apply_all(db: Tables, events: Sequence[StoredEvent], ledger: Ledger) -> int:
    """Apply the events together or, when one of them cannot be applied, one by one; how many were set aside.

    After the file's own trouble the transaction is over, and SQLite may have ended it already, with its savepoints.
    """
    aside = 0
    db.drop()  # a batch may have broken off
    db.execute("SAVEPOINT batch")
    try:
        for event in events:
            apply(db, event, ledger.blob)
        db.write()
    except _OF_THE_FILE:
        raise
    except Exception:  # noqa: BLE001 - which one it was, and why, the second time will tell
        db.drop()
        db.execute("ROLLBACK TO batch")
        aside = sum(not _apply_one(db, event, ledger) for event in events)
    db.execute("RELEASE batch")
    return aside


def _apply_one(db: Tables, event: StoredEvent, ledger: Ledger) -> bool:
    """Whether the event could be applied; when not, nothing of it is, and the reason is kept."""
    applied = True
    db.execute("SAVEPOINT one")
    try:
        apply(db, event, ledger.blob)
        db.write()
    except _OF_THE_FILE:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a malformed event causes must not stop the rest
        db.drop()
        db.execute("ROLLBACK TO one")
        reason = f"{type(error).__name__}: {error}"
        db.execute("INSERT OR REPLACE INTO problems VALUES(?, ?, ?)", (event.id, event.kind, reason[:500]))
        applied = False
    db.execute("RELEASE one")
    return applied


def check_anchor(known: Anchor, ledger: Ledger) -> None:
    """Refuse to go on from a ledger that lost or changed events that were already seen."""
    where = Where(file=str(ledger.path))
    hint = "run `rlp kb verify`; if you restored an older ledger on purpose, delete pog.sqlite: it will be rebuilt"
    if known.ledger_id != ledger.id:
        raise LedgerCorrupt("is another ledger than the one pog.sqlite was made from", code="ledger.replaced", where=where, hint=hint)
    if known.id:
        event = ledger.get(known.id)
        if event is None and not ledger.was_pruned(known.id):
            raise LedgerCorrupt(f"event {known.id} was seen before and is gone", code="ledger.rolled_back", where=where, hint=hint)
        if event is not None and event.chain_hash != known.chain:
            raise LedgerCorrupt(f"event {known.id} is not the one seen before", code="ledger.rewritten", where=where, hint=hint)
