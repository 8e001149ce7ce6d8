"""The chain: every event's id, content, place and blobs, in one pass and in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.events import KINDS, chain_hash, genesis, parse
from runloop.events.blobs import blob_names
from runloop.events.hashes import preimage
from runloop.kb.erasing import Erasures
from runloop.kb.keeping.anchor import Anchor
from runloop.kb.pruning.checkpoints import Holes
from runloop.kb.rows import COLUMNS, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BLOB_CHUNK = 1 << 20  # bytes of a blob that are in memory at once
_AFTER = f"SELECT {COLUMNS} FROM events WHERE id > ?"  # noqa: S608 - our constant
_NO_MORE: tuple[int, bytes] = (1 << 63, b"")
UNREADABLE = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.SQLError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is wrong: ``what`` differs at event ``event_id``, which is 0 where no single event is to blame."""

    event_id: int
    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        place = f"event {self.event_id}: " if self.event_id else ""
        return f"{place}{self.what} differs: expected {self.expected}, found {self.actual}"


class ChainScan:
    """One pass over the events after ``start`` (id and chain value), oldest first; what it met is in its attributes afterwards.

    ``hash_blobs`` also recomputes the hash of every blob that an event names; without it a blob only has to be there.
    """

    def __init__(
        self,
        db: apsw.Connection,
        ledger_id: str,
        anchors: Sequence[Anchor] = (),
        start: tuple[int, bytes] | None = None,
        *,
        hash_blobs: bool = False,
        tick: Callable[[int], None] = lambda _done: None,
    ) -> None:
        self.last_id, self.chain = start or (0, genesis(ledger_id))
        self.events = 0
        self.bytes = 0
        self._db = db
        self._ledger_id = ledger_id
        self._anchors = anchors
        self._hash_blobs = hash_blobs
        self._holes = Holes(db)
        self._erasures = Erasures(db)
        self._tick = tick
        self._names: Iterator[Any] = iter(())
        self._named, self._name = _NO_MORE

    def first_broken(self) -> Broken | None:
        """Go on to the first event that is not as it was written, or to the end."""
        try:
            return next(self._problems(), None)
        except UNREADABLE as error:
            return Broken(self.last_id + 1, "the stored bytes", "readable", str(error))

    def first_broken_until(self, last_id: int) -> Broken | None:
        """As :meth:`first_broken`, of the events up to that one alone."""
        self._name_after()
        rows = self._db.execute(f"{_AFTER} AND id <= ? ORDER BY id", (self.last_id, last_id))
        return next((broken for row in rows if (broken := self._event(row)) is not None), None)

    def _problems(self) -> Iterator[Broken]:
        head_id, head_chain = self._db.execute("SELECT last_id, chain FROM head").fetchone() or (0, b"")
        for anchor in self._anchors:
            if anchor.ledger_id != self._ledger_id:
                yield Broken(1, "the ledger itself", anchor.ledger_id, self._ledger_id)
        rows = self._db.execute(f"{_AFTER} ORDER BY id", (self.last_id or -(2**63),))
        self._name_after()
        for row in rows:
            broken = self._event(row)
            if broken is not None:
                yield broken
            for anchor in self._anchors:
                if row[0] == anchor.id and row[8] != anchor.chain:
                    yield Broken(row[0], "chain_hash noted outside the ledger", anchor.chain.hex(), row[8].hex())
        noted = max(head_id, *(anchor.id for anchor in self._anchors), 0)
        if self.last_id < noted:
            yield Broken(self.last_id + 1, "the end of the ledger", f"events up to {noted}", f"nothing after event {self.last_id}")
        if (head_id, head_chain) != (self.last_id, self.chain):
            yield Broken(self.last_id, "head", f"{self.last_id} {self.chain.hex()}", f"{head_id} {bytes(head_chain).hex()}")

    def _event(self, row: tuple[Any, ...]) -> Broken | None:
        event_id, ts_ms, kind, actor, scope, payload, provenance, content, chain, key = row
        if event_id != self.last_id + 1:
            self._over_holes(event_id)
            if event_id != self.last_id + 1:
                return Broken(self.last_id + 1, "the event", "present", f"missing; the next one is {event_id}")
        if not is_whole(row):
            return Broken(event_id, "the event", "columns of their types", "another type")
        stated = preimage(kind, actor, scope, payload.encode(), provenance.encode())
        found = blake3(stated).digest()
        if found != content and not self._erasures.admit(row):
            return Broken(event_id, "content_hash", content.hex(), found.hex())
        expected = chain_hash(self.chain, event_id, ts_ms, content, key)
        if expected != chain:
            return Broken(event_id, "chain_hash", expected.hex(), chain.hex())
        if '"$blob"' in payload or self._named <= event_id:
            broken = self._blobs_of(event_id, kind, payload)
            if broken is not None:
                return broken
        self.last_id, self.chain = event_id, chain
        self.events += 1
        self.bytes += len(stated)
        if event_id % 4096 == 0:
            self._tick(event_id)
        return None

    def _over_holes(self, event_id: int) -> None:
        """Go on behind the stretches that were pruned before that event; whether their checkpoints are sound is another check."""
        while (hole := self._holes.over(self.last_id + 1)) is not None and hole[0] < event_id:
            self.last_id, self.chain = hole

    def _blobs_of(self, event_id: int, kind: str, payload: str) -> Broken | None:
        names = set()
        while self._named <= event_id:
            if self._named == event_id:
                names.add(self._name)
            self._next_named()
        if '"$blob"' in payload and kind in KINDS:
            names |= {bytes.fromhex(name) for name in blob_names(parse(payload), KINDS[kind].blob_fields)}
        for name in sorted(names):
            rowid = self._db.execute("SELECT rowid FROM blobs WHERE hash = ?", (name,)).get
            if rowid is None:
                return Broken(event_id, "blob", name.hex(), "missing")
            if self._hash_blobs and (found := hash_blob(self._db, int(rowid))) != name:
                return Broken(event_id, "blob", name.hex(), found.hex())
        return None

    def _name_after(self) -> None:
        self._names = iter(self._db.execute("SELECT event_id, hash FROM event_blobs WHERE event_id > ? ORDER BY 1", (self.last_id,)))
        self._next_named()

    def _next_named(self) -> None:
        """Go on to the next event that brought a blob: the names lie in the order of the events."""
        self._named, self._name = next(self._names, _NO_MORE)


def hash_blob(db: apsw.Connection, rowid: int) -> bytes:
    """The BLAKE3 of a stored blob, read in pieces."""
    hasher = blake3()
    with db.blob_open("main", "blobs", "data", rowid, False) as data:
        while piece := data.read(BLOB_CHUNK):
            hasher.update(piece)
    return hasher.digest()
