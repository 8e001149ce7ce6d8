r"""Histories of shells, from lines of bytes to commands: pure, in a stream.

* bash: a line a command; with ``HISTTIMEFORMAT`` a line ``#1700000000`` goes before each, which may then have several lines.
* zsh: the same, or ``: 1700000000:5;command`` (extended); a line that ends in ``\`` goes on; some bytes are "metafied": 0x83, then the byte
  with bit 5 turned over (``Src/utils.c``, ``metafy``).
* fish: YAML-like ``- cmd: …`` with ``\n`` and ``\\`` escaped, ``when:`` and ``paths:`` below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

SHELLS = ("bash", "zsh", "fish")
_STAMP = re.compile(rb"#(\d{9,11})\s*\Z")
_EXTENDED = re.compile(rb": {0,2}(\d{1,11}):(\d{1,9});")
_WHEN = re.compile(rb"\s+when:\s*(\d{1,11})\s*\Z")
_CMD = b"- cmd: "
_META = 0x83
_METAFIED = re.compile(rb"\x83(.)", re.DOTALL)
_FISH_ESCAPE = re.compile(rb"\\([n\\])")

Line = tuple[int, bytes]


class Entry(NamedTuple):
    """A command: the line where it starts, its bytes, when it began (Unix seconds) and how long it took, where that is known."""

    line: int
    text: bytes
    at: int | None = None
    seconds: int | None = None


def shell_of(name: str, head: bytes) -> str:
    """The shell whose history it is, by the beginning of its content, else by the file's name; bash where neither tells."""
    for line in head.splitlines()[:50]:
        if line.startswith(_CMD):
            return "fish"
        if _EXTENDED.match(line):
            return "zsh"
        if _STAMP.match(line):
            return "bash"
    return next((shell for shell in SHELLS if shell in name.lower() or (shell == "zsh" and name.lower().startswith(".zh"))), "bash")


def read_bash(lines: Iterable[Line]) -> Iterator[Entry]:
    """The commands of bash; from the first time stamp on, what stands between two of them is one command."""
    at: int | None = None
    first, held = 0, []
    for number, line in lines:
        stamp = _STAMP.match(line)
        if stamp is None and at is None:
            if line.strip():
                yield Entry(number, line)
            continue
        if stamp is None:
            first = first or number
            held.append(line)
            continue
        if held:
            yield Entry(first, b"\n".join(held), at)
        at, first, held = int(stamp[1]), 0, []
    if held:
        yield Entry(first, b"\n".join(held), at)


def read_zsh(lines: Iterable[Line]) -> Iterator[Entry]:
    """The commands of zsh, with or without times."""
    first, held = 0, b""
    going_on = False
    for number, line in lines:
        held = held + b"\n" + line if going_on else line
        first = first if going_on else number
        going_on = line.endswith(b"\\")
        if going_on:
            held = held[:-1]
        else:
            yield from _zsh_entry(first, held)
    if going_on:
        yield from _zsh_entry(first, held)


def _zsh_entry(line: int, text: bytes) -> Iterator[Entry]:
    extended = _EXTENDED.match(text)
    body = text[extended.end() :] if extended else text[1:] if text.startswith(b"\\:") else text
    if body.endswith(b"\\ "):
        body = body[:-1]  # zsh puts a blank behind a last backslash, which would mean "goes on"
    if body.strip():
        yield Entry(line, unmetafied(body), int(extended[1]) if extended else None, int(extended[2]) if extended else None)


def unmetafied(text: bytes) -> bytes:
    """Bytes as they were typed."""
    return _METAFIED.sub(lambda found: bytes([found[1][0] ^ 0x20]), text) if _META in text else text


def read_fish(lines: Iterable[Line]) -> Iterator[Entry]:
    """The commands of fish."""
    first, text, at = 0, b"", None
    for number, line in lines:
        if line.startswith(_CMD):
            if text.strip():
                yield Entry(first, text, at)
            first, at = number, None
            text = _FISH_ESCAPE.sub(lambda found: b"\n" if found[1] == b"n" else b"\\", line.removeprefix(_CMD))
        elif when := _WHEN.match(line):
            at = int(when[1])
    if text.strip():
        yield Entry(first, text, at)


READERS: dict[str, Callable[[Iterable[Line]], Iterator[Entry]]] = {"bash": read_bash, "zsh": read_zsh, "fish": read_fish}
