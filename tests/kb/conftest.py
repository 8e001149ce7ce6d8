from __future__ import annotations

import apsw
import pytest

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events.records import NodeFinished
from runloop.kb import KnowledgeBase, Ledger


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "events.sqlite") as opened:
        yield opened


@pytest.fixture
def kb(tmp_path):
    with KnowledgeBase.open(tmp_path / "pog") as opened:
        yield opened


@pytest.fixture
def run():
    return RunIdentity(
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
        "compose_email",
    )


@pytest.fixture
def contact():
    """Makes an event that says a person is known."""

    def make(name="Ada Lovelace", email="ada@example.com", *, key=None, ts_ms=None, **more):
        return NewEvent("contact.upserted", {"name": name, "email": email, **more}, "user", "user", {}, ts_ms, key)

    return make


@pytest.fixture
def finished(run):
    """Makes the record of a node that finished."""

    def make(seq, outputs=None, node="writer"):
        outputs = {"out": [seq]} if outputs is None else outputs
        return run_event(run, seq, "node.finished", NodeFinished(node, 1, "ok", outputs), "done")

    return make


@pytest.fixture
def behind():
    """Runs SQL on a file behind everybody's back."""

    def run_sql(path, sql, *values):
        db = apsw.Connection(str(path))
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    return run_sql
