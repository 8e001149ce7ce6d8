"""``vectors.sqlite``: the vector of each document by its number, with the digest of the text that it was made from.

A vector counts only while its document has that digest. The file belongs to one embedder; for another one it is started anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runloop.kb.database import connect, translated
from runloop.kb.errors import LedgerCorrupt
from runloop.kb.migrations import immediate
from runloop.kb.search.finding import Near
from runloop.kb.vectors.adapters import best_index
from runloop.kb.vectors.port import Embedder, VectorIndex, unit

FORMAT = "1"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS made(document INTEGER PRIMARY KEY, digest BLOB NOT NULL) STRICT",
)
_TEXT = """SELECT d.id, d.digest, d.title, coalesce(d.body, n.text, '') FROM base.documents d LEFT JOIN made m ON m.document = d.id
    LEFT JOIN base.notes n ON d.domain = 'notes' AND n.path = d.path AND n.part = CAST(substr(d.key, 7 + length(d.path)) AS INTEGER)
    WHERE d.id < ? AND m.digest IS NOT d.digest AND d.domain IN (SELECT value FROM json_each(?)) ORDER BY d.id DESC LIMIT ?"""


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
        self._db = connect(path, synchronous="normal", cache_kib=16 * 1024)
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
            self._db.execute("DELETE FROM meta")
            self._db.executemany("INSERT INTO meta VALUES(?, ?)", list(wanted.items()))
            self.index.create(dimensions)
            return had

    def pending(self, domains: Sequence[str], before: int, count: int) -> list[Pending]:
        """Documents with a number below ``before`` that have no vector, the newest first."""
        with self._safely():
            rows: list[Any] = self._db.execute(_TEXT, (before, _json(domains), count)).fetchall()
        return [Pending(*row) for row in rows]

    def put(self, documents: Sequence[Pending], vectors: Sequence[bytes]) -> None:
        """Keep the vectors of the documents."""
        with self._safely(), immediate(self._db):
            self.index.put([(each.document, vector) for each, vector in zip(documents, vectors, strict=True)])
            rows = [(each.document, each.digest) for each in documents]
            self._db.executemany("INSERT OR REPLACE INTO made VALUES(?, ?)", rows)

    def prune(self, domains: Sequence[str] | None = None) -> int:
        """Remove the vectors of documents that changed, were erased, or are of none of the domains; how many there were."""
        sql = """SELECT m.document FROM made m LEFT JOIN base.documents d ON d.id = m.document
                 WHERE d.digest IS NOT m.digest OR (? IS NOT NULL AND d.domain NOT IN (SELECT value FROM json_each(?)))"""
        listed = None if domains is None else _json(domains)
        with self._safely(), immediate(self._db):
            if self._embedder() is None:
                return 0
            gone = [int(row[0]) for row in self._db.execute(sql, (listed, listed or "[]"))]
            self.index.remove(gone)
            self._db.executemany("DELETE FROM made WHERE document = ?", [(number,) for number in gone])
            return len(gone)

    def nearest(self, vector: Sequence[float], count: int, floor: float, among: Sequence[int] | None = None) -> list[Near]:
        """The nearest documents whose text is still what the vector was made from."""
        with self._safely():
            if self._embedder() is None:
                return []
            found = [each for each in self.index.nearest(unit(vector), count, among) if each[1] >= floor]
            marks = _json([number for number, _ in found])
            sql = """SELECT m.document FROM json_each(?) AS j CROSS JOIN made AS m ON m.document = j.value
                     CROSS JOIN base.documents AS d ON d.id = m.document AND d.digest = m.digest"""
            valid = {row[0] for row in self._db.execute(sql, (marks,))}
        return [Near(number, likeness) for number, likeness in found if number in valid]

    def status(self, domains: Sequence[str]) -> Status:
        """How far the vectors of these domains are."""
        sql = "SELECT count(*) FROM base.documents WHERE domain IN (SELECT value FROM json_each(?))"
        with self._safely():
            documents = int(self._db.execute(sql, (_json(domains),)).get)
            name = self._embedder()
            if name is None:
                return Status(None, self.index.name, None, documents, 0)
            embedded = int(self._db.execute("SELECT count(*) FROM made").get)
            return Status(name, self.index.name, int(self._meta()["dimensions"]), documents, min(embedded, documents))

    def _meta(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self._db.execute("SELECT key, value FROM meta")}

    def _embedder(self) -> str | None:
        meta = self._meta()
        usable = meta.get("format") == FORMAT and meta.get("index") == self.index.name
        return meta.get("embedder") if usable else None

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """Alone, with errors of the file told as ours."""
        with self._lock:
            try:
                with translated(self.path, self._db):
                    yield
            except LedgerCorrupt as error:
                hint = f"delete {self.path.name}: it is made anew from the knowledge base by `rlp kb embed`"
                raise LedgerCorrupt(error.message, where=error.where, hint=hint) from error


def _json(values: Sequence[Any]) -> str:
    return json.dumps(list(values))
