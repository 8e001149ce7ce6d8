"""A document that a verb writes: to a file or a pipe as it is, to a terminal with everything that could drive it shown as escapes."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from runloop.cli import output
from runloop.errors import InvalidInput, Where


class Legible(io.RawIOBase):
    """UTF-8 that is printed by whole lines, each made harmless."""

    def __init__(self, harmless: Callable[[str], str]) -> None:
        self._harmless = harmless
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        lines, newline, self._begun = (self._begun + self._decode(raw)).rpartition("\n")
        sys.stdout.write(self._harmless(lines + newline))
        return len(raw)

    def end(self) -> None:
        """Print what no line ended; a terminal's prompt gets a line of its own."""
        if self._begun:
            sys.stdout.write(self._harmless(self._begun) + "\n")


@contextmanager
def standard_output(*, of_json: bool = False) -> Iterator[BinaryIO]:
    """Standard output for the bytes of a text; on a terminal that of JSON (``of_json``) is still JSON."""
    if output.is_terminal(sys.stdout):
        legible = Legible(output.harmless_json if of_json else output.clean)
        yield cast("BinaryIO", legible)
        legible.end()
        return
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def print_document(text: str) -> None:
    """Print the text of a file."""
    with standard_output() as out:
        out.write(text.encode())


def require_file(into: Path | None, *, as_json: bool) -> None:
    """``--json`` says what was written, so the document itself needs a file: raises InvalidInput ``cli.usage`` where there is none."""
    if as_json and into is None:
        message = "--json says what was written, and the document would stand in the same place"
        raise InvalidInput(message, code="cli.usage", where=Where(key="--json"), hint="name a file for the document: -o FILE")
