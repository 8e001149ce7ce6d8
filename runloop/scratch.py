"""Work that must not be seen before it is whole: a locked directory beside where it will lie, removed by whoever comes next."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NAME = re.compile(r"\.keeping-[0-9a-f]{16}\.part")


@contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A new, private directory in ``beside``, gone afterwards unless it was renamed; removes what processes left that were killed.

    Raises OSError.
    """
    sweep(beside)
    path, handle = _make(beside)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def exchange(new: Path, old: Path) -> None:
    """Let each take the other's place: in one step, so that ``old`` is never gone, where the file system can. Raises OSError."""
    if _exchanged(new, old):
        return
    aside = new.with_name(f"{new.name}.aside")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _exchanged(new: Path, old: Path) -> bool:
    """Whether the system did it; False where its C library or file system cannot."""
    from ctypes import CDLL, get_errno

    rename = getattr(CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(new), _HERE, os.fsencode(old), _EXCHANGE) == 0:
        return True
    if (error := get_errno()) in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(error, os.strerror(error), str(new), None, str(old))


def sweep(beside: Path) -> None:
    """Remove the directories whose owners are gone."""
    with suppress(FileNotFoundError):
        for path in [each for each in beside.iterdir() if _NAME.fullmatch(each.name)]:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # another user's is that one's to remove
                handle = _open(path)
                try:
                    if _locked(handle):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(handle)


def _make(beside: Path) -> tuple[Path, int]:
    """A directory that is locked and still has its name: between its making and its lock a sweep may have taken it."""
    while True:
        path = beside / f".keeping-{os.urandom(8).hex()}.part"
        path.mkdir(mode=0o700)
        try:
            handle = _open(path)
        except FileNotFoundError:
            continue
        with suppress(FileNotFoundError):
            if _locked(handle) and path.stat().st_ino == os.fstat(handle).st_ino:
                return path, handle
        os.close(handle)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
