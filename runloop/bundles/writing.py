"""Writing into the directory of a bundle."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.manifest import MANIFEST
from runloop.errors import Where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def replace_file(root: Path, name: str, text: str) -> None:
    """Write a file of a bundle beside it and rename it into place, with the manifest's mode, so that no reader meets half of it."""
    staged = root.parent / f".{root.name}.{name}.{os.getpid()}"
    with writing(root, name):
        try:
            staged.write_text(text, "utf-8")
            staged.chmod((root / MANIFEST).stat().st_mode & 0o777)
            staged.replace(root / name)
        finally:
            staged.unlink(missing_ok=True)


@contextmanager
def writing(root: Path, name: str) -> Iterator[None]:
    """Say what of a bundle could not be written, where the system does not let us: ``bundle.unwritable``."""
    try:
        yield
    except OSError as error:
        message = f"{name} cannot be written: {error.strerror}"
        hint = "check the mode of the directory and of what is above it"
        raise BundleInvalid(message, code="bundle.unwritable", where=Where(file=str(root / name)), hint=hint) from None
