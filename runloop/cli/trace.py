"""`rlp trace`: the ladder of a run's crossings."""

from __future__ import annotations

from typing import Annotated

import typer

from runloop.cli import masking, output
from runloop.cli.finding import RunArgument, elsewhere, finding, stored_records
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import clock_ms

app = typer.Typer(add_completion=False, help="Show the crossings of a run: who, to whom, what, size, time, cost.")
_COLUMNS = ("time", "from → to", "what", "size", "ms", "tokens", "usd", "note")


@app.command()
def trace(
    run: RunArgument = "last",
    *,
    relative: Annotated[bool, typer.Option("--relative", help="Show times since the run's first record.")] = False,
    control: Annotated[
        bool, typer.Option("--include-control", help="Also what happened to the run as a whole: submitted, paused, recovered, ….")
    ] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Show every crossing of RUN in order. With --json: the whole trace, with nodes, hashes and ladder."""
    from runloop.runs.trace import NO_RUNG, ladder, run_trace

    masking.unmask(unmasked, "trace", run)
    with finding(run) as found:
        told = (each for each in stored_records(found) if control or each["kind"] not in NO_RUNG)
        records, origin = list(map(masking.masked, told)), elsewhere(found)
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(run_trace(records, control=control))
        return 0
    hops = ladder(records, control=control)
    start = records[0]["ts_ms"]
    rows = [
        (
            f"+{(hop.ts_ms - start) / 1000:.3f}s" if relative else clock_ms(hop.ts_ms),
            f"{hop.source} → {hop.target}",
            hop.what,
            size(hop.bytes),
            hop.ms,
            hop.tokens,
            None if hop.usd is None else f"{hop.usd:.6f}",
            hop.note,
        )
        for hop in hops
    ]
    used = [position for position in range(len(_COLUMNS)) if any(row[position] not in {None, ""} for row in rows)]
    columns = [_COLUMNS[position] for position in used]
    shown = [[row[position] for position in used] for row in rows]
    output.print_line(f"run {records[0]['run_id']} of {records[0]['opening_name']}{origin}")
    style = output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap)
    output.print_rows(columns, shown, as_table=True, style=style, empty="no ladder entries captured for this trace")
    return 0


def size(count: int | None) -> str | None:
    """A byte count for people, None where there is none."""
    if count is None:
        return None
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
