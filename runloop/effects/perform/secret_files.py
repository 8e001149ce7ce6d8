"""Secrets in files, for machines without a keyring: one file each, for their owner alone."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from runloop.errors import InvalidInput, Where, exhausted
from runloop.private import make_private

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,7}")
_FOR_OTHERS: Final = stat.S_IWGRP | stat.S_IRWXO


class FileSecrets:
    """The secret ``models/openai`` is the text of ``ROOT/models/openai``, without one line end at its end. Blocking.

    A file counts only where nobody but its owner and root can have written it, nor read it: mode 0600, or, where root owns it, 0640 for
    a group that this process is in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, secret_id: str) -> str | None:
        """The value, or None where there is no such file. Raises :class:`InvalidInput` ``secrets.file`` for one that cannot be used."""
        if (path := self._path(secret_id)) is None:
            return None
        try:
            opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = os.fstat(opened)
                if stat.S_ISDIR(found.st_mode):
                    return None
                _check(path, found)
                value = os.read(opened, MAX_BYTES).decode("utf-8")
            finally:
                os.close(opened)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failed(path, f"cannot be read: {error.strerror}", error) from None
        except UnicodeDecodeError:
            raise _unusable(path, "is not UTF-8 text", f"store it again: rlp secrets set {secret_id}") from None
        return value.removesuffix("\n") or None

    def put(self, secret_id: str, value: str) -> Path:
        """Write the value, in place of any other, whole or not at all; returns where it is. Raises :class:`InvalidInput`."""
        from runloop.effects.perform.storage import write_synced
        from runloop.kb.database import sync_directory

        path = self._path(secret_id)
        if path is None:
            hint = "use letters, digits, '.', '_' and '-', with '/' between parts, as in models/openai"
            raise InvalidInput(f"{secret_id!r} cannot be the name of a file", code="secrets.name", hint=hint)
        content = value.encode("utf-8") + b"\n"
        if len(content) > MAX_BYTES:
            raise InvalidInput(
                f"the value is longer than {MAX_BYTES // 1024} KiB", code="secrets.value", hint="a secret is text: a key or a password"
            )
        staged = path.with_name(f".{os.urandom(8).hex()}")
        try:
            make_private(path.parent)
            try:
                write_synced(staged, content)
                staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)
            sync_directory(path.parent)
        except OSError as error:
            raise _failed(path, f"cannot be written: {error.strerror}", error) from None
        return path

    def remove(self, secret_id: str) -> bool:
        """Remove the file; False where there is none. Raises :class:`InvalidInput`."""
        if (path := self._path(secret_id)) is None:
            return False
        from runloop.kb.database import sync_directory

        try:
            path.unlink()
            sync_directory(path.parent)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return False
        except OSError as error:
            raise _failed(path, f"cannot be removed: {error.strerror}", error) from None
        return True

    def names(self) -> list[str]:
        """The secrets that there are files of, sorted."""
        found = (os.path.relpath(os.path.join(place, name), self.root) for place, _, files in os.walk(self.root) for name in files)  # noqa: PTH118
        return sorted(name for name in found if self._path(name) is not None)

    def _path(self, secret_id: str) -> Path | None:
        return self.root / secret_id if _NAME.fullmatch(secret_id) else None


def _check(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, "is no plain file", "put a file there")
    if found.st_uid not in {os.geteuid(), 0}:
        raise _unusable(path, "belongs to somebody else", "let it belong to you, or to root")
    if mode & _FOR_OTHERS or (mode & stat.S_IRGRP and found.st_uid != 0):
        raise _unusable(path, f"is not for its owner alone (mode {mode:04o})", f"chmod 600 {path}")
    if found.st_size > MAX_BYTES:
        raise _unusable(path, f"is longer than {MAX_BYTES // 1024} KiB", "a secret is a key or a password")


def _unusable(path: Path, why: str, hint: str) -> InvalidInput:
    return InvalidInput(f"the file of a secret {why}", code="secrets.file", where=Where(file=str(path)), hint=hint)


def _failed(path: Path, why: str, error: OSError) -> InvalidInput:
    if (spent := exhausted(error)) is not None:
        raise spent from None
    return _unusable(path, why, "check the rights of the file and of the directories above it, and that there is room")
