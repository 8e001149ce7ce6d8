"""`rlp kb import`: take in what a person has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from runloop.kb.importers.report import ImportReport

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Import contacts or notes.")


@app.command()
def contacts(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="vCard (.vcf) or CSV files.")],
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import contacts. What is refused is listed with file, line and reason; a second import takes nothing new."""
    from runloop.kb.importers.contacts import import_contacts

    with open_kb() as kb:
        return _report(import_contacts(kb, files), json=json, table=table)


@app.command()
def notes(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with Markdown and text files, or one such file.")],
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import notes as passages with their lines. Changed files replace what was read before; files that are gone are forgotten."""
    from runloop.kb.importers.notes import import_notes

    with open_kb() as kb:
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
