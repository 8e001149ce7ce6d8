"""Finding the run that a verb names: one of this machine, an imported one, or one in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from runloop.cli import context
from runloop.cli.ledger import require

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb import Ledger
    from runloop.runs.archives.imported import Imported
    from runloop.runs.sources import FoundRun

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first letters, `last`, or a file of `rlp export`.")]


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
