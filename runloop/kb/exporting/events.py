"""Writing events as JSON Lines, from one consistent view of the ledger and in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from blake3 import blake3
from msgspec import UNSET, Raw, Struct

from runloop.events import canonical, genesis
from runloop.kb.exporting import lines
from runloop.kb.exporting.lines import KEPT_APART, WRITERS_OWN, At, End, Event, Header, Line, TableRow
from runloop.kb.keeping.progress import silent
from runloop.kb.rows import COLUMNS, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import apsw

    from runloop.kb.keeping.progress import Progress
    from runloop.kb.ledger import Ledger

    Mask = Callable[[Any], Any]
    """Gives a JSON value back with what it masks masked."""

_QUICKLY = 1024  # events between two words of progress


class Exported(Struct, frozen=True):
    """What was written."""

    events: int
    blobs: int
    bytes: int
    head_id: int
    masked: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"events": self.events, "blobs": self.blobs, "bytes": self.bytes, "head_id": self.head_id, "masked": self.masked}


def export_events(
    ledger: Ledger,
    out: BinaryIO,
    *,
    mask: Mask | None,
    after: int = 0,
    only: Iterable[int] | None = None,
    selected: str | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write the events after ``after``, or those of ``only``, which ``selected`` names.

    Without ``mask`` everything is written as it is stored, and the whole can be taken in again: that is a privileged read. With it
    values stand in their events, masked, and blobs of files are left out.
    """
    written = _Written(out)
    with ledger.reading() as db:
        db.execute("BEGIN")
        try:
            head = db.execute("SELECT last_id, chain FROM head").get
            start = _chain_after(db, ledger.id, after)
            meta = (
                {} if mask is not None else {key: str(value) for key, value in db.execute("SELECT key, value FROM meta") if key in _FACTS}
            )
            schema = int(db.pragma("user_version"))
            written.line(
                Line(export=Header(lines.FORMAT, ledger.id, schema, start, At(head[0], head[1].hex()), mask is not None, selected, meta))
            )
            if mask is None and only is None:
                for other in _other_rows(db):
                    written.line(Line(row=other))
                for name, data in db.execute(_BLOBS if after == 0 else _BLOBS_SINCE, () if after == 0 else (after,)):
                    written.line(Line(blob=lines.blob(bytes(name), bytes(data))))
            for row in _events(db, after, only):
                event = _whole(db, row) if mask is None else _masked(ledger, row, mask)
                written.line(Line(event=event))
                if event.id % _QUICKLY == 0:
                    progress("export", event.id, head[0])
        finally:
            db.execute("COMMIT")
    written.end()
    return Exported(written.events, written.blobs, written.bytes, head[0], mask is not None)


_FACTS = frozenset({"mask_salt"})
_BLOBS = "SELECT hash, data FROM blobs ORDER BY rowid"
_BLOBS_SINCE = "SELECT hash, data FROM blobs WHERE hash IN (SELECT hash FROM event_blobs WHERE event_id > ?) ORDER BY rowid"


def other_tables(db: apsw.Connection) -> list[str]:
    """The tables of a ledger that no line of their own stands for."""
    names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
    return [str(name) for (name,) in names if name not in KEPT_APART | WRITERS_OWN]


def _other_rows(db: apsw.Connection) -> Iterable[TableRow]:
    for table in other_tables(db):
        for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):  # noqa: S608 - a table of ours
            yield TableRow(table, [lines.to_json(value) for value in row])


def _events(db: apsw.Connection, after: int, only: Iterable[int] | None) -> Iterable[tuple[Any, ...]]:
    if only is None:
        yield from db.execute(f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id", (after,))  # noqa: S608
        return
    for event_id in sorted(set(only)):
        if event_id > after:
            yield from db.execute(f"SELECT {COLUMNS} FROM events WHERE id = ?", (event_id,))  # noqa: S608


def _chain_after(db: apsw.Connection, ledger_id: str, event_id: int) -> At:
    """The newest event up to that one, with the chain value after it."""
    row = db.execute("SELECT id, chain_blake3 FROM events WHERE id <= ? ORDER BY id DESC LIMIT 1", (event_id,)).fetchone()
    return At(0, genesis(ledger_id).hex()) if row is None else At(row[0], row[1].hex())


def _whole(db: apsw.Connection, row: tuple[Any, ...]) -> Event:
    event_id, ts_ms, kind, actor, scope, payload, provenance, content, chain, key = row
    names = [bytes(name).hex() for (name,) in db.execute("SELECT hash FROM event_blobs WHERE event_id = ? ORDER BY hash", (event_id,))]
    texts = Raw(payload.encode()), Raw(provenance.encode())
    return Event(event_id, ts_ms, kind, actor, scope, *texts, content.hex(), chain.hex(), key, names)


def _masked(ledger: Ledger, row: tuple[Any, ...], mask: Mask) -> Event:
    event = ledger.full(stored(row))
    payload, provenance = (Raw(canonical(mask(dict(value)))) for value in (event.payload, event.provenance))
    key = None if event.key is None else mask(event.key)
    hashes = event.content_hash.hex(), event.chain_hash.hex()
    return Event(event.id, event.ts_ms, event.kind, mask(event.actor), mask(event.scope), payload, provenance, *hashes, key)


class _Written:
    """What went out so far, and its digest."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._hasher = blake3()
        self.lines = self.events = self.blobs = self.bytes = 0

    def line(self, line: Line) -> None:
        self._put(line)
        self.lines += 1
        self.events += line.event is not UNSET
        self.blobs += line.blob is not UNSET

    def end(self) -> None:
        self._put(Line(end=End(self.lines, self.events, self.blobs, self._hasher.hexdigest())))

    def _put(self, line: Line) -> None:
        data = lines.encode(line) + b"\n"
        self._hasher.update(data)
        self.bytes += len(data)
        self._out.write(data)
