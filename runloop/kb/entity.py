"""`rlp kb show`: one entity as the tables have it: what is known of it, what it is related to, and the events that touched it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

MAX_RELATIONS = 200
_JSON = frozenset(
    {"emails", "nicknames", "phones", "recipients", "sources", "spans", "people", "attachments", "rules", "attendees", "files"}
)
_TABLES = {
    "account": ("accounts", "account_key"),
    "approval": ("approvals", "approval_id"),
    "mail": ("mails", "event_id"),
    "run": ("runs", "run_id"),
    "fact": ("facts", "fact_id"),
    "contact": ("contacts", "contact_key"),
    "artifact": ("artifacts", "artifact_key"),
    "message": ("messages", "message_key"),
    "appointment": ("appointments", "appointment_key"),
    "commit": ("commits", "commit_key"),
    "command": ("commands", "command_key"),
}
_SAID = """SELECT node_key FROM nodes WHERE source_event = :event AND kind NOT IN ('event', 'agent', 'opening', 'subject')
    ORDER BY node_key LIKE '%:' || :event DESC, kind IN ('contact', 'file'), node_key LIMIT 1"""
_PRIVATE = frozenset({"names_folded", "words"})  # what only searches need


def entity_key(db: apsw.Connection, key: str) -> str:
    """The key under which the graph knows what a person named: an event is what it says is there, where it says so."""
    sort, _, rest = key.partition(":")
    if sort != "event" or not rest.isdigit():
        return key
    row: Any = db.execute(_SAID, {"event": int(rest)}).fetchone()
    return key if row is None else str(row[0])


def describe(db: apsw.Connection, key: str) -> dict[str, Any] | None:
    """``{key, kind, title, since_event, ended_event, properties, relations, more_relations}``, or None where nothing has this key."""
    node: Any = db.execute("SELECT kind, label, source_event, ended_event FROM nodes WHERE node_key = ?", (key,)).fetchone()
    properties = _properties(db, key)
    if node is None and not properties:
        return None
    kind, label, since, ended = node or (key.partition(":")[0], "", None, None)
    relations, more = _relations(db, key)
    return {
        "key": key,
        "kind": kind,
        "title": label,
        "since_event": since,
        "ended_event": ended,
        "properties": properties,
        "relations": relations,
        "more_relations": more,
    }


def of_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same form for an event that made nothing with a key of its own."""
    return {
        "key": event["key"],
        "kind": "event",
        "title": event["title"],
        "since_event": event["event_id"],
        "ended_event": None,
        "properties": event["data"],
        "relations": [],
        "more_relations": 0,
    }


def _properties(db: apsw.Connection, key: str) -> dict[str, Any]:
    sort, _, rest = key.partition(":")
    if sort == "note":
        path, _, part = rest.rpartition("#")
        if part.isdigit() and path:
            return _row(db, "SELECT * FROM notes WHERE path = ? AND part = ?", path, int(part))
        return _row(
            db, "SELECT path, count(*) AS passages, file_hash, max(end_line) AS lines FROM notes WHERE path = ? GROUP BY path", rest
        )
    if sort == "node":
        run_id, _, node = rest.partition("#")
        return _row(db, "SELECT * FROM run_nodes WHERE run_id = ? AND node_id = ?", run_id, node)
    if sort in _TABLES:
        table, column = _TABLES[sort]
        return _row(db, f"SELECT * FROM {table} WHERE {column} = ?", rest)  # noqa: S608 - our own names
    return {}


def _row(db: apsw.Connection, sql: str, *values: Any) -> dict[str, Any]:
    cursor = db.execute(sql, values)
    row = cursor.fetchone()
    if row is None:
        return {}
    names = [column[0] for column in cursor.get_description()]
    found = dict(zip(names, row, strict=True))
    return {name: _value(name, value) for name, value in found.items() if value is not None and name not in _PRIVATE}


def _value(name: str, value: Any) -> Any:
    return json.loads(value) if name in _JSON and isinstance(value, str) else value


def _relations(db: apsw.Connection, key: str) -> tuple[list[dict[str, Any]], int]:
    """Edges from and to it, the newest first; and how many more there are."""
    rows: list[Any] = db.execute(
        """SELECT e.relation, 'to', e.target_key, n.label, e.source_event FROM edges e LEFT JOIN nodes n ON n.node_key = e.target_key
           WHERE e.source_key = :key
           UNION ALL
           SELECT e.relation, 'from', e.source_key, n.label, e.source_event FROM edges e LEFT JOIN nodes n ON n.node_key = e.source_key
           WHERE e.target_key = :key
           ORDER BY 5 DESC, 1, 3""",
        {"key": key},
    ).fetchall()
    names = ("relation", "direction", "key", "label", "source_event")
    return [dict(zip(names, row, strict=True)) for row in rows[:MAX_RELATIONS]], max(0, len(rows) - MAX_RELATIONS)
