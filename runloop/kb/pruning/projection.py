"""What ``runs.archived`` changes in the derived tables.

They follow the ledger as it is now: tables that were made while the archived records were still there are made anew. What stayed of the
runs, because something rests on it, is no run any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runloop.events import current, is_blob_ref, parse
from runloop.kb.derived import history, see_node

if TYPE_CHECKING:
    import apsw

    from runloop.events import StoredEvent
    from runloop.kb.ledger import Ledger
    from runloop.kb.projections import LoadBlob

KIND = "runs.archived"
_OF_A_RUN = ("runs", "run_events", "run_nodes", "effects", "approvals")


def runs_archived(db: apsw.Connection, event: StoredEvent, load: LoadBlob) -> None:
    """The runs leave their tables; their nodes in the graph stay, for what they made points to them."""
    for run in _list(event.payload["runs"], load):
        leave_tables(db, run["run_id"])
        see_node(db, event, f"run:{run['run_id']}", "run", run["opening_name"])
        history(db, event, f"run:{run['run_id']}")


def leave_tables(db: apsw.Connection, run_id: str) -> None:
    """Take a run out of the tables of runs."""
    for table in _OF_A_RUN:
        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - our own tables


def holds_archived(db: apsw.Connection, event: StoredEvent, ledger: Ledger) -> bool:
    """Whether the tables hold something of the records that the event says have left the ledger."""
    return any(
        ledger.was_pruned(int(event_id))  # type: ignore[arg-type] # the column is an integer
        for run in _list(current(event).payload["runs"], ledger.blob)
        for (event_id,) in db.execute("SELECT event_id FROM run_events WHERE run_id = ?", (run["run_id"],)).fetchall()
    )


def _list(value: Any, load: LoadBlob) -> Any:
    return parse(load(value["$blob"])) if is_blob_ref(value) else value
