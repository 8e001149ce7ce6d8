"""The operator token: a secret in a file of mode 0600, without which nobody is an operator."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from runloop.errors import RunloopError, Where
from runloop.private import make_private

_BYTES: Final = 32
_LEAST: Final = 32
_MOST: Final = 512
"""As long as a hello may have it."""
_REMOVE: Final = "remove it: the daemon makes a new one"
_NOT_OURS: Final = "only the daemon's user is its operator; a sandboxed program is none on purpose"


class TokenError(RunloopError):
    """The token file cannot be used."""

    code = "bus.token_file"


class TokenHidden(TokenError):  # noqa: N818 - named for what it is, like the rest of the tree
    """The token file is there, and this process may not read it: it is no operator's."""


def read_token(path: Path) -> str | None:
    """The token, or None where there is no file.

    Raises TokenError for one that others could read or that is no token, and TokenHidden where this process may not read it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise TokenHidden(f"this process may not read the token file {path}", where=Where(file=str(path)), hint=_NOT_OURS) from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a link, or a socket
            raise _unusable(path, "is a link, or something else that is no file", _REMOVE) from None
        raise _unusable(path, f"cannot be read: {error.strerror}", "check its owner and mode") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _unusable(path, "is a link, or something else that is no file", _REMOVE)
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise _unusable(path, "is not a file of this user alone", f"chmod 600 {path}, or {_REMOVE}")
        text = os.read(handle, 2 * _MOST).decode("ascii", "replace").strip()
    finally:
        os.close(handle)
    if not _LEAST <= len(text) <= _MOST or not text.isalnum():
        raise _unusable(path, "holds no token", _REMOVE)
    return text


def ensure_token(path: Path) -> str:
    """The token of a path, made if there is none. Whoever reads the file reads a whole token, also while it is made."""
    found = read_token(path)
    if found is not None:
        return found
    made = os.urandom(_BYTES).hex()
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        make_private(path.parent)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(path, f"cannot be made: {error.strerror}", f"make {path.parent} writable for this user") from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(made + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename it never replaces what another process made meanwhile
        except FileExistsError:
            pass
        except OSError as error:
            hint = "where the file system keeps no hard links (FAT, exFAT), set RUNLOOP_HOME to a directory on another one"
            raise _unusable(path, f"cannot be made: {error.strerror}", hint) from None
    finally:
        draft.unlink(missing_ok=True)
    found = read_token(path)
    if found is None:
        raise _unusable(path, "vanished while it was made", "start again")
    return found


def _unusable(path: Path, what: str, hint: str) -> TokenError:
    return TokenError(f"the token file {path} {what}", where=Where(file=str(path)), hint=hint)
