"""`rlp kb verify` and what else keeps the files whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.kb.progress import progress
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_OK, EXIT_VERIFICATION, InvalidInput

if TYPE_CHECKING:
    from runloop.kb.verify import VerifyReport


def verify(
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="ID:HASH", help="A head noted earlier (as this command prints it) that must still be there."),
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Only the events: no contents of blobs, no indexes, no derived tables.")] = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Recompute every hash, rebuild the derived tables beside, and name the first thing that is not as it was written.

    Exit code 5 if there is one.
    """
    from runloop.kb.verify import Anchor

    with open_kb() as kb:
        noted = None if head is None else Anchor(kb.ledger.id, *_parse_head(head))
        with progress() as tell:
            report = kb.verify(noted, views=True, quick=quick, progress=tell)
        aside = kb.problems() if report.ok else []
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
