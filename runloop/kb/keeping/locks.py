"""Who may touch a knowledge base as a whole: one keeper at a time, and for some things nobody else at all."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.errors import Where
from runloop.kb.database import create_directory, translated
from runloop.kb.errors import KnowledgeInUse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "keeping.lock"


@contextmanager
def one_keeper(root: Path) -> Iterator[None]:
    """Hold the keepers' lock of the base in ``root``, which is made where it is missing; runs and the daemon go on meanwhile."""
    with translated(root):
        create_directory(root)
        handle = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with _held(handle, root, "a backup, restore or the like is under way", "wait for it to end, then try again"):
        yield


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """As :func:`one_keeper`, and keep every writer out: raises ``kb.in_use`` where the daemon or another process has the base open."""
    with one_keeper(root):
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the lock of runloop.kb.unsynced.Presence
        with _held(handle, root, "another process has the knowledge base open", "stop the daemon (`rlp down`) and end other commands"):
            yield


@contextmanager
def exclusive(place: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file, which is made where it is missing; False where another process has it and nobody waits for it."""
    with translated(place):
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def is_held(place: Path) -> bool:
    """Whether somebody holds the lock of a file now (:func:`exclusive`). Raises OSError."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def _held(handle: int, root: Path, why: str, hint: str) -> Iterator[None]:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KnowledgeInUse(why, where=Where(file=str(root)), hint=hint) from None
        yield
    finally:
        os.close(handle)
