"""`rlp kb verify` and what else keeps the files whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context, output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.places import files
from runloop.cli.kb.progress import progress
from runloop.cli.kb.pruning import accept, signers
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, EXIT_VERIFICATION, InvalidInput
from runloop.text import day

if TYPE_CHECKING:
    from runloop.kb.verify import VerifyReport


def verify(
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="ID:HASH", help="A head noted earlier (as this command prints it) that must still be there."),
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Only the events: no contents of blobs, no indexes, no derived tables.")] = False,
    accept_signer: Annotated[
        str | None,
        typer.Option(
            "--accept-signer", metavar="KEY", help="From now on checkpoints under this public key count, such as an old machine's."
        ),
    ] = None,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Recompute every hash, rebuild the derived tables beside, and name the first thing that is not as it was written.

    Exit code 5 if there is one.
    """
    from runloop.kb.keeping.anchor import Anchor

    with open_kb() as kb:
        if accept_signer is not None:
            accept(kb.ledger.id, accept_signer)
        noted = None if head is None else Anchor(kb.ledger.id, *_parse_head(head))
        with progress() as tell:
            report = kb.verify(noted, views=True, quick=quick, progress=tell, signers=signers(kb.ledger.id))
        aside = kb.redactor.value(kb.problems()) if report.ok else []
    if output.wants_json(as_json=json, as_table=table):
        output.print_json({**report.to_dict(), "set_aside": aside})
        return EXIT_OK if report.ok else EXIT_VERIFICATION
    report.require(str(kb.ledger.path))
    print_report(report)
    for each in aside:
        output.print_warning("kb.set_aside", f"event {each['event_id']} ({each['kind']}) could not be applied: {each['error']}")
    return EXIT_OK


def print_report(report: VerifyReport) -> None:
    """What was found whole, how fast, and the head to note."""
    output.print_line(f"intact: {report.events} events, {report.blobs} blobs ({', '.join(check.name for check in report.checks)})")
    if report.bytes > 1e6 and report.ms:
        output.print_line(f"{report.bytes / 1e6:,.1f} MB hashed, {report.ms / 1000:,.1f} s, {report.bytes / 1e3 / report.ms:,.0f} MB/s")
    output.print_line(f"head {report.head_id}:{report.head_chain}")
    for remark in report.remarks:
        output.print_warning("kb.remark", remark)


def _parse_head(text: str) -> tuple[int, bytes]:
    number, _, chain = text.partition(":")
    try:
        value = bytes.fromhex(chain)
        if len(value) == 32 and int(number) > 0:
            return int(number), value
    except ValueError:
        pass
    raise InvalidInput(f"{text!r} is not a head", code="cli.usage", hint="give ID:HASH as `rlp kb verify` printed it")


def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Migrate a copy, verify it, and say how long that took.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Bring a ledger that an older Runloop wrote up to date, after a backup. The daemon has to be down."""
    from runloop.kb.keeping.migrating import migrate_ledger, rehearse

    at = files()
    with progress() as tell:
        done = rehearse(at.ledger, progress=tell) if dry_run else migrate_ledger(at.ledger, at.new_backup(), at.beside, progress=tell)
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(done.to_dict())
        return EXIT_OK
    if not done.steps:
        output.print_line(f"nothing to do: schema {done.after}")
        return EXIT_OK
    for name, does in done.steps:
        output.print_line(f"{name}: {does}")
    if done.done:
        output.print_line(f"migrated from schema {done.before} to {done.after} in {done.ms} ms; backup {done.backup}")
    else:
        output.print_line(f"a copy was migrated from schema {done.before} to {done.after} in {done.ms} ms and verified; yours is as it was")
    return EXIT_OK


def vacuum(
    *,
    analyze: Annotated[bool, typer.Option("--analyze", help="Also gather statistics for the query planner.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Write the files anew without what was deleted in them. The daemon has to be down."""
    from runloop.kb.keeping.vacuuming import vacuum as write_anew

    at = files()
    done = write_anew(at.ledger, at.derived, analyze=analyze)
    rows = [(Path(each.file).name, each.before, each.after, each.gained) for each in done]
    columns = ("file", "bytes before", "bytes after", "gained")
    output.print_rows(columns, rows, as_json=json, as_table=table, data=[each.to_dict() for each in done])
    return EXIT_OK


def stats(json: JsonOption = False, table: TableOption = False) -> int:
    """Count what is in the knowledge base: events by kind, sizes, blobs, runs, growth, and how far the derived tables are."""
    from runloop.kb.keeping.stats import stats as count

    at = files()
    with open_kb() as kb:
        kb.sync()
        found = count(kb, at.views, at.vectors, context.settings().get("kb.vectors.kinds"))
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(found)
        return EXIT_OK
    head, blobs, runs = found["head"], found["blobs"], found["runs"]
    output.print_line(f"ledger {found['ledger_id']} (schema {found['schema']}), head {head['id']}:{head['chain']}")
    span = "" if found["oldest_ms"] is None else f", {day(found['oldest_ms'])} to {day(found['newest_ms'])}"
    each = "" if found["bytes_per_event"] is None else f", {found['bytes_per_event']:,} bytes each on disk"
    output.print_line(f"{found['events']:,} events{span}{each}; {blobs['count']:,} blobs of {blobs['bytes']:,} bytes")
    output.print_line(f"runs: {', '.join(f'{count} {status}' for status, count in runs.items()) or 'none'}")
    output.print_line(f"files: {', '.join(f'{name} {size:,}' for name, size in found['files'].items() if size is not None)} bytes")
    views = found["views"]
    output.print_line(f"derived tables: {views['behind']} events behind, {views['set_aside']} set aside")
    if (vectors := found["vectors"]) is not None:
        output.print_line(f"vectors: {vectors['embedded']:,} of {vectors['documents']:,} documents, by {vectors['embedder'] or 'nobody'}")
    if found["days"]:
        total = sum(day["events"] for day in found["days"])
        output.print_line(f"growth: {total:,} events on {len(found['days'])} of the last 30 days")
    output.print_line()
    rows = [(each["kind"], each["events"], each["bytes"]) for each in found["kinds"]]
    output.print_rows(("kind", "events", "bytes"), rows, as_table=True, empty="no events")
    output.print_line()
    rows = [(f"{each['file']}.{each['name']}", each["bytes"], each["unused"]) for each in found["tables"]]
    output.print_rows(("table or index", "bytes", "unused"), rows, as_table=True, style=output.TableStyle(max_rows=15))
    return EXIT_OK
