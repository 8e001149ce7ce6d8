"""Finding the run that a verb names: one of this machine, an imported one, or one in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runloop.cli import context, masking
from runloop.cli.ledger import require
from runloop.errors import InvalidInput, Where

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb import Ledger
    from runloop.runs.archives.imported import Imported
    from runloop.runs.sources import FoundRun

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first letters, `last`, or a file of `rlp export`.")]

UnfinishedArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first letters, or `last`.")]
PerhapsUnfinishedArgument = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id, its first letters, or `last`.")]
_ORIGINS = {"archived": "from the archive, by `rlp kb prune`", "imported": "imported from another ledger", "file": "read from a file"}
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it stands in the records.")]


def one_or_all(run: str | None, *, every: bool) -> None:
    """Raise InvalidInput ``cli.usage`` unless exactly one of a run and `--all` was given."""
    if (run is None) != every:
        message = "name a run, or give --all" if run is None else "a run and --all exclude each other"
        raise InvalidInput(message, code="cli.usage", where=Where(key="RUN"), hint="`rlp runs` lists the runs")


def imported() -> Imported:
    """The archives that were imported here."""
    from runloop.runs.archives.imported import Imported

    return Imported(context.settings().directories.pog / "imported")


@contextmanager
def finding(ref: str) -> Iterator[FoundRun]:
    """The run that ``ref`` names, while its source is open. Raises InvalidInput as :func:`find_source`, and ``run.no_ledger``."""
    from runloop.runs.sources import find_source, is_file

    others = imported()
    if not is_file(ref) and not others.directory.is_dir():
        require(_ledger_path())
    with perhaps_ledger() as ledger:
        yield find_source(ref, ledger, others)


def elsewhere(found: FoundRun) -> str:
    """Where the run is from, and who answers for its archive, for the end of the line that names it; nothing for one of this ledger."""
    if found.origin == "own":
        return ""
    archive = found.archive
    signed = "" if archive is None else ", signed by nobody" if archive.signer is None else f", signed by {archive.signer[:16]}…"
    return f"  ({_ORIGINS[found.origin]}{signed})"


def refuse_archived(found: FoundRun) -> None:
    """Raise RunArchived where the run was archived: it is read there and nothing else."""
    from runloop.kb.pruning.archived import ArchivedRuns

    if isinstance(found.source, ArchivedRuns):
        raise found.source.refusal(found.run_id)


def records_of(found: FoundRun) -> Iterator[Mapping[str, Any]]:
    """The records of a run that was found, large values loaded, masked."""
    return map(masking.masked, stored_records(found))


def stored_records(found: FoundRun) -> Iterator[Mapping[str, Any]]:
    """As :func:`records_of`, as they are stored: for who masks what of them is shown, which may be little of it."""
    from runloop.events import record_of
    from runloop.runs.fork import told_events

    return (record_of(event) for event in told_events(found.source, found.run_id) if "v" in event.payload)


@contextmanager
def perhaps_ledger() -> Iterator[Ledger | None]:
    """The ledger of these settings, read-only, or None where nothing has been recorded yet."""
    from runloop.kb import Ledger

    path = _ledger_path()
    if not path.exists():
        yield None
        return
    with Ledger.open(path, writable=False) as ledger:
        yield ledger


def _ledger_path() -> Path:
    settings = context.settings()
    path: Path = settings.directories.pog / settings.get("kb.events_db")
    return path
