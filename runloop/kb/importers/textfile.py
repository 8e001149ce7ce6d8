"""Reading a person's text files: bounded, regular files only, and honest about what cannot be decoded."""

from __future__ import annotations

import codecs
import os
import re
import stat
from typing import TYPE_CHECKING

from runloop.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = re.compile("[\udc80-\udcff]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(InvalidInput):
    """The file cannot be read as text; ``line`` is where that shows, where a line can be named."""

    code = "import.unreadable"

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; raises :class:`Unreadable`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise Unreadable("not a regular file")
        if info.st_size > limit:
            raise Unreadable(f"{info.st_size} bytes; the limit is {limit}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    finally:
        os.close(handle)
    if len(data) > limit:
        raise Unreadable(f"more than {limit} bytes")
    return data


def decode(data: bytes, *, keep_bad: bool = False) -> str:
    """The text of UTF-8, or of UTF-16 and UTF-32 with a byte order mark; raises :class:`Unreadable` with the line.

    With ``keep_bad`` bytes that are not UTF-8 stay in the text as lone surrogates, for readers that refuse record by record.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding, "surrogateescape" if keep_bad and encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1 if encoding.startswith("utf-8") else None
        raise Unreadable(
            f"not {encoding.upper().removesuffix('-SIG')} text: byte 0x{data[error.start]:02x} at offset {error.start}", line
        ) from error
    if "\0" in text:
        raise Unreadable("binary, not text: it has NUL characters", text[: text.index("\0")].count("\n") + 1)
    return text


def bad_byte(text: str) -> int | None:
    """The first byte of the text that was not UTF-8, as ``keep_bad`` left it."""
    found = _KEPT.search(text)
    return None if found is None else ord(found[0]) - 0xDC00
