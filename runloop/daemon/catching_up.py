"""Bringing the derived tables up to the ledger at start: after an upgrade they are made anew, and who waits hears how far that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from runloop.kb import KnowledgeBase

PARTS = 50
"""How often in all it is said how far it is."""


def catch_up(kb: KnowledgeBase, tell: Callable[[int, int], None], say: Callable[[int, int], None]) -> None:
    """Apply what is missing; ``tell`` hears the last event applied and the newest one as it goes on, ``say`` only a part later.

    Stays where it is on a full disk (``kb.behind``). Raises RunloopError where the tables or the ledger cannot be read.
    """
    said = -1

    def tick(done: int, newest: int) -> None:
        nonlocal said
        if done < newest:
            tell(done, newest)
            if (part := done * PARTS // newest) > said:
                said = part
                say(done, newest)

    kb.sync(tick=tick)
