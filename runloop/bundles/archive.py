"""Unpacking a bundle archive that a stranger made (spec 18.3): only plain files and folders, inside, and not too many.

Of the archive nothing but names and bytes reaches the disk: no owners, modes, times or links. Files are written here and not by
:mod:`tarfile`, whose safe filter is missing in early releases of Python 3.11.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import TYPE_CHECKING

from runloop.bundles.errors import BundleInvalid
from runloop.bundles.tree import IGNORED_DIRS, MAX_FILES, MAX_TOTAL_BYTES, path_problem
from runloop.errors import Where
from runloop.links import regular

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_HEADERS_BYTES = MAX_FILES * 4096
_EXTENDED = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})
_EXTENDED_BYTES, _ALL_EXTENDED_BYTES = 4096, 512 << 10
_HINT = "unpack nothing of it by hand either; ask who made it for a plain archive"


def unpack(archive: Path, into: Path) -> None:
    """Unpack ``archive`` into the empty directory ``into``; raises ``BundleInvalid`` at the first entry that is not allowed.

    What was written by then is the caller's to remove. A small file that unpacks into a huge one stops at the limit of a bundle.
    """
    try:
        # Stream mode reads strictly forwards, so the bound below holds for headers as well as for contents.
        with (
            regular(archive) as packed,
            packed if archive.name.endswith(".tar") else gzip.open(packed) as file,
            tarfile.open(fileobj=_Bounded(file, archive), mode="r|", tarinfo=_plain(archive)) as tar,
        ):
            _unpack(tar, archive, into)
    except (tarfile.TarError, EOFError, zlib.error, OSError, UnicodeError, RecursionError) as error:
        message = f"the archive cannot be read: {error}"
        raise BundleInvalid(
            message, code="bundle.archive", where=Where(file=str(archive)), hint="give a .tar, .tar.gz or .tgz file"
        ) from None


def _plain(archive: Path) -> type[tarfile.TarInfo]:
    """Members whose extended headers (a long name, times, attributes) are short ones, and few.

    Early releases of Python 3.11 search them in time with the square of their length (CVE-2024-6232).
    """
    left = _ALL_EXTENDED_BYTES

    class Plain(tarfile.TarInfo):
        def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
            nonlocal left
            left -= self.size if self.type in _EXTENDED else 0
            if self.type in _EXTENDED and (self.size > _EXTENDED_BYTES or left < 0):
                raise _refused(
                    archive,
                    f"it holds more than {_EXTENDED_BYTES} bytes in an extended header, or {_ALL_EXTENDED_BYTES >> 10} KiB in all of them",
                )
            return super()._proc_member(tar)  # type: ignore[misc, no-any-return]

    return Plain


class _Bounded(io.BufferedIOBase):
    """Reads from ``file``, in the small blocks that are asked for, until more came out than a bundle may hold."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, archive: Path) -> None:
        self._file = file
        self._archive = archive
        self._left = MAX_TOTAL_BYTES + _HEADERS_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        content = self._file.read(-1 if size is None else size)
        self._left -= len(content)
        if self._left < 0:
            raise _refused(self._archive, _TOO_MUCH)
        return content


_TOO_MUCH = f"it holds more than {MAX_FILES} entries or {MAX_TOTAL_BYTES >> 20} MiB"


def _unpack(tar: tarfile.TarFile, archive: Path, into: Path) -> None:
    seen: set[str] = set()
    for count, member in enumerate(tar):
        name = member.name.removeprefix("./").rstrip("/")
        if name == "." and member.isdir():
            continue
        if problem := _member_problem(member, name, seen):
            raise _refused(archive, f"{_printable(member.name)!r} is not allowed: {problem}")
        if count >= MAX_FILES:
            raise _refused(archive, _TOO_MUCH)
        seen.add(name)
        if IGNORED_DIRS.intersection(name.split("/")):
            continue  # never read, so no digest covers it: a .git folder could bring commands that a person's own git would run
        place = into / name
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        content = tar.extractfile(member)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.read() if content else b"")


def _member_problem(member: tarfile.TarInfo, name: str, seen: set[str]) -> str | None:
    if member.issym() or member.islnk():
        return "it is a link"
    if member.issparse() or not (member.isreg() or member.isdir()):
        return "it is neither a plain file nor a directory"
    if name in seen and not member.isdir():
        return "it is there twice"
    return path_problem(name)


def _refused(archive: Path, message: str) -> BundleInvalid:
    return BundleInvalid(message, code="bundle.archive_entry", where=Where(file=str(archive)), hint=_HINT)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
