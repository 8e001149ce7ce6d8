"""Unread values: text, lists and maps as somebody wrote them, each with its place.

Files, environment variables and command-line flags all become :class:`Raw`, so that one reader per type serves them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runloop.config.errors import ConfigError
from runloop.dataclass import dataclass
from runloop.errors import Where
from runloop.patterns import lazy

if TYPE_CHECKING:
    from re import Match

MASK = "***"
_USER_INFO = lazy(r"(?<=://)(?:[^/\s:]*:\S{1,512}|[^/\s]+)@")  # a password may have a / or @ that nobody encoded: to the last @
_URL_QUERY = lazy(r"(://[^?\s]*+)(?:\?([^#\s]+))?")  # found without a query too: each `://` in it would look to its end anew
_QUERY_VALUE = lazy(r"=[^&]*")


def masked(text: str) -> str:
    """The text without what URLs in it may hold of secrets: their user part and the values of their query."""

    def query(url: Match[str]) -> str:
        return f"{url[1]}?{_QUERY_VALUE.sub(f'={MASK}', url[2])}" if url[2] else url[0]

    return _URL_QUERY.sub(query, _USER_INFO.sub(f"{MASK}@", text))


@dataclass(frozen=True, slots=True)
class Raw:
    """A value before its type is known. Scalars are text; ``None`` is an explicit null."""

    value: str | list[Raw] | dict[str, Raw] | None
    where: Where
    key_where: Where | None = None

    @property
    def shape(self) -> str:
        """What it is, for messages, which show no secret."""
        if self.value is None:
            return "nothing"
        if isinstance(self.value, str):
            return repr(masked(self.value))
        return "a list" if isinstance(self.value, list) else "a map"


def of_python(value: Any, where: Where) -> Raw:
    """The unread form of a Python or JSON value."""
    if value is None or isinstance(value, str):
        return Raw(value, where)
    if isinstance(value, bool):
        return Raw("true" if value else "false", where)
    if isinstance(value, dict):
        return Raw({str(key): of_python(item, where) for key, item in value.items()}, where, where)
    if isinstance(value, (list, tuple)):
        return Raw([of_python(item, where) for item in value], where)
    return Raw(str(value), where)


def of_text(text: str, where: Where) -> Raw:
    """The unread form of a variable's or flag's text: JSON where it starts like a list or a map, else the text itself."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            return of_python(json.loads(stripped, parse_float=str, parse_int=str, object_pairs_hook=_no_duplicates), where)
        except RecursionError:
            raise ConfigError("the value is nested too deeply", where=where) from None
        except ValueError as error:
            raise ConfigError(
                f"the value starts like JSON but is not: {error}",
                where=where,
                hint='Lists are written ["a", "b"] or a,b; maps {"key": "value"}.',
            ) from None
    return Raw(text, where)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key given twice is an error."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def items(raw: Raw) -> Iterator[tuple[str, Raw]]:
    """The entries of a map; nothing for an explicit null."""
    if isinstance(raw.value, dict):
        yield from raw.value.items()
