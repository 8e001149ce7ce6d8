"""Which process has a run: every process that drives runs holds a lock of its own, and names it in their records."""

from __future__ import annotations

import fcntl
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY = "owners"


class Owner:
    """The process that drives some runs: alive as long as it holds the lock, however it ends."""

    def __init__(self, directory: Path, owner_id: str, handle: int) -> None:
        self.id = owner_id
        self._path = directory / owner_id
        self._handle = handle

    @classmethod
    def take(cls, pog: Path) -> Self:
        """Become an owner in the knowledge base at ``pog``."""
        from runloop.private import make_private

        directory = pog / _DIRECTORY
        make_private(directory)
        owner_id = uuid.uuid4().hex
        unseen = directory / f".{owner_id}"  # nobody may find it before it is locked
        handle = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.write(handle, str(os.getpid()).encode())
        unseen.rename(directory / owner_id)
        return cls(directory, owner_id, handle)

    def close(self) -> None:
        """Be none any more."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._handle)

    def alive(self, owner_id: str | None) -> bool:
        """Whether a process that is not this one has the runs of ``owner_id``."""
        if owner_id is None or owner_id == self.id or not _well_formed(owner_id):
            return False
        return _process(self._path.with_name(owner_id)) is not None


def living_owners(pog: Path) -> dict[str, str]:
    """The owners at ``pog`` whose processes are alive, with the number of each process; what the dead left is removed."""
    try:
        names = [path for path in (pog / _DIRECTORY).iterdir() if _well_formed(path.name)]
    except FileNotFoundError:
        return {}
    return {path.name: pid for path in names if (pid := _process(path)) is not None}


def _process(path: Path) -> str | None:
    """The number of the process that holds this lock, or None where none does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(handle, 20).decode("ascii", "replace")
    finally:
        os.close(handle)
    with suppress(FileNotFoundError):
        path.unlink()  # left by a process that was killed
    return None


def _well_formed(owner_id: str) -> bool:
    return len(owner_id) == 32 and set(owner_id) <= set("0123456789abcdef")
