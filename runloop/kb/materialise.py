"""Materialisation: bring `pog.sqlite` up to the ledger, in batches whose tables and watermark change together."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw

from runloop.errors import Where
from runloop.events import genesis
from runloop.kb import views
from runloop.kb.database import connect, translated
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.migrations import immediate
from runloop.kb.projections import apply
from runloop.kb.verify import Anchor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger

BATCH = 512  # events in one transaction (spec 15.5)


@dataclass(frozen=True, slots=True)
class Synced:
    """How many events were applied, up to which, and how many of them were set aside."""

    applied: int
    watermark: int
    set_aside: int


@contextmanager
def derived(path: Path, db: apsw.Connection | None = None) -> Iterator[None]:
    """As :func:`translated`; of a damaged file it says that nothing is lost, since everything in it comes from the ledger."""
    try:
        with translated(path, db):
            yield
    except LedgerCorrupt as error:
        if error.where.file != str(path):
            raise  # the ledger's own trouble
        hint = f"delete {path.name}: it holds nothing of its own and is rebuilt from the ledger; then run `rlp kb verify`"
        raise LedgerCorrupt(error.message, where=error.where, hint=hint) from error


def open_views(path: Path, ledger: Ledger) -> apsw.Connection:
    """The write connection of the derived file, made or rebuilt when it is missing or of another version."""
    with derived(path):
        db = connect(path, synchronous="normal")
    with derived(path, db), immediate(db):
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'state'").get:
            views.create(db, ledger.id, genesis(ledger.id))
        elif db.execute("SELECT version FROM state").get != views.VERSION:
            views.recreate(db)
    return db


def anchor(db: apsw.Connection) -> Anchor:
    """What was last seen of the ledger's head."""
    return Anchor(*db.execute("SELECT ledger_id, anchor_id, anchor_chain FROM state").get)


def watermark(db: apsw.Connection) -> int:
    """The event up to which the tables follow the ledger."""
    return int(db.execute("SELECT watermark FROM state").get)


def sync(
    db: apsw.Connection, path: Path, ledger: Ledger, *, until: int | None = None, tick: Callable[[int], None] = lambda _done: None
) -> Synced:
    """Apply every event after the watermark, or those up to ``until``; an event that cannot be applied is set aside and reported.

    ``tick`` hears after each batch how far it is.
    """
    applied = aside = 0
    with derived(path, db):
        _check_anchor(anchor(db), ledger)
        seen = watermark(db)
        if ledger.head().id == seen:
            return Synced(0, seen, 0)
        while True:
            with immediate(db):
                done = watermark(db)
                events = ledger.read(done, BATCH if until is None else min(BATCH, max(until - done, 0)))
                if not events:
                    return Synced(applied, done, aside)
                for event in events:
                    aside += not _apply_one(db, event, ledger)
                last = events[-1]
                db.execute("UPDATE state SET watermark = ?", (last.id,))
                db.execute("UPDATE state SET anchor_id = ?, anchor_chain = ? WHERE anchor_id < ?", (last.id, last.chain_hash, last.id))
            applied += len(events)
            tick(last.id)


def rebuild(db: apsw.Connection, path: Path, ledger: Ledger) -> Synced:
    """Empty the tables and apply every event again."""
    with derived(path, db), immediate(db):
        views.recreate(db)
    return sync(db, path, ledger)


def _apply_one(db: apsw.Connection, event: StoredEvent, ledger: Ledger) -> bool:
    """Whether the event could be applied; when not, nothing of it is, and the reason is kept."""
    db.execute("SAVEPOINT one")
    try:
        apply(db, event, ledger.blob)
    except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CorruptError):
        raise  # the file's trouble, not the event's
    except Exception as error:  # noqa: BLE001 - whatever a malformed event causes must not stop the rest
        db.execute("ROLLBACK TO one")
        reason = f"{type(error).__name__}: {error}"
        db.execute("INSERT OR REPLACE INTO problems VALUES(?, ?, ?)", (event.id, event.kind, reason[:500]))
        return False
    finally:
        db.execute("RELEASE one")
    return True


def _check_anchor(known: Anchor, ledger: Ledger) -> None:
    """Refuse to go on from a ledger that lost or changed events that were already seen."""
    where = Where(file=str(ledger.path))
    hint = "run `rlp kb verify`; if you restored an older ledger on purpose, delete pog.sqlite: it will be rebuilt"
    if known.ledger_id != ledger.id:
        raise LedgerCorrupt("is another ledger than the one pog.sqlite was made from", code="ledger.replaced", where=where, hint=hint)
    if known.id:
        event = ledger.get(known.id)
        if event is None:
            raise LedgerCorrupt(f"event {known.id} was seen before and is gone", code="ledger.rolled_back", where=where, hint=hint)
        if event.chain_hash != known.chain:
            raise LedgerCorrupt(f"event {known.id} is not the one seen before", code="ledger.rewritten", where=where, hint=hint)
