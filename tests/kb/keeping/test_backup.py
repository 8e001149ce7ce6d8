"""Backups: one head, everything that events name, whole or not there."""

from __future__ import annotations

import json
import os
import threading

import pytest

from runloop.kb import Ledger
from runloop.kb.errors import BackupBroken, BackupRefused, KnowledgeInUse, LedgerCorrupt, LedgerFull, LedgerReadOnly
from runloop.kb.keeping import backup as module
from runloop.kb.keeping.backup import make_backup, read_backup, read_list
from runloop.kb.keeping.locks import one_keeper


def make(home, name="one", **how):
    return make_backup(home.ledger, home.backups / name, home.beside, **how)


def test_a_backup_holds_the_ledger_and_what_its_events_name(home):
    made = make(home)
    assert sorted(path.relative_to(made.path).as_posix() for path in made.path.rglob("*") if path.is_file()) == [
        "artifacts/letter.txt",
        "backup.json",
        "events.sqlite",
        "kept/bundles/abc/agent.py",
    ]
    assert home.rows(made.path / "events.sqlite") == home.rows()
    manifest, report = read_backup(made.path)
    assert manifest == made.manifest
    assert (manifest.head_id, report.events, len(manifest.files)) == (6, 6, 3)
    assert home.leftovers() == []


def test_only_its_owner_can_read_it(home):
    made = make(home)
    assert {oct(path.stat().st_mode & 0o077) for path in [made.path, *made.path.rglob("*")]} == {"0o0"}


def test_it_is_made_while_others_append_and_is_one_head_of_them(home, contact):
    with home.open() as kb:
        first, stop, appended = threading.Event(), threading.Event(), []

        def append():
            while not stop.is_set():
                appended.append(kb.ledger.append([contact(f"N{len(appended)}")])[0].id)
                first.set()

        writer = threading.Thread(target=append)
        writer.start()
        assert first.wait(30)
        made = make(home, progress=lambda *_: None)
        stop.set()
        writer.join()
        assert 6 < made.manifest.head_id <= appended[-1]
        event = kb.ledger.get(made.manifest.head_id)
        assert event.chain_hash.hex() == made.manifest.head_chain
    with Ledger.open(made.path / "events.sqlite", writable=False) as copied:
        assert copied.verify().ok


def test_what_is_still_being_written_and_links_are_left_out(home, tmp_path):
    (home.root / "artifacts" / ".letter.part").write_text("half")
    (home.root / "artifacts" / "link").symlink_to(tmp_path)
    assert "artifacts/link" not in {file.path for file in make(home).manifest.files}
    assert len(make(home, "two").manifest.files) == 3


def test_a_name_that_is_taken_is_refused(home):
    make(home)
    with pytest.raises(BackupRefused) as caught:
        make(home)
    assert caught.value.code == "kb.backup_exists"


@pytest.mark.parametrize("where", ["pog/backup", "pog", "pog/../pog/x/y", "artifacts/backup", "link/backup", "."])
def test_a_place_in_or_around_what_is_in_use_is_refused_whatever_leads_there(home, where):
    (home.root / "link").symlink_to(home.root / "pog")
    with pytest.raises(BackupRefused) as caught:
        make_backup(home.ledger, home.root / where, home.beside)
    assert caught.value.code in {"kb.backup_overlap", "kb.backup_exists"}
    assert home.leftovers() == []


def test_an_overlap_by_another_spelling_is_refused(home):
    alias = home.root / "POG"
    alias.symlink_to(home.root / "pog")  # as a file system that ignores case would have it
    with pytest.raises(BackupRefused, match="overlaps"):
        make_backup(home.ledger, alias / "b", home.beside)


def test_two_backups_at_once_are_refused(home):
    with one_keeper(home.ledger.parent), pytest.raises(KnowledgeInUse) as caught:
        make(home)
    assert (caught.value.code, caught.value.exit_code) == ("kb.in_use", 3)


def test_too_little_room_is_said_before_anything_is_written(home, monkeypatch):
    monkeypatch.setattr(module, "SPARE_BYTES", 1 << 60)
    with pytest.raises(LedgerFull) as caught:
        make(home)
    assert caught.value.code == "kb.no_room"
    assert "are free" in caught.value.message
    assert not (home.backups / "one").exists()


def test_no_ledger_is_no_backup(tmp_path):
    with pytest.raises(BackupRefused) as caught:
        make_backup(tmp_path / "pog" / "events.sqlite", tmp_path / "b", {})
    assert caught.value.code == "kb.no_ledger"
    assert list(tmp_path.iterdir()) == []


def test_a_broken_ledger_gets_no_backup_that_looks_sound(home, behind):
    behind(home.ledger, "UPDATE events SET actor = 'root' WHERE id = 4")
    with pytest.raises(LedgerCorrupt, match="event 4"):
        make(home)
    assert list(home.backups.iterdir()) == []


def test_only_so_many_are_kept_and_only_of_this_ledger(home, tmp_path, contact):
    other = tmp_path / "other" / "events.sqlite"
    with Ledger.open(other) as ledger:
        ledger.append([contact()])
    make_backup(other, home.backups / "foreign", {})
    (home.backups / "mine.txt").write_text("keep me")
    (home.backups / "empty").mkdir()
    made = [make(home, f"b{number}") for number in range(4)]
    last = make(home, "b4", keep=2)
    assert [path.name for path in last.removed] == ["b2", "b1", "b0"]
    assert sorted(path.name for path in home.backups.iterdir()) == ["b3", "b4", "empty", "foreign", "mine.txt"]
    assert read_list(made[3].path).head_id == 6


@pytest.mark.parametrize("file", ["backup.json", "events.sqlite", "kept/bundles/abc/agent.py"])
def test_a_pipe_in_a_backup_is_not_waited_for(home, file):
    path = make(home).path / file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BackupBroken, match="not a regular file"):
        read_backup(home.backups / "one")


@pytest.mark.parametrize("file", ["events.sqlite", "kept/bundles/abc/agent.py"])
def test_a_changed_or_missing_file_is_found(home, file):
    path = make(home).path / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(BackupBroken, match="another content") as caught:
        read_backup(home.backups / "one")
    assert (caught.value.code, caught.value.exit_code) == ("kb.backup_broken", 5)
    path.unlink()
    with pytest.raises(BackupBroken, match="cannot be read"):
        read_backup(home.backups / "one")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda said: {**said, "format": 2}, "has format 2"),
        (lambda said: {**said, "head_id": 5}, "another ledger, or another state"),
        (lambda said: {**said, "ledger_id": "x"}, "another ledger, or another state"),
        (lambda said: {**said, "files": [{**said["files"][0], "path": "../x"}]}, "outside of the backup"),
        (lambda said: {**said, "files": "many"}, "cannot be understood"),
        (lambda said: [], "cannot be understood"),
    ],
)
def test_a_list_that_says_something_else_is_refused(home, change, why):
    path = make(home).path / "backup.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BackupBroken, match=why):
        read_backup(home.backups / "one")


@pytest.mark.parametrize("broken", [b'{"format": "\xff"}', b'{"files": ' + b"[" * 200_000], ids=["not UTF-8", "too deep"])
def test_a_list_that_is_no_json_is_refused(home, broken):
    (make(home).path / "backup.json").write_bytes(broken)
    with pytest.raises(BackupBroken, match="cannot be understood"):
        read_backup(home.backups / "one")


def test_a_directory_that_is_no_backup_is_said_to_be_none(tmp_path):
    with pytest.raises(BackupBroken, match="is no backup"):
        read_backup(tmp_path)


def test_a_place_that_nobody_may_look_into_gets_no_backup(home, closed):
    with pytest.raises(LedgerReadOnly, match="cannot be written"):
        make_backup(home.ledger, closed / "one", home.beside)
