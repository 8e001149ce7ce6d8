"""What queries see: every table of the knowledge base, found in its files, with every text masked unless it cannot tell of anybody.

A table or column that is new is shown with its texts masked; a table that is not shown stands in ``HIDDEN`` with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.kb.queries.vtable import Column, Table

if TYPE_CHECKING:
    import apsw

HIDDEN = {
    "state": "the file's own state; `meta` shows what of it is of use",
    "contact_emails": "addresses, folded to be looked up; `contacts` shows them masked",
    "contact_names": "names, folded to be looked up; `contacts` shows them",
    "erased_records": "hashes by which importers know what was erased: guesses could be tested by them",
    "run_events": "`events` has run_id and seq",
    "search": "the index of `rlp search`, which no mask reaches",
}
"""Derived tables that queries do not see, and why. Of the ledger they see its events, and not what is by hash: blobs, keys, the chain."""

_HIDDEN_COLUMNS = frozenset({"names_folded", "words", "hash_blake3", "chain_blake3", "idempotency_key", "content_hash"})
"""Words folded to be found, and hashes over a content that could be guessed: what a mask hides they would confirm."""

_PLAIN = frozenset(
    {
        "events.kind",
        "account_key",
        "approval_id",
        "artifact_key",
        "blake3",
        "contact_key",
        "file_hash",
        "final_hash",
        "opening_id",
        "outputs_hash",
        "parent_run_id",
        "run_id",
        "sha256",
        "trace_id",
    }
)
"""Columns of identifiers and hashes that the host made or checked, in any table or in one: shown as they are, compared by the index."""

_TEXTS = frozenset({"TEXT", "ANY", ""})


def tables_of(source: apsw.Connection, until: int | None = None) -> dict[str, Table]:
    """The tables that queries see, of the derived tables that ``source`` holds and the ledger that is attached to it as ``ledger``.

    ``until`` is the last event of the ledger that is shown; None is all.
    """
    names = [name for name in _tables(source, "main") if name.partition("_")[0] != "search" and name not in HIDDEN]
    shown = {name: _table(source, "main", name) for name in names}
    shown["events"] = _table(source, "ledger", "events", "" if until is None else f"id <= {int(until)}")
    return shown


def is_plain(table: str, column: str) -> bool:
    """Whether a column cannot tell of anybody."""
    return column in _PLAIN or f"{table}.{column}" in _PLAIN


def _tables(source: apsw.Connection, schema: str) -> list[str]:
    rows = source.execute("SELECT name FROM pragma_table_list WHERE schema = ? AND name NOT LIKE 'sqlite_%' ORDER BY name", (schema,))
    return [str(name) for (name,) in rows]


def _table(source: apsw.Connection, schema: str, name: str, condition: str = "") -> Table:
    columns = [
        Column(str(column), str(declared), masked=declared in _TEXTS and not is_plain(name, str(column)))
        for column, declared, hidden in source.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?, ?)", (name, schema)).fetchall()
        if declared != "BLOB" and column not in _HIDDEN_COLUMNS
    ]
    return Table(name, schema, tuple(columns), _leading(source, schema, name), condition)


def _leading(source: apsw.Connection, schema: str, name: str) -> frozenset[str]:
    """The columns that an index, or the table's own order, begins with: comparing them costs little."""
    found = source.execute(
        """SELECT c.name FROM pragma_index_list(?, ?) AS i, pragma_index_info(i.name, ?) AS c WHERE c.seqno = 0 AND NOT i.partial
           UNION SELECT name FROM pragma_table_info(?, ?) WHERE pk = 1""",
        (name, schema, schema, name, schema),
    )
    return frozenset(str(column) for (column,) in found if column is not None)
