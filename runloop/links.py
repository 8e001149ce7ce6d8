"""Paths that somebody names: with their links followed, and opened where they lead to a file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def followed(path: str | os.PathLike[str]) -> Path:
    """The absolute path with every link in it followed; what leads in a circle stays as it is, and whoever opens it is told so.

    ``Path.resolve`` raises RuntimeError for a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))


def regular(path: str | os.PathLike[str], *, inside: int | None = None) -> BinaryIO:
    """A regular file, opened without waiting for whoever writes to a pipe. Raises OSError, and ValueError for what is no path.

    ``inside`` is an open directory in which the name is looked up; there it may be no link.
    """
    follow = os.O_NOFOLLOW if inside is not None else 0
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | follow, dir_fd=inside)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")
