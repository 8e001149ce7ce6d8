"""TOML with places: what :mod:`tomllib` reads, plus the line and column of every key and list entry.

tomllib decides what is valid; the walk below runs only over text that it accepted, so it may be short and trusting.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, SeveralInvalid, Where
from runloop.patterns import lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TomlPath = tuple[str | int, ...]

_SPACE = lazy(r"(?:[ \t\n]|#[^\n]*)*")
_KEY = lazy(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_DOT = lazy(r"[ \t]*\.[ \t]*")
_STRING = lazy(r'''"""(?:\\.|[^\\])*?""""{0,2}|\'\'\'.*?\'\'\'\'{0,2}|"(?:[^"\\]|\\.)*"|'[^']*\'''', re.DOTALL)
_SCALAR = lazy(r"\d{4}-\d\d-\d\d \d\d:[^,\]}\s#]+|[^,\]}\s#]+")
_TOMLLIB_PLACE = lazy(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """A parsed TOML text and where each of its keys and list entries stands."""

    data: dict[str, Any]
    places: Mapping[TomlPath, tuple[int, int]]
    file: str | None

    def where(self, *path: str | int) -> Where:
        """Find the place of ``path``, or of its nearest ancestor that is written down."""
        for length in range(len(path), 0, -1):
            if place := self.places.get(path[:length]):
                return Where(file=self.file, line=place[0], column=place[1], key=dotted(path))
        return Where(file=self.file, key=dotted(path) or None)

    def unknown_keys(
        self, allowed: Iterable[str], *path: str | int, code: str, what: str, meant: Mapping[str, str] | None = None
    ) -> Iterator[SeveralInvalid]:
        """Yield an error for each key of the table at ``path`` that is not in ``allowed``, suggesting what is ``meant`` or the nearest."""
        table: Any = self.data
        for step in path:
            table = table[step]
        known = sorted(allowed)
        for key in table:
            if key not in known:
                from runloop.nearest import did_you_mean

                where = self.where(*path, key)
                hint = (meant or {}).get(key) or did_you_mean(key, known)
                yield SeveralInvalid(f"unknown {what} {key!r}", code=code, where=where, hint=hint)


def parse_toml(text: str, *, file: str | None, code: str, max_bytes: int = 1 << 20) -> TomlDocument:
    """Read ``text``; raise ``InvalidInput(code)`` with line and column when it is too large, too deep or not TOML."""
    if len(text) > max_bytes:
        raise InvalidInput(f"the file is larger than {max_bytes} bytes", code=code, where=Where(file=file), hint="make it smaller")
    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
        places = _Walk(text).places()
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, file, code) from None
    except RecursionError:
        hint = "flatten the nested lists or tables"
        raise InvalidInput("values are nested too deeply", code=code, where=Where(file=file), hint=hint) from None
    return TomlDocument(data, places, file)


def dotted(path: Iterable[str | int]) -> str:
    """``("net", "hosts", 1)`` as people write it: ``net.hosts[1]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _syntax_error(message: str, text: str, file: str | None, code: str) -> InvalidInput:
    place = _TOMLLIB_PLACE.search(message)
    line, column = (int(place[1]), int(place[2])) if place else (text.count("\n") + 1, None)  # else it is "at end of document"
    message = message.partition(" (at ")[0]
    return InvalidInput(
        f"not valid TOML: {message}", code=code, where=Where(file=file, line=line, column=column), hint="see https://toml.io for the syntax"
    )


class _Walk:
    """One pass over valid TOML that notes the offset of every key and list entry."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._offsets: dict[TomlPath, int] = {}
        self._last_index: dict[TomlPath, int] = {}

    def places(self) -> dict[TomlPath, tuple[int, int]]:
        table: TomlPath = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self._lines_and_columns()

    def _lines_and_columns(self) -> dict[TomlPath, tuple[int, int]]:
        places: dict[TomlPath, tuple[int, int]] = {}
        line, line_start, seen = 1, 0, 0
        for path, offset in sorted(self._offsets.items(), key=lambda item: item[1]):
            newlines = self._text.count("\n", seen, offset)
            if newlines:
                line += newlines
                line_start = self._text.rfind("\n", seen, offset) + 1
            seen = offset
            places[path] = (line, offset - line_start + 1)
        return places

    def _header(self) -> TomlPath:
        start = self._at
        is_list = self._text.startswith("[[", start)
        self._at += 2 if is_list else 1
        self._skip(_SPACE)
        *parents, last = self._key()
        self._skip(_SPACE)
        self._at += 2 if is_list else 1
        path: TomlPath = ()
        for part in parents:
            path = self._entered((*path, part), start)
        path = (*path, last)
        if is_list:
            self._offsets.setdefault(path, start)
            self._last_index[path] = self._last_index.get(path, -1) + 1
        return self._entered(path, start)

    def _entered(self, path: TomlPath, offset: int) -> TomlPath:
        self._offsets.setdefault(path, offset)
        if path in self._last_index:
            path = (*path, self._last_index[path])
            self._offsets.setdefault(path, offset)
        return path

    def _pair(self, table: TomlPath) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            self._offsets.setdefault(path, start)
        self._skip(_SPACE)
        self._at += 1
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            raw = self._take(_KEY)
            parts.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
            if not self._take(_DOT):
                return parts

    def _value(self, path: TomlPath) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._take(_STRING)
        elif first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _list(self, path: TomlPath) -> None:
        self._at += 1
        self._skip(_SPACE)
        index = 0
        while self._text[self._at] != "]":
            self._offsets[*path, index] = self._at
            self._value((*path, index))
            index += 1
            self._separator()
        self._at += 1

    def _inline_table(self, path: TomlPath) -> None:
        self._at += 1
        self._skip(_SPACE)
        while self._text[self._at] != "}":
            self._pair(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._skip(_SPACE)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_SPACE)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)
