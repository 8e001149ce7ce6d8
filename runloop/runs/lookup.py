"""Openings by path or by name."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where
from runloop.links import followed
from runloop.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.openings import Opening
    from runloop.openings.model import Node

MAX_BYTES = 4 << 20
"""More than any opening has; the language's own limit, with its own message, is lower."""
SUFFIXES = (".yaml", ".yml", ".opening")
"""How the names of files with openings end, in the order of the search."""


@dataclass(frozen=True, slots=True)
class OpeningText:
    """An opening as it was found: its source and the file it came from."""

    source: str
    file: str | None = None


def where_used(opening: Opening, node: Node, where: Where) -> Where:
    """Where something is wrong with what a node uses: its own file where that is known, else the line that names it."""
    if where.file is not None or opening.file is None:
        return replace(where, node=where.node or node.id)
    return replace(where, file=opening.file, line=node.use_at.line, column=node.use_at.column, node=node.id)


def find_opening(name: str, search_dirs: Sequence[Path]) -> OpeningText:
    """The opening ``name``: a file if there is one, else ``NAME`` with one of SUFFIXES in the search directories, first wins (spec 10.1).

    Raises:
        InvalidInput: nothing of that name, or it cannot be read; says where it looked and what is near.

    """
    literal = Path(name)
    if _is_file(literal):
        return _read(literal)
    if not _is_path(name):
        return named_opening(name, search_dirs)
    if why := _no_file(literal):
        raise _unreadable(literal, why)
    raise _not_found(name, ())


def named_opening(name: str, search_dirs: Sequence[Path]) -> OpeningText:
    """As :func:`find_opening` in the search directories alone: for whoever may start an opening and may not read files.

    What is wrong with a file that is no opening would tell what stands in it.
    """
    if _is_path(name):
        hint = "give a name that lies in one of openings.search_dirs; `rlp opening list` shows them"
        raise InvalidInput(f"{name!r} is no name of an opening", code="opening.no_name", hint=hint)
    for directory in search_dirs:
        for suffix in (*SUFFIXES, ""):
            candidate = directory / f"{name}{suffix}"
            if _is_file(candidate):
                return _read(candidate)
    for place in [directory / f"{name}{suffix}" for directory in search_dirs for suffix in SUFFIXES]:
        if why := _no_file(place):
            raise _unreadable(place, why)
    raise _not_found(name, search_dirs)


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith(".") or Path(name).suffix in SUFFIXES


def known_openings(search_dirs: Sequence[Path]) -> list[str]:
    """The names that :func:`find_opening` would find, sorted."""
    names = {path.stem for directory in search_dirs if directory.is_dir() for path in directory.iterdir() if path.suffix in SUFFIXES}
    return sorted(names)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for a file, or with a NUL, is a name of no file
        return False


def _no_file(path: Path) -> str:
    """What stands there in place of a file, or why that cannot be seen; empty where nothing does."""
    try:
        if path.is_dir():
            return "it is a directory"
        if path.exists():
            return "it is a pipe, a socket or a device, and no file"
        return f"it is a link to {str(path.readlink())!r}, which leads nowhere" if path.is_symlink() else ""
    except OSError as error:
        return "" if error.errno == errno.ENAMETOOLONG else error.strerror or str(error)
    except ValueError:  # a NUL
        return ""


def _unreadable(path: Path, why: str) -> InvalidInput:
    where = Where(file=str(path))
    return InvalidInput(
        f"cannot read the opening {path}: {why}", code="opening.unreadable", where=where, hint="name a file that you may read"
    )


def _read(path: Path) -> OpeningText:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    try:
        return OpeningText(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        where = Where(file=str(path), line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise InvalidInput(message, code="opening.not_utf8", where=where, hint="save the file as UTF-8") from error


def _not_found(name: str, search_dirs: Sequence[Path]) -> InvalidInput:
    searched = ", ".join(str(directory) for directory in search_dirs) or str(followed(Path(name).parent))
    near = nearest(name, known_openings(search_dirs))
    hint = f"did you mean {near!r}?" if near else "give a file, or a name that lies in one of openings.search_dirs"
    return InvalidInput(f"opening {name!r} not found (searched: {searched})", code="opening.not_found", hint=hint)
