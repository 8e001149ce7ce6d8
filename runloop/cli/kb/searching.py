"""`rlp search` and `rlp kb search`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.past import AtOption, opened_at
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import day, moment
from runloop.errors import EXIT_OK

if TYPE_CHECKING:
    from runloop.kb.search import Hit

KINDS = "contacts, notes, artifacts, facts, messages, appointments, commits, commands or runs"
app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Search the knowledge base.")


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help='Words, "a phrase", a prefix*, AND, OR, NOT or -word, ( and ).')],
    *,
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help=f"{KINDS}; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not older than (2d, 15m, 09:30, a date).")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Older than.")] = None,
    at: AtOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Show at most N hits.")] = 10,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """Search everything that is known, best first. E-mail addresses are masked; docs/search.md has the language and the order."""
    from runloop.kb.search import Request

    now = time.time_ns() // 1_000_000
    query = " ".join(words)
    times = (moment(since, now, "--since"), moment(until, now, "--until"))
    request = Request(query, None if kind is None else tuple(kind), *times, limit).checked()
    with opened_at(at) as kb:
        found = kb.search_for(request)
    for remark in found.remarks:
        output.print_warning("kb.query_remark", f"{remark.message} (character {remark.at + 1} of {query!r})")
    hits = found.hits
    rows = [(f"{hit.score:.3f}", hit.domain, hit.title, _first_line(hit), _when(hit), f"event:{hit.event_id}", _place(hit)) for hit in hits]
    output.print_rows(
        ("score", "kind", "title", "excerpt", "time", "source", "place"),
        rows,
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="nothing found",
        data=[hit.explained() for hit in hits],
    )
    return EXIT_OK


def _first_line(hit: Hit) -> str:
    """The line of the excerpt that has most of the words."""
    lines = hit.excerpt.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    marked = [sum(starts[at] <= start < starts[at + 1] for start, _ in hit.marks) for at in range(len(lines))]
    return lines[max(range(len(lines)), key=lambda at: (marked[at], bool(lines[at].strip()), -at))]


def _when(hit: Hit) -> str | None:
    return None if hit.ts_ms is None else day(hit.ts_ms)


def _place(hit: Hit) -> str | None:
    """File name and line; the whole path is in the JSON."""
    if hit.path is None:
        return None
    return Path(hit.path).name + (f":{hit.line}" if hit.line is not None else "")
