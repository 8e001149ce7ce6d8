"""Verification: recompute every hash of a ledger and name the first event that is not as it was written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
from blake3 import blake3

from runloop.errors import Where
from runloop.events import KINDS, chain_hash, genesis, parse
from runloop.events.blobs import blob_names
from runloop.events.hashes import preimage
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runloop.kb.ledger import Ledger


class Anchor(NamedTuple):
    """A head that was noted outside the ledger: this event must still be there, with this chain value."""

    ledger_id: str
    id: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is wrong: ``what`` differs at event ``event_id``."""

    event_id: int
    what: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked, the newest event, and the first broken one, if any."""

    ledger_id: str
    events: int
    blobs: int
    head_id: int
    head_chain: str
    broken: Broken | None

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return self.broken is None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"ok": self.ok, **asdict(self)}

    def require(self, file: str) -> None:
        """Raise :class:`LedgerCorrupt` (exit code 5) when something is broken."""
        if self.broken is not None:
            broken = self.broken
            raise LedgerCorrupt(
                f"event {broken.event_id}: {broken.what} differs: expected {broken.expected}, found {broken.actual}",
                code="ledger.broken",
                where=Where(file=file),
                hint="everything before that event is intact; restore the file from a backup",
            )


def verify(ledger: Ledger, *, anchors: Sequence[Anchor] = ()) -> VerifyReport:
    """Check ids, contents, order, blobs, the head, and the anchors, in one consistent view of the file."""
    with ledger.reading() as db:
        db.execute("BEGIN")
        try:
            return _Scan(db, ledger.id, anchors).run()
        finally:
            with suppress(apsw.CorruptError):  # it ends, and tells once more what the scan has met
                db.execute("COMMIT")


def first_broken_after(db: apsw.Connection, event_id: int, chain: bytes) -> Broken | None:
    """Check that an event is there with this chain value, and everything after it; 0 stands for the beginning."""
    ledger_id = str(db.execute("SELECT value FROM meta WHERE key = 'ledger_id'").get)
    if event_id:
        row = db.execute("SELECT chain_blake3 FROM events WHERE id = ?", (event_id,)).fetchone()
        if row is None or row[0] != chain:
            return Broken(event_id, "the event", chain.hex(), "missing" if row is None else bytes(row[0]).hex())
    return _Scan(db, ledger_id, (), (event_id, chain)).run().broken


class _Scan:
    """One pass over the events after ``start`` (id and chain value), oldest first."""

    def __init__(self, db: apsw.Connection, ledger_id: str, anchors: Sequence[Anchor], start: tuple[int, bytes] | None = None) -> None:
        self._db = db
        self._ledger_id = ledger_id
        self._anchors = anchors
        self._last_id, self._chain = start or (0, genesis(ledger_id))
        self._blobs: set[bytes] = set()

    def run(self) -> VerifyReport:
        broken = self._first_broken()
        return VerifyReport(self._ledger_id, self._last_id, len(self._blobs), self._last_id, self._chain.hex(), broken)

    def _first_broken(self) -> Broken | None:
        try:
            for broken in self._problems():
                return broken
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError, UnicodeDecodeError) as error:
            return Broken(self._last_id + 1, "the stored bytes", "readable", str(error))
        return None

    def _problems(self) -> Iterator[Broken]:
        head_id, head_chain = self._db.execute("SELECT last_id, chain FROM head").fetchone() or (0, b"")
        for anchor in self._anchors:
            if anchor.ledger_id != self._ledger_id:
                yield Broken(1, "the ledger itself", anchor.ledger_id, self._ledger_id)
        rows = self._db.execute(f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id", (self._last_id or -(2**63),))  # noqa: S608 - our constant
        for row in rows:
            yield from self._event(row)
            for anchor in self._anchors:
                if row[0] == anchor.id and row[8] != anchor.chain:
                    yield Broken(row[0], "chain_hash noted outside the ledger", anchor.chain.hex(), row[8].hex())
        noted = max(head_id, *(anchor.id for anchor in self._anchors), 0)
        if self._last_id < noted:
            yield Broken(self._last_id + 1, "the end of the ledger", f"events up to {noted}", f"nothing after event {self._last_id}")
        if (head_id, head_chain) != (self._last_id, self._chain):
            yield Broken(self._last_id, "head", f"{self._last_id} {self._chain.hex()}", f"{head_id} {bytes(head_chain).hex()}")

    def _event(self, row: tuple[Any, ...]) -> Iterator[Broken]:
        event_id, ts_ms, kind, actor, scope, payload, provenance, content, chain, key = row
        if event_id != self._last_id + 1:
            yield Broken(self._last_id + 1, "the event", "present", f"missing; the next one is {event_id}")
        found = blake3(preimage(kind, actor, scope, payload.encode(), provenance.encode())).digest()
        if found != content:
            yield Broken(event_id, "content_hash", content.hex(), found.hex())
        expected = chain_hash(self._chain, event_id, ts_ms, content, key)
        if expected != chain:
            yield Broken(event_id, "chain_hash", expected.hex(), chain.hex())
        yield from self._blobs_of(event_id, kind, payload)
        self._last_id, self._chain = event_id, chain

    def _blobs_of(self, event_id: int, kind: str, payload: str) -> Iterator[Broken]:
        names = {bytes(row[0]) for row in self._db.execute("SELECT hash FROM event_blobs WHERE event_id = ?", (event_id,))}
        if '"$blob"' in payload and kind in KINDS:
            names |= {bytes.fromhex(name) for name in blob_names(parse(payload), KINDS[kind].blob_fields)}
        for name in sorted(names - self._blobs):
            data = self._db.execute("SELECT data FROM blobs WHERE hash = ?", (name,)).fetchone()
            if data is None:
                yield Broken(event_id, "blob", name.hex(), "missing")
            elif (found := blake3(data[0]).digest()) != name:
                yield Broken(event_id, "blob", name.hex(), found.hex())
            self._blobs.add(name)
