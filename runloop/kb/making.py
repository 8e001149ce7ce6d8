"""How far somebody is who makes derived tables anew: it stands in the file whose lock he holds, for everybody who waits for him."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from runloop.kb.keeping.locks import exclusive, is_held

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "rebuilding.lock"
PAUSE_S = 0.2

Tick = Callable[[int, int], None]
"""Called with how far something is, and how far it has to go: mostly the last event that was applied, and the newest one."""


def note(root: Path, done: int, of: int) -> None:
    """Say how far it is; the lock is held. In a file of one length, so that nobody reads half of it."""
    with suppress(OSError), (root / LOCK).open("r+b", buffering=0) as file:
        file.write(f"{done:>20} {of:>20}\n".encode())


def how_far(root: Path) -> tuple[int, int] | None:
    """The last event that was applied and the newest one, where somebody is at it; None where nobody is, or cannot be asked."""
    try:
        if not is_held(root / LOCK):
            return None
        done, of = (root / LOCK).read_text().split()
        return int(done), int(of)
    except (OSError, ValueError):
        return None


@contextmanager
def turn(root: Path, tick: Tick) -> Iterator[None]:
    """Hold the lock; while somebody else has it, ``tick`` hears how far he is."""
    while True:
        with exclusive(root / LOCK, wait=False) as mine:
            if mine:
                yield
                return
        if (far := how_far(root)) is not None:
            tick(*far)
        time.sleep(PAUSE_S)
