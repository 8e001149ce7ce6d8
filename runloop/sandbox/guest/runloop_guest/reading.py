"""The files of the bundle, read as files are: ``open``, ``os.stat``, ``os.listdir`` and what stands on them. Nothing can be written."""

import binascii
import builtins
import errno
import io
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import Any, Self

_real_open, _real_stat, _real_lstat = io.open, os.stat, os.lstat
_real_listdir, _real_scandir = os.listdir, os.scandir

_sources: dict[str, str] = {}
_data: dict[str, str] = {}
_directories: dict[str, list[str]] = {}


def serve(sources: dict[str, str], data: dict[str, str]) -> None:
    """Offer these files from now on: sources as text, other files in base64."""
    global _sources, _data
    _sources, _data = sources, data
    _directories.clear()


def content(path: str) -> bytes | None:
    """The bytes of a file of the bundle, or None."""
    if path in _sources:
        return _sources[path].encode()
    return binascii.a2b_base64(_data[path]) if path in _data else None


def within(path: Any) -> str | None:
    """The path in the bundle, whose directory is the working directory and the root; None for what is no path."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fspath(path)
    text = os.fsdecode(text) if isinstance(text, bytes) else text
    return posixpath.normpath("/" + text).lstrip("/") if text else None


def listing(directory: str) -> list[str] | None:
    """The sorted names in a directory of the bundle, or None where there is no such directory."""
    if not _directories:
        _directories[""] = []
        for path in (*_sources, *_data):
            inner = ""
            for part in path.split("/"):
                names = _directories.setdefault(inner, [])
                if part not in names:
                    names.append(part)
                inner = f"{inner}/{part}" if inner else part
        for names in _directories.values():
            names.sort()
    return _directories.get(directory)


def _open(
    file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, closefd: bool = True, opener: Any = None,
) -> Any:  # fmt: skip
    """Open a file of the bundle for reading; any other as the system does, which has none."""
    path = within(file) if opener is None else None
    found = None if path is None else content(path)
    if found is not None and set(mode) & set("wax+"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(file))
    if found is None:
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    raw = _File(found, os.fspath(file))
    return raw if "b" in mode else io.TextIOWrapper(raw, encoding or "utf-8", errors, newline)


class _File(io.BytesIO):
    """An open file of the bundle."""

    mode = "rb"

    def __init__(self, found: bytes, name: Any) -> None:
        super().__init__(found)
        self.name = name

    def writable(self) -> bool:
        """Nothing can be written."""
        return False

    def write(self, _data: Any, /) -> int:
        """Refuse."""
        raise io.UnsupportedOperation("write")


def _stat_of(path: Any) -> os.stat_result | None:
    inside = within(path)
    if inside is None:
        return None
    if listing(inside) is not None:
        return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    found = content(inside)
    return None if found is None else os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, len(found), 0, 0, 0))


def _stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    found = _stat_of(path)
    return _real_stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks) if found is None else found


def _lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
    found = _stat_of(path)
    return _real_lstat(path, dir_fd=dir_fd) if found is None else found


def _listdir(path: Any = ".") -> Any:
    inside = within(path)
    names = None if inside is None else listing(inside)
    if names is None:
        return _real_listdir(path)
    return [os.fsencode(name) for name in names] if isinstance(os.fspath(path), bytes) else list(names)


class _Entry:
    """What ``os.scandir`` tells of one name."""

    def __init__(self, directory: str, name: str) -> None:
        self.name, self.path = name, posixpath.join(directory, name)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def inode(self) -> int:
        """None has one."""
        return 0

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is a directory."""
        return stat.S_ISDIR(self.stat().st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether it is a file."""
        return not self.is_dir()

    def is_symlink(self) -> bool:
        """A bundle has no links."""
        return False

    def is_junction(self) -> bool:
        """Nor those."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its size, and whether it is a directory."""
        return _stat(self.path)


class _Entries:
    """An iterator over a directory that can be closed."""

    def __init__(self, entries: list[_Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[_Entry]:
        return self._entries

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""


def _scandir(path: Any = ".") -> Any:
    inside = within(path)
    names = None if inside is None else listing(inside)
    return _real_scandir(path) if names is None else _Entries([_Entry(os.fsdecode(path), name) for name in names])


def install() -> None:
    """Put the functions in place of the system's, which find nothing."""
    for name, function in (("stat", _stat), ("lstat", _lstat), ("listdir", _listdir), ("scandir", _scandir)):
        function.__name__ = function.__qualname__ = name
        setattr(os, name, function)
    _open.__name__ = _open.__qualname__ = "open"
    builtins.open = io.open = _open
