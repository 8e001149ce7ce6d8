"""Restoring: the backup's ledger in the place of the old one, which is kept."""

from __future__ import annotations

from uuid import uuid4

import pytest

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events.records import RunChanged, RunFinished, RunStarted, Versions
from runloop.kb.errors import BackupBroken, BackupRefused, KnowledgeInUse, LedgerFull
from runloop.kb.keeping import restoring
from runloop.kb.keeping.backup import make_backup, read_backup
from runloop.kb.keeping.restoring import restore


@pytest.fixture
def saved(home, contact):
    """The home, backed up as ``one``, with two events since."""
    make_backup(home.ledger, home.backups / "one", home.beside)
    with home.open() as kb:
        kb.ledger.append([contact("Since", "since@example.com"), contact("Then", "then@example.com")])
        kb.sync()
    return home


def back(home, **how):
    return restore(home.backups / "one", home.ledger, home.derived, home.beside, home.backups / "aside", **how)


def test_the_ledger_is_that_of_the_backup_and_the_views_follow(saved):
    before = saved.rows(saved.backups / "one" / "events.sqlite")
    done = back(saved)
    assert saved.rows() == before
    assert (done.undone, done.aside, done.aside_broken, done.files) == (2, saved.backups / "aside", False, 0)
    with saved.open() as kb:
        assert kb.verify(views=True).ok
        assert kb.search("Since") == []
        assert kb.ledger.append([NewEvent("note.removed", {"path": "/x", "reason": "gone"}, "user")])[0].id == 7
        with kb.ledger.reading() as db:
            assert db.pragma("journal_mode") == "wal"
    assert saved.leftovers() == []


def test_the_old_ledger_is_a_backup_that_can_be_restored_again(saved):
    before = saved.rows()
    done = back(saved)
    assert read_backup(done.aside)[0].head_id == 8
    again = restore(done.aside, saved.ledger, saved.derived, saved.beside, saved.backups / "aside2")
    assert saved.rows() == before
    assert again.undone == 0


def test_files_that_are_missing_come_back_and_no_other_is_touched(saved):
    (saved.root / "artifacts" / "letter.txt").unlink()
    (saved.root / "artifacts" / "new.txt").write_text("since")
    (saved.root / "pog" / "kept" / "bundles" / "abc" / "agent.py").write_text("another")
    assert back(saved).files == 1
    assert (saved.root / "artifacts" / "letter.txt").read_text() == "artifacts/letter.txt"
    assert (saved.root / "artifacts" / "new.txt").read_text() == "since"
    assert (saved.root / "pog" / "kept" / "bundles" / "abc" / "agent.py").read_text() == "another"


def test_on_a_new_machine_there_is_nothing_to_keep(saved, tmp_path):
    new = type(saved)(tmp_path / "new")
    done = restore(saved.backups / "one", new.ledger, new.derived, new.beside, new.backups / "aside")
    assert (done.aside, done.undone, done.files) == (None, 0, 2)
    assert new.rows() == saved.rows(saved.backups / "one" / "events.sqlite")
    assert not new.backups.exists()
    with new.open() as kb:
        assert kb.verify(views=True).ok


@pytest.mark.parametrize("how", ["edited", "garbage", "short", "empty"])
def test_a_broken_ledger_is_kept_as_it_is_and_replaced(saved, behind, how):
    if how == "edited":
        behind(saved.ledger, "UPDATE events SET actor = 'root' WHERE id = 4")
    else:
        content = saved.ledger.read_bytes()
        saved.ledger.write_bytes({"garbage": b"\xff" * len(content), "short": content[:5000], "empty": b""}[how])
    broken = saved.ledger.read_bytes()
    done = back(saved)
    assert done.aside_broken is (how != "empty")
    if how in {"garbage", "short"}:
        assert (done.aside / "events.sqlite").read_bytes() == broken
    with saved.open() as kb:
        assert kb.verify(views=True).ok
        assert kb.ledger.head().id == 6


def test_a_broken_backup_changes_nothing(saved):
    before = saved.rows()
    path = saved.backups / "one" / "events.sqlite"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BackupBroken):
        back(saved)
    assert saved.rows() == before
    assert not (saved.backups / "aside").exists()


def test_nobody_else_may_have_the_base_open(saved):
    with saved.open(), pytest.raises(KnowledgeInUse) as caught:
        back(saved)
    assert caught.value.hint.startswith("stop the daemon")
    assert not (saved.backups / "aside").exists()


def test_what_is_in_use_is_no_backup_of_itself(home):
    with pytest.raises(BackupRefused, match="overlaps"):
        restore(home.ledger.parent, home.ledger, home.derived, home.beside, home.backups / "aside")


def test_too_little_room_is_said_and_the_old_ledger_stays(saved, monkeypatch):
    before = saved.rows()

    def no_room(*_):
        raise LedgerFull("no", code="kb.no_room")

    monkeypatch.setattr(restoring, "require_room", no_room)
    with pytest.raises(LedgerFull):
        back(saved)
    assert saved.rows() == before
    with saved.open() as kb:
        assert kb.verify(views=True).ok


@pytest.mark.parametrize("target", ["in use", "new"])
def test_runs_without_an_end_are_paused_in_what_takes_the_place_of_the_ledger(home, run, target, tmp_path):
    began, told, ended = (RunIdentity(str(uuid4()), f"trace:{uuid4()}", run.opening_id, "o") for _ in range(3))
    child = RunIdentity(str(uuid4()), began.trace_id, run.opening_id, "o", began.run_id)
    started = RunStarted("0" * 64, {}, Versions("0"), "local")
    with home.open() as kb:
        for each in (began, told, ended, child):
            kb.ledger.append([run_event(each, 1, "run.submitted", started, "submitted")])
        kb.ledger.append([run_event(told, 2, "run.paused", RunChanged("enough"), "paused")])
        kb.ledger.append([run_event(ended, 2, "run.finished", RunFinished("cancelled", 0), "over")])
    make_backup(home.ledger, home.backups / "one", home.beside)
    place = home if target == "in use" else type(home)(tmp_path / "new")
    done = restore(home.backups / "one", place.ledger, place.derived, place.beside, home.backups / "aside")
    assert done.paused == (began.run_id,)
    with place.open() as kb:
        record = kb.ledger.read()[-1]
        assert (record.kind, record.payload["seq"], record.payload["meta"]["why"]) == ("run.paused", 2, "restored from a backup")
        assert [kb.run(each.run_id)["status"] for each in (began, told, ended, child)] == ["paused", "paused", "cancelled", "queued"]
        assert kb.verify(views=True).ok
    assert place.leftovers() == []


def test_what_was_erased_since_the_backup_is_counted_because_it_comes_back(saved):
    with saved.open() as kb:
        kb.erase([2])
        assert kb.search("Bo") == []
    assert back(saved).erased_again == 1
    with saved.open() as kb:
        assert len(kb.search("Bo")) == 1
