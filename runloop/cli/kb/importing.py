"""`rlp kb import`: take in what a person has."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from runloop.cli import output
from runloop.cli.kb.exporting import import_events
from runloop.cli.kb.opened import open_kb
from runloop.cli.options import JsonOption, TableOption
from runloop.dataclass import dataclass
from runloop.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InvalidInput

if TYPE_CHECKING:
    from runloop.kb import KnowledgeBase
    from runloop.kb.importers.intake import How, Progress
    from runloop.kb.importers.report import ImportReport

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Import contacts, notes, mail, calendars, commits, shell histories.",
)
app.command("events")(import_events)

_TELL_S = 0.2


@dataclass(frozen=True, slots=True)
class Taking:
    """An import under way: where what is taken goes, how, and the encoding of files that are not UTF-8."""

    kb: KnowledgeBase
    how: How
    encoding: str | None


_EncodingOption = Annotated[str | None, typer.Option("--encoding", metavar="NAME", help="Of files that are not UTF-8, such as cp1252.")]
_DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be taken, and write nothing.")]
_TakeErasedOption = Annotated[bool, typer.Option("--take-erased", help="Take again what was erased (`rlp forget`), too.")]
_QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
_SHARED: dict[str, tuple[Any, Any]] = {
    "encoding": (_EncodingOption, None),
    "dry_run": (_DryRunOption, False),
    "take_erased": (_TakeErasedOption, False),
    "quiet": (_QuietOption, False),
    "json": (JsonOption, False),
    "table": (TableOption, False),
}
"""What every import is asked, with the defaults."""


def _importer(*, encoded: bool = True) -> Callable[[Callable[..., ImportReport]], Callable[..., ImportReport]]:
    """Make a function a command: with its own words, and the options that all imports have. It is called with a :class:`Taking`."""

    def register(take: Callable[..., ImportReport]) -> Callable[..., ImportReport]:
        hints = get_type_hints(take, localns={"ImportReport": object}, include_extras=True)
        own = [each.replace(annotation=hints[each.name]) for each in signature(take).parameters.values() if each.name != "taking"]

        def command(**given: Any) -> int:
            with open_kb(make=True) as kb:
                report = take(_taking(kb, given), **{each.name: given[each.name] for each in own})
            return _report(report, json=given["json"], table=given["table"])

        shared = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in _SHARED.items()
            if encoded or name != "encoding"
        ]
        command.__name__, command.__doc__ = take.__name__, take.__doc__
        command.__annotations__ = {each.name: each.annotation for each in (*own, *shared)}
        command.__signature__ = Signature([*own, *shared])  # type: ignore[attr-defined] # what typer reads
        app.command()(command)
        return take

    return register


def _taking(kb: KnowledgeBase, given: Mapping[str, Any]) -> Taking:
    from runloop.kb.importers.intake import How
    from runloop.kb.importers.textfile import known_encoding

    progress = None if given["quiet"] or not output.shows_progress() else _teller()
    encoding = given.get("encoding")
    how = How(dry_run=given["dry_run"], take_erased=given["take_erased"], progress=progress)
    return Taking(kb, how, None if encoding is None else known_encoding(encoding))


@_importer()
def contacts(
    taking: Taking, files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="vCard (.vcf) or CSV files.")]
) -> ImportReport:
    """Import contacts. What is refused is listed with file, line and reason; a second import takes nothing new."""
    from runloop.kb.importers.contacts import import_contacts

    return import_contacts(taking.kb, files, taking.how, encoding=taking.encoding)


@_importer()
def notes(
    taking: Taking,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory with Markdown and text files, or one such file.")],
) -> ImportReport:
    """Import notes as passages with their lines. Changed files replace what was read before; files that are gone are forgotten."""
    from runloop.kb.importers.notes import import_notes

    return import_notes(taking.kb, directory, taking.how, encoding=taking.encoding)


@_importer()
def mail(
    taking: Taking,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="mbox files, Maildir folders, .eml files, or directories of them.")
    ],
    attachments: Annotated[bool, typer.Option("--attachments", help="Keep what is attached, not only its name, size and hash.")] = False,
) -> ImportReport:
    """Import mail. Each message is taken once, whichever mailboxes hold it; one that is gone from its mailbox is forgotten."""
    from runloop.kb.importers.mail.importing import FALLBACK, import_mail

    return import_mail(taking.kb, paths, taking.how, encoding=taking.encoding or FALLBACK, keep=attachments)


@_importer()
def shell(
    taking: Taking,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="Histories; without them those of your shells.")] = None,
    which: Annotated[str | None, typer.Option("--shell", metavar="NAME", help="Whose they are: bash, zsh or fish; else they tell.")] = None,
) -> ImportReport:
    """Import shell histories. Passwords, tokens and keys are taken out of the commands before anything is stored."""
    import os

    from runloop.cli.whole import home
    from runloop.kb.importers.shell.histories import SHELLS
    from runloop.kb.importers.shell.importing import import_shell, usual_histories

    if which is not None and which not in SHELLS:
        raise InvalidInput(f"{which!r} is not a shell that can be read", code="cli.usage", hint=f"use {', '.join(SHELLS)}")
    chosen = files or usual_histories(os.environ, home(os.environ))
    if not chosen:
        raise InvalidInput("no shell history was found", code="import.missing", hint="name the file: rlp kb import shell FILE")
    return import_shell(taking.kb, chosen, taking.how, shell=which, encoding=taking.encoding)


@_importer()
def calendar(
    taking: Taking, files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="iCalendar files (.ics), or directories of them.")]
) -> ImportReport:
    """Import appointments. Recurrences stay rules; what changed replaces what was read before, what is gone is forgotten."""
    from runloop.kb.importers.calendar.importing import import_calendar

    return import_calendar(taking.kb, files, taking.how, encoding=taking.encoding)


@_importer(encoded=False)
def git(
    taking: Taking,
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="The directory of a Git repository.")],
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="Only commits from then on: 30d, 2026-01-31.")] = None,
) -> ImportReport:
    """Import the commits of every branch of a repository. Those that can no longer be reached are forgotten, unless --since is given."""
    from runloop.cli.times import moment
    from runloop.kb.importers.git import import_git

    return import_git(taking.kb, repository, taking.how, since_ms=moment(since, time.time_ns() // 1_000_000, "--since"))


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
        output.write_over(f"{report.what}: {report.taken} new, {report.known} known, {report.refusals} refused{size}")

    return tell


def _report(report: ImportReport, *, json: bool, table: bool) -> int:
    """Print an import; the exit code is 1 only when something was refused and nothing could be used."""
    if output.is_terminal(sys.stderr):
        output.write_over()
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
