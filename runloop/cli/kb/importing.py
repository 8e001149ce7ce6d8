"""`rlp kb import`: take in what a person has."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import output
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, TableOption
from runloop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from runloop.kb.importers.intake import How, Progress
    from runloop.kb.importers.report import ImportReport

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Import contacts, notes, mail, calendars, commits, shell histories.",
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be taken, and write nothing.")]
TakeErasedOption = Annotated[bool, typer.Option("--take-erased", help="Take again what was erased (`rlp forget`), too.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
EncodingOption = Annotated[str | None, typer.Option("--encoding", metavar="NAME", help="Of files that are not UTF-8, such as cp1252.")]
_TELL_S = 0.2


@app.command()
def contacts(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="vCard (.vcf) or CSV files.")],
    encoding: EncodingOption = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import contacts. What is refused is listed with file, line and reason; a second import takes nothing new."""
    from runloop.kb.importers.contacts import import_contacts

    with open_kb() as kb:
        report = import_contacts(kb, files, _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased), encoding=_encoding(encoding))
    return _report(report, json=json, table=table)


@app.command()
def notes(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with Markdown and text files, or one such file.")],
    encoding: EncodingOption = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import notes as passages with their lines. Changed files replace what was read before; files that are gone are forgotten."""
    from runloop.kb.importers.notes import import_notes

    with open_kb() as kb:
        report = import_notes(kb, directory, _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased), encoding=_encoding(encoding))
    return _report(report, json=json, table=table)


@app.command()
def mail(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="mbox files, Maildir folders, .eml files, or directories of them.")
    ],
    attachments: Annotated[bool, typer.Option("--attachments", help="Keep what is attached, not only its name, size and hash.")] = False,
    encoding: EncodingOption = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import mail. Each message is taken once, whichever mailboxes hold it; one that is gone from its mailbox is forgotten."""
    from runloop.kb.importers.mail.importing import FALLBACK, import_mail

    with open_kb() as kb:
        how = _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased)
        report = import_mail(kb, paths, how, encoding=_encoding(encoding) or FALLBACK, keep=attachments)
    return _report(report, json=json, table=table)


@app.command()
def shell(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="Histories; without them those of your shells.")] = None,
    which: Annotated[str | None, typer.Option("--shell", metavar="NAME", help="Whose they are: bash, zsh or fish; else they tell.")] = None,
    encoding: EncodingOption = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import shell histories. Passwords, tokens and keys are taken out of the commands before anything is stored."""
    import os

    from runloop.kb.importers.shell.histories import SHELLS
    from runloop.kb.importers.shell.importing import import_shell, usual_histories

    if which is not None and which not in SHELLS:
        raise InvalidInput(f"{which!r} is not a shell that can be read", code="cli.usage", hint=f"use {', '.join(SHELLS)}")
    chosen = files or usual_histories(os.environ, Path.home())
    if not chosen:
        raise InvalidInput("no shell history was found", code="import.missing", hint="name the file: rlp kb import shell FILE")
    with open_kb() as kb:
        how = _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased)
        report = import_shell(kb, chosen, how, shell=which, encoding=_encoding(encoding))
    return _report(report, json=json, table=table)


@app.command()
def calendar(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="iCalendar files (.ics).")],
    encoding: EncodingOption = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import appointments. Recurrences stay rules; what changed replaces what was read before, what is gone is forgotten."""
    from runloop.kb.importers.calendar.importing import import_calendar

    with open_kb() as kb:
        report = import_calendar(kb, files, _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased), encoding=_encoding(encoding))
    return _report(report, json=json, table=table)


@app.command()
def git(
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="The directory of a Git repository.")],
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only commits from then on: 30d, 2026-01-31.")] = None,
    dry_run: DryRunOption = False,
    take_erased: TakeErasedOption = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
    table: TableOption = False,
) -> int:
    """Import the commits of every branch of a repository. Those that can no longer be reached are forgotten, unless --since is given."""
    from runloop.cli.times import moment
    from runloop.kb.importers.git import import_git

    since_ms = moment(since, time.time_ns() // 1_000_000, "--since")
    with open_kb() as kb:
        report = import_git(kb, repository, _how(dry_run=dry_run, quiet=quiet, take_erased=take_erased), since_ms=since_ms)
    return _report(report, json=json, table=table)


def _how(*, dry_run: bool, quiet: bool, take_erased: bool) -> How:
    from runloop.kb.importers.intake import How

    return How(dry_run=dry_run, take_erased=take_erased, progress=None if quiet or not output.shows_progress() else _teller())


def _encoding(name: str | None) -> str | None:
    from runloop.kb.importers.textfile import known_encoding

    return None if name is None else known_encoding(name)


def _teller() -> Progress:
    """Keeps one line on the terminal that says how far the import is."""
    last = 0.0

    def tell(report: ImportReport) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _TELL_S:
            return
        last = now
        size = f", {report.read / 1e6:.1f}" + (f" of {report.total / 1e6:.1f} MB" if report.total else " MB")
        sys.stderr.write(f"\r\x1b[K{report.what}: {report.taken} new, {report.known} known, {report.refusals} refused{size}")
        sys.stderr.flush()

    return tell


def _report(report: ImportReport, *, json: bool, table: bool) -> int:
    """Print an import; the exit code is 1 only when something was refused and nothing could be used."""
    if output.is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")
    useful = report.taken + report.known + report.removed
    code = EXIT_INTERRUPTED if report.interrupted else EXIT_FAILED if report.refusals and not useful else EXIT_OK
    if output.wants_json(as_json=json, as_table=table):
        output.print_json(report.to_dict())
        return code
    for word, places in (("refused", report.refused), ("note", report.remarks)):
        for file, line, reason in places:
            print(output.clean(f"{word} {file if line is None else f'{file}:{line}'}: {reason}"), file=sys.stderr)
    if report.refusals > len(report.refused):
        print(f"… and {report.refusals - len(report.refused)} more refused", file=sys.stderr)
    output.print_line(f"{report.what}: {_counts(report)}")
    if report.interrupted:
        print("interrupted: what was taken stays; the same command goes on from there", file=sys.stderr)
    return code


def _counts(report: ImportReport) -> str:
    words = [f"{report.taken - report.changed} new", f"{report.changed} changed"] if report.changed else [f"{report.taken} new"]
    words += [f"{report.known} known", f"{report.refusals} refused"]
    if report.removed:
        things = "file" if report.what == "notes" else "record"
        words.append(f"{report.removed} {things if report.removed == 1 else things + 's'} forgotten")
    if report.accounts:
        words.append(f"{report.accounts} {'account' if report.accounts == 1 else 'accounts'}")
    if report.scrubbed:
        words.append(f"{report.scrubbed} {'secret' if report.scrubbed == 1 else 'secrets'} taken out")
    return ", ".join(words) + (" (dry run: nothing was written)" if report.dry_run else "")
