"""Directories that are for their owner alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MODE: Final = 0o700


def make_private(directory: Path) -> None:
    """Make the directory and each of its parents that is missing with mode 0700, whatever the umask; existing ones keep their mode.

    ``Path.mkdir(mode=…, parents=True)`` gives that mode to the last one only. Raises OSError.
    """
    try:
        directory.mkdir(mode=MODE)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=MODE, exist_ok=True)
    except OSError:
        if not directory.is_dir():
            raise
