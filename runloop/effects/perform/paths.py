"""Opening files that policy granted, so that a link put in the way between the check and the opening cannot lead elsewhere.

A path is judged as written, resolved, judged again, and then opened component by component without following links.
Blocking: call from a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.effects.types import CallError, CallErrorKind, require
from runloop.errors import Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runloop.policy import Capabilities

# Walking needs no right to list a directory where the system has O_PATH (Linux).
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Granted:
    """A path that was judged: ``shown`` as it was asked for, ``real`` with its links resolved."""

    shown: str
    real: str


@dataclass(frozen=True, slots=True)
class PathRules:
    """``home`` expands a leading ``~/``; ``protected`` belongs to Runloop itself and is never granted."""

    home: Path | None = None
    protected: tuple[str, ...] = ()

    def judge(self, path: str, caps: Capabilities, *, write: bool) -> Granted:
        """The path, when policy grants it as written and as resolved. Raises :class:`CallError`."""
        shown = str(self.home / path[2:]) if self.home and path.startswith("~/") else path
        require(caps.check_path(shown, write, protected=self.protected))
        try:
            real = os.path.realpath(shown)
        except OSError as error:
            raise refused(shown, error) from error
        require(caps.check_path(real, write, protected=self.protected))
        if own := self._by_another_name(real):
            require(caps.check_path(own, write, protected=self.protected))
        return Granted(shown, real)

    def _by_another_name(self, real: str) -> str | None:
        """What is protected and lies at a resolved path too: mounted twice, a hard link, or in a file system without case."""
        own = {_identity(path): path for path in self.protected}
        found = (own.get(_identity(place)) for place in (real, *map(str, Path(real).parents)))
        return next((path for path in found if path), None)


def _identity(path: str) -> tuple[int, int] | str:
    """Which file it is that has this name; the name itself where there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


@contextmanager
def directory(path: str) -> Iterator[int]:
    """A descriptor of a resolved directory, reached without following a link; closed at the end."""
    handle = os.open("/", _WALK)
    try:
        for part in Path(path).parts[1:]:
            inner = os.open(part, _WALK, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextmanager
def regular_file(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor for reading a resolved path that is an ordinary file, and its status.

    Raises:
        CallError: ``invalid`` for a directory, device, pipe or socket.

    """
    parent, name = os.path.split(path)
    with directory(parent) as above:
        # Non-blocking, or opening a pipe would wait for its writer.
        handle = os.open(name or ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
        try:
            status = os.fstat(handle)
            require_regular(path, status)
            yield handle, status
        finally:
            os.close(handle)


def require_regular(path: str, status: os.stat_result) -> None:
    """Refuse everything that is not an ordinary file."""
    if not stat.S_ISREG(status.st_mode):
        raise CallError(
            CallErrorKind.INVALID,
            f"{path} is no ordinary file ({_words(status.st_mode)})",
            code="files.not_a_file",
            hint="use files.list for a directory; devices, pipes and sockets are never opened",
            where=Where(key="path"),
        )


def kind_of(mode: int) -> str:
    """What a status describes: file, directory, link or other, as ``files.list`` tells it."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def _words(mode: int) -> str:
    kind = kind_of(mode)
    return "a device, pipe or socket" if kind == "other" else f"a {kind}"


def on_one_line(name: str) -> str:
    """A name as a person is shown it: a line break in it must not look like its end."""
    return name.replace("\n", "\\n").replace("\r", "\\r")


def read_up_to(handle: int, limit: int, offset: int = 0) -> bytes:
    """At most ``limit`` bytes of a file, from byte ``offset`` on."""
    parts: list[bytes] = []
    left = limit
    while left > 0 and (part := os.pread(handle, min(left, 1 << 20), offset + limit - left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


_KINDS: dict[int, tuple[CallErrorKind, str, str]] = {
    errno.ENOENT: (CallErrorKind.INVALID, "files.not_found", "check the path"),
    errno.ENOTDIR: (CallErrorKind.INVALID, "files.not_found", "a part of the path is not a directory, or was replaced by a link"),
    errno.ELOOP: (CallErrorKind.DENIED, "files.link", "a part of the path was replaced by a link while it was being opened"),
    errno.EACCES: (CallErrorKind.DENIED, "files.no_access", "the user that runs Runloop has no right to it"),
    errno.EPERM: (CallErrorKind.DENIED, "files.no_access", "the user that runs Runloop has no right to it"),
    errno.EROFS: (CallErrorKind.DENIED, "files.no_access", "the file system is read-only"),
    errno.EISDIR: (CallErrorKind.INVALID, "files.not_a_file", "it is a directory"),
    errno.ENXIO: (CallErrorKind.INVALID, "files.not_a_file", "it is a socket or a device without its driver; these are never opened"),
    errno.ENAMETOOLONG: (CallErrorKind.INVALID, "files.path", "use a shorter path"),
    errno.ENOSPC: (CallErrorKind.UNAVAILABLE, "files.disk_full", "make room on the disk"),
    errno.EDQUOT: (CallErrorKind.UNAVAILABLE, "files.disk_full", "make room within the quota"),
}


def refused(path: str, error: OSError) -> CallError:
    """The guest's error for what the system said about a path."""
    kind, code, hint = _KINDS.get(error.errno or 0, (CallErrorKind.UNAVAILABLE, "files.system", "see the system's message"))
    return CallError(kind, f"{path}: {error.strerror or error}", code=code, hint=hint, where=Where(key="path"))
