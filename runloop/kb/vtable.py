"""Read-only virtual tables that show masked rows of another connection: SQL over them cannot reach what lies behind.

An SQLite authorizer alone does not do that: `JOIN … USING (email)` compares a column without asking it (tried with 3.54).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from runloop.kb.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OPERATORS = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: "=",
    apsw.SQLITE_INDEX_CONSTRAINT_GT: ">",
    apsw.SQLITE_INDEX_CONSTRAINT_GE: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_LT: "<",
    apsw.SQLITE_INDEX_CONSTRAINT_LE: "<=",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its expression behind the scenes, and what is masked in it (``""``, ``email``, ``text`` or ``json``)."""

    name: str
    sql: str
    mask: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that queries see: its columns and where they come from."""

    name: str
    source: str
    columns: tuple[Column, ...]


class MaskedTables:
    """An SQLite module; ``source`` is a read-only connection that the queries' own connection knows nothing of."""

    def __init__(self, source: apsw.Connection, tables: Mapping[str, Table], redactor: Redactor) -> None:
        self.source = source
        self.tables = tables
        self.masks: dict[str, Callable[[Any], Any]] = {
            "email": lambda value: redactor.text(value, "email") if isinstance(value, str) else value,
            "text": lambda value: redactor.text(value) if isinstance(value, str) else value,
            "json": lambda value: redactor.json(value) if isinstance(value, str) else value,
        }

    def Create(self, db: apsw.Connection, module: str, database: str, name: str) -> tuple[str, _VTable]:  # noqa: N802 - apsw's
        """Declare the table with its columns."""
        table = self.tables[name]
        types = self._types(table)
        columns = ", ".join(f"{column.name} {types.get(column.sql, '')}" for column in table.columns)
        return f"CREATE TABLE x({columns})", _VTable(self, table)

    Connect = Create

    def _types(self, table: Table) -> dict[str, str]:
        """The declared types of the source's columns: comparisons then convert text and numbers as they do there."""
        schema, _, name = table.source.rpartition(".")
        found = self.source.execute("SELECT name, type FROM pragma_table_xinfo(?, ?)", (name, schema or "main")).fetchall()
        return {str(column): str(declared) for column, declared in found}


class _VTable:
    def __init__(self, module: MaskedTables, table: Table) -> None:
        self.module = module
        self.table = table

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw's
        """Hand comparisons of columns that are not masked to the source, which may have an index for them."""
        clauses = []
        for number in range(info.nConstraint):
            operator = _OPERATORS.get(info.get_aConstraint_op(number))
            position = info.get_aConstraint_iColumn(number)
            if operator is None or position < 0 or not info.get_aConstraint_usable(number):
                continue
            column = self.table.columns[position]
            if not column.mask and info.get_aConstraint_collation(number) == "BINARY":
                clauses.append(f"{column.sql} {operator} ?")
                info.set_aConstraintUsage_argvIndex(number, len(clauses))
        info.idxStr = " AND ".join(clauses)
        info.estimatedCost = 1e6 / 100 ** len(clauses)
        return True

    def Open(self) -> _Cursor:  # noqa: N802
        return _Cursor(self.module, self.table)

    def Disconnect(self) -> None:  # noqa: N802
        return

    Destroy = Disconnect


class _Cursor:
    def __init__(self, module: MaskedTables, table: Table) -> None:
        self._db = module.source
        self._table = table
        self._masks = [module.masks.get(column.mask) for column in table.columns]
        self._rows: Any = iter(())
        self._row: tuple[Any, ...] | None = None
        self._number = 0

    def Filter(self, number: int, where: str, values: tuple[Any, ...]) -> None:  # noqa: N802
        columns = ", ".join(column.sql for column in self._table.columns)
        sql = f"SELECT {columns} FROM {self._table.source}" + (f" WHERE {where}" if where else "")  # noqa: S608 - our names, bound values
        self._rows = self._db.execute(sql, values)
        self._number = 0
        self.Next()

    def Next(self) -> None:  # noqa: N802
        self._row = next(self._rows, None)
        self._number += 1

    def Eof(self) -> bool:  # noqa: N802
        return self._row is None

    def Rowid(self) -> int:  # noqa: N802
        return self._number

    def Column(self, number: int) -> Any:  # noqa: N802
        if number < 0 or self._row is None:
            return self._number
        value, mask = self._row[number], self._masks[number]
        return value if mask is None else mask(value)

    def Close(self) -> None:  # noqa: N802
        self._rows = iter(())
