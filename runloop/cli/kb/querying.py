"""`rlp kb query` and `rlp kb tables`."""

from __future__ import annotations

from typing import Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.past import AtOption, opened_at
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_OK


def query(
    words: Annotated[list[str], typer.Argument(metavar="SQL...", help="One SELECT, quoted or in words; tables: rlp kb tables.")],
    *,
    at: AtOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Fetch at most N rows.")] = 1000,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=600, help="Stop after this time.")] = 5.0,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Run one read-only SQL statement. Addresses, numbers and keys are masked before SQL sees them (docs/privacy.md).

    Examples: `rlp kb query "SELECT kind, count(*) FROM events GROUP BY kind"`, `rlp kb tables`.
    """
    from runloop.kb.queries import query_process

    sql = " ".join(words)
    with query_process() as ask, opened_at(at, unmasked, "query", sql) as kb:  # it starts while the base is opened
        result = ask(kb.query_request(sql, max_rows=limit, max_seconds=seconds))
    output.print_rows(
        result.columns,
        result.rows,
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="no rows",
        data=result.to_dict(),
    )
    if result.truncated and not output.wants_json(as_json=json, as_table=table):
        output.print_warning("kb.truncated", f"only the first {len(result.rows)} rows; --limit fetches more")
    return EXIT_OK


def tables(json: JsonOption = False, table: TableOption = False) -> int:
    """List the tables and columns that `rlp kb query` can read, and what is masked in them."""
    with open_kb() as kb:
        shown = kb.tables()
    rows = [(each.name, column.name, column.type.lower() or None, column.masked) for each in shown for column in each.columns]
    output.print_rows(("table", "column", "type", "masked"), rows, as_json=json, as_table=table)
    return EXIT_OK
