"""Files of the person that are written whole or not at all, and what to do where they cannot be."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from runloop.errors import NO_ROOM
from runloop.links import followed

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o666, new: bool = False) -> None:
    """Write the file, and its directory where that is missing; what is there keeps its mode, and stays as it is if anything fails.

    With ``new`` nothing may be there, not even a link to nothing (FileExistsError). Raises OSError.
    """
    path = path if new else followed(path)  # what a link leads to is written, and the link stays
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", "surrogateescape")
    if new:
        _fill(path, data, os.O_EXCL, mode)
        return
    own = path.with_name(f".{path.name}.runloop.{os.getpid()}")
    _fill(own, data, os.O_TRUNC, mode)
    try:
        if path.exists():
            shutil.copystat(path, own)
        own.replace(path)
    except BaseException:
        own.unlink(missing_ok=True)
        raise


def _fill(path: Path, data: bytes, flag: int, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remedy(error: OSError, otherwise: str) -> str:
    """The hint for a file that cannot be written: about room where that is the reason."""
    return "make room there, or raise the quota, and try again" if error.errno in NO_ROOM else otherwise
