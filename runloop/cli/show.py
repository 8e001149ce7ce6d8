"""`rlp show`: one run with its nodes, what they produced, and what it left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import output
from runloop.cli.finding import RunArgument, finding
from runloop.cli.options import JsonOption, TableOption

if TYPE_CHECKING:
    from runloop.runs.history import RecordedRun

app = typer.Typer(add_completion=False, help="Show one run: nodes, outputs, artifacts and what led to them.")
_ORIGINS = {"imported": "imported from another ledger", "file": "read from a file"}
_COLUMNS = ("node", "try", "agent", "state", "calls", "outputs", "error")


@app.command()
def show(
    run: RunArgument = "last",
    *,
    outputs: Annotated[bool, typer.Option("--outputs", help="Print what each node produced, whole.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
) -> int:
    """Show RUN: how it was started, each attempt, and how it ended."""
    from runloop.runs.history import load_run

    with finding(run) as found:
        run_id, origin = found.run_id, found.origin
        recorded = load_run(found.source, run_id)
    if output.wants_json(as_json=as_json, as_table=as_table):
        output.print_json(
            {
                **_head(recorded),
                "origin": origin,
                "params": recorded.submitted["params"],
                "attempts": [_attempt(each) for each in recorded.attempts],
            }
        )
        return 0
    output.print_line(f"run      {run_id}" + ("" if origin == "own" else f"  ({_ORIGINS[origin]})"))
    output.print_line(f"opening  {recorded.opening_name}  ({recorded.submitted['opening_digest'][:12]})")
    output.print_line(f"state    {recorded.status or 'running'}" + (f": {recorded.reason}" if recorded.reason else ""))
    for name, value in (recorded.submitted["params"] or {}).items():
        output.print_line(f"param    {name} = {output.to_json(value, indent=None)}")
    _print_nodes(recorded)
    if outputs:
        for each in recorded.attempts:
            if each.outputs is not None:
                output.print_line(f"\n{each.node}:")
                output.print_json(each.outputs)
    return 0


def _head(recorded: RecordedRun) -> dict[str, Any]:
    return {
        "run_id": recorded.run_id,
        "opening_name": recorded.opening_name,
        "status": recorded.status or "running",
        "reason": recorded.reason,
        "final_hash": recorded.final_hash,
    }


def _print_nodes(recorded: RecordedRun) -> None:
    rows = [
        (
            each.node,
            each.attempt,
            each.agent.get("name"),
            each.status or "running",
            len(each.crossings),
            (each.outputs_hash or "")[:12] or None,
            each.error["message"].strip().splitlines()[0] if each.error else None,
        )
        for each in recorded.attempts
    ]
    output.print_rows(_COLUMNS, rows, as_table=True, empty="no node started")


def _attempt(each: Any) -> dict[str, Any]:
    return {
        "node": each.node,
        "attempt": each.attempt,
        "agent": dict(each.agent),
        "status": each.status or "running",
        "calls": len(each.crossings),
        "outputs": each.outputs,
        "outputs_hash": each.outputs_hash,
        "error": each.error,
    }
