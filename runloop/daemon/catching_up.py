"""Bringing the derived tables up to the ledger at start: after an upgrade every event is applied anew, and the log says how far that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.kb import KnowledgeBase

STEP = 5_000
"""Events between two words about it; one that is behind by fewer takes a moment."""


def catch_up(kb: KnowledgeBase, say: Callable[[int, int], None], step: int = STEP) -> None:
    """Apply what is missing; ``say`` hears the last event applied and the newest one, before each step but the first.

    Stays where it is on a full disk (``kb.behind``). Raises RunloopError where the tables or the ledger cannot be read.
    """
    newest, before = kb.ledger.head().id, -1
    while before < (at := kb.sync(step).watermark) < newest:
        say(at, newest)
        before = at
