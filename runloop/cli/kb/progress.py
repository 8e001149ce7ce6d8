"""How far something long is, on one line of a terminal's stderr."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EVERY_S = 0.1


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function for what is under way, how much is done, and of how much; where stderr is no terminal it says nothing."""
    if not output.shows_progress():
        yield lambda _what, _done, _of: None
        return
    said = -_EVERY_S

    def tell(what: str, done: int, of: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= _EVERY_S:
            said = now
            share = f" {100 * done // of} %" if of else ""
            output.write_over(f"{what}{share} ({done:,} of {of:,})")

    try:
        yield tell
    finally:
        output.write_over()
