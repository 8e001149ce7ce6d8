"""The addresses that are known, for masks: whether this is the mask of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.errors import RunloopError
from runloop.kb.database import connected

if TYPE_CHECKING:
    from pathlib import Path

    import apsw


def known_locals(db: apsw.Connection, first: str, domain: str) -> list[str]:
    """The local parts of contacts' addresses that begin so, in this domain; ``db`` holds the derived tables."""
    low = first.lower()
    rows = db.execute("SELECT email FROM contact_emails WHERE email >= ? AND email < ?", (low, chr(ord(low) + 1))).fetchall()
    ending = f"@{domain.lower()}"
    return [str(email)[: -len(ending)] for (email,) in rows if str(email).endswith(ending)]


def known_locals_in(path: Path, first: str, domain: str) -> list[str]:
    """As :func:`known_locals`, of a file with derived tables; none where it is not there, or cannot be read."""
    try:
        with connected(path, readonly=True) as db:
            return known_locals(db, first, domain)
    except RunloopError:
        return []
