"""What a guest writes to its standard streams: each line goes to the run's log, and the last of them say why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_LIMIT = 8192
_KEPT = 4096
_WITHIN = bytes(range(0x80, 0xC0))
"""Bytes with which no character of UTF-8 begins."""


class Said:
    """Calls ``log`` with a level and a line; a longer one than 8 KiB is cut into several."""

    def __init__(self, log: Callable[[str, str], object]) -> None:
        self._log = log
        self._begun: dict[str, bytearray] = {}
        self._last = bytearray()

    def write(self, level: str, data: bytes) -> None:
        """Take output; the execution has counted it."""
        self._last = (self._last + data)[-_KEPT:]
        line = self._begun.setdefault(level, bytearray())
        line += data
        while (end := line.find(b"\n", 0, _LINE_LIMIT + 1)) >= 0 or len(line) > _LINE_LIMIT:
            cut = end if end >= 0 else _whole(line)
            text = bytes(line[:cut])
            del line[: cut + (cut == end)]
            self._log(level, text.decode(errors="replace"))

    def finish(self) -> None:
        """Log what is left, where a stream did not end with a line."""
        while self._begun:
            level, line = self._begun.popitem()
            if line:
                self._log(level, line.decode(errors="replace"))

    @property
    def last(self) -> str:
        """The last of all that was written."""
        return self._last.lstrip(_WITHIN).decode(errors="replace").strip()

    @property
    def tail(self) -> str:
        """The last words as what stands below a message; empty where there are none."""
        return f"\n{last}" if (last := self.last) else ""


def _whole(line: bytearray) -> int:
    """Where to cut a line that is too long, at the latest: before the character of UTF-8 that reaches beyond the limit."""
    begins = next((at for at in range(_LINE_LIMIT, _LINE_LIMIT - 4, -1) if line[at] & 0xC0 != 0x80), None)
    return _LINE_LIMIT if begins is None else begins
