"""Regular expressions that are compiled when they are first used: a line needs few of them, and all would take longer than the rest."""

from __future__ import annotations

import re


class Pattern:
    """A regular expression; ``re`` is the compiled one."""

    __slots__ = ("_compiled", "_flags", "_source")

    def __init__(self, source: str, flags: int = 0) -> None:
        self._source = source
        self._flags = flags
        self._compiled: re.Pattern[str] | None = None

    @property
    def re(self) -> re.Pattern[str]:
        """Compiled once."""
        if self._compiled is None:
            self._compiled = re.compile(self._source, self._flags)
        return self._compiled
