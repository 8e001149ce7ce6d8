"""Between an erasure and the exact tables: nothing of what was erased can be read, and everything else goes on."""

from __future__ import annotations

import fcntl
import json
import threading
from contextlib import contextmanager

import pytest
from blake3 import blake3

from runloop.events import NewEvent, RunIdentity, canonical, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, erasing, rebuilding, views
from runloop.kb.erasing import Left
from runloop.kb.errors import LedgerFull
from tests.kb.test_histories import contents

SECRET = "Zyzzogeton"
HASH = "c" * 64
MENTION = {"name": SECRET, "email": f"{SECRET}@x.example"}
PAYLOADS = {
    "contact.upserted": {"name": SECRET, "email": f"{SECRET}@x", "org": SECRET, "nicknames": [SECRET], "emails": [f"a@{SECRET}"]},
    "account.upserted": {"service": SECRET, "handle": SECRET, "contact": f"{SECRET}@x", "url": SECRET},
    "note.imported": {
        "path": f"/{SECRET}", "line": 1, "end_line": 1, "text": SECRET, "title": SECRET, "file_hash": HASH, "part": 0, "parts": 1
    },
    "artifact.created": {"kind": SECRET, "path": f"/{SECRET}", "sha256": HASH, "summary": SECRET},
    "email.sent": {"to": [f"{SECRET}@x"], "subject": SECRET, "artifact_id": 1, "path": SECRET},
    "message.imported": {
        "message": HASH, "mailbox": SECRET, "path": SECRET, "subject": SECRET, "text": SECRET, "sender": [MENTION], "to": [MENTION]
    },
    "appointment.imported": {
        "appointment": HASH, "uid": SECRET, "path": SECRET, "line": 1, "summary": SECRET, "location": SECRET, "attendees": [MENTION]
    },
    "commit.imported": {
        "commit": "3" * 40, "repository": SECRET, "subject": SECRET, "message": SECRET, "authored_ms": 1, "committed_ms": 2,
        "author": MENTION, "committer": MENTION,
    },
    "command.imported": {"command": HASH, "shell": "zsh", "path": SECRET, "line": 1, "text": SECRET},
}  # fmt: skip
RUN = RunIdentity(
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
    "compose_email",
)


@contextmanager
def nobody_rebuilds(root):
    """Another process is at it, for as long as this lasts."""
    with (root / rebuilding.LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(kb):
    """Everything that can be read of the derived tables, in lower case."""
    with kb.reading() as db:
        found = [db.execute(f"SELECT * FROM {name}").fetchall() for name in (*views.table_names(), *views.view_names())]
        db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, search, instance)")
        found.append(db.execute("SELECT w.term FROM temp.words w JOIN documents d ON d.id = w.doc").fetchall())
        db.execute("DROP TABLE temp.words")
    return json.dumps(found, default=str).lower()


def whole(kb):
    live = contents(kb)
    kb.rebuild()
    return contents(kb) == live


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_what_was_erased_is_read_nowhere_before_the_tables_are_made_anew(kb, contact, kind):
    kb.ledger.append([contact("Ada", "ada@x"), NewEvent(kind, PAYLOADS[kind], "user")], check=False)
    assert SECRET.lower() in read(kb)
    assert kb.problems() == []
    with nobody_rebuilds(kb.root):
        erasing.erase(kb.ledger, [Left(2)])
        assert SECRET.lower() not in read(kb)
        kb.ledger.append([contact("Bea", "bea@x")])
        assert [kb.search(name)[0].title for name in ("Ada", "Bea")] == ["Ada", "Bea"]
    assert whole(kb)


def test_what_other_events_rest_on_is_named_by_none_of_them_any_more(kb, contact):
    kb.ledger.append([NewEvent("note.imported", PAYLOADS["note.imported"], "user"), contact("Ada", "ada@x", evidence=[1])])
    assert SECRET.lower() in read(kb)
    with nobody_rebuilds(kb.root):
        erasing.erase(kb.ledger, [Left(1)])
        assert SECRET.lower() not in read(kb)
        assert [hit.title for hit in kb.search("Ada")] == ["Ada"]
    assert whole(kb)


def test_a_fact_that_was_erased_takes_the_values_that_came_after_it_along(kb):
    def value(text):
        blob = canonical({"salt": "", "value": text})
        return {"value": blake3(blob).hexdigest(), "stamp": {"by": "person"}}, (blob,)

    first, blobs = value("tea")
    kb.ledger.append([NewEvent("fact.remembered", {"subject": SECRET, "predicate": "likes", **first}, "user", blobs=blobs)])
    for number in (1, 2):
        later, blobs = value(f"drink {number}")
        kb.ledger.append([NewEvent("fact.superseded", {"fact": number, **later}, "user", blobs=blobs)])
    kb.ledger.append([NewEvent("fact.forgotten", {"fact": 3, "stamp": {"by": "person"}}, "user")])
    assert SECRET.lower() in read(kb)
    with nobody_rebuilds(kb.root):
        erasing.erase(kb.ledger, [Left(1)])
        assert SECRET.lower() not in read(kb)
    assert whole(kb)


def test_a_run_that_lost_texts_is_listed_without_them(kb):
    error = r.ErrorInfo("c", SECRET)
    kb.ledger.append(
        [
            run_event(RUN, 1, "run.started", r.RunStarted("d", {"to": SECRET}, r.Versions("0"), "local"), "m"),
            run_event(RUN, 2, "approval.requested", r.ApprovalRequested("p", "n", action=SECRET), "m"),
            run_event(RUN, 3, "node.finished", r.NodeFinished("n", 1, "error", error=error), "m"),
            run_event(RUN, 4, "run.finished", r.RunFinished("failed", 1, reason=SECRET), "m"),
        ]
    )
    assert SECRET.lower() in read(kb)
    lefts = [
        Left(event.id, erasing.without_texts(dict(event.payload), lambda text: text.replace(SECRET, "x"))) for event in kb.ledger.read()
    ]
    with nobody_rebuilds(kb.root):
        erasing.erase(kb.ledger, lefts)
        assert SECRET.lower() not in read(kb)
        assert [run["status"] for run in kb.runs()] == ["failed"]
    assert whole(kb)


def test_readers_and_appends_go_on_while_the_tables_are_made_anew(kb, contact, monkeypatch):
    kb.ledger.append([contact("Ada", "ada@x"), contact(SECRET, "z@x")])
    kb.sync()
    building, go_on = threading.Event(), threading.Event()
    real = rebuilding.sync

    def held(*args, **more):
        building.set()
        assert go_on.wait(60)
        return real(*args, **more)

    monkeypatch.setattr(rebuilding, "sync", held)
    eraser = threading.Thread(target=kb.erase, args=([2],))
    eraser.start()
    try:
        assert building.wait(60)
        kb.ledger.append([contact("Bea", "bea@x")])
        assert kb.search(SECRET) == []
        assert [kb.search(name)[0].title for name in ("Ada", "Bea")] == ["Ada", "Bea"]
    finally:
        go_on.set()
        eraser.join()
    assert [kb.search(name)[0].title for name in ("Ada", "Bea")] == ["Ada", "Bea"]
    assert whole(kb)


def test_whoever_meets_the_erasure_of_a_process_that_ended_makes_the_tables_anew_behind_the_readers(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("Ada", "ada@x"), contact("Bea", "bea@x"), contact("B", "bea@x")])
        kb.sync()
        with nobody_rebuilds(tmp_path):
            erasing.erase(kb.ledger, [Left(3)])
            assert kb.search("Bea") == []  # what the erased event had replaced is not known yet
    with KnowledgeBase.open(tmp_path) as kb:
        kb.sync()
    with KnowledgeBase.open(tmp_path) as kb:
        assert [hit.title for hit in kb.search("Bea")] == ["Bea"]


def test_where_there_is_no_room_for_new_tables_the_old_ones_stay_without_what_was_erased(kb, contact, monkeypatch):
    kb.ledger.append([contact("Ada", "ada@x"), contact(SECRET, "z@x")])
    kb.sync()
    tries = []

    def full(*_, **__):
        tries.append(1)
        raise LedgerFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(rebuilding, "built", full)
        done = kb.erase([2])
        assert "no room" in done.remarks[-1]
        for _ in range(3):
            assert SECRET.lower() not in read(kb)
            kb._views.rebuilder.join()
        assert len(tries) == 2, "once in the background, and not with every reader"
    kb.settle()
    assert whole(kb)
