"""`rlp runs`: which runs there are, what state they are in, and what they wait for."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, masking, output
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.cli.times import date_clock, moment, span
from runloop.errors import InvalidInput, Where
from runloop.text import legible, with_time_left

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from runloop.kb.runs import RunFilter

app = typer.Typer(add_completion=False, help="List runs, with their state and what they wait for.")
_COLUMNS = ("run", "opening", "state", "age", "took", "tokens", "usd", "why")
_OPTIONAL = ("usd", "why")
_MOST = 1000


@app.command()
def runs(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=_MOST, help="Show at most N runs, newest first.")] = 20,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            help="Only runs in this state: queued, running, waiting, paused, unfinished, succeeded, failed or cancelled.",
        ),
    ] = None,
    opening: Annotated[str | None, typer.Option("--opening", metavar="NAME", help="Only runs of this opening.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only runs submitted since: 2d or 15m ago, 09:30 today, or an ISO date.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only runs submitted before.")] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="WORDS", help="Only runs with these words in the opening's name, the parameters or the reason."),
    ] = None,
    children: Annotated[
        bool, typer.Option("--children", help="Also the runs that other runs started; --opening NAME finds these too.")
    ] = False,
    imported: Annotated[bool, typer.Option("--imported", help="The runs that were imported, instead of this machine's own.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="The runs that `rlp kb prune` archived, and where.")] = False,
    as_json: JsonOption = False,
    as_table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List runs, newest first. A run without an end that no process drives is unfinished: `rlp resume` takes it up.

    A run stands for those that it started as well, and waits for what they wait for; `rlp show RUN` lists them.

    Examples: `rlp runs --state waiting`, `rlp runs --opening compose_email --since 2d`, `rlp runs --text "pier repair" --json`.
    """
    from runloop.kb.runs import STATES, RunFilter

    if state is not None and state not in STATES:
        raise InvalidInput(f"there is no state {state!r}", code="cli.usage", where=Where(key="--state"), hint="use " + ", ".join(STATES))
    now_ms = time.time_ns() // 1_000_000
    wanted = RunFilter(
        state,
        opening and legible(opening),
        since_ms=moment(since, now_ms, "--since"),
        until_ms=moment(until, now_ms, "--until"),
        text=text and legible(text),
        limit=min(limit + 1, _MOST),
        roots=not children and opening is None,
    )
    style = output.TableStyle(max_cols=max_cols, max_rows=max_rows, fit=not no_wrap)
    show = partial(_show, limit=limit, style=style, as_json=as_json, as_table=as_table)
    if archived:
        return _archived(wanted, show)
    if imported:
        return _imported(wanted, show)
    found = masking.masked(_listed(wanted))
    return show(_COLUMNS, [_cells(each, now_ms) for each in found], found, optional=_OPTIONAL)


def _show(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    data: Sequence[Mapping[str, Any]],
    *,
    limit: int,
    style: output.TableStyle,
    as_json: bool,
    as_table: bool,
    optional: Collection[str] = (),
) -> int:
    """Print at most ``limit`` of the runs; a table says that there are more."""
    output.print_rows(
        columns,
        rows[:limit],
        as_json=as_json,
        as_table=as_table,
        style=style,
        data=data[:limit],
        empty="no runs match",
        optional=optional,
    )
    if len(rows) > limit and not output.wants_json(as_json=as_json, as_table=as_table):
        print(f"… and more runs (use --limit to see more than {limit})")
    return 0


def _listed(wanted: RunFilter) -> list[dict[str, Any]]:
    """The runs as the daemon sees them; where none answers, as the ledger and the living processes say."""
    from runloop.cli import link
    from runloop.cli.ledger import has_ledger

    found = link.ask_if_operator(
        context.settings(), "list", state=wanted.state, opening=wanted.opening, since_ms=wanted.since_ms, until_ms=wanted.until_ms,
        text=wanted.text, limit=wanted.limit, roots=wanted.roots,
    )  # fmt: skip
    if found is not None:
        return list(found["runs"])
    return in_ledger(wanted) if has_ledger() else []


def in_ledger(wanted: RunFilter) -> list[dict[str, Any]]:
    """The runs as the ledger and the living processes say."""
    from runloop.cli.ledger import reading_base
    from runloop.runs.owners import living_owners

    with reading_base() as kb:
        return kb.runs(replace(wanted, living=frozenset(living_owners(kb.root))))


def _cells(run: Mapping[str, Any], now_ms: int) -> list[Any]:
    why, since_ms, usd = run["reason"], run.get("waiting_since_ms"), run["usd"]
    if waits := run.get("waiting_for"):
        since = "" if since_ms is None else f" since {span(now_ms - since_ms)}"
        why = f"waits for {with_time_left(waits, run.get('until_ms'), now_ms)}{since}"
    began_ms = run["started_ms"]
    took_ms = run["ms"] if run["finished_ms"] is not None or began_ms is None else now_ms - began_ms
    return [
        run["run_id"][:8],
        run["opening_name"],
        run["state"],
        span(now_ms - run["submitted_ms"]),
        None if took_ms is None else span(took_ms),
        run["tokens"] or None,
        None if usd is None or not run["tokens"] else f"{usd:.4f}",
        why,
    ]


def _archived(wanted: RunFilter, show: Callable[..., int]) -> int:
    _only_simple(wanted, "--archived")
    from runloop.cli.ledger import has_ledger, reading_ledger
    from runloop.kb.pruning.archived import ArchivedRuns

    found: list[dict[str, Any]] = []
    if has_ledger():
        with reading_ledger() as ledger:
            found = ArchivedRuns(ledger).listed(state=wanted.state, opening=wanted.opening, limit=wanted.limit)
    rows = [_archived_cells(each) for each in found]
    columns = ("run", "opening", "state", "submitted", "records", "archive")
    return show(columns, rows, found)


def _archived_cells(run: Mapping[str, Any]) -> list[Any]:
    place = Path(run["archive"]).name
    return [run["run_id"][:8], run["opening_name"], run["status"], date_clock(run["submitted_ms"]), run["records"], place]


def _only_simple(wanted: RunFilter, option: str) -> None:
    if (wanted.since_ms, wanted.until_ms, wanted.text) != (None, None, None):
        message = f"--since, --until and --text do not go with {option}"
        hint = "--state, --opening and --limit go with it"
        raise InvalidInput(message, code="cli.usage", where=Where(key=option), hint=hint)


def _imported(wanted: RunFilter, show: Callable[..., int]) -> int:
    _only_simple(wanted, "--imported")
    from runloop.cli.finding import imported

    places = imported().runs()  # a run may be in several archives, as one that others were forked from
    listed = [
        (manifest, entry)
        for path, manifest in imported().manifests()
        for entry in manifest.runs
        if places[entry.run_id] == path
        and wanted.opening in {None, entry.opening_name}
        and wanted.state in {None, entry.status or "unfinished"}
    ][: wanted.limit]
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
    return show(columns, rows, data)
