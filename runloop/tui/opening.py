"""The opening of a run out of the text that its first record has."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from runloop.errors import RunloopError

if TYPE_CHECKING:
    from runloop.openings import Opening


@lru_cache(maxsize=64)
def opening_of(source: str) -> Opening | None:
    """An opening's text as its graph; None where there is none, it needs parameters, or it was written for another version."""
    from runloop.openings import parse_opening

    try:
        return parse_opening(source) if source else None
    except RunloopError:
        return None
