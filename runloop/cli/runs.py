"""`rlp runs`: the runs in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from runloop.cli import output
from runloop.cli.ledger import reading_base
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption

app = typer.Typer(add_completion=False, help="List the runs in the ledger.")
_COLUMNS = ("run", "opening", "state", "started", "ms", "tokens", "why")


@app.command()
def runs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most N runs, newest first.")] = 20,
    status: Annotated[str | None, typer.Option("--state", help="Only runs in this state: running, succeeded, failed, cancelled.")] = None,
    opening: Annotated[str | None, typer.Option("--opening", help="Only runs of this opening.")] = None,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List runs, newest first. A run without an end is shown as running; it may have been cut off."""
    with reading_base() as kb:
        listed = kb.runs(limit=limit, status=status, opening=opening)
    rows = [
        (
            each["run_id"][:8],
            each["opening_name"],
            each["status"],
            datetime.fromtimestamp(each["submitted_ms"] / 1000, UTC).astimezone().strftime("%m-%d %H:%M:%S"),
            each["ms"],
            each["tokens"] or None,
            each["reason"],
        )
        for each in listed
    ]
    style = output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap)
    output.print_rows(_COLUMNS, rows, as_json=as_json, as_table=as_table, style=style, data=listed, empty="no runs match")
    return 0
