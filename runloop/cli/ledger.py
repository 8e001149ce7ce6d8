"""Opening the ledger for the verbs that only read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.cli import context, stalls
from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from runloop.kb import KnowledgeBase, Ledger


@contextmanager
def reading_base() -> Iterator[KnowledgeBase]:
    """The knowledge base of these settings, with its derived tables brought up to date; errors as :func:`reading_ledger`."""
    from runloop.runs.places import open_knowledge

    settings = context.settings()
    require(settings.directories.pog / settings.get("kb.events_db"))
    with open_knowledge(settings, stalls.tell) as kb:
        yield kb


@contextmanager
def reading_ledger() -> Iterator[Ledger]:
    """The ledger of these settings, read-only. Raises InvalidInput ``run.no_ledger`` where nothing has been recorded yet."""
    from runloop.kb import Ledger

    settings = context.settings()
    path = settings.directories.pog / settings.get("kb.events_db")
    require(path)
    with Ledger.open(path, writable=False) as ledger:
        yield ledger


def require(path: Path) -> None:
    """Raise InvalidInput ``run.no_ledger`` unless the ledger is there."""
    if not os.path.lexists(path):
        message = f"nothing has been recorded yet: there is no {path}"
        raise InvalidInput(message, code="run.no_ledger", hint="`rlp run OPENING` makes the first record")
