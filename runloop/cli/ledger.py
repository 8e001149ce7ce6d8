"""Opening the ledger for the verbs that only read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.cli import context, output, stalls
from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb import KnowledgeBase, Ledger

_STEP = 5_000
"""Events that the tables may be behind without a word about it: they take a moment."""


@contextmanager
def reading_base() -> Iterator[KnowledgeBase]:
    """The knowledge base of these settings, with its derived tables brought up to date; errors as :func:`reading_ledger`."""
    from runloop.runs.places import open_knowledge

    settings = context.settings()
    require(settings.directories.pog / settings.get("kb.events_db"))
    with open_knowledge(settings, stalls.tell) as kb:
        if output.shows_progress():
            follow(kb)
        yield kb


def follow(kb: KnowledgeBase) -> None:
    """Where the derived tables are far behind the ledger, as after an upgrade, draw how far they are: what reads them waits for that."""
    drawn = False

    def tick(done: int, newest: int) -> None:
        nonlocal drawn
        if newest - done > _STEP:
            drawn = True
            output.write_over(f"bringing the tables up to the ledger: {done:,} of {newest:,} events")

    kb.sync(tick=tick)
    if drawn:
        output.write_over()


@contextmanager
def reading_ledger() -> Iterator[Ledger]:
    """The ledger of these settings, read-only. Raises InvalidInput ``run.no_ledger`` where nothing has been recorded yet."""
    from runloop.kb import Ledger

    settings = context.settings()
    path = settings.directories.pog / settings.get("kb.events_db")
    require(path)
    with Ledger.open(path, writable=False) as ledger:
        yield ledger


def has_ledger() -> bool:
    """Whether anything has been recorded yet under these settings: a list of what there is, is empty then, and no error."""
    settings = context.settings()
    return os.path.lexists(settings.directories.pog / settings.get("kb.events_db"))


def require(path: Path) -> None:
    """Raise InvalidInput ``run.no_ledger`` unless the ledger is there."""
    if not os.path.lexists(path):
        message = f"nothing has been recorded yet: there is no {path}"
        raise InvalidInput(message, code="run.no_ledger", hint="`rlp run OPENING` or `rlp kb import` makes the first record")
