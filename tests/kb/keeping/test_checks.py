"""What verify finds beyond the chain: references, blobs, indexes, derived tables, words."""

from __future__ import annotations

import pytest
from msgspec import structs

from runloop.events import INLINE_LIMIT, NewEvent
from runloop.kb import KnowledgeBase
from runloop.kb.errors import LedgerCorrupt


@pytest.fixture
def base(kb, contact, finished):
    """A base with something of everything that is checked."""
    note = {"path": "/n.md", "line": 1, "end_line": 2, "text": "the launch", "file_hash": "0" * 64, "part": 0, "parts": 1, "title": "Plan"}
    kb.ledger.append([contact(), contact("Bo", "bo@example.com", evidence=[1]), NewEvent("note.imported", note, "user", "user")])
    kb.ledger.append([finished(1, {"out": ["x" * INLINE_LIMIT]}), structs.replace(contact("C", "c@example.com"), blobs=(b"raw",))])
    return kb


def checked(base, **how):
    report = base.verify(views=True, **how)
    return {check.name: check.state for check in report.checks}, report


def first(base):
    report = base.verify(views=True)
    assert not report.ok
    return report.broken


def test_an_untouched_base_passes_every_check(base):
    states, report = checked(base)
    assert states == dict.fromkeys(("chain", "checkpoints", "archives", "references", "blobs", "file", "views"), "ok")
    assert (report.ok, report.events, report.blobs, report.remarks) == (True, 5, 2, ())
    assert report.bytes > INLINE_LIMIT
    assert [path.name for path in base.root.iterdir() if path.name.startswith(".keeping")] == []


def test_quick_looks_at_the_events_alone(base):
    assert list(checked(base, quick=True)[0]) == ["chain", "checkpoints", "references"]


def test_progress_tells_how_far_the_rebuild_is(base):
    told = []
    base.verify(views=True, progress=lambda *each: told.append(each))
    assert ("views", 5, 5) in told


def test_an_event_that_rests_on_a_later_one_is_named(base, contact):
    base.ledger.append([contact("D", "d@example.com", evidence=[99])])
    broken = first(base)
    assert (broken.event_id, broken.what, broken.actual) == (6, "what this contact.upserted rests on", "event 99")


def test_evidence_in_the_provenance_counts_too(base, contact):
    base.ledger.append([structs.replace(contact("D", "d@example.com"), provenance={"evidence": "1,6"})])
    assert (first(base).event_id, first(base).actual) == (6, "event 6")


def test_what_an_agent_cites_is_its_own_word(base, run):
    from runloop.events import run_event
    from runloop.events.records import ArtifactCreated, Source

    made = ArtifactCreated("writer", "text", "/a", "0" * 64, "0" * 64, sources=[Source(event_id=77)])
    base.ledger.append([run_event(run, 2, "artifact.created", made, "made")])
    report = base.verify(views=True)
    assert report.ok
    assert report.remarks == ("agents cited 1 events that did not exist then",)


def test_a_blob_of_no_event_is_reported_and_breaks_nothing(base, behind):
    behind(base.ledger.path, "INSERT INTO blobs VALUES(?, ?)", _hash(b"lonely"), b"lonely")
    report = base.verify(views=True)
    assert report.ok
    assert report.remarks == ("1 blobs of 6 bytes belong to no event",)


def test_a_changed_blob_is_named_with_the_event_that_has_it(base, behind):
    behind(base.ledger.path, "UPDATE blobs SET data = x'00' WHERE length(data) = 3")
    assert (first(base).event_id, first(base).what) == (5, "blob")


def test_an_index_that_lacks_an_entry_is_found(base, behind):
    base.ledger.append([NewEvent("contact.upserted", {"name": "K", "email": "k@example.com"}, "user", "user", {}, None, "key")])
    root = behind(base.ledger.path, "SELECT rootpage FROM sqlite_schema WHERE name = 'events_key'")[0][0]
    behind(base.ledger.path, "PRAGMA wal_checkpoint(truncate)")
    base.close()
    data = bytearray(base.ledger.path.read_bytes())
    page = (root - 1) * 4096
    data[page + 3 : page + 5] = b"\0\0"  # the index now has no cells
    base.ledger.path.write_bytes(data)
    with KnowledgeBase.open(base.root) as again:
        broken = first(again)
    assert broken.what == "the file of the ledger"
    assert f"page {root}" in broken.actual


@pytest.mark.parametrize("kind", ["TRIGGER odd AFTER INSERT ON events BEGIN DELETE FROM blobs; END", "VIEW odd AS SELECT 1"])
def test_a_ledger_that_acts_on_what_is_written_is_found(base, behind, kind):
    """As one that a stranger gives for a backup may."""
    behind(base.ledger.path, f"CREATE {kind}")
    broken = first(base)
    assert (broken.what, broken.expected) == ("the file of the ledger", "tables and indexes alone")
    assert "'odd'" in broken.actual


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE contacts SET name = 'Eve' WHERE name = 'Bo'", "table contacts at contact_key"),
        ("DELETE FROM notes", "table notes at path '/n.md'"),
        ("INSERT INTO entity_history VALUES('contact:x', 1)", "table entity_history at entity_key 'contact:x'"),
        ("INSERT INTO problems VALUES(1, 'k', 'e')", "table problems at event_id 1"),
        ("INSERT INTO search(rowid, title, body) VALUES(99, 'sneaky', '')", "the search index at the word 'sneaky'"),
        ("DELETE FROM search WHERE rowid = (SELECT id FROM documents WHERE domain = 'notes')", "the search index at the word"),
    ],
)
def test_derived_tables_that_differ_from_a_rebuild_are_named_and_the_ledger_is_not_blamed(base, behind, sql, what):
    base.sync()
    behind(base.root / "pog.sqlite", sql)
    report = base.verify(views=True)
    assert report.broken.what.startswith(what), report.broken
    with pytest.raises(LedgerCorrupt) as caught:
        report.require("x")
    assert (caught.value.code, caught.value.exit_code) == ("kb.views_differ", 5)
    assert "rebuild" in caught.value.hint
    base.rebuild()
    assert base.verify(views=True).ok


def test_the_views_of_a_broken_ledger_are_not_rebuilt(base, behind):
    base.sync()
    behind(base.ledger.path, "UPDATE events SET actor = 'root' WHERE id = 4")
    states, report = checked(base)
    assert (report.broken.event_id, states["views"]) == (4, "skipped")


def test_events_that_come_while_it_compares_are_left_for_the_next_time(base, contact):
    def append(name, *_):
        if name == "views":
            base.ledger.append([contact("Late", "late@example.com")])
            base.sync()

    assert base.verify(views=True, progress=append).ok
    assert base.ledger.head().id > 5


def _hash(data):
    from blake3 import blake3

    return blake3(data).digest()
