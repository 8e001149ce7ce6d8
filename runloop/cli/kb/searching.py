"""`rlp search` and `rlp kb search`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, masking, output
from runloop.cli.kb.past import AtOption, opened_at
from runloop.cli.ledger import has_ledger
from runloop.cli.masking import UnmaskedOption
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import day, moment
from runloop.errors import EXIT_OK, RunloopError
from runloop.text import fitted, legible

if TYPE_CHECKING:
    from runloop.kb.search import Hit, Nearest
    from runloop.kb.vectors import Meaning

KINDS = "contacts, notes, artifacts, facts, messages, appointments, commits, commands or runs"
_MOST_SHOWN = 200  # columns of a query with a remark on it
app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Search the knowledge base.")


@app.command()
def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...", help='Words, "a phrase", a prefix*, AND, OR, NOT or -word, ( and ); best in one pair of quotes.'
        ),
    ],
    *,
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help=f"{KINDS}; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Not older than (2d, 15m, 09:30, a date).")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Older than.")] = None,
    at: AtOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Show at most N hits.")] = 10,
    exact: Annotated[bool, typer.Option("--words", help="By words alone, without vectors.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
    unmasked: UnmaskedOption = None,
) -> int:
    """Search everything that is known, best first; addresses, numbers and keys masked. docs/search.md has the language and the order."""
    from runloop.kb.search import Found, Request

    now = time.time_ns() // 1_000_000
    query = legible(" ".join(words))
    times = (moment(since, now, "--since"), moment(until, now, "--until"))
    request = Request(query, None if kind is None else tuple(kind), *times, limit).checked()
    found = Found([])
    if at is not None or has_ledger():
        with opened_at(at, unmasked, "search", query) as kb:
            found = kb.search_for(request, meaning=None if exact else _meaning())
    for remark in found.remarks:
        output.print_warning("kb.query_remark", f"{remark.message} (character {remark.at + 1} of {fitted(query, _MOST_SHOWN)!r})")
    _tell(found.vectors)
    hits = found.hits
    shown = masking.masked([hit.explained() for hit in hits])  # keys and paths, too
    rows = [(f"{hit.score:.3f}", hit.domain, hit.title, _first_line(hit), _when(hit), f"event:{hit.event_id}", _place(hit)) for hit in hits]
    output.print_rows(
        ("score", "kind", "title", "excerpt", "time", "source", "place"),
        rows,
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="nothing found",
        data=shown,
    )
    return EXIT_OK


def _meaning() -> Meaning | None:
    """What the settings name for vectors; where that cannot be had, the words still find something."""
    from runloop.runs.meaning import meaning

    try:
        return meaning(context.settings())
    except RunloopError as error:
        output.print_warning(error.code, f"by words alone: {error.message}; {error.hint}")
        return None


def _tell(vectors: Nearest | None) -> None:
    """Say why vectors had no part in the answer, or that some documents have none yet."""
    if vectors is None:
        return
    if vectors.why_not is not None:
        output.print_warning(vectors.why_not.code, f"by words alone: {vectors.why_not.message}; {vectors.why_not.hint}")
    elif vectors.used and vectors.embedded < vectors.documents:
        said = f"{vectors.embedded} of {vectors.documents} documents have a vector; `rlp kb embed` makes the others"
        output.print_warning("kb.vectors_behind", said)


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
    return masking.masked_text(Path(hit.path).name) + (f":{hit.line}" if hit.line is not None else "")
