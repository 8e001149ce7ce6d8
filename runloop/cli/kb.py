"""`rlp kb`: import contacts and notes, search, query, explain and verify the knowledge base."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, output, stalls
from runloop.cli.options import JsonOption, MaxColsOption, MaxRowsOption, NoWrapOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK, EXIT_VERIFICATION, InvalidInput

if TYPE_CHECKING:
    from runloop.events import StoredEvent
    from runloop.kb import KnowledgeBase
    from runloop.kb.importers.report import ImportReport
    from runloop.kb.search import Hit

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Query, search, import into and verify the knowledge base."
)
imports = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Import contacts or notes.")
app.add_typer(imports, name="import")

_EVENT_COLUMNS = ("event", "time", "kind", "actor", "what")


def _open() -> KnowledgeBase:
    from runloop.runs.places import open_knowledge

    return open_knowledge(context.settings(), stalls.tell)


@imports.command()
def contacts(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="vCard (.vcf) or CSV files.")],
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import contacts. What is refused is listed with file, line and reason; a second import takes nothing new."""
    from runloop.kb.importers.contacts import import_contacts

    with _open() as kb:
        return _report(import_contacts(kb, files), json=json, table=table)


@imports.command()
def notes(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with Markdown and text files, or one such file.")],
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import notes as passages with their lines. Changed files replace what was read before; files that are gone are forgotten."""
    from runloop.kb.importers.notes import import_notes

    with _open() as kb:
        return _report(import_notes(kb, directory), json=json, table=table)


def _report(report: ImportReport, *, json: bool, table: bool) -> int:
    """Print an import; the exit code is 1 only when something was refused and nothing could be used."""
    useful = report.taken + report.known + report.removed
    code = EXIT_FAILED if report.refused and not useful else EXIT_OK
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(report.to_dict())
        return code
    for refusal in report.refused:
        place = refusal.file if refusal.line is None else f"{refusal.file}:{refusal.line}"
        print(output.clean(f"refused {place}: {refusal.reason}"), file=sys.stderr)
    gone = f", {report.removed} {'file' if report.removed == 1 else 'files'} forgotten" if report.removed else ""
    output.print_line(f"{report.what}: {report.taken} new, {report.known} known, {len(report.refused)} refused{gone}")
    return code


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
    with _open() as kb:
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


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; tables: rlp kb tables.")],
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Fetch at most N rows.")] = 1000,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=600, help="Stop after this time.")] = 5.0,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """Run one read-only SQL statement. E-mail addresses are masked wherever they come from."""
    with _open() as kb:
        result = kb.query(sql, max_rows=limit, max_seconds=seconds)
    output.print_rows(
        result.columns,
        result.rows,
        as_json=json,
        as_table=table,
        style=output.TableStyle(max_cols, max_rows, fit=not no_wrap),
        empty="no rows",
        data=result.to_dict(),
    )
    if result.truncated and not output.wants_json(as_json=json, as_table=table):
        output.print_warning("kb.truncated", f"only the first {len(result.rows)} rows; --limit fetches more")
    return EXIT_OK


@app.command()
def tables(json: JsonOption = False, table: TableOption = False) -> int:
    """List the tables and columns that `rlp kb query` can read, and what is masked in them."""
    from runloop.kb.query import TABLES

    rows = [(each.name, column.name, column.mask or None) for each in TABLES.values() for column in each.columns]
    output.print_rows(("table", "column", "masked"), rows, as_json=json, as_table=table)
    return EXIT_OK


@app.command()
def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="contact:…, note:PATH, artifact:…, run:… or event:N.")],
    *,
    json: JsonOption = False,
    table: TableOption = False,
    max_cols: MaxColsOption = None,
    max_rows: MaxRowsOption = None,
    no_wrap: NoWrapOption = False,
) -> int:
    """List the events that made an entity what it is, oldest first."""
    from runloop.kb.mask import mask_value

    with _open() as kb:
        events = kb.why(key)
        if not events:
            raise InvalidInput(f"nothing is known of {key!r}", code="kb.unknown_key", hint="`rlp kb search WORDS --json` shows keys")
        data: list[dict[str, Any]] = [mask_value(_event_dict(event), kb.salt) for event in events]
    rows = [(each["id"], _time(each["ts_ms"]), each["kind"], each["actor"], _gist(each)) for each in data]
    output.print_rows(
        _EVENT_COLUMNS, rows, as_json=json, as_table=table, style=output.TableStyle(max_cols, max_rows, fit=not no_wrap), data=data
    )
    return EXIT_OK


def _event_dict(event: StoredEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "ts_ms": event.ts_ms,
        "kind": event.kind,
        "actor": event.actor,
        "scope": event.scope,
        "payload": dict(event.payload),
        "provenance": dict(event.provenance),
        "content_hash": event.content_hash.hex(),
    }


def _time(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _gist(event: dict[str, Any]) -> str:
    payload = event["payload"]
    for name in ("message", "summary", "name", "subject", "path"):
        if isinstance(payload.get(name), str):
            return str(payload[name])
    return ""


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="ID:HASH", help="A head noted earlier (as this command prints it) that must still be there."),
    ] = None,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Recompute every hash and name the first event that was changed, moved, lost or cut off; exit code 5 if there is one."""
    from runloop.kb.verify import Anchor

    with _open() as kb:
        noted = None if head is None else Anchor(kb.ledger.id, *_parse_head(head))
        report = kb.verify(noted)
        aside = kb.problems() if report.ok else []
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({**report.to_dict(), "set_aside": aside})
        return EXIT_OK if report.ok else EXIT_VERIFICATION
    report.require(str(kb.ledger.path))
    output.print_line(f"intact: {report.events} events, {report.blobs} blobs")
    output.print_line(f"head {report.head_id}:{report.head_chain}")
    for each in aside:
        output.print_warning("kb.set_aside", f"event {each['event_id']} ({each['kind']}) could not be applied: {each['error']}")
    return EXIT_OK


def _parse_head(text: str) -> tuple[int, bytes]:
    number, _, chain = text.partition(":")
    try:
        value = bytes.fromhex(chain)
        if len(value) == 32 and int(number) > 0:
            return int(number), value
    except ValueError:
        pass
    raise InvalidInput(f"{text!r} is not a head", code="cli.usage", hint="give ID:HASH as `rlp kb verify` printed it")
