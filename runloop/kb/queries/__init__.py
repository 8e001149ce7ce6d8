"""SQL for people: read-only, over masked tables, in a process of its own that cannot take more than it is given (docs/privacy.md)."""

from __future__ import annotations

from runloop.kb.queries.asking import query_process
from runloop.kb.queries.request import QueryResult, Request
from runloop.kb.queries.tables import tables_of

__all__ = ["QueryResult", "Request", "query_process", "tables_of"]
