"""Read-only virtual tables that show masked rows of another connection: SQL over them cannot reach what lies behind.

An SQLite authorizer alone does not do that: `JOIN … USING (email)` compares a column without asking it (tried with 3.54).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import apsw

from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.kb.redaction import Redactor

_OPERATORS = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: "=",
    apsw.SQLITE_INDEX_CONSTRAINT_GT: ">",
    apsw.SQLITE_INDEX_CONSTRAINT_GE: ">=",
    apsw.SQLITE_INDEX_CONSTRAINT_LT: "<",
    apsw.SQLITE_INDEX_CONSTRAINT_LE: "<=",
}
_ROWS = 1e6  # what a table is taken to hold when a plan is chosen
_MANY_COLUMNS = 63  # SQLite tells which columns are used only up to here


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name and declared type, and whether its texts are masked."""

    name: str
    type: str
    masked: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table that queries see: where it lies, its columns, those that an index begins with, and a condition on its rows."""

    name: str
    schema: str
    columns: tuple[Column, ...]
    leading: frozenset[str] = frozenset()
    condition: str = ""


class MaskedTables:
    """An SQLite module; ``source`` is a read-only connection that the queries' own connection knows nothing of."""

    def __init__(self, source: apsw.Connection, tables: Mapping[str, Table], redactor: Redactor) -> None:
        self.source = source
        self.tables = tables
        self.redactor = redactor

    def Create(self, db: apsw.Connection, module: str, database: str, name: str) -> tuple[str, _VTable]:  # noqa: N802 - apsw's
        """Declare the table with its columns; their types are kept, so that comparisons convert text and numbers as they do there."""
        table = self.tables[name]
        columns = ", ".join(f'"{column.name}" {column.type}' for column in table.columns)
        return f"CREATE TABLE x({columns})", _VTable(self, table)

    Connect = Create


class _VTable:
    def __init__(self, module: MaskedTables, table: Table) -> None:
        self.module = module
        self.table = table

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw's
        """Hand what the source can decide to it: comparisons and the order of columns that are not masked, and equality of masked ones."""
        terms: list[tuple[int, str]] = []
        cost = _ROWS
        for number in range(info.nConstraint):
            position, operator = info.get_aConstraint_iColumn(number), _OPERATORS.get(info.get_aConstraint_op(number))
            if operator is None or position < 0 or not info.get_aConstraint_usable(number):
                continue
            column = self.table.columns[position]
            if info.get_aConstraint_collation(number) != "BINARY" or (column.masked and operator != "="):
                continue
            terms.append((position, operator))
            info.set_aConstraintUsage_argvIndex(number, len(terms))
            cost *= (1e-5 if operator == "=" else 0.3) if column.name in self.table.leading else 0.9
        order = self._order(info)
        info.orderByConsumed = bool(order)
        used = info.colUsed
        columns = [number for number in range(len(self.table.columns)) if number in used or number >= _MANY_COLUMNS]
        info.idxStr = json.dumps({"terms": terms, "order": order, "columns": columns})
        info.estimatedCost = max(cost, 1.0)
        info.estimatedRows = int(max(cost, 1.0))
        return True

    def _order(self, info: apsw.IndexInfo) -> list[tuple[int, bool]]:
        """The order that is wanted, where the source can give it; a masked column is in the order of its masks."""
        order = [(info.get_aOrderBy_iColumn(number), info.get_aOrderBy_desc(number)) for number in range(info.nOrderBy)]
        return order if all(position >= 0 and not self.table.columns[position].masked for position, _ in order) else []

    def Open(self) -> _Cursor:  # noqa: N802
        return _Cursor(self.module, self.table)

    def Disconnect(self) -> None:  # noqa: N802
        return

    Destroy = Disconnect


class _Cursor:
    def __init__(self, module: MaskedTables, table: Table) -> None:
        self._db = module.source
        self._redactor = module.redactor
        self._drop = module.redactor.rules.drop_masked_rows
        self._table = table
        self._masked = [column.name if column.masked else None for column in table.columns]
        self._places: list[int] = []
        self._rows: Any = iter(())
        self._row: tuple[Any, ...] | None = None
        self._number = 0

    def Filter(self, number: int, plan: str, values: tuple[Any, ...]) -> None:  # noqa: N802
        chosen = json.loads(plan)
        columns: list[int] = chosen["columns"]
        clauses, bound = [self._table.condition] if self._table.condition else [], []
        for (position, operator), value in zip(chosen["terms"], values, strict=True):
            name = self._masked[position]
            if name is not None:
                known = self._asked(value, name)
                if known is None:
                    continue
                if not known:
                    self._rows, self._row = iter(()), None
                    return
            clauses.append(f'"{self._table.columns[position].name}" {operator} ?')
            bound.append(value)
        self._places = [-1] * len(self._table.columns)
        for place, position in enumerate(columns):
            self._places[position] = place
        sql = f"SELECT {', '.join(self._quoted(position) for position in columns) or '1'} FROM {self._table.schema}.{self._table.name}"  # noqa: S608
        sql += f" WHERE {' AND '.join(clauses)}" if clauses else ""
        if chosen["order"]:
            sql += " ORDER BY " + ", ".join(self._quoted(position) + (" DESC" if down else "") for position, down in chosen["order"])
        self._rows = self._db.execute(sql, bound)
        self._number = 0
        self.Next()

    def _quoted(self, position: int) -> str:
        return f'"{self._table.columns[position].name}"'

    def _asked(self, value: Any, name: str) -> bool | None:
        """Whether rows whose masked column equals ``value`` may be looked up by it: None is no, they have to be looked through.

        A text without ``@`` and ``[`` is no mask. If it would be masked itself, no row shows it (False, and nothing is looked up: not even
        the time tells that it is there); otherwise the rows that show it are those that hold it.
        """
        if not self._redactor.rules.enabled:
            return True
        if not isinstance(value, str) or "@" in value or "[" in value or "{" in value:
            return None
        return self._redactor.json(value, name) == value

    def Next(self) -> None:  # noqa: N802
        self._row = next(self._rows, None)
        if self._drop:
            while self._row is not None and self._is_masked(self._row):
                self._row = next(self._rows, None)
        self._number += 1

    def _is_masked(self, row: tuple[Any, ...]) -> bool:
        for position, place in enumerate(self._places):
            name = self._masked[position]
            if place >= 0 and name is not None and isinstance(row[place], str) and self._redactor.json(row[place], name) != row[place]:
                return True
        return False

    def Eof(self) -> bool:  # noqa: N802
        return self._row is None

    def Rowid(self) -> int:  # noqa: N802
        return self._number

    def Column(self, number: int) -> Any:  # noqa: N802
        if number < 0 or self._row is None:
            return self._number
        value, name = self._row[self._places[number]], self._masked[number]
        return self._redactor.json(value, name) if name is not None and isinstance(value, str) else value

    def Close(self) -> None:  # noqa: N802
        self._rows = iter(())
