"""Vacuum gives the room of what was deleted back; stats count what is there."""

from __future__ import annotations

import pytest

from runloop.kb.errors import KnowledgeInUse, LedgerFull, LedgerReadOnly
from runloop.kb.keeping import vacuuming
from runloop.kb.keeping.stats import stats
from runloop.kb.keeping.vacuuming import vacuum


def test_the_room_of_what_was_deleted_comes_back_and_nothing_else_changes(home, behind):
    before = home.rows()
    behind(home.ledger, "CREATE TABLE t(x); INSERT INTO t SELECT randomblob(400000); DROP TABLE t")
    done = vacuum(home.ledger, home.derived)
    assert [each.file for each in done] == [str(home.ledger), str(home.derived[0])]
    assert done[0].gained > 300_000
    assert done[0].after == home.ledger.stat().st_size
    assert home.rows() == before
    with home.open() as kb:
        assert kb.verify(views=True).ok
        assert len(kb.search("Bo")) == 1


def test_analyze_gathers_statistics(home, behind):
    vacuum(home.ledger, home.derived)
    assert behind(home.ledger, "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'") == []
    vacuum(home.ledger, home.derived, analyze=True)
    assert behind(home.ledger, "SELECT count(*) > 0 FROM sqlite_stat1") == [(1,)]


def test_nobody_else_may_have_the_base_open(home):
    with home.open(), pytest.raises(KnowledgeInUse):
        vacuum(home.ledger, home.derived)


def test_too_little_room_is_said_before_anything_is_written(home, monkeypatch):
    def no_room(_folder, needed):
        assert needed >= home.ledger.stat().st_size
        raise LedgerFull("no", code="kb.no_room")

    monkeypatch.setattr(vacuuming, "require_room", no_room)
    before = home.ledger.read_bytes()
    with pytest.raises(LedgerFull):
        vacuum(home.ledger, home.derived)
    assert home.ledger.read_bytes() == before


def test_without_a_place_for_the_temporary_file_a_vacuum_says_how_to_name_one(home, monkeypatch):
    monkeypatch.setattr(vacuuming.os, "access", lambda *_: False)
    with pytest.raises(LedgerReadOnly) as caught:
        vacuum(home.ledger, home.derived)
    assert "/var/tmp" in caught.value.message
    assert "SQLITE_TMPDIR=" in caught.value.hint


def test_stats_count_events_blobs_runs_and_how_far_the_derived_tables_are(home, contact, run):
    from runloop.events import run_event
    from runloop.events.records import RunStarted, Versions

    with home.open() as kb:
        kb.ledger.append([run_event(run, 2, "run.started", RunStarted("0" * 64, {}, Versions("0"), "local"), "began")])
        kb.sync()
        kb.ledger.append([contact("Not yet", "later@example.com")])
        found = stats(kb, home.derived[0], home.root / "pog" / "vectors.sqlite", ("notes",))
        head = kb.ledger.head()
    assert found["head"] == {"id": 8, "chain": head.chain.hex()}
    assert (found["events"], found["blobs"]["count"]) == (8, 2)
    assert found["blobs"]["bytes"] > 16_384
    assert [(each["kind"], each["events"]) for each in found["kinds"]] == [
        ("contact.upserted", 6),
        ("node.finished", 1),
        ("run.started", 1),
    ]
    assert sum(each["events"] for each in found["days"]) == 8
    assert found["runs"] == {"running": 1}
    assert found["views"] == {"watermark": 7, "behind": 1, "set_aside": 0}
    assert {"events", "blobs", "contacts"} <= {each["name"] for each in found["tables"]}
    assert sum(each["bytes"] for each in found["tables"] if each["file"] == "ledger") <= found["files"]["ledger"]
    assert (found["files"]["vectors"], found["vectors"]) == (None, None)


def test_stats_count_the_vectors_where_there_are_some(home):
    place = home.root / "pog" / "vectors.sqlite"
    with home.open() as kb:
        assert kb.vectors.path == place
        found = stats(kb, home.derived[0], place, ("contacts", "notes"))
        assert found["vectors"] == {"embedder": None, "documents": 3, "embedded": 0}
        assert stats(kb, home.derived[0], place, ("notes",))["vectors"]["documents"] == 0  # contacts get none
    assert found["files"]["vectors"] > 0


def test_stats_of_an_empty_base_are_no_made_up_numbers(tmp_path):
    from runloop.kb import KnowledgeBase

    with KnowledgeBase.open(tmp_path) as kb:
        found = stats(kb, tmp_path / "pog.sqlite", tmp_path / "vectors.sqlite", ())
    assert (found["events"], found["oldest_ms"], found["bytes_per_event"], found["days"], found["runs"]) == (0, None, None, [], {})
