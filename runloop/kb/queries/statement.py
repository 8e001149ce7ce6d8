"""One statement on a connection of its own, which holds nothing but the masked tables, within limits of time, rows and memory."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from runloop.kb.addresses import known_locals
from runloop.kb.database import connect, translate
from runloop.kb.errors import QueryLimit, QueryRefused
from runloop.kb.queries.request import QueryResult, Request
from runloop.kb.queries.tables import tables_of
from runloop.kb.queries.vtable import MaskedTables
from runloop.kb.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VALUE = 16 * 1024 * 1024  # bytes of one value
MAX_RESULT = 32 * 1024 * 1024  # bytes of all values, roughly
MAX_HEAP = 192 * 1024 * 1024  # bytes that SQLite may take for sorting, grouping and intermediate tables
_STEPS = 2000  # virtual machine steps between two looks at the clock
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: MAX_VALUE,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 200,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    apsw.SQLITE_LIMIT_COLUMN: 500,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list"})
_MODULES = frozenset({"json_each", "json_tree", "jsonb_each", "jsonb_tree", "runloop", *(f"pragma_{name}" for name in _PRAGMAS)})
_FUNCTIONS = frozenset(
    word
    for words in (
        # sqlite.org/lang_corefunc.html
        "abs char coalesce concat concat_ws format glob hex if ifnull iif instr length like likelihood likely lower ltrim max min nullif",
        "octet_length printf quote random randomblob replace round rtrim sign sqlite_version substr substring trim typeof unhex unicode",
        "unistr unistr_quote unlikely upper zeroblob",
        # lang_aggfunc.html, windowfunctions.html
        "avg count group_concat median percentile percentile_cont percentile_disc string_agg sum total",
        "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value",
        # lang_datefunc.html
        "date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp",
        # lang_mathfunc.html
        "acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power radians",
        "sin sinh sqrt tan tanh trunc",
        # json1.html
        "-> ->> json json_array json_array_length json_error_position json_extract json_group_array json_group_object json_insert",
        "json_object json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid jsonb jsonb_array",
        "jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set",
    )
    for word in words.split()
)
"""Functions that can be used: whatever is not named here cannot, for it may read files, load code or look behind the tables."""


def answer(request: Request) -> QueryResult:
    """Run the statement in this process. Raises QueryRefused, QueryLimit, and what opening the files raises."""
    views = Path(request.views)
    source = connect(views, readonly=True)
    try:
        source.execute("ATTACH ? AS ledger", (request.ledger,))
        source.pragma("query_only", 1)
        return _Statement(source, request).run()
    except apsw.Error as error:
        raise translate(error, views) from error
    finally:
        source.close()


class _Statement:
    def __init__(self, source: apsw.Connection, request: Request) -> None:
        self._request = request
        self._deadline = time.monotonic() + request.max_seconds
        self._refusal = ""
        self._statements = 0
        self._columns: list[str] = []
        self._tables = tables_of(source, request.until)
        db = self._db = apsw.Connection(":memory:")
        for limit, value in _LIMITS.items():
            db.limit(limit, value)
        db.pragma("temp_store", 2)
        redactor = Redactor(request.salt, request.rules, partial(known_locals, source))
        module: Any = MaskedTables(source, self._tables, redactor)  # apsw lists more methods
        db.create_module("runloop", module, use_bestindex_object=True)
        modules = {str(name) for (name,) in db.execute("SELECT name FROM pragma_module_list")}
        self._modules = modules - _MODULES  # what SQLite itself offers as tables: dbstat and its like
        for name in self._tables:
            db.execute(f"CREATE VIRTUAL TABLE {name} USING runloop")
        db.authorizer = self._authorize
        db.set_progress_handler(self._late, _STEPS)
        db.exec_trace = self._traced
        source.set_progress_handler(self._late, _STEPS)

    def run(self) -> QueryResult:
        """The rows. Raises QueryRefused and QueryLimit."""
        try:
            cursor = self._db.cursor()
            return self._fetch(iter(cursor.execute(self._request.sql)))
        except apsw.ExecTraceAbort:
            raise QueryRefused("more than one statement", hint="send one SELECT at a time") from None
        except apsw.InterruptError:
            raise late(self._request.max_seconds) from None
        except apsw.AuthError:
            raise QueryRefused(self._refusal, hint=f"SELECT from {', '.join(self._tables)}") from None
        except apsw.TooBigError:
            raise QueryLimit(f"a value is larger than {MAX_VALUE} bytes", hint="select less of it, with substr()") from None
        except (apsw.NoMemError, MemoryError):
            raise greedy() from None
        except UnicodeEncodeError:
            raise QueryRefused("the query holds bytes that are no UTF-8", code="kb.bad_query", hint="set the terminal to UTF-8") from None
        except (apsw.SQLError, apsw.BindingsError, apsw.MismatchError, apsw.RangeError, ValueError) as error:
            message = str(error) if not self._refusal else self._refusal
            raise QueryRefused(message, code="kb.bad_query", hint=f"tables: {', '.join(self._tables)}") from None
        finally:
            self._db.close(True)

    def _fetch(self, rows: Iterator[Any]) -> QueryResult:
        taken: list[tuple[Any, ...]] = []
        size = 0
        for row in rows:
            if len(taken) >= self._request.max_rows or size > MAX_RESULT:
                return QueryResult(self._columns, taken, truncated=True)
            shown = tuple(_shown(value) for value in row)
            size += sum(len(value) if isinstance(value, str) else 8 for value in shown)
            taken.append(shown)
        return QueryResult(self._columns, taken, truncated=False)

    def _authorize(self, action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        if action in {apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE}:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_READ:
            if first not in self._modules:
                return apsw.SQLITE_OK
            self._refusal = f"{first} cannot be read"
        elif action == apsw.SQLITE_FUNCTION:
            if (second or "").lower() in _FUNCTIONS:
                return apsw.SQLITE_OK
            self._refusal = f"{second}() cannot be used"
        elif action == apsw.SQLITE_PRAGMA and first in _PRAGMAS:
            return apsw.SQLITE_OK
        else:
            self._refusal = "query must be read-only"
        return apsw.SQLITE_DENY

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _traced(self, cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        self._statements += 1
        if self._statements == 1:
            self._columns = _unique([name for name, _ in cursor.get_description()])  # told here also of a statement that gives no row
        return self._statements == 1


def late(seconds: float) -> QueryLimit:
    """The query took too long."""
    return QueryLimit(f"the query took longer than {seconds:g} s", hint="narrow it with WHERE or LIMIT, or give it more --seconds")


def greedy() -> QueryLimit:
    """The query took too much memory."""
    return QueryLimit("the query takes more memory than a query may", hint="select fewer rows or columns, or group by less")


def _shown(value: Any) -> Any:
    """A value that JSON can hold: blobs as hexadecimal, infinities as text."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _unique(names: list[str]) -> list[str]:
    """Column names, with a number where the same name comes again."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out
