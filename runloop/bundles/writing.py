"""Writing into the directory of a bundle."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.manifest import MANIFEST
from runloop.errors import Where
from runloop.staged import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def replace_file(root: Path, name: str, text: str) -> None:
    """Write a file of a bundle beside it and rename it into place, with the manifest's mode, so that no reader meets half of it."""
    with writing(root, name), staged(root.parent, text.encode()) as own:
        own.chmod((root / MANIFEST).stat().st_mode & 0o777)
        own.replace(root / name)


@contextmanager
def writing(root: Path, name: str) -> Iterator[None]:
    """Say what of a bundle could not be written, where the system does not let us: ``bundle.unwritable``."""
    try:
        yield
    except OSError as error:
        message = f"{name} cannot be written: {error.strerror}"
        hint = "check the mode of the directory and of what is above it"
        raise BundleInvalid(message, code="bundle.unwritable", where=Where(file=str(root / name)), hint=hint) from None
