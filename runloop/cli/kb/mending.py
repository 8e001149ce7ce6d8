"""`rlp kb rebuild` and `rlp kb poison`: make the derived tables anew, and see what could not be applied."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.places import files
from runloop.cli.kb.progress import progress
from runloop.cli.ledger import has_ledger
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from runloop.kb import KnowledgeBase
    from runloop.kb.materialise import Synced

poison = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="See and retry events that were set aside.")
_COLUMNS = ("event", "kind", "error")


def rebuild(json: JsonOption = False, table: TableOption = False) -> int:
    """Make the derived tables and the search index anew from every event; until they are whole, everybody reads the old ones."""
    from runloop.kb.errors import LedgerCorrupt
    from runloop.kb.rebuilding import discard

    began, views = time.monotonic(), files().views
    try:
        made = _opened_and_rebuilt()
    except LedgerCorrupt as error:
        if error.where.file != str(views):
            raise
        discard(views)
        made = _opened_and_rebuilt()
    seconds = time.monotonic() - began
    answer = {"events": made.applied, "watermark": made.watermark, "set_aside": made.set_aside, "ms": round(seconds * 1000)}
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(answer)
        return EXIT_OK
    output.print_line(f"rebuilt from {made.applied:,} events in {seconds:,.1f} s, up to event {made.watermark}")
    if made.set_aside:
        output.print_warning("kb.set_aside", f"{made.set_aside} events could not be applied; `rlp kb poison list` shows them")
    return EXIT_OK


@poison.command("list")
def list_poison(
    *,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List the events that could not be applied, and why. They are in the ledger, and nothing else waits for them."""
    found: list[dict[str, Any]] = []
    if has_ledger():
        with open_kb() as kb:
            found = _problems(kb)
    style = output.TableStyle(max_cols, max_rows, fit=not no_wrap)
    rows = [(f"event:{each['event_id']}", each["kind"], each["error"]) for each in found]
    output.print_rows(_COLUMNS, rows, as_json=json, as_table=table, style=style, empty="nothing was set aside", data=found)
    return EXIT_OK


@poison.command()
def retry(json: JsonOption = False, table: TableOption = False) -> int:
    """Apply what was set aside again, each event in its place: the tables are made anew. Exit code 1 where some still cannot be applied."""
    with open_kb() as kb:
        before = _problems(kb)
        if before:
            _rebuilt(kb)
        still = _problems(kb)
    left = {each["event_id"] for each in still}
    applied = [each["event_id"] for each in before if each["event_id"] not in left]
    code = EXIT_FAILED if still else EXIT_OK
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({"applied": applied, "set_aside": still})
        return code
    output.print_line(f"{len(applied)} applied, {len(still)} still set aside" if before else "nothing was set aside")
    for each in still:
        output.print_warning("kb.set_aside", f"event {each['event_id']} ({each['kind']}) could not be applied: {each['error']}")
    return code


def _opened_and_rebuilt() -> Synced:
    with open_kb() as kb:
        return _rebuilt(kb)


def _rebuilt(kb: KnowledgeBase) -> Synced:
    head = kb.ledger.head().id
    with progress() as tell:
        return kb.rebuild(lambda done: tell("rebuilding", done, head))


def _problems(kb: KnowledgeBase) -> list[dict[str, Any]]:
    """With their reasons masked: those may quote what an event says."""
    masked: list[dict[str, Any]] = kb.redactor.value(kb.problems())
    return masked
