"""Files that are written beside their place, and get their name when they are whole.

The directory may be one in which others write too: until then the file has a name that nobody foresees, and is nobody's link.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def staged(directory: Path, data: bytes, mode: int = 0o666) -> Iterator[Path]:
    """A new file with the content, which the block renames; nothing of it is left where that fails. Raises OSError."""
    path = directory / f".runloop-{os.urandom(8).hex()}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        path.unlink(missing_ok=True)
