"""Paths that somebody names: with their links followed, and opened where they lead to something that can be read to its end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_UNWAITED = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def followed(path: str | os.PathLike[str]) -> Path:
    """The absolute path with every link in it followed; what leads in a circle stays as it is, and whoever opens it is told so.

    ``Path.resolve`` raises RuntimeError for a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))


def regular(path: str | os.PathLike[str], *, inside: int | None = None) -> BinaryIO:
    """A regular file, opened without waiting for whoever writes to a pipe. Raises OSError, and ValueError for what is no path.

    ``inside`` is an open directory in which the name is looked up; there it may be no link.
    """
    handle = os.open(path, _UNWAITED | (os.O_NOFOLLOW if inside is not None else 0), dir_fd=inside)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "rb")


def readable(path: str | os.PathLike[str]) -> BinaryIO:
    """What somebody names on a command line to be read: a file, a device, or a pipe into which somebody writes, as `<(command)` is one.

    Raises OSError, also for a pipe without a writer, which would be waited for without end, and ValueError for what is no path.
    """
    handle = os.open(path, _UNWAITED)
    try:
        os.set_blocking(handle, True)
        file = os.fdopen(handle, "rb")  # a directory is refused here
    except OSError:
        os.close(handle)
        raise
    if stat.S_ISFIFO(os.fstat(handle).st_mode) and not file.peek(1):
        file.close()
        raise OSError(errno.ENXIO, "it is a pipe, and nobody writes into it", str(path))
    return file


def replaceable(path: str | os.PathLike[str]) -> Path:
    """Where a new file gets its name when it is put in the place of ``path``: what a link leads to, so that the link stays.

    Raises OSError for what is there and is no file: a device that is replaced is gone for everybody.
    """
    target = followed(path)
    if target.exists() and not target.is_file():
        why = "it is a directory" if target.is_dir() else "it is a pipe, a socket or a device, and no file"
        raise OSError(errno.EINVAL, why, str(path))
    return target
