"""Copies that are on disk, and known by their BLAKE3, when they are made."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from blake3 import blake3

from runloop.dataclass import dataclass
from runloop.kb.database import sync_directory, translated
from runloop.links import regular
from runloop.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of a backup: its path inside, its size, and the BLAKE3 of its bytes in hexadecimal."""

    path: str
    bytes: int
    blake3: str


def digest(path: Path) -> tuple[int, str]:
    """Size and BLAKE3 of a file, read in pieces."""
    hasher, size = blake3(), 0
    with regular(path) as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
            size += len(piece)
    return size, hasher.hexdigest()


def copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file to where none is and sync it; size and BLAKE3 of what was copied. Its name in the directory is not synced."""
    hasher, size = blake3(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with source.open("rb") as file, os.fdopen(handle, "wb") as made:
        while piece := file.read(_PIECE):
            made.write(piece)
            hasher.update(piece)
            size += len(piece)
        made.flush()
        os.fsync(made.fileno())
    return size, hasher.hexdigest()


def put(source: Path, target: Path, part: Path) -> bool:
    """Put a copy at ``target`` whole or not at all, by way of ``part``; False where the name is taken, which then stays as it is."""
    if target.exists():
        return False
    make_directory(target.parent)
    copy(source, part)
    part.rename(target)
    sync_directory(target.parent)
    return True


def tree(root: Path) -> Iterator[Path]:
    """The finished files below a directory, in order: names that begin with a dot are still being written."""
    if root.is_dir() and not root.is_symlink():
        for path in sorted(root.iterdir()):
            if path.name.startswith(".") or path.is_symlink():
                continue
            if path.is_dir():
                yield from tree(path)
            elif path.is_file():
                yield path


def copy_tree(source: Path, target: Path, name: str) -> Iterator[Copied]:
    """Copy the finished files below ``source`` to ``target/name``; what somebody removes meanwhile is left out."""
    for path in tree(source):
        inside = f"{name}/{path.relative_to(source).as_posix()}"
        place = target / inside
        make_directory(place.parent)
        with suppress(FileNotFoundError):
            yield Copied(inside, *copy(path, place))


def sync_tree(root: Path) -> None:
    """Make every name below a directory durable, the directory's own included."""
    for path in [root, *(each for each in root.rglob("*") if each.is_dir())]:
        sync_directory(path)


def make_directory(folder: Path) -> None:
    """Make a directory and its parents, for their owner only."""
    for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the context ends without an error, on disk; until then nothing is there."""
    with translated(path), scratch(path.parent) as folder:
        part = folder / "part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_directory(path.parent)
