"""The type of `models.broker.route`: an ordered list of routes, or the older map from pattern to provider."""

from __future__ import annotations

from typing import Any

from runloop.config.kinds import Field, ListOf, Record, Text
from runloop.config.paths import Expansion
from runloop.config.raw import Raw
from runloop.dataclass import dataclass

PATTERN = r"[^*\s]+\*?|\*"
"""A pattern of model names: `*`, `prefix*` or one exact name."""

_ROUTE = Record(
    "a route",
    {
        "pattern": Field(Text(pattern=PATTERN, wanted="a model name, prefix* or *"), required=True),
        "provider": Field(Text(), required=True),
        "target_model": Field(Text()),
    },
)


@dataclass(frozen=True, slots=True)
class Routes:
    """Routes in the order in which they are tried."""

    name: str = "list of routes"

    def read(self, raw: Raw, expansion: Expansion) -> tuple[dict[str, Any], ...]:
        """A list keeps its order; a map is ordered exact before wildcard, longer first, then by name, the catch-all last."""
        if isinstance(raw.value, dict):
            entries = [_entry(pattern, each) for pattern, each in raw.value.items()]
            return tuple(sorted((_ROUTE.read(entry, expansion) for entry in entries), key=_rank))
        return ListOf(_ROUTE).read(raw, expansion)


def _entry(pattern: str, raw: Raw) -> Raw:
    """One entry of the map form: its value is a provider, or a record without its pattern."""
    at = raw.key_where or raw.where
    rest = raw.value if isinstance(raw.value, dict) else {"provider": raw}
    return Raw({"pattern": Raw(pattern, at), **rest}, raw.where, raw.key_where)


def _rank(route: dict[str, Any]) -> tuple[bool, bool, int, str]:
    pattern: str = route["pattern"]
    return pattern == "*", "*" in pattern, -len(pattern.replace("*", "")), pattern
