"""Reading directories in a fixed order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.kb.importers.report import Refusal
from runloop.kb.importers.textfile import is_folder, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def entries(folder: Path) -> list[os.DirEntry[str]] | Refusal:
    """What is in a directory, by name; or why it cannot be read."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        return Refusal(shown(folder), None, error.strerror or str(error))


def files_below(root: Path, suffixes: Collection[str]) -> Iterator[os.DirEntry[str] | Refusal]:
    """The files of a directory and of those in it whose names end so: no hidden ones, no links to directories."""
    folders = [root]
    while folders:
        found = entries(folders.pop())
        if isinstance(found, Refusal):
            yield found
            continue
        inner = []
        for entry in found:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                inner.append(path)
            elif entry.is_symlink() and is_folder(path):
                yield Refusal(shown(path), None, "a link to a directory; not followed")
            elif path.suffix.lower() in suffixes:
                yield entry
        folders += reversed(inner)
