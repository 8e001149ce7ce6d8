"""Opening the ledger for the verbs that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.cli import context
from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from runloop.kb import Ledger


@contextmanager
def reading_ledger() -> Iterator[Ledger]:
    """The ledger of these settings, read-only. Raises InvalidInput ``run.no_ledger`` where nothing has been recorded yet."""
    from runloop.kb import Ledger

    settings = context.settings()
    path = settings.directories.pog / settings.get("kb.events_db")
    if not path.exists():
        raise InvalidInput(f"nothing has been recorded yet: there is no {path}", code="run.no_ledger", hint="`rlp run OPENING` makes the first record")
    with Ledger.open(path, writable=False) as ledger:
        yield ledger
