"""Python guests that are kept for the runs that began with them, whatever Runloop is installed meanwhile.

They lie as ``guests/<digest>.wasm`` in a directory of their own; what is read from there is compared with its digest first.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from runloop.errors import Unavailable, Where
from runloop.private import make_private
from runloop.sandbox.guestfile import WASM, guest_digest, of_digest

if TYPE_CHECKING:
    from pathlib import Path

_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})
"""Why a hard link cannot be made where a copy can: another file system, another owner's file, a file system without links."""
_LEFT_S = 60.0
"""A copy that was not written to for so long is nobody's any more."""


def kept_path(directory: Path, digest: str) -> Path:
    """Where the guest of that digest is kept."""
    return directory / "guests" / f"{digest}.wasm"


def keep_guest(directory: Path) -> str:
    """Keep the installed Python guest in ``directory``, on disk when this returns, unless it is there; gives its digest.

    It is a hard link to the installed file where the system allows it. Raises OSError, and Unavailable where no guest is installed, or
    another one by now.
    """
    digest = guest_digest()
    path = kept_path(directory, digest)
    if path.exists():
        return digest
    make_private(path.parent)
    _sweep(path)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        _link_or_copy(WASM, fresh)
        with fresh.open("rb") as file:
            of_digest(file.read(), digest)
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return digest


def _sweep(path: Path) -> None:
    """Remove what processes left that were killed while they kept this guest: it is large, and there may be no room for another one."""
    before = time.time() - _LEFT_S
    for left in path.parent.glob(f"{path.name}.*"):
        with contextlib.suppress(OSError):
            if left.stat().st_ctime < before:  # a link has the times of its file, but for this one
                left.unlink()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as refused:
        if refused.errno not in _NO_LINK:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # whatever the umask is
        shutil.copyfile(source, target)


def kept_code(directory: Path | None, digest: str) -> bytes:
    """Read the guest of that digest; raises Unavailable with the code ``guest.not_kept`` where it is not there, or is another one."""
    problem = "no guests are kept here"
    path = None if directory is None else kept_path(directory, digest)
    if path is not None:
        problem = "it is not there"
        with contextlib.suppress(FileNotFoundError):
            code = path.read_bytes()
            if hashlib.blake2b(code, digest_size=32).hexdigest() == digest:
                return code
            problem = "the file there has another content"
    raise Unavailable(
        f"the Python guest {digest[:12]} that this run began with is not kept: {problem}",
        code="guest.not_kept", where=Where(file=None if path is None else str(path)), retryable=False,
        hint="go on with the run where it began, or fork it to go on with the installed guest",
    )  # fmt: skip
