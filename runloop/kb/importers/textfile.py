"""Reading a person's text files: bounded, regular files only, and honest about what cannot be decoded."""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from runloop.errors import InvalidInput
from runloop.links import regular

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

_KEEPING = "runloop.keep"  # how bytes that are no text are decoded: each as a lone surrogate
_KEPT = re.compile("[\udc00-\udcff]")
MAX_LINE = 1 << 20  # characters that are held of one line
_BINARY_WITHIN = 1000  # characters: a NUL among the first ones says that a file is no text; a later one costs the record that it stands in
_NO_CHARSETS = frozenset({"punycode", "idna", "undefined", "unicode-escape", "unicode_escape", "raw-unicode-escape", "raw_unicode_escape"})
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(Exception):  # noqa: N818 - named for what it is; never an error of its own: the import reports it as a refusal
    """The file, or a part of it, cannot be read as text; ``line`` is where that shows, where a line can be named."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.message = reason
        self.line = line


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, opened without waiting for a FIFO's writer; raises :class:`Unreadable`, also for errors while it is read."""
    try:
        file = regular(path)
    except ValueError as error:
        raise Unreadable(str(error)) from error
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    try:
        with file:
            yield file
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; raises :class:`Unreadable`."""
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Unreadable(f"{size} bytes; the limit is {limit}")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"more than {limit} bytes")
    return data


def shown(path: str | Path) -> str:
    """A path as text that can be stored and printed: bytes of it that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def decode(data: bytes, *, encoding: str | None = None) -> str:
    """The text of UTF-8, or of UTF-16 and UTF-32 with a byte order mark; raises :class:`Unreadable` with the line.

    What is none of these is read in ``encoding`` where one is given.
    """
    other = encoding
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if other is not None and encoding == "utf-8":
        encoding = encoding if _all_utf8(io.BytesIO(data)) else other
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if encoding.startswith("utf-8") else None
        hint = "; name its encoding with --encoding" if encoding == "utf-8" else ""
        raise Unreadable(
            f"not {encoding.upper().removesuffix('-SIG')} text: byte 0x{data[error.start]:02x} at offset {error.start}{hint}", line
        ) from error
    if "\0" in text:
        raise Unreadable("binary, not text: it has NUL characters", text[: text.index("\0")].count("\n") + 1)
    return text


def text_lines(file: BinaryIO, *, encoding: str | None = None) -> Generator[str]:
    """The lines of an open file in a stream, to be closed before it; each ends in a newline, but perhaps the last.

    Encodings are those of :func:`decode`.
    Bytes that are no text stay in it as lone surrogates, for readers that refuse record by record (:func:`bad_byte`). A line of more than
    ``MAX_LINE`` characters comes in pieces, without newlines but the last. Raises :class:`Unreadable` for a file that begins with no text.
    """
    head = file.read(4)
    chosen = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    file.seek(0)
    if encoding is not None and chosen == "utf-8" and not _all_utf8(file):
        chosen = encoding
    file.seek(0)
    number, before, text = 1, 0, io.TextIOWrapper(file, chosen, _KEEPING)
    try:
        while line := text.readline(MAX_LINE):
            if -1 < line.find("\0") < _BINARY_WITHIN - before:
                raise Unreadable("binary, not text: it has NUL characters", number)
            yield line.replace("\0", chr(0xDC00))
            number += line.endswith("\n")
            before += len(line)
    finally:
        text.detach()


def _keep(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - files are only read
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_KEEPING, _keep)


def _all_utf8(file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while piece := file.read(1 << 20):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def text_codec(name: str) -> str | None:
    """The codec of a character set, where there is one, it is a text encoding, and it reads any text in one pass."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return found.name if getattr(found, "_is_text_encoding", True) and found.name not in _NO_CHARSETS else None


def known_encoding(name: str) -> str:
    """The codec's own name of a text encoding; raises InvalidInput for anything else."""
    found = text_codec(name)
    if found is None:
        hint = "use a name such as cp1252, iso-8859-15 or shift_jis"
        raise InvalidInput(f"{name!r} is not an encoding", code="import.unknown_encoding", hint=hint)
    return found


def bad_byte(text: str) -> int | None:
    """The first byte of the text that was not UTF-8, as :func:`text_lines` left it."""
    found = _KEPT.search(text)
    return None if found is None else ord(found[0]) - 0xDC00


def legible(text: str) -> str:
    """The text with every byte that is no text as its number, as messages show it."""
    return _KEPT.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)


def is_folder(path: Path) -> bool:
    """Whether it is a directory or leads to one; False where nobody may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def file_size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none, or nobody may look."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
