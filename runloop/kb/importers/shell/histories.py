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

from runloop.kb.importers.shell.scrub import LONGEST

SHELLS = ("bash", "zsh", "fish")
_STAMP = re.compile(rb"#(\d{9,11})\s*\Z")
_EXTENDED = re.compile(rb": {0,2}(\d{1,11}):(\d{1,9});")
_WHEN = re.compile(rb"\s+when:\s*(\d{1,11})\s*\Z")
_MOST_HELD = 8 * LONGEST  # bytes of a command: more than its characters can take, metafied and in UTF-8
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


class _Held:
    """The lines of a command under way, and where it starts; of one that is too long enough of them for that to show."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self.first = 0

    def add(self, number: int, line: bytes) -> None:
        """One more line of it."""
        self.first = self.first or number
        if self._size <= _MOST_HELD:
            self._lines.append(line)
            self._size += len(line) + 1

    def text(self) -> bytes:
        """Its bytes."""
        return b"\n".join(self._lines)


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
    held = _Held()
    for number, line in lines:
        stamp = _STAMP.match(line)
        if stamp is None and at is None:
            if line.strip():
                yield Entry(number, line)
            continue
        if stamp is None:
            held.add(number, line)
            continue
        if held.first:
            yield Entry(held.first, held.text(), at)
        at, held = int(stamp[1]), _Held()
    if held.first:
        yield Entry(held.first, held.text(), at)


def read_zsh(lines: Iterable[Line]) -> Iterator[Entry]:
    """The commands of zsh, with or without times."""
    held = _Held()
    for number, line in lines:
        if line.endswith(b"\\"):
            held.add(number, line[:-1])
        else:
            held.add(number, line)
            yield from _zsh_entry(held.first, held.text())
            held = _Held()
    if held.first:
        yield from _zsh_entry(held.first, held.text())


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
