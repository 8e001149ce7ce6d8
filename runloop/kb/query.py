"""SQL for people: read-only, masked, limited in time, rows and size, whatever the text says."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from runloop.kb.database import connect, translate
from runloop.kb.errors import QueryLimit, QueryRefused
from runloop.kb.redaction import Redactor
from runloop.kb.vtable import Column, MaskedTables, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_ROWS = 1000
MAX_SECONDS = 5.0
_MAX_VALUE = 16 * 1024 * 1024  # bytes of one value
_MAX_RESULT = 64 * 1024 * 1024  # bytes of all values, roughly
_STEPS = 2000  # virtual machine steps between two looks at the clock
_READS = {apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_READ}  # whatever can be read here is masked
_PRAGMAS = {"table_info", "table_xinfo", "table_list"}


def _table(name: str, columns: str, *, source: str | None = None, email: str = "", text: str = "", json: str = "") -> Table:
    """A table from the names of its columns, in order; the other arguments name those that are masked, by sort."""
    masks = {column: mask for mask, names in (("email", email), ("text", text), ("json", json)) for column in names.split()}
    return Table(name, source or name, tuple(Column(column, column, masks.get(column, "")) for column in columns.split()))


TABLES = {
    table.name: table
    for table in (
        _table(
            "contacts",
            "contact_key name email emails nicknames org trust source source_event",
            email="email",
            text="name org",
            json="emails nicknames",
        ),
        _table("notes", "path part line end_line title text file_hash source_event", text="title text"),
        _table("artifacts", "artifact_key kind path summary sha256 blake3 bytes run_id node source_event", text="summary"),
        _table(
            "runs",
            "run_id trace_id opening_id opening_name parent_run_id status mode submitted_ms started_ms finished_ms ms "
            "tokens usd final_hash reason last_seq source_event",
            text="reason",
        ),
        _table(
            "run_nodes",
            "run_id node_id status attempt agent started_ms finished_ms duration_ms outputs_hash error_code error tokens usd source_event",
            text="error",
        ),
        _table(
            "effects",
            "run_id node_id attempt call name class status requested_ms ended_ms ms args_bytes result_bytes "
            "tokens_in tokens_out usd cached error_code error requested_event ended_event",
            text="error",
        ),
        _table("approvals", "approval_id run_id node_id action status decision decided_by requested_ms decided_ms source_event"),
        _table("mails", "event_id subject recipients status message_id path artifact_id sent_ms", text="subject", json="recipients"),
        _table(
            "messages",
            "message_key message_id thread subject sender people sent_ms attachments mailbox path line source_event",
            text="subject sender",
            json="people attachments",
        ),
        _table(
            "appointments",
            "appointment_key uid occurrence summary location starts starts_ms ends ends_ms zone rules people status path line source_event",
            text="uid summary location",
            json="people",
        ),
        _table(
            "commits",
            "commit_key repository subject author author_email authored_ms committed_ms files source_event",
            email="author_email",
            text="subject author",
            json="files",
        ),
        _table("commands", "command_key shell text at_ms seconds path line source_event", text="text"),
        _table("entity_history", "entity_key event_id"),
        _table("problems", "event_id kind error", text="error"),
        _table(
            "events",
            "id ts_ms actor kind scope run_id seq payload_json provenance_json",
            source="ledger.events",
            json="payload_json provenance_json",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns and rows; ``truncated`` when more rows were there than the limit allows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of spec 15.6: rows as objects."""
        return {
            "columns": self.columns,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "truncated": self.truncated,
        }


def run_query(
    sql: str, *, views: Path, ledger: Path, redactor: Redactor, max_rows: int = MAX_ROWS, max_seconds: float = MAX_SECONDS
) -> QueryResult:
    """Run one read-only statement over the masked tables; raises :class:`QueryRefused` or :class:`QueryLimit`."""
    source = connect(views, readonly=True)
    try:
        source.execute("ATTACH ? AS ledger", (str(ledger),))
        source.pragma("query_only", 1)
        return _Query(source, redactor, time.monotonic() + max_seconds, max_seconds).run(sql, max_rows)
    except apsw.Error as error:
        raise translate(error, views) from error
    finally:
        source.close()


class _Query:
    """One statement on a connection of its own, which holds nothing but the masked tables."""

    def __init__(self, source: apsw.Connection, redactor: Redactor, deadline: float, seconds: float) -> None:
        self._deadline = deadline
        self._seconds = seconds
        self._refusal = ""
        self._statements = 0
        db = self._db = apsw.Connection(":memory:")
        db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        db.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, 100_000)
        db.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        db.pragma("temp_store", 2)
        module: Any = MaskedTables(source, TABLES, redactor)  # apsw's protocol also lists the methods that read-only tables lack
        db.create_module("runloop", module, use_bestindex_object=True)
        for name in TABLES:
            db.execute(f"CREATE VIRTUAL TABLE {name} USING runloop")
        db.authorizer = self._authorize
        db.set_progress_handler(self._late, _STEPS)
        db.exec_trace = self._traced
        source.set_progress_handler(self._late, _STEPS)

    def run(self, sql: str, max_rows: int) -> QueryResult:
        try:
            cursor = self._db.cursor()
            return self._fetch(cursor, iter(cursor.execute(sql)), max_rows)
        except apsw.ExecTraceAbort:
            raise QueryRefused("more than one statement", hint="send one SELECT at a time") from None
        except apsw.InterruptError:
            raise QueryLimit(f"the query took longer than {self._seconds:g} s", hint="narrow it with WHERE or LIMIT") from None
        except apsw.AuthError:
            raise QueryRefused(self._refusal, hint=f"SELECT from {', '.join(TABLES)}") from None
        except apsw.TooBigError:
            raise QueryLimit(f"a value is larger than {_MAX_VALUE} bytes", hint="select less of it, with substr()") from None
        except (apsw.SQLError, apsw.BindingsError, apsw.MismatchError, apsw.RangeError, apsw.NoMemError, ValueError) as error:
            message = str(error) if not self._refusal else self._refusal
            raise QueryRefused(message, code="kb.bad_query", hint=f"tables: {', '.join(TABLES)}") from None
        finally:
            self._db.close(True)

    def _fetch(self, cursor: apsw.Cursor, rows: Iterator[Any], max_rows: int) -> QueryResult:
        columns: list[str] = []
        taken: list[tuple[Any, ...]] = []
        size = 0
        for row in rows:
            if not columns:
                columns = _unique([name for name, _ in cursor.get_description()])
            if len(taken) >= max_rows or size > _MAX_RESULT:
                return QueryResult(columns, taken, truncated=True)
            shown = tuple(_shown(value) for value in row)
            size += sum(len(value) if isinstance(value, str) else 8 for value in shown)
            taken.append(shown)
        return QueryResult(columns, taken, truncated=False)

    def _authorize(self, action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
        if action in _READS:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_FUNCTION and second not in {"load_extension", "fts3_tokenizer"}:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_PRAGMA and first in _PRAGMAS:
            return apsw.SQLITE_OK
        self._refusal = f"{second}() cannot be used" if action == apsw.SQLITE_FUNCTION else "query must be read-only"
        return apsw.SQLITE_DENY

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _traced(self, cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        self._statements += 1
        return self._statements == 1


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
