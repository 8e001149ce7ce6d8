"""Durable, atomic files that are named by their content or by a key. Blocking: call from a thread."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from blake3 import blake3

from runloop.kb.database import sync_directory
from runloop.private import make_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRIVATE_FILE = 0o600


def write_new(path: Path, data: bytes) -> bool:
    """Put the bytes at ``path`` whole or not at all; False, and nothing changed, when the path exists.

    The file is on disk, and its name in the directory, when this returns, also where a process wrote it that ended too early.
    """
    make_private(path.parent)
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # without the name, which may be as long as a name can be
    new = True
    try:
        write_synced(part, data)
        try:
            os.link(part, path)  # fails where the name is taken, unlike a rename
        except FileExistsError:
            new = False
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    sync_directory(path.parent)
    return new


def write_synced(path: Path, data: bytes) -> None:
    """Make a file, for its owner alone, whose bytes are on disk when this returns. Raises FileExistsError where the path exists."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class FileBlobs:
    """A :class:`BlobStore` in a directory: ``ab/abcdef…`` by BLAKE3, each content once."""

    def __init__(self, root: Path, digest: Callable[[bytes], str] | None = None) -> None:
        self._root = root
        self._digest = digest or (lambda data: blake3(data).hexdigest())

    def put(self, data: bytes) -> str:
        """Keep the bytes; their BLAKE3 as hex."""
        name = self._digest(data)
        write_new(self.path(name), data)
        return name

    def path(self, digest: str) -> Path:
        """Where the content with that BLAKE3 lies."""
        return self._root / digest[:2] / digest
