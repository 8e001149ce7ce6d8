"""Taking an export in: into an empty base, which is then equal to the one that was exported, or on top of the ledger that it continues.

All of it happens in one transaction: an export that was cut off, edited, or is another ledger's changes nothing, and the line is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from blake3 import blake3
from msgspec import UNSET

from runloop.dataclass import dataclass
from runloop.errors import VerificationFailed, Where
from runloop.events import chain_hash, genesis
from runloop.events.canonical import NOT_JSON
from runloop.events.hashes import preimage
from runloop.kb.database import connected
from runloop.kb.erasing import erasure_of
from runloop.kb.errors import ExportRefused
from runloop.kb.exporting import lines
from runloop.kb.exporting.events import other_tables
from runloop.kb.keeping.chain import ChainScan
from runloop.kb.keeping.locks import alone
from runloop.kb.keeping.progress import silent
from runloop.kb.ledger import Ledger
from runloop.kb.migrations import MIGRATIONS, immediate
from runloop.kb.pruning.checkpoints import Holes
from runloop.kb.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import apsw

    from runloop.kb.exporting.lines import Event, Header, Line
    from runloop.kb.keeping.progress import Progress

MAX_LINE = 1 << 30  # bytes: SQLite holds no larger value
_INSERT = f"INSERT INTO events({COLUMNS}) VALUES({', '.join('?' * 10)})"
_FRESH_COPY = "get the file again from where it was made; `rlp kb export --unmasked` writes a sound one"


class ExportAltered(VerificationFailed):
    """An export is not as it was written."""

    code = "export.altered"


@dataclass(frozen=True, slots=True)
class Taken:
    """How many events and blobs were new, how many were there already, how many of those lost content that was erased meanwhile."""

    ledger_id: str
    events: int
    blobs: int
    known: int
    erased: int
    head_id: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in ("ledger_id", "events", "blobs", "known", "erased", "head_id")}


def take_export(source: BinaryIO, name: str, ledger: Path, derived: Iterable[Path], *, progress: Progress = silent) -> Taken:
    """Take the export in ``source`` (called ``name`` in errors) into the ledger file; ``derived`` are files that are made anew from it.

    Raises:
        ExportRefused: it is masked or a selection, of another ledger, of a newer Runloop, or does not continue this ledger.
        ExportAltered: it was cut off or changed, with the line.
        KnowledgeInUse: the daemon or another process has the base open.

    """
    with Ledger.open(ledger):
        pass  # made, where there was none
    with alone(ledger.parent), connected(ledger) as db:
        db.pragma("secure_delete", True)
        with immediate(db):
            taking = _Taking(db, name, progress)
            taken = taking.run(_read(source, name))
            if taking.was_empty or taken.erased:
                _remove(derived)
    return taken


def _remove(derived: Iterable[Path]) -> None:
    for path in derived:
        for suffix in ("-shm", "-wal", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _read(source: BinaryIO, name: str) -> Iterator[tuple[int, Line, bytes]]:
    """Number, value and digest of what came before, line by line."""
    hasher, number = blake3(), 0
    while data := source.readline(MAX_LINE + 1):
        number += 1
        if not data.endswith(b"\n"):
            raise _altered(name, number, "the line is cut off" if len(data) <= MAX_LINE else "the line is too long")
        try:
            line = lines.decode(data)
        except NOT_JSON as error:
            raise _altered(name, number, f"it is no line of an export: {error}") from None
        yield number, line, hasher.digest()
        hasher.update(data)
    raise _altered(name, number + 1, "the end of the export is missing")


class _Taking:
    """One transaction on the ledger."""

    def __init__(self, db: apsw.Connection, name: str, progress: Progress) -> None:
        self._db = db
        self._name = name
        self._progress = progress
        self._start = self._own_head()
        self.was_empty = self._start[0] == 0
        self._last: tuple[int, bytes] = (0, b"")
        self._holes: Holes
        self._header: Header
        self._blobs_before = self._count_blobs()
        self._events = self._known = self._erased = self._count = 0
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    def run(self, read: Iterator[tuple[int, Line, bytes]]) -> Taken:
        number, line, _ = next(read)
        if line.export is UNSET:
            raise _altered(self._name, number, "it does not begin as an export does")
        self._header = line.export
        self._begin()
        events = blobs = 0
        for number, line, before in read:
            if line.event is not UNSET:
                if not events:
                    self._take_rows(number)
                self._take(number, line.event)
                events += 1
            elif line.blob is not UNSET:
                self._take_blob(number, line.blob)
                blobs += 1
            elif line.row is not UNSET:
                self._rows.setdefault(line.row.table, []).append(self._values(number, line.row))
            elif line.end is not UNSET:
                if not events:
                    self._take_rows(number)
                if (line.end.lines, line.end.events, line.end.blobs, line.end.blake3) != (number - 1, events, blobs, before.hex()):
                    raise _altered(self._name, number, "what came before is not what the end of the export says")
                return self._finish(number)
            else:
                raise _altered(self._name, number, "it says nothing that an export says there")
        raise AssertionError("the reader raises where there is no end")

    def _begin(self) -> None:
        header, own_id = self._header, self._meta("ledger_id")
        if header.version != lines.FORMAT or header.schema > len(MIGRATIONS):
            raise self._refused(
                f"format {header.version}, schema {header.schema}: a newer Runloop wrote it", "export.newer", "update Runloop"
            )
        if header.masked or header.selected is not None:
            why = "it is masked: what it says is not what was stored" if header.masked else f"it is a selection: {header.selected}"
            raise self._refused(why, "export.not_whole", "`rlp kb export --unmasked` writes one that can be taken in")
        if self.was_empty:
            if header.after.id:
                raise self._refused(f"it begins after event {header.after.id}", "export.not_whole", "take the earlier part first")
            for key, value in {**header.meta, "ledger_id": header.ledger_id}.items():
                self._db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))
            self._start = 0, genesis(header.ledger_id)
            self._db.execute("UPDATE head SET chain = ?", (self._start[1],))
        elif header.ledger_id != own_id:
            hint = "take it into an empty base: set RUNLOOP_HOME to a new directory"
            raise self._refused(f"it is of ledger {header.ledger_id}, this one is {own_id}", "export.other_ledger", hint)
        if header.after.id > self._start[0]:
            raise self._refused(
                f"it begins after event {header.after.id}, this ledger ends with {self._start[0]}",
                "export.gap",
                "take what lies between first",
            )
        self._last = self._at(header.after, 1)

    def _at(self, at: lines.At, number: int) -> tuple[int, bytes]:
        """The place after which the export begins, which must be a place of this ledger."""
        chain = self._bytes(number, at.chain)
        own = (
            genesis(self._header.ledger_id)
            if at.id == 0
            else self._db.execute("SELECT chain_blake3 FROM events WHERE id = ?", (at.id,)).get
        )
        if own is not None and own != chain:
            raise self._diverged(at.id)
        return at.id, chain

    def _take_rows(self, number: int) -> None:
        """The other tables: taken into an empty ledger, and the same as those of one that is continued."""
        for table in other_tables(self._db):
            found = sorted(self._db.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608 - a table of ours
            given = sorted(self._rows.pop(table, []), key=repr)
            if self.was_empty:
                for row in given:
                    self._db.execute(f"INSERT INTO {table} VALUES({', '.join('?' * len(row))})", row)
            elif found != given:
                raise self._refused(
                    "one of both was pruned since", "export.pruned", "take it into an empty base: set RUNLOOP_HOME to a new directory"
                )
        if self._rows:
            raise _altered(self._name, number, f"there is no table {min(self._rows)}")
        self._holes = Holes(self._db)

    def _take_blob(self, number: int, given: lines.Blob) -> None:
        try:
            data = given.content()
        except ValueError:
            raise _altered(self._name, number, "the blob is not base64") from None
        name = self._bytes(number, given.hash)
        if blake3(data).digest() != name:
            raise _altered(self._name, number, f"the blob is not {given.hash}")
        self._db.execute("INSERT INTO blobs(hash, data) VALUES(?, ?) ON CONFLICT DO NOTHING", (name, data))

    def _take(self, number: int, event: Event) -> None:
        content, chain = self._bytes(number, event.hash), self._bytes(number, event.chain)
        payload, provenance = bytes(event.payload), bytes(event.provenance)
        if event.id <= self._last[0]:
            raise _altered(self._name, number, f"event {event.id} comes after event {self._last[0]}")
        while event.id > self._last[0] + 1:
            hole = self._holes.over(self._last[0] + 1)
            if hole is None or hole[0] >= event.id:
                raise _altered(self._name, number, f"event {self._last[0] + 1} is missing")
            self._last = hole
        if chain_hash(self._last[1], event.id, event.ts_ms, content, event.key) != chain:
            raise _altered(self._name, number, f"event {event.id} does not follow from the one before it")
        whole = blake3(preimage(event.kind, event.actor, event.scope, payload, provenance)).digest() == content
        try:
            texts = payload.decode(), provenance.decode()
        except UnicodeDecodeError:
            raise _altered(self._name, number, f"event {event.id} is not UTF-8") from None
        if not whole and erasure_of(texts[0]) is None:
            raise _altered(self._name, number, f"event {event.id} does not say what was written")
        self._last = event.id, chain
        names = [self._bytes(number, name) for name in event.blobs]
        if event.id > self._start[0]:
            self._db.execute(_INSERT, (event.id, event.ts_ms, event.kind, event.actor, event.scope, *texts, content, chain, event.key))
            self._name_blobs(event.id, names)
            self._events += 1
        else:
            self._compare(event.id, chain, *texts, names)
        self._count += 1
        if self._count % 1024 == 0:
            self._progress("import", event.id, self._header.head.id)

    def _compare(self, event_id: int, chain: bytes, payload: str, provenance: str, names: list[bytes]) -> None:
        """An event that is here already: the same, or erased there since, and then here too."""
        own = self._db.execute("SELECT chain_blake3, payload_json, provenance_json FROM events WHERE id = ?", (event_id,)).fetchone()
        if own is None or own[0] != chain:
            raise self._diverged(event_id)
        if own[1:] != (payload, provenance) and erasure_of(own[1]) is None:
            self._db.execute("UPDATE events SET payload_json = ?, provenance_json = ? WHERE id = ?", (payload, provenance, event_id))
            self._db.execute("DELETE FROM event_blobs WHERE event_id = ?", (event_id,))
            self._name_blobs(event_id, names)
            self._erased += 1
        self._known += 1

    def _name_blobs(self, event_id: int, names: list[bytes]) -> None:
        self._db.executemany("INSERT INTO event_blobs VALUES(?, ?)", [(event_id, name) for name in names])

    def _finish(self, number: int) -> Taken:
        """Set the head, and believe nothing that the chain does not say."""
        header = self._header
        if self._last != (header.head.id, self._bytes(number, header.head.chain)):
            raise _altered(self._name, number, f"it does not end with event {header.head.id}, as it says")
        if self._last[0] > self._start[0]:
            self._db.execute("UPDATE head SET last_id = ?, chain = ?", self._last)
        if not self.was_empty:  # what was erased on either side does not come back
            self._db.execute("DELETE FROM blobs WHERE hash NOT IN (SELECT hash FROM event_blobs)")
        start = None if self._erased or self.was_empty else self._start
        broken = ChainScan(self._db, header.ledger_id, start=start, hash_blobs=True).first_broken()
        if broken is not None:
            raise _altered(self._name, number, str(broken))
        blobs = max(0, self._count_blobs() - self._blobs_before)
        return Taken(header.ledger_id, self._events, blobs, self._known, self._erased, self._own_head()[0])

    def _count_blobs(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM blobs").get)

    def _own_head(self) -> tuple[int, bytes]:
        last_id, chain = self._db.execute("SELECT last_id, chain FROM head").get
        return int(last_id), bytes(chain)

    def _meta(self, key: str) -> str:
        return str(self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get)

    def _values(self, number: int, row: lines.TableRow) -> tuple[Any, ...]:
        try:
            return tuple(lines.from_json(value) for value in row.values)
        except ValueError as error:
            raise _altered(self._name, number, str(error)) from None

    def _bytes(self, number: int, text: str) -> bytes:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if len(value) != 32:
            raise _altered(self._name, number, f"{text[:80]!r} is no hash")
        return value

    def _diverged(self, event_id: int) -> ExportRefused:
        message = f"event {event_id} is another one here: both went on since they were the same"
        return self._refused(message, "export.diverged", "take it into an empty base: set RUNLOOP_HOME to a new directory")

    def _refused(self, why: str, code: str, hint: str) -> ExportRefused:
        return ExportRefused(f"the export cannot be taken in: {why}", code=code, where=Where(file=self._name, line=1), hint=hint)


def _altered(name: str, line: int, why: str) -> ExportAltered:
    return ExportAltered(f"the export was cut off or changed: {why}", where=Where(file=name, line=line), hint=_FRESH_COPY)
