"""What is known of a ledger outside of it."""

from __future__ import annotations

from typing import NamedTuple


class Anchor(NamedTuple):
    """A head that was noted outside the ledger: this event must still be there, with this chain value."""

    ledger_id: str
    id: int
    chain: bytes
