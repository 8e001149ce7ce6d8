"""`rlp why` and `rlp kb why`: what made an entity what it is, and what becomes of a line typed at the prompt."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, output
from runloop.cli.kb.opened import open_kb
from runloop.cli.ledger import has_ledger
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.kb import KnowledgeBase
    from runloop.kb.naming import Candidate

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Explain what made something what it is.")

EntityArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENTITY",
        help="A person (address, name), path[:line], file, run or `last`, event:N, hash, Message-ID, approval, or a key of `rlp search`.",
    ),
]


class Format(StrEnum):
    """How an explanation is drawn."""

    TREE = "tree"
    JSON = "json"
    TABLE = "table"
    DOT = "dot"
    MERMAID = "mermaid"


@app.command()
def why(
    entity: Annotated[
        list[str],
        typer.Argument(
            metavar="ENTITY|LINE...",
            help="A person (address, name), path[:line], file, run or `last`, event:N, hash, Message-ID, approval, or a key of "
            "`rlp search`; anything else of several words, or that a shell would run, is a line for the prompt.",
        ),
    ],
    *,
    line: Annotated[bool, typer.Option("--line", help="It is a line for the prompt, whatever it may name.")] = False,
    form: Annotated[Format | None, typer.Option("--format", "-f", help="How to print it.")] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, max=64, help="Show a tree N links deep.")] = 8,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Follow links to at most N steps.")] = 2000,
    everything: Annotated[bool, typer.Option("--all", help="Show long lists in full.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """Explain ENTITY: who made it, from which texts, who approved it, what it cost; then all that led to it, as a tree.

    Of a LINE: where the prompt would send it and what spoke for that; for agents, which opening with which parameters. Nothing is run.

    Examples: `rlp why last`, `rlp why maria@acme.example`, `rlp why notes/plan.md:12`, `rlp why event:66 --format dot`,
    `rlp why write to Bob about lunch`.
    """
    from runloop.cli.kb import drawing
    from runloop.runs.telling import RunTelling
    from runloop.text import legible

    if form is not None and (json or table):
        raise InvalidInput("--format excludes --json and --table", code="cli.usage", hint="Give one of them.")
    style = output.TableStyle(max_cols, max_rows, fit=not no_wrap)
    if form is None:
        cut = max_cols is not None or max_rows is not None
        as_json = output.wants_json(as_json=json, as_table=table or cut)
        form = Format.JSON if as_json else Format.TABLE if cut else Format.TREE
    text = legible(" ".join(entity))
    if line or (not has_ledger() and _may_be_line(text)):
        return _explain_line(text, form, style, sought=not line)
    with open_kb() as kb:
        found = _named_or_line(kb, text)
        if found is None:
            return _explain_line(text, form, style, sought=True)
        said = kb.explain(found.key, RunTelling(kb), max_steps=limit)
    if found.note:
        print(f"note: {found.note}", file=sys.stderr)
    match form:
        case Format.JSON:
            output.print_json(said)
        case Format.DOT:
            _print(drawing.dot(said))
        case Format.MERMAID:
            _print(drawing.mermaid(said))
        case Format.TABLE:
            output.print_rows(drawing.COLUMNS, drawing.rows(said), as_table=True, style=style)
        case Format.TREE:
            summary = list(drawing.summary_lines(said))
            lines = [*drawing.tree(said, depth, whole=everything)]
            shown = [lines[0], *(f"  {line}" for line in summary), *([""] if summary and lines[1:] else []), *lines[1:]]
            _print(shown, None if no_wrap else output.terminal_width())
    return EXIT_OK


def named(kb: KnowledgeBase, entity: str) -> Candidate:
    """The one entity that is meant. Raises InvalidInput ``kb.unknown_entity`` or ``kb.ambiguous``."""
    from runloop.kb.naming import only

    return only(entity, kb.find(entity, Path.cwd()), kb.redactor.text)


def _named_or_line(kb: KnowledgeBase, text: str) -> Candidate | None:
    """The one entity that is meant; None where nothing is, and the text is a line for the prompt."""
    from runloop.kb.naming import only
    from runloop.runs.unfinished import refuse_imported

    found = kb.find(text, Path.cwd())
    if not found and _may_be_line(text):
        return None
    if not found:
        refuse_imported(kb, text)
    return only(text, found, kb.redactor.text)


def _may_be_line(text: str) -> bool:
    from runloop.cli.deciding import is_line

    return text != "last" and is_line(text, context.settings())


def _explain_line(line: str, form: Format, style: output.TableStyle, *, sought: bool) -> int:
    from runloop.cli import deciding, masking

    if form in (Format.DOT, Format.MERMAID):
        raise InvalidInput("the decision for a line is no graph", code="cli.usage", hint="--format tree, table or json shows it")
    said = masking.masked(deciding.decision(line, context.settings()))
    if form is Format.JSON:
        output.print_json(said)
    elif form is Format.TABLE:
        output.print_rows(deciding.COLUMNS, [deciding.row(said)], as_table=True, style=style)
    else:
        _print(deciding.lines(said, sought=sought), output.terminal_width() if style.fit else None)
    return EXIT_OK


def _print(lines: Iterable[str], width: int | None = None) -> None:
    for line in lines:
        for each in [line] if width is None else output.wrapped(output.clean_line(line), width):
            output.print_line(each)
