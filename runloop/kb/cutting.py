"""What was erased goes out of the derived tables at once: every row that an erased event said something in.

This makes no exact tables: what was there before those rows, and what pointed to them, only making them anew can tell. It keeps everybody
from reading what was erased until that is done (:mod:`runloop.kb.rebuilding`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runloop.kb.derived import unindex
from runloop.kb.people import forget_name_forms

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

_THESE = "IN (SELECT value FROM json_each(?1))"
_SAID_BY = {
    "accounts": "source_event",
    "appointments": "source_event",
    "approvals": "source_event",
    "artifacts": "source_event",
    "commands": "source_event",
    "commits": "source_event",
    "contacts": "source_event",
    "edges": "source_event",
    "entity_history": "event_id",
    "facts": "fact_id",
    "mails": "event_id",
    "messages": "source_event",
    "nodes": "source_event",
    "notes": "source_event",
    "problems": "event_id",
}
"""Tables whose rows one event says, with the column that names it."""
_OF_RUNS = (
    "UPDATE runs SET words = '', reason = NULL, why = NULL WHERE run_id {these}",
    "UPDATE run_nodes SET error = NULL WHERE run_id {these}",
    "UPDATE effects SET error = NULL WHERE run_id {these}",
    "UPDATE approvals SET action = NULL WHERE run_id {these}",
)
"""What a run says in words; its records keep their numbers, hashes and times."""
_FACTS = f"""WITH RECURSIVE gone(id, ended) AS (
        SELECT fact_id, ended_event FROM facts WHERE fact_id {_THESE}
        UNION SELECT fact_id, ended_event FROM facts JOIN gone ON supersedes = gone.id
    ) SELECT id, ended FROM gone"""  # noqa: S608 - our own names
_NAMED = (
    "DELETE FROM edges WHERE target_key {these} OR source_key {these}",
    "DELETE FROM entity_history WHERE entity_key {these}",
)
"""What other events say of a thing that goes: under a key that may be made of its words, such as a path."""


def cut(db: apsw.Connection, events: Iterable[int]) -> None:
    """Take what these events said out of the tables and out of the search; within a transaction."""
    facts: Any = db.execute(_FACTS, (json.dumps(list(events)),)).fetchall()  # later values have the subject of the first
    said = json.dumps(sorted({*events, *(each for row in facts for each in row if each is not None)}))
    for (key,) in _rows(db, "SELECT contact_key FROM contacts WHERE source_event", said):
        forget_name_forms(db, key)
        db.execute("DELETE FROM contact_emails WHERE contact_key = ?", (key,))
    runs = [row[0] for row in _rows(db, "SELECT DISTINCT run_id FROM run_events WHERE event_id", said)]
    for sql in _OF_RUNS:
        db.execute(sql.format(these=_THESE), (json.dumps(runs),))
    documents = _rows(db, "SELECT domain, key FROM documents WHERE source_event", said)
    for domain, key in (*documents, *(("runs", f"run:{run}") for run in runs)):
        unindex(db, domain, key)
    nodes = json.dumps([row[0] for row in _rows(db, "SELECT node_key FROM nodes WHERE source_event", said)])
    for sql in _NAMED:
        db.execute(sql.format(these=_THESE), (nodes,))
    for table, column in _SAID_BY.items():
        db.execute(f"DELETE FROM {table} WHERE {column} {_THESE}", (said,))  # noqa: S608


def _rows(db: apsw.Connection, sql: str, these: str) -> list[Any]:
    return db.execute(f"{sql} {_THESE}", (these,)).fetchall()
