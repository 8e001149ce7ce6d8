"""Fixtures of the knowledge base.

Its files lie in memory where there is room: every base that is opened syncs two of them, and a disk takes longer for that than a test for
everything else. What a disk may lose is tried on a file system that loses it (``faults``).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import apsw
import pytest

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events.records import NodeFinished
from runloop.kb import KnowledgeBase, Ledger

MEMORY = Path("/dev/shm")
ROOM = 2 << 30  # bytes that have to be free there


class Folders:
    """New directories in one place, as those of pytest's factory."""

    def __init__(self, root):
        self.root = root

    def getbasetemp(self):
        return self.root

    def mktemp(self, name):
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root))


@pytest.fixture(scope="session")
def tmp_path_factory(tmp_path_factory):
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory
        return
    root = Path(tempfile.mkdtemp(prefix="runloop-kb-", dir=MEMORY))
    try:
        yield Folders(root)
    finally:
        shutil.rmtree(root)


@pytest.fixture
def tmp_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("test")
    yield path
    shutil.rmtree(path, ignore_errors=True)


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
        db.set_busy_timeout(10_000)  # the writer may be looking after its log
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    return run_sql
