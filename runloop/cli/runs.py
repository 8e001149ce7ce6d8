"""`rlp runs`: the runs in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.ledger import reading_base
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.runs.archives.manifest import RunEntry

app = typer.Typer(add_completion=False, help="List the runs in the ledger.")
_COLUMNS = ("run", "opening", "state", "started", "ms", "tokens", "why")


@app.command()
def runs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show at most N runs, newest first.")] = 20,
    status: Annotated[str | None, typer.Option("--state", help="Only runs in this state: running, succeeded, failed, cancelled.")] = None,
    opening: Annotated[str | None, typer.Option("--opening", help="Only runs of this opening.")] = None,
    imported: Annotated[bool, typer.Option("--imported", help="The runs that were imported, instead of this machine's own.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List runs, newest first. A run without an end is shown as running; it may have been cut off."""
    if imported:
        return _imported(
            as_json=as_json, as_table=as_table, keep=lambda each: opening in {None, each.opening_name} and status in {None, each.status}
        )
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


def _imported(*, as_json: bool, as_table: bool, keep: Callable[[RunEntry], bool]) -> int:
    from runloop.cli.finding import imported

    listed = [(manifest, entry) for _, manifest in imported().manifests() for entry in manifest.runs if keep(entry)]
    rows = [(entry.run_id[:8], entry.opening_name, entry.status or "unfinished", manifest.ledger_id[:8]) for manifest, entry in listed]
    data = [
        {
            "run_id": entry.run_id,
            "opening_name": entry.opening_name,
            "status": entry.status,
            "parent_run_id": entry.parent_run_id,
            "ledger_id": manifest.ledger_id,
        }
        for manifest, entry in listed
    ]
    columns = ("run", "opening", "state", "ledger")
    output.print_rows(columns, rows, as_json=as_json, as_table=as_table, data=data, empty="no runs match")
    return 0
