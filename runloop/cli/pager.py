"""Long output on a terminal goes through a pager; short output does not. Like git: PAGER, else less, and LESS=FRX where it is not set."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from runloop.cli import output

_VERBS = "runs show trace diff logs why search inbox help doctor metrics"
_COMMANDS = {
    "kb": "query show facts why search timeline poison",
    "agent": "list show check",
    "opening": "list check graph schema",
    "config": "show path explain",
}
PAGED = frozenset([*_VERBS.split(), *(f"{verb} {each}" for verb, words in _COMMANDS.items() for each in words.split())])
"""Verbs that print much and then end."""
_FOLLOWING = frozenset({"--follow", "-f"})


class Paged(io.TextIOBase):
    """Standard output that is kept until it is longer than the screen, and then goes through the pager."""

    def __init__(self, out: TextIO, command: Sequence[str], rows: int, columns: int) -> None:
        self._out, self._command = out, command
        self._room, self._columns = rows, columns
        self._kept: list[str] = []
        self._pager: subprocess.Popen[str] | None = None
        self.gone = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding

    def isatty(self) -> bool:
        return self._out.isatty()

    def fileno(self) -> int:
        return self._out.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # libraries find out with b"" whether a stream takes bytes
            raise TypeError(f"a stream of text takes str, not {type(text).__name__}")
        if self._pager is None:
            self._kept.append(text)
            self._room -= sum(max(1, -(-output.display_width(line) // self._columns)) for line in text.split("\n")[:-1])
            if self._room < 0:
                self._start()
        else:
            self._page(text)
        return len(text)

    def _start(self) -> None:
        environment = {"LESS": "FRX", "LV": "-c", **os.environ}
        try:
            self._pager = subprocess.Popen(  # noqa: S603 - the person's own pager
                self._command, stdin=subprocess.PIPE, text=True, encoding=self._out.encoding, errors=output.LACKING, env=environment
            )  # fmt: skip
        except OSError:  # no such program: the terminal scrolls
            self._room = sys.maxsize
            self._spill()
            return
        self._page("".join(self._kept))
        self._kept.clear()

    def _page(self, text: str) -> None:
        pager = self._pager
        if pager is None or pager.stdin is None or self.gone:
            return
        try:
            pager.stdin.write(text)
        except (BrokenPipeError, ValueError):  # the reader has seen enough
            self.gone = True

    def _spill(self) -> None:
        self._out.write("".join(self._kept))
        self._kept.clear()
        self._out.flush()

    def end(self) -> None:
        """Print what is left, and wait until the person has read it."""
        if self._pager is None:
            self._spill()
            return
        if self._pager.stdin is not None:
            with suppress(BrokenPipeError, OSError):
                self._pager.stdin.close()
        while self._pager.returncode is None:
            with suppress(KeyboardInterrupt):  # it is the pager's: less goes on
                self._pager.wait()


@contextmanager
def paged(verb: Sequence[str], *, wanted: bool) -> Iterator[None]:
    """Page what the verb with these words prints, where that is wanted, a person reads it and it is of the kind that ends."""
    command = _command() if wanted and _pages(verb) and output.is_terminal(sys.stdout) and output.is_terminal(sys.stdin) else []
    if not command:
        yield
        return
    from shutil import get_terminal_size

    size, plain = get_terminal_size(), sys.stdout
    sys.stdout = stream = Paged(plain, command, max(1, size.lines - 1), max(1, size.columns))
    try:
        yield
    finally:
        sys.stdout = plain
        stream.end()


def _pages(verb: Sequence[str]) -> bool:
    named = verb[:1] and (verb[0] in PAGED or " ".join(verb[:2]) in PAGED)
    return bool(named) and (verb[0] != "logs" or _FOLLOWING.isdisjoint(verb))


def _command() -> list[str]:
    """The pager as words; nothing where there is none to be used."""
    if os.environ.get("TERM") == "dumb":
        return []
    try:
        words = shlex.split(os.environ["PAGER"]) if "PAGER" in os.environ else ["less"]
    except ValueError:
        return []
    return [] if words == ["cat"] else words
