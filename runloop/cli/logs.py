"""`rlp logs`: what a run and its agents said, in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from runloop.cli import context, masking, output
from runloop.cli.attach import follow
from runloop.cli.finding import RunArgument, finding, stored_records
from runloop.cli.link import waited
from runloop.cli.masking import UnmaskedOption
from runloop.cli.times import clock_ms
from runloop.errors import EXIT_FAILED, EXIT_OK, InvalidInput, Where

app = typer.Typer(add_completion=False, help="Show what a run and its agents said.")
LEVELS = ("debug", "info", "warn", "error")


@app.command()
def logs(
    run: RunArgument = "last",
    *,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only what belongs to this node.")] = None,
    level: Annotated[str, typer.Option("--level", metavar="LEVEL", help="From this level on: debug, info, warn or error.")] = "info",
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, to the run's end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records as NDJSON.")] = False,
    as_table: Annotated[bool, typer.Option("--table", help="Print lines for people; so it is without --json, wherever it goes.")] = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Show the lines of RUN in order, running or ended: the agents' own, and what became of nodes, calls and approvals.

    Examples: `rlp logs`, `rlp logs 3f2a91c0 --node draft --level debug`, `rlp logs last --follow`.
    """
    if level not in LEVELS:
        raise InvalidInput(f"there is no level {level!r}", code="cli.usage", where=Where(key="--level"), hint="use " + ", ".join(LEVELS))
    output.wants_json(as_json=as_json, as_table=as_table)  # both asked for is an error
    masking.unmask(unmasked, "logs", run)
    wanted = frozenset(LEVELS[LEVELS.index(level) :])
    nodes: set[str | None] = set()

    def show(record: Mapping[str, Any]) -> None:
        nodes.add(_node_of(record))
        if record["level"] in wanted and (node is None or _node_of(record) == node):
            shown = masking.masked(record)
            print(output.record_line(shown) if as_json else _line(shown), flush=True)

    if following:
        return EXIT_FAILED if waited(follow(context.settings(), run, show)) is None else EXIT_OK
    with finding(run) as found:
        for record in stored_records(found):
            show(record)
    if node is not None and node not in nodes:
        others = ", ".join(sorted(each for each in nodes if each is not None)) or "no node yet"
        output.print_warning("logs.node", f"nothing is recorded of a node {node!r}; there is something of {others}")
    return EXIT_OK


def _node_of(record: Mapping[str, Any]) -> str | None:
    node = record["meta"].get("node")
    return node if isinstance(node, str) else None


def _line(record: Mapping[str, Any]) -> str:
    """Time of day, level, node and text; the later lines of a text stand under its first one."""
    meta = record["meta"]
    node = _node_of(record)
    text = meta["text"] if record["kind"] in {"node.log", "node.progress"} else record["message"]
    if node is not None and record["kind"] == "node.log":
        text = f"{node}: {text}"
    head = f"{clock_ms(record['ts_ms'])}  {record['level']:<5}  "
    return head + output.clean(text.rstrip("\n")).replace("\n", "\n" + " " * len(head))
