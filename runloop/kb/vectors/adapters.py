"""Two indexes of vectors: sqlite-vec, and one in plain Python for where SQLite may not load extensions. Both look at every vector."""

from __future__ import annotations

import json
import operator
from array import array
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.kb.vectors.port import VectorIndex

NEAREST = 4096  # the most that sqlite-vec gives


class SqliteVec:
    """The virtual table ``vec0`` of sqlite-vec. With unit vectors, the order of Euclidean distances is that of likeness."""

    name = "sqlite-vec"

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def create(self, dimensions: int) -> None:
        """Make the empty index."""
        self._db.execute(f"CREATE VIRTUAL TABLE vectors USING vec0(vector float[{dimensions:d}])")

    def drop(self) -> None:
        """Remove it, if it is there."""
        self._db.execute("DROP TABLE IF EXISTS vectors")

    def put(self, items: Sequence[tuple[int, bytes]]) -> None:
        """Add vectors, in place of earlier ones."""
        self._db.executemany("DELETE FROM vectors WHERE rowid = ?", [(number,) for number, _ in items])
        self._db.executemany("INSERT INTO vectors(rowid, vector) VALUES(?, ?)", items)

    def remove(self, numbers: Sequence[int]) -> None:
        """Take vectors out."""
        self._db.executemany("DELETE FROM vectors WHERE rowid = ?", [(number,) for number in numbers])

    def nearest(self, vector: bytes, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """The nearest first."""
        some = "" if among is None else "AND rowid IN (SELECT value FROM json_each(?))"
        sql = f"SELECT rowid, distance FROM vectors WHERE vector MATCH ? AND k = ? {some}"  # noqa: S608
        values = (vector, min(count, NEAREST), *(() if among is None else (json.dumps(list(among)),)))
        found: list[Any] = self._db.execute(sql, values).fetchall()
        likeness = [(number, round(1 - distance * distance / 2, 6)) for number, distance in found]
        return sorted(likeness, key=lambda each: (-each[1], each[0]))


class Plain:
    """A table of vectors that Python goes through: slow with many, and the measure of what is right."""

    name = "plain"

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def create(self, dimensions: int) -> None:
        """Make the empty index."""
        self._db.execute(
            f"CREATE TABLE vectors(number INTEGER PRIMARY KEY, vector BLOB NOT NULL CHECK(length(vector) = {4 * dimensions:d}))"
        )

    def drop(self) -> None:
        """Remove it, if it is there."""
        self._db.execute("DROP TABLE IF EXISTS vectors")

    def put(self, items: Sequence[tuple[int, bytes]]) -> None:
        """Add vectors, in place of earlier ones."""
        self._db.executemany("INSERT OR REPLACE INTO vectors VALUES(?, ?)", items)

    def remove(self, numbers: Sequence[int]) -> None:
        """Take vectors out."""
        self._db.executemany("DELETE FROM vectors WHERE number = ?", [(number,) for number in numbers])

    def nearest(self, vector: bytes, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """The nearest first."""
        wanted, some = array("f", vector), None if among is None else frozenset(among)
        rows: Any = self._db.execute("SELECT number, vector FROM vectors")
        likeness = [
            (number, round(sum(map(operator.mul, wanted, array("f", blob))), 6)) for number, blob in rows if some is None or number in some
        ]
        return sorted(likeness, key=lambda each: (-each[1], each[0]))[:count]


def best_index(db: apsw.Connection) -> VectorIndex:
    """sqlite-vec, where its extension is installed and may be loaded, else the plain one."""
    return SqliteVec(db) if load_extension(db) else Plain(db)


def load_extension(db: apsw.Connection) -> bool:
    """Whether sqlite-vec is loaded into the connection now."""
    try:
        import sqlite_vec
    except ImportError:  # no wheel for this machine
        return False
    try:
        db.enable_load_extension(True)
        db.load_extension(sqlite_vec.loadable_path())
    except apsw.Error:
        return False
    finally:
        db.enable_load_extension(False)
    return True
