"""Files of the person that are written whole or not at all, and what to do where they cannot be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.errors import NO_ROOM, InvalidInput
from runloop.links import replaceable

if TYPE_CHECKING:
    from collections.abc import Mapping


def home(environment: Mapping[str, str]) -> Path:
    """The directory of the person's own files, as a shell has it. Raises InvalidInput ``cli.no_home`` where there is none."""
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        message = "there is no home directory: HOME is not set, and the system has none for this user"
        raise InvalidInput(message, code="cli.no_home", hint="set HOME") from None


def write_whole(path: Path, text: str, *, mode: int = 0o666, new: bool = False) -> None:
    """Write the file, and its directory where that is missing; what is there keeps its mode, and stays as it is if anything fails.

    With ``new`` nothing may be there, not even a link to nothing (FileExistsError). Raises OSError.
    """
    path = path if new else replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8", "surrogateescape")
    if new:
        _fill(path, data, mode)
        return
    from runloop.staged import staged

    with staged(path.parent, data, mode) as own:
        if path.exists():
            shutil.copystat(path, own)
        own.replace(path)


def for_oneself(path: str, flags: int) -> int:
    """Open a file that a person names, as an ``opener``: one that is new is for its owner alone, since it shows what a run said."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _fill(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remedy(error: OSError, otherwise: str) -> str:
    """The hint for a file that cannot be written: about room where that is the reason."""
    return "make room there, or raise the quota, and try again" if error.errno in NO_ROOM else otherwise
