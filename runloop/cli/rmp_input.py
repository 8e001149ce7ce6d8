"""Frames as people have them: binary files, hex text, and the dumps of xxd and hexdump."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from runloop.errors import InvalidInput, Where

MAX_BYTES: Final = 256 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"
_NOT_TEXT = re.compile(rb"[^\t\n\v\f\r\x20-\x7e]")
_HEX = re.compile(r"[0-9a-fA-F]*")
_BETWEEN_BYTES = re.compile(r"(?<![0-9a-zA-Z])0[xX]|[\s,:]+")
_XXD_LINE = re.compile(r"\s*[0-9a-fA-F]{4,16}:[ \t]+((?:[0-9a-fA-F]+[ \t])*(?:[0-9a-fA-F]+)?)(?:[ \t].*)?")
_HEXDUMP_LINE = re.compile(r"\s*[0-9a-fA-F]{7,16}(?:[ \t]+((?:[0-9a-fA-F]{2}[ \t]+)+)\|.*)?\s*")


def from_hex(text: str) -> bytes | None:
    """The bytes of hex text or of a dump with offsets, or None if it is something else; raises InvalidInput for half a byte.

    Blanks, commas, colons and ``0x`` may stand between the bytes.
    """
    digits = _BETWEEN_BYTES.sub("", _undump(text) or text)
    if not _HEX.fullmatch(digits):
        return None
    if len(digits) % 2:
        raise InvalidInput(f"{len(digits)} hex digits are not whole bytes", code="rmp.input.half_byte", hint="two digits make one byte")
    return bytes.fromhex(digits)


def _undump(text: str) -> str | None:
    """The hex digits of a dump whose every line begins with an offset, or None."""
    lines = [line for line in text.splitlines() if line.strip()]
    for form in (_XXD_LINE, _HEXDUMP_LINE):
        columns = []
        for line in lines:
            match = form.fullmatch(line)
            if match is None:
                break
            columns.append(match[1] or "")
        else:
            if any(columns):
                return " ".join(columns)
    return None


def frame_bytes(data: bytes) -> tuple[bytes, bool]:
    """The bytes that a file or pipe means, and whether it was text that is not hex and was therefore taken as it is.

    A whole frame in binary always has zero bytes, hex text never has.
    """
    data = data.removeprefix(_BOM)
    if _NOT_TEXT.search(data):
        return data, False
    found = from_hex(data.decode("ascii"))
    return (data, True) if found is None else (found, False)


def whole(stream: BinaryIO, name: str) -> bytes:
    """All of the input. Raises InvalidInput ``rmp.input.too_large``: what has no end would take all the memory there is."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        message = f"{name} is larger than {MAX_BYTES >> 20} MiB"
        hint = "cut it into smaller files, or give frames as lines with --jsonl"
        raise InvalidInput(message, code="rmp.input.too_large", where=Where(file=name), hint=hint)
    return data


def unreadable(path: str, error: OSError) -> InvalidInput:
    """The error for an input that cannot be opened or read."""
    return InvalidInput(
        f"cannot read {path}: {error.strerror or error}",
        code="rmp.input.unreadable",
        where=Where(file=path),
        hint="give a file that exists and is readable, or - for standard input",
    )
