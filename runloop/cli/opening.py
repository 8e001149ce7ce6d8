"""`rlp opening`: check openings, draw their graphs, print them canonically, begin new ones. docs/openings.md describes the language."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output
from runloop.cli.opening_files import format_files, new
from runloop.cli.opening_list import list_openings
from runloop.cli.opening_source import FileArgument, FilesArgument, read
from runloop.cli.options import JsonOption, LinesOption
from runloop.errors import EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.openings import AgentPorts, Examined, Opening, Problem

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="List, check, draw, format and begin openings.")
app.command("list")(list_openings)
app.command("fmt")(format_files)
app.command()(new)


class GraphFormat(StrEnum):
    """How `rlp opening graph` draws."""

    TEXT = "text"
    DOT = "dot"
    MERMAID = "mermaid"
    JSON = "json"


@app.command(name="check")
def check_files(
    files: FilesArgument,
    as_json: JsonOption = False,
    as_table: LinesOption = False,
    agents: Annotated[bool, typer.Option("--agents/--no-agents", help="Check ports and arguments against the installed agents.")] = True,
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Directory of agents to use first.")] = None,
) -> int:
    """Show every problem of the openings with its place; exit code 2 if there is any."""
    from runloop.openings import examine

    as_json = output.wants_json(as_json=as_json, as_table=as_table)
    resolve, nested = (_resolver(root), _nested()) if agents else (None, None)
    results: list[tuple[str, Examined]] = []
    for file in files:
        name, data = read(file)
        examined = examine(data, file=name, resolve=resolve, nested=nested)
        results.append((name, examined))
        if not as_json:
            _print_result(name, data, examined)
    found = any(examined.problems for _, examined in results)
    if as_json:
        output.print_json([_result(name, examined) for name, examined in results])
    return EXIT_INVALID if found else EXIT_OK


@app.command()
def graph(
    file: FileArgument,
    form: Annotated[GraphFormat, typer.Option("--format", help="How to draw it.")] = GraphFormat.TEXT,
    width: Annotated[
        int | None, typer.Option("--width", min=20, metavar="N", help="Columns to draw in; the terminal's by default.")
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII characters only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw the graph of an opening: nodes in layers, dashed lines where a guard decides."""
    from runloop.openings import parse_opening

    name, data = read(file)
    opening = parse_opening(data, file=name)
    if as_json or form is GraphFormat.JSON:
        from runloop.openings.export import to_graph

        output.print_json(to_graph(opening))
    else:
        output.print_line(_drawing(opening, form, width, ascii_only=ascii_only))


@app.command()
def schema(*, as_json: JsonOption = False) -> None:  # noqa: ARG001 - it is JSON either way; programs give --json to every verb
    """Print the JSON Schema of an opening's YAML, for editors; check says more."""
    import json

    from runloop.openings.schema import document_schema

    output.print_line(json.dumps(document_schema(), indent=2, ensure_ascii=False))


def _drawing(opening: Opening, form: GraphFormat, width: int | None, *, ascii_only: bool) -> str:
    from runloop.openings.draw import draw
    from runloop.openings.export import to_dot, to_mermaid

    if form is GraphFormat.DOT:
        return to_dot(opening)
    if form is GraphFormat.MERMAID:
        return to_mermaid(opening)
    return draw(opening, width=width or output.terminal_width(), ascii_only=ascii_only or not _can_print_boxes())


def _can_print_boxes() -> bool:
    try:
        "│▽←".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _resolver(root: Path | None) -> Callable[[str, str | None], AgentPorts]:
    from runloop.runs.pins import agent_ports
    from runloop.runs.places import bundle_store

    store = bundle_store(context.settings(), root)
    return lambda name, variant: agent_ports(store.resolve(name, variant))


def _nested() -> Callable[[str], Opening]:
    from functools import cache

    from runloop.openings import parse_opening
    from runloop.runs.lookup import find_opening
    from runloop.runs.places import opening_dirs

    search_dirs = opening_dirs(context.settings())

    @cache
    def nested(name: str) -> Opening:
        found = find_opening(name, search_dirs)
        return parse_opening(found.source, file=found.file)

    return nested


def _print_result(name: str, data: bytes, examined: Examined) -> None:
    if not examined.problems and examined.opening is not None:
        opening = examined.opening
        output.print_line(f"{name}: ok ({_counted(len(opening.nodes), 'node')}, {_counted(len(opening.edges), 'edge')})")
        return
    text = data.decode("utf-8", "replace")
    for problem in examined.problems:
        _print_problem(name, text, problem)
    output.print_line(f"{name}: {_counted(len(examined.problems), 'problem')}")


def _print_problem(name: str, text: str, problem: Problem) -> None:
    from runloop.openings.excerpt import excerpt, source_line

    where = problem.where
    place = f"{name}:{where.line}:{where.column}" if where.line is not None else name
    output.print_line(f"{place}: {problem.message} [{problem.code}]")
    if where.line is not None and where.column is not None:
        gutter = f"{where.line:>5} | "
        line, caret = excerpt(source_line(text, where.line), where.column, max(20, output.terminal_width() - len(gutter)))
        output.print_line(f"{gutter}{line}")
        output.print_line(f"{'':>5} | {caret}")
    if problem.hint:
        output.print_line(f"{'':>5} = hint: {problem.hint}")


def _result(name: str, examined: Examined) -> dict[str, Any]:
    opening = examined.opening
    return {
        "file": name,
        "ok": not examined.problems,
        "name": opening.name if opening else None,
        "digest": opening.digest if opening else None,
        "problems": [problem.to_dict() for problem in examined.problems],
    }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
