"""Work that must not be seen before it is whole: a locked directory beside where it will lie, removed by whoever comes next."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def sweep(beside: Path) -> None:
    """Remove the directories whose owners are gone."""
    with suppress(FileNotFoundError):
        for path in [each for each in beside.iterdir() if _NAME.fullmatch(each.name)]:
            with suppress(FileNotFoundError, NotADirectoryError):
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
