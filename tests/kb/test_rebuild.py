from __future__ import annotations

import threading

import apsw
import pytest

from runloop.kb import KnowledgeBase, making, materialise, projections, rebuilding
from runloop.kb.database import connect
from runloop.kb.errors import LedgerCorrupt, LedgerFull
from runloop.kb.keeping.locks import exclusive


def names(db):
    return [row[0] for row in db.execute("SELECT name FROM contacts ORDER BY name")]


def test_readers_see_the_old_tables_until_the_new_ones_are_whole(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])
    kb.sync()
    seen = []
    with kb.reading() as db:
        kb.rebuild(lambda done: seen.append((done, names(db))))
        assert names(db) == ["A", "B"]
    assert seen == [(2, ["A", "B"])]


def test_text_that_is_no_utf_8_is_damage_that_a_rebuild_mends(kb, contact, behind):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    behind(kb.root / "pog.sqlite", "UPDATE contacts SET name = CAST(x'fa' AS TEXT)")
    with pytest.raises(LedgerCorrupt) as caught, kb.reading() as db:
        names(db)
    assert "rlp kb rebuild" in caught.value.hint
    kb.rebuild()
    with kb.reading() as db:
        assert names(db) == ["A"]


def test_a_reader_that_began_before_a_rebuild_ends_with_what_it_began_with(kb, contact, behind):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    behind(kb.root / "pog.sqlite", "UPDATE contacts SET name = 'wrong'")
    reader = connect(kb.root / "pog.sqlite", readonly=True)
    try:
        reader.execute("BEGIN")
        assert names(reader) == ["wrong"]
        kb.rebuild()
        assert names(reader) == ["wrong"]
        reader.execute("COMMIT")
        assert names(reader) == ["A"]
        assert [hit.title for hit in kb.search("A")] == ["A"]
    finally:
        reader.close()


def test_another_process_goes_on_from_the_tables_that_a_rebuild_made(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as one, KnowledgeBase.open(tmp_path) as two:
        one.ledger.append([contact("A", "a@x")])
        assert [hit.title for hit in two.search("A")] == ["A"]
        one.rebuild()
        two.ledger.append([contact("Bea", "b@x")])
        assert [hit.title for hit in two.search("Bea")] == ["Bea"]
        assert [hit.title for hit in one.search("Bea")] == ["Bea"]


def test_a_rebuild_that_is_cut_off_leaves_the_old_tables_and_no_file(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    real = projections.apply
    monkeypatch.setattr(materialise, "apply", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kb.rebuild()
    monkeypatch.setattr(materialise, "apply", real)
    assert [path.name for path in kb.root.iterdir() if path.name.startswith(".")] == []
    assert [hit.title for hit in kb.search("A")] == ["A"]


def test_what_is_noted_of_other_files_outlives_a_rebuild(kb, contact, behind):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    behind(kb.root / "pog.sqlite", "INSERT INTO snapshots VALUES(1, '/s', 2, 3, 4)")
    kb.rebuild()
    with kb.reading() as db:
        assert db.execute("SELECT * FROM snapshots").fetchall() == [(1, "/s", 2, 3, 4)]


def test_an_event_that_spoils_its_batch_is_set_aside_alone(kb, contact, monkeypatch):
    real = projections.apply

    def fails_for_b(db, event, load):
        real(db, event, load)
        if event.payload["name"] == "B":
            raise ValueError("no")

    monkeypatch.setattr(materialise, "apply", fails_for_b)
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x"), contact("C", "c@x")])
    assert kb.sync().set_aside == 1
    with kb.reading() as db:
        assert names(db) == ["A", "C"]
    assert [(each["event_id"], each["error"]) for each in kb.problems()] == [(2, "ValueError: no")]


def test_trouble_with_the_disk_ends_a_rebuild_and_changes_nothing(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()

    def broken(*_):
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(materialise, "apply", broken)
    with pytest.raises(Exception, match="the device failed"):
        kb.rebuild()
    monkeypatch.undo()
    assert [hit.title for hit in kb.search("A")] == ["A"]


def beside(monkeypatch):
    """What is filled beside, by the number of events that the new tables have; and tables are far from the second event on."""
    made = []
    real = rebuilding.Rebuilder._rebuild
    monkeypatch.setattr(rebuilding, "FAR", 1)

    def observed(self, tick):
        made.append(real(self, tick).watermark)

    monkeypatch.setattr(rebuilding.Rebuilder, "_rebuild", observed)
    return made


def test_tables_that_lack_more_than_they_have_are_made_beside(tmp_path, contact, monkeypatch):
    made, told = beside(monkeypatch), []
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x"), contact("B", "b@x"), contact("C", "c@x")])
        assert (kb.sync(tick=lambda *far: told.append(far)).watermark, made, told) == (3, [3], [(3, 3)])
        kb.ledger.append([contact("D", "d@x"), contact("E", "e@x")])
        assert (kb.sync().watermark, made) == (5, [3])
        assert [hit.title for hit in kb.search("E")] == ["E"]


def test_tables_that_are_brought_nearer_by_so_many_events_are_not_made_beside(tmp_path, contact, monkeypatch):
    made = beside(monkeypatch)
    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x"), contact("B", "b@x"), contact("C", "c@x")])
        assert (kb.sync(2).watermark, made) == (2, [])


def test_who_finds_another_one_making_them_waits_and_hears_how_far_he_is(tmp_path, contact, monkeypatch):
    made, told = beside(monkeypatch), []
    monkeypatch.setattr(making, "PAUSE_S", 0.001)
    began, go = threading.Event(), threading.Event()

    def slowly(done, of):
        began.set()
        assert go.wait(30)

    def waiting(done, of):
        told.append((done, of))
        go.set()

    with KnowledgeBase.open(tmp_path) as one, KnowledgeBase.open(tmp_path) as two:
        one.ledger.append([contact("A", "a@x"), contact("B", "b@x"), contact("C", "c@x")])
        thread = threading.Thread(target=one.sync, kwargs={"tick": slowly})
        thread.start()
        assert began.wait(30)
        assert making.how_far(tmp_path) == (3, 3)
        assert two.sync(tick=waiting).watermark == 3
        thread.join(30)
    assert (made, told[0], making.how_far(tmp_path)) == ([3], (3, 3), None)


def test_nobody_is_at_it_where_there_is_no_lock_or_it_says_nothing_of_use(tmp_path):
    assert making.how_far(tmp_path) is None
    with exclusive(tmp_path / making.LOCK, wait=True):
        assert making.how_far(tmp_path) is None


def test_on_a_full_disk_tables_that_are_far_behind_stay_where_they_are(tmp_path, contact, monkeypatch):
    monkeypatch.setattr(rebuilding, "FAR", 1)
    full = LedgerFull("no room")

    def no_room(*_):
        raise full

    with KnowledgeBase.open(tmp_path) as kb:
        kb.ledger.append([contact("A", "a@x"), contact("B", "b@x"), contact("C", "c@x")])
        with monkeypatch.context() as patched:
            patched.setattr(rebuilding.Rebuilder, "_rebuild", no_room)
            assert (kb.sync(), kb.behind) == (materialise.Synced(0, 0, 0), full)
        assert (kb.sync().watermark, kb.behind) == (3, None)
