from __future__ import annotations

import apsw
import pytest

from runloop.kb import KnowledgeBase, materialise, projections
from runloop.kb.database import connect


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
