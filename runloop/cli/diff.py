"""`rlp diff`: two runs, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import masking, output
from runloop.cli.finding import finding
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from runloop.runs.diff import NodeDiff, RunDiff
    from runloop.runs.family import Member
    from runloop.runs.jsondiff import Difference

app = typer.Typer(add_completion=False, help="Compare two runs, node by node.")
_COLUMNS = ("node", "same", "state", "attempts", "calls", "tokens", "usd", "ms")
_Run = Annotated[str, typer.Argument(metavar="RUN1", help="A run's id, its first letters, `last`, or a file of `rlp export`.")]
_Other = Annotated[str, typer.Argument(metavar="RUN2", help="The run to compare it with.")]


@app.command()
def diff(
    run: _Run,
    other: _Other,
    *,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """Compare what RUN1 and RUN2 did: states, attempts, the first call that differs, outputs. Exit code 0 when the same, 1 when not.

    Cost and time are shown and do not count.
    """
    from runloop.runs.diff import diff_runs

    found = diff_runs(_family(run), _family(other))
    rows = [
        (f"{each.run}/{each.node}" if each.run else each.node, _same(each), *(_pair(pair) for pair in _pairs(each))) for each in found.nodes
    ]
    style = output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap)
    output.print_rows(
        _COLUMNS, rows, as_json=as_json, as_table=as_table, style=style, data=masking.masked(found.to_dict()), empty="no node had started"
    )
    if not output.wants_json(as_json=as_json, as_table=as_table):
        for line in _lines(found):
            output.print_line(masking.masked_text(line))
    return EXIT_OK if found.same else EXIT_FAILED


def _family(ref: str) -> list[Member]:
    from runloop.runs.family import family

    with finding(ref) as found:
        members = family(found.source, found.run_id)
        if found.archive is not None and found.archive.manifest.redacted is not None:
            for member in members:
                member.run.lost |= {"", *member.run.states}
    return members


def _same(node: NodeDiff) -> bool | str:
    return "not known" if node.lost and not node.differs else node.same


def _pairs(node: NodeDiff) -> tuple[tuple[Any, Any], ...]:
    return (node.states, node.attempts, node.calls, node.tokens, node.usd, node.ms)


def _pair(pair: tuple[Any, Any]) -> Any:
    one, other = ("–" if side is None else side for side in pair)
    return one if one == other else f"{one} → {other}"


def _lines(found: RunDiff) -> Iterator[str]:
    """What differs, for people: the first call and the first outputs of every node."""
    if found.openings[0] != found.openings[1]:
        yield "the openings differ"
    for each in found.params:
        yield f"params: {_difference(each)}"
    for node in found.nodes:
        name = f"{node.run}/{node.node}" if node.run else node.node
        if node.agents[0] != node.agents[1] and all(node.attempts):  # one that did not begin has no code
            yield f"{name}: the agent's code differs ({_pair((_digest(node.agents[0]), _digest(node.agents[1])))})"
        if (call := node.first_call) is not None:
            verb = "asked something else" if call.what == "asked" else "was told something else"
            yield f"{name}: attempt {call.attempt}, call {call.call} {verb}: {_difference(call.difference)}"
        for each in node.outputs[:3]:
            yield f"{name}: outputs: {_difference(each)}"
        if len(node.outputs) > 3:
            yield f"{name}: outputs: {len(node.outputs) - 3} more places (--json lists them)"
        if node.errors is not None:
            yield f"{name}: error: {_difference(node.errors)}"
    if found.lost and not found.differs:
        yield "what is left of the runs is the same; texts of them were erased or masked, so whether the runs are is not known"
    else:
        yield "the runs are the same" if found.same else f"the runs differ ({found.states[0]}, {found.states[1]})"


def _difference(each: Difference) -> str:
    from runloop.runs.jsondiff import shown

    one, other = shown(each, limit=80)
    return f"{each.path}: {one} → {other}"


def _digest(digest: str | None) -> str | None:
    return None if digest is None else digest[:12]
