"""Waiting for a record, on a disk that may be full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from runloop.kb.errors import LedgerFull

_LOOK_S = 1.0
"""How often it is looked whether there is room."""


async def on_record(change: asyncio.Future[Any], stalled: Callable[[], bool], looks: int | None = None) -> None:
    """Return when a change is on record, or after so many looks.

    Raises what it raised, and LedgerFull where the ledger is ``stalled``: then it has to wait for room, and happens later.
    """
    for _ in count() if looks is None else range(looks):
        if (await asyncio.wait({change}, timeout=_LOOK_S))[0]:
            change.result()
            return
        if stalled():
            raise full("the run does that")


def full(what: str) -> LedgerFull:
    """What who asked is told, who waits no longer."""
    hint = "make room; what was asked for is forgotten only if the daemon ends before"
    return LedgerFull(f"the disk is full: {what} as soon as there is room", hint=hint)
