"""Reading directories in a fixed order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runloop.kb.importers.report import Refusal
from runloop.kb.importers.textfile import shown

if TYPE_CHECKING:
    from pathlib import Path


def entries(folder: Path) -> list[os.DirEntry[str]] | Refusal:
    """What is in a directory, by name; or why it cannot be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        return Refusal(shown(folder), None, error.strerror or str(error))
