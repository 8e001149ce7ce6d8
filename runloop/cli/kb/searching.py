"""`rlp search` and `rlp kb search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_OK

if TYPE_CHECKING:
    from runloop.kb.search import Hit

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Search the knowledge base.")


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help='Words, "a phrase", or a prefix*.')],
    *,
    domain: Annotated[list[str] | None, typer.Option("--domain", "-d", help="contacts, notes or artifacts; may be repeated.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Show at most N hits.")] = 10,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """Search contacts, notes and artifacts, best first. E-mail addresses of contacts are masked."""
    with open_kb() as kb:
        hits = kb.search(" ".join(words), domain, limit)
    rows = [
        (f"{hit.score:.3f}", hit.domain, hit.title, hit.excerpt.partition("\n")[0], f"event:{hit.event_id}", _place(hit)) for hit in hits
    ]
    output.print_rows(
        ("score", "domain", "title", "excerpt", "source", "place"),
        rows,
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="nothing found",
        data=[hit.to_dict() for hit in hits],
    )
    return EXIT_OK


def _place(hit: Hit) -> str | None:
    """File name and line; the whole path is in the JSON."""
    if hit.path is None:
        return None
    return Path(hit.path).name + (f":{hit.line}" if hit.line is not None else "")
