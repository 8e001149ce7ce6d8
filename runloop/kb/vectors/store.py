"""``vectors.sqlite``: a vector for the digest of each document's text.

Documents that are numbered anew, or whose file changed around them, keep their vectors; texts that are gone lose theirs. The file belongs
to one embedder; for another one it is started anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from runloop.dataclass import dataclass
from runloop.kb.database import connect, translated
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.migrations import immediate
from runloop.kb.search.finding import Near
from runloop.kb.vectors.adapters import best_index
from runloop.kb.vectors.port import Embedder, VectorIndex, unit

FORMAT = "1"
_PAGE = 64 * 1024  # bytes: each search reads every vector, which takes 0.6 of the time that it takes with pages of 4 KiB
_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS made(number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT",
    "CREATE TABLE IF NOT EXISTS noted(one INTEGER PRIMARY KEY CHECK(one = 1), seen INTEGER NOT NULL, missing INTEGER NOT NULL) STRICT",
)
_OF = "d.domain IN (SELECT value FROM json_each(:domains))"
_PENDING = f"""SELECT d.id, d.digest, d.title, coalesce(d.body, n.text, '') FROM base.documents d LEFT JOIN made m ON m.digest = d.digest
    LEFT JOIN base.notes n ON d.domain = 'notes' AND n.path = d.path AND n.part = CAST(substr(d.key, 7 + length(d.path)) AS INTEGER)
    WHERE d.id < :before AND m.number IS NULL AND {_OF} ORDER BY d.id DESC LIMIT :count"""  # noqa: S608
_GONE = f"SELECT number FROM made m WHERE NOT EXISTS (SELECT 1 FROM base.documents d WHERE d.digest = m.digest AND {_OF})"  # noqa: S608
_DOCUMENTS = f"SELECT count(*) FROM base.documents d WHERE {_OF}"  # noqa: S608
_EMBEDDED = f"SELECT count(*) FROM base.documents d JOIN made m ON m.digest = d.digest WHERE {_OF}"  # noqa: S608
_NUMBERS = """SELECT DISTINCT m.number FROM json_each(?) AS j CROSS JOIN base.documents AS d ON d.id = j.value
    CROSS JOIN made AS m ON m.digest = d.digest"""
_WITH_TEXT = """SELECT m.number, d.id FROM json_each(?) AS j CROSS JOIN made AS m ON m.number = j.value
    CROSS JOIN base.documents AS d ON d.digest = m.digest"""


@dataclass(frozen=True, slots=True)
class Pending:
    """A document without a vector of its present text."""

    document: int
    digest: bytes
    title: str
    body: str

    def text(self, most: int) -> str:
        """What is turned into a vector, at most so many characters."""
        return f"{self.title}\n{self.body}"[:most]


@dataclass(frozen=True, slots=True)
class Status:
    """How far the vectors are: of ``documents`` that should have one, ``embedded`` do. ``embedder`` None means that there are none."""

    embedder: str | None
    index: str
    dimensions: int | None
    documents: int
    embedded: int

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.embedded >= self.documents


class VectorStore:
    """Safe to use from any thread and beside other processes. ``views`` is the file of the derived tables; it is only read."""

    def __init__(self, path: Path, views: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._told: tuple[tuple[Any, ...], Status] | None = None  # for as long as neither file changes
        with _hinted(path):
            self._db = connect(path, synchronous="normal", cache_kib=16 * 1024, page=_PAGE)
        try:
            with self._safely():
                self._db.pragma("secure_delete", 1)  # text can be guessed from a vector
                self._db.execute("ATTACH ? AS base", (f"file:{quote(str(views))}?mode=ro",))
                self.index: VectorIndex = best_index(self._db)
                with immediate(self._db):
                    for table in _TABLES:
                        self._db.execute(table)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def embedder(self) -> str | None:
        """Whose vectors these are; None where there are none that can be read here."""
        with self._safely():
            return self._embedder()

    def start(self, embedder: Embedder, dimensions: int) -> bool:
        """Make the file that of this embedder and of vectors of this length; whether everything in it had to go for that."""
        wanted = {"format": FORMAT, "embedder": embedder.identity, "index": self.index.name, "dimensions": str(dimensions)}
        with self._safely(), immediate(self._db):
            if self._meta() == wanted:
                return False
            had = bool(self._db.execute("SELECT count(*) FROM made").get)
            self.index.drop()
            self._db.execute("DELETE FROM made")
            self._db.execute("DELETE FROM noted")
            self._db.execute("DELETE FROM meta")
            self._db.executemany("INSERT INTO meta VALUES(?, ?)", list(wanted.items()))
            self.index.create(dimensions)
            return had

    def pending(self, domains: Sequence[str], before: int, count: int) -> list[Pending]:
        """Documents with an id below ``before`` that have no vector, the newest first."""
        with self._safely():
            rows: list[Any] = self._db.execute(_PENDING, {"before": before, "domains": _json(domains), "count": count}).fetchall()
        return [Pending(*row) for row in rows]

    def put(self, documents: Sequence[Pending], vectors: Sequence[bytes]) -> None:
        """Keep the vectors of the documents' texts; one of zeros is near to nothing, so that the index does not get it."""
        with self._safely(), immediate(self._db):
            items: list[tuple[int, bytes]] = []
            for digest, vector in {each.digest: vector for each, vector in zip(documents, vectors, strict=True)}.items():
                if self._db.execute("SELECT 1 FROM made WHERE digest = ?", (digest,)).get is None:  # nobody else was faster
                    self._db.execute("INSERT INTO made(digest) VALUES(?)", (digest,))
                    if any(vector):
                        items.append((self._db.last_insert_rowid(), vector))
            self.index.put(items)

    def prune(self, domains: Sequence[str]) -> int:
        """Remove the vectors of texts that no document of the domains has any more; how many there were."""
        with self._safely(), immediate(self._db):
            if self._embedder() is None:
                return 0
            gone = [int(row[0]) for row in self._db.execute(_GONE, {"domains": _json(domains)})]
            self.index.remove(gone)
            self._db.executemany("DELETE FROM made WHERE number = ?", [(number,) for number in gone])
        if gone:
            with self._safely():
                self._db.wal_checkpoint(
                    "main", apsw.SQLITE_CHECKPOINT_TRUNCATE
                )  # nothing of them stays in the log either, unless a reader holds it
        return len(gone)

    def nearest(self, vector: Sequence[float], count: int, floor: float, among: Sequence[int] | None = None) -> list[Near]:
        """The nearest documents, those that are like the vector by at least ``floor``; only ``among`` these, if given."""
        with self._safely():
            if self._embedder() is None:
                return []
            numbers = None if among is None else [int(row[0]) for row in self._db.execute(_NUMBERS, (_json(among),))]
            likeness = {number: like for number, like in self.index.nearest(unit(vector), count, numbers) if like >= floor}
            rows: list[Any] = self._db.execute(_WITH_TEXT, (_json(list(likeness)),)).fetchall()
        wanted = None if among is None else frozenset(among)
        found = [Near(document, likeness[number]) for number, document in rows if wanted is None or document in wanted]
        return sorted(found, key=lambda each: (-each.likeness, -each.document))

    def note(self, seen: int, missing: int) -> None:
        """Keep how many of the documents up to the id ``seen`` have no vector yet, for :meth:`status`."""
        with self._safely(), immediate(self._db):
            self._db.execute("INSERT OR REPLACE INTO noted VALUES(1, ?, ?)", (seen, max(0, missing)))

    def newest(self) -> int:
        """The highest id of a document."""
        with self._safely():
            return int(self._db.execute("SELECT coalesce(max(id), 0) FROM base.documents").get)

    def status(self, domains: Sequence[str], *, counted: bool = False) -> Status:
        """How far the vectors of these domains are; ``counted`` looks at each, else what was noted counts."""
        values = {"domains": _json(domains)}
        with self._safely():
            versions = [self._db.execute(f"PRAGMA {name}.data_version").get for name in ("main", "base")]
            state = (values["domains"], self._db.total_changes(), *versions)
            if not counted and self._told is not None and self._told[0] == state:
                return self._told[1]
            told = self._count(values, counted=counted)
            self._told = None if counted else (state, told)
            return told

    def _count(self, values: dict[str, Any], *, counted: bool) -> Status:
        documents = int(self._db.execute(_DOCUMENTS, values).get)
        name = self._embedder()
        if name is None:
            return Status(None, self.index.name, None, documents, 0)
        dimensions = int(self._meta()["dimensions"])
        row: Any = self._db.execute("SELECT seen, missing FROM noted").fetchone()
        if counted or row is None:
            embedded = int(self._db.execute(_EMBEDDED, values).get)
        else:
            embedded = documents - row[1] - int(self._db.execute(f"{_DOCUMENTS} AND d.id > :seen", {**values, "seen": row[0]}).get)
        return Status(name, self.index.name, dimensions, documents, max(0, embedded))

    def _meta(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self._db.execute("SELECT key, value FROM meta")}

    def _embedder(self) -> str | None:
        meta = self._meta()
        usable = meta.get("format") == FORMAT and meta.get("index") == self.index.name
        return meta.get("embedder") if usable else None

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """Alone, with errors of the file told as ours."""
        with self._lock, _hinted(self.path), translated(self.path, self._db):
            yield


@contextmanager
def _hinted(path: Path) -> Iterator[None]:
    """Of a damaged file say that nothing is lost."""
    try:
        yield
    except LedgerCorrupt as error:
        hint = f"delete {path.name}: it is made anew from the knowledge base by `rlp kb embed`"
        raise LedgerCorrupt(error.message, where=error.where, hint=hint) from error


def _json(values: Sequence[Any]) -> str:
    return json.dumps(list(values))
