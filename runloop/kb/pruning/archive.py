"""The archive file: JSON Lines in gzip, one gzip member for each family of runs, so that a run is read without those before it.

The first member says which ledger and which checkpoint; the last one counts and has the BLAKE3 of all lines before it. ``zcat`` shows
all of it. A line is a blob (``blob``, ``data`` in base64) or an event, with the stored text of its payload, its hashes and its place in
the chain.
"""

from __future__ import annotations

import base64
import zlib
from binascii import Error as BadBase64
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import msgspec
from blake3 import blake3
from msgspec import Struct

from runloop.errors import Where
from runloop.events import StoredEvent, canonical, parse
from runloop.events.canonical import NOT_JSON
from runloop.events.hashes import preimage
from runloop.kb.erasing import erasure_of
from runloop.kb.errors import ArchiveDamaged
from runloop.kb.rows import Told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import apsw

FORMAT = "runloop.pruned.v1"
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6
_PIECE = 1 << 18
_HINT = "get a good copy of the archive from a backup; nothing else has these records"


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    format: Literal["runloop.pruned.v1"]
    ledger_id: str
    checkpoint: int


class Trailer(Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: ``content`` is the BLAKE3 of every line before it."""

    events: int
    blobs: int
    content: str


class BlobLine(Struct, frozen=True, forbid_unknown_fields=True):
    """A large value that the events after it, up to the end of their family, name."""

    blob: str
    data: str


class EventLine(Told, frozen=True):
    """An event as the ledger had it."""

    content: str
    chain: str
    key: str | None


class ArchiveWriter:
    """Writes to a file that is open for writing, from its beginning; :meth:`end` comes last."""

    def __init__(self, file: BinaryIO, ledger_id: str, checkpoint: int) -> None:
        self._file = file
        self._hash = blake3()
        self._content = blake3()
        self._events = self._blobs = 0
        self.size = 0
        self._member([canonical({"format": FORMAT, "ledger_id": ledger_id, "checkpoint": checkpoint})])

    def family(self, events: Iterable[tuple[Any, ...]], db: apsw.Connection) -> int:
        """Write the rows of a family's events (as ``COLUMNS``), and their blobs from ``db``; where in the file they begin."""
        offset = self.size
        self._member(self._lines(events, db))
        return offset

    def end(self) -> bytes:
        """Write the last line; the BLAKE3 of the file."""
        content = self._content.hexdigest()
        self._member([canonical({"events": self._events, "blobs": self._blobs, "content": content})])
        return self._hash.digest()

    def _lines(self, events: Iterable[tuple[Any, ...]], db: apsw.Connection) -> Iterator[bytes]:
        written: set[bytes] = set()
        for row in events:
            found: Any = db.execute("SELECT hash FROM event_blobs WHERE event_id = ? ORDER BY hash", (row[0],)).fetchall()
            for (name,) in found:
                if name not in written:
                    written.add(name)
                    data = db.execute("SELECT data FROM blobs WHERE hash = ?", (name,)).fetchone()
                    if data is not None:  # else it was erased
                        self._blobs += 1
                        yield b'{"blob":"%b","data":"%b"}' % (name.hex().encode(), base64.b64encode(data[0]))
            self._events += 1
            yield _event_line(row)

    def _member(self, lines: Iterable[bytes]) -> None:
        packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
        for line in lines:
            self._content.update(line)
            self._content.update(b"\n")
            self._put(packer.compress(line + b"\n"))
        self._put(packer.flush())

    def _put(self, data: bytes) -> None:
        if data:
            self._file.write(data)
            self._hash.update(data)
            self.size += len(data)


class ArchiveReader:
    """Reads an archive. Everything that is not as it was written raises :class:`ArchiveDamaged`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._decode = msgspec.json.Decoder(EventLine).decode

    def header(self) -> Header:
        """Which ledger and which checkpoint it is of."""
        with self.path.open("rb") as file:
            return self._header(next(self._lines(file, one_member=True), b""))

    def digest(self) -> bytes:
        """The BLAKE3 of the file."""
        hasher = blake3()
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
        return hasher.digest()

    def family(self, offset: int) -> tuple[list[StoredEvent], dict[str, bytes]]:
        """The events and blobs of the family that begins there, every hash recomputed."""
        events, blobs = [], {}
        for event, _, brought in self.lines(offset):
            events.append(event)
            blobs.update(brought)
        return events, blobs

    def lines(self, offset: int) -> Iterator[tuple[StoredEvent, EventLine, dict[str, bytes]]]:
        """The same one by one: each event, as it is stored too, with the blobs that it names first of its family."""
        brought: dict[str, bytes] = {}
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in self._lines(file, one_member=True):
                if line.startswith(b'{"blob"'):
                    name, data = self._blob(line)
                    brought[name] = data
                else:
                    yield *self._event(line), brought
                    brought = {}

    def text_bytes(self) -> int:
        """How many bytes all lines have."""
        with self.path.open("rb") as file:
            return sum(len(line) for line in self._lines(file))

    def scan(self) -> Iterator[StoredEvent]:
        """Every event, every hash recomputed, the counts and the end compared; in constant memory."""
        content = blake3()
        events = blobs = 0
        previous: bytes | None = None
        with self.path.open("rb") as file:
            for line in self._lines(file):
                if previous is None:
                    self._header(line)
                else:
                    content.update(previous)
                    content.update(b"\n")
                    if line.startswith(b'{"blob"'):
                        self._blob(line)
                        blobs += 1
                    elif line.startswith(b'{"actor"'):
                        events += 1
                        yield self._event(line)[0]
                previous = line
        if previous is None:
            raise self._damaged("it is empty")
        try:
            trailer = msgspec.json.decode(previous, type=Trailer)
        except NOT_JSON:
            raise self._damaged("its last line is missing: it was cut off") from None
        if trailer != Trailer(events, blobs, content.hexdigest()):
            raise self._damaged("its last line says something else than the lines before it")

    def _lines(self, file: BinaryIO, *, one_member: bool = False) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(wbits=_GZIP)
        pieces: list[bytes] = []
        try:
            while data := file.read(_PIECE):
                while data:
                    text = unpacker.decompress(data)
                    *whole, rest = text.split(b"\n")
                    for part in whole:
                        pieces.append(part)
                        yield b"".join(pieces)
                        pieces.clear()
                    pieces.append(rest)
                    data = unpacker.unused_data
                    if unpacker.eof:
                        if one_member:
                            return
                        unpacker = zlib.decompressobj(wbits=_GZIP)
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from None
        if any(pieces) or one_member:
            raise self._damaged("it was cut off")

    def _header(self, line: bytes) -> Header:
        try:
            return msgspec.json.decode(line, type=Header)
        except NOT_JSON as error:
            raise self._damaged(f"it does not begin as an archive: {error}") from None

    def _blob(self, line: bytes) -> tuple[str, bytes]:
        try:
            form = msgspec.json.decode(line, type=BlobLine)
            data = base64.b64decode(form.data, validate=True)
        except (*NOT_JSON, BadBase64) as error:
            raise self._damaged(f"a large value cannot be read: {error}") from None
        if blake3(data).hexdigest() != form.blob:
            raise self._damaged(f"the large value {form.blob[:12]} has other content than its name says")
        return form.blob, data

    def _event(self, line: bytes) -> tuple[StoredEvent, EventLine]:
        try:
            form = self._decode(line)
            payload, provenance = bytes(form.payload), bytes(form.provenance)
            content = blake3(preimage(form.kind, form.actor, form.scope, payload, provenance)).hexdigest()
            if content == form.content or erasure_of(payload.decode()) is not None:
                hashes = bytes.fromhex(form.content), bytes.fromhex(form.chain)
                said = form.id, form.ts_ms, form.kind, form.actor, form.scope
                return StoredEvent(*said, parse(payload), parse(provenance), *hashes, form.key), form
        except (*NOT_JSON, ValueError) as error:
            raise self._damaged(f"an event cannot be read: {error}") from None
        raise self._damaged(f"event {form.id} is not what its hash says")

    def _damaged(self, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"the archive is damaged: {what}", where=Where(file=str(self.path)), hint=_HINT)


def _event_line(row: tuple[Any, ...]) -> bytes:
    """A row as canonical JSON; the payload's stored text goes in as it is."""
    event_id, ts_ms, kind, actor, scope, payload, provenance, content, chain, key = row
    said = (canonical(actor), chain.hex().encode(), content.hex().encode(), event_id, canonical(key), canonical(kind))
    form = b'{"actor":%b,"chain":"%b","content":"%b","id":%d,"key":%b,"kind":%b,"payload":%b,"provenance":%b,"scope":%b,"ts_ms":%d}'
    return form % (*said, payload.encode(), provenance.encode(), canonical(scope), ts_ms)
