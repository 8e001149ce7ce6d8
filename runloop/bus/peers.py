"""Who is at the other end of a Unix socket, as the kernel says, and which daemon a client trusts."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from runloop.bus.errors import NotAllowed
from runloop.errors import Where

ROOT: Final = 0
_CREDENTIALS: Final = struct.Struct("3i")


def credentials(connected: socket.socket) -> tuple[int, int, int]:
    """Process, user and group of the other end: who connected, or who listens."""
    pid, uid, gid = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


def require_trusted(path: Path, uid: int, *, others: bool) -> None:
    """Refuse a socket on which somebody listens who may only have been there first: a token or a prompt is not for them.

    This user and root are trusted. With ``others`` so is who owns the socket's directory, where nobody else could have made that directory,
    or files in it. Raises NotAllowed.
    """
    if uid in {os.geteuid(), ROOT} or (others and _is_kept(Path(os.path.realpath(path.parent)), uid)):
        return
    raise NotAllowed(
        f"the user {uid} listens at {path}, and is not trusted with what is said there",
        code="bus.stranger",
        where=Where(file=str(path)),
        hint="let runtime.socket_path name a socket in a directory where only its owner can make files, not in /tmp",
    )


def _is_kept(directory: Path, uid: int) -> bool:
    """Whether a directory and all above it belong to root or to that user, and are writable for nobody beyond the group."""
    found = (each.stat() for each in (directory, *directory.parents))
    return all(status.st_uid in {uid, ROOT} and not status.st_mode & stat.S_IWOTH for status in found)
