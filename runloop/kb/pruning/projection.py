"""What ``runs.archived`` and ``runs.restored`` change in the derived tables.

They follow the ledger as it is now: tables that were made while the archived records were still there, or before they were back, are made
anew. What stayed of the runs, because something rests on it, is no run any more; where all records are there, they were taken back.
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
    from runloop.kb.tables import Tables

KIND = "runs.archived"
BACK = "runs.restored"
_OF_A_RUN = ("runs", "run_events", "run_nodes", "effects", "approvals")


def runs_archived(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """The runs leave their tables; their nodes in the graph stay, for what they made points to them."""
    db.write()  # it reads and empties them
    for run in _list(event.payload["runs"], load):
        if not _is_whole(db, run["run_id"]):
            leave_tables(db, run["run_id"])
        _tell(db, event, run)


def runs_restored(db: Tables, event: StoredEvent, load: LoadBlob) -> None:
    """It stands in the history of the runs; their records are where they were."""
    for run in _list(event.payload["runs"], load):
        _tell(db, event, run)


def _tell(db: Tables, event: StoredEvent, run: Any) -> None:
    see_node(db, event, f"run:{run['run_id']}", "run", run["opening_name"])
    history(db, event, f"run:{run['run_id']}")


def _is_whole(db: apsw.Connection, run_id: str) -> bool:
    """Whether the tables have every record of a run, from the first to its end."""
    records, last = db.execute("SELECT count(*), max(seq) FROM run_events WHERE run_id = ?", (run_id,)).get
    return bool(records == last and db.execute("SELECT finished_ms FROM runs WHERE run_id = ?", (run_id,)).get is not None)


def leave_tables(db: apsw.Connection, run_id: str) -> None:
    """Take a run out of the tables of runs."""
    for table in _OF_A_RUN:
        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608 - our own tables


def take_out_archived(db: Tables, event: StoredEvent, ledger: Ledger) -> bool:
    """Take the runs that the event archived, and that the tables still hold, out of them; whether there were any."""
    found = [
        run["run_id"]
        for run in _list(current(event).payload["runs"], ledger.blob)
        if any(
            ledger.was_pruned(int(event_id))  # type: ignore[arg-type] # the column is an integer
            for (event_id,) in db.execute("SELECT event_id FROM run_events WHERE run_id = ?", (run["run_id"],)).fetchall()
        )
    ]
    for run_id in found:
        leave_tables(db, run_id)
    return bool(found)


def _list(value: Any, load: LoadBlob) -> Any:
    return parse(load(value["$blob"])) if is_blob_ref(value) else value
