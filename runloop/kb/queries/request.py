"""What goes to the process of a query, and what comes back: JSON, for a quarter of its start was the library that we use elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from runloop.dataclass import dataclass
from runloop.kb.limits import MAX_ROWS, MAX_SECONDS
from runloop.kb.redaction import EVERYTHING, Rules


@dataclass(frozen=True, slots=True)
class Request:
    """One statement, the files it reads, its masks and its limits. ``until`` is the last event that is shown, None is all."""

    sql: str
    views: str
    ledger: str
    salt: str
    rules: Rules = EVERYTHING
    until: int | None = None
    max_rows: int = MAX_ROWS
    max_seconds: float = MAX_SECONDS

    def encoded(self) -> bytes:
        """As :func:`decoded` takes it."""
        return json.dumps(asdict(self)).encode()


def decoded(data: bytes) -> Request:
    """The request that was encoded so."""
    fields = json.loads(data)
    rules = fields.pop("rules")
    rules["url_param_denylist"] = tuple(rules["url_param_denylist"])
    return Request(**fields, rules=Rules(**rules))


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns and rows; ``truncated`` when more rows were there than the limit allows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of spec 15.6: rows as objects."""
        return {
            "columns": self.columns,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "truncated": self.truncated,
        }
