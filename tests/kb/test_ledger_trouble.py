from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import apsw
import pytest

from runloop.errors import EXIT_VERIFICATION, Unavailable
from runloop.kb import Ledger
from runloop.kb.database import translate
from runloop.kb.errors import LedgerCorrupt, LedgerError, LedgerIO, LedgerLocked, LedgerReadOnly, NotALedger
from runloop.kb.verify import verify


def test_a_file_that_cannot_be_written_gives_a_clear_error_and_stays_readable(ledger, contact):
    kept = ledger.append([contact()])
    ledger._writer._store._db.pragma("query_only", 1)
    with pytest.raises(LedgerReadOnly) as caught:
        ledger.append([contact()])
    assert caught.value.code == "ledger.read_only"
    assert ledger.read() == kept
    ledger._writer._store._db.pragma("query_only", 0)
    assert ledger.append([contact()])[0].id == 2


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_appended_to_a_file_that_is_not_where_it_was_opened(tmp_path, contact, replaced):
    home, away = tmp_path / "here", tmp_path / "away"
    with Ledger.open(home / "events.sqlite") as ledger:
        ledger.append([contact("A")])
        home.rename(away)
        if replaced:
            with Ledger.open(home / "events.sqlite") as other:
                other.append([contact("other")])
        with pytest.raises(LedgerError, match="moved, removed or replaced") as caught:
            ledger.append([contact("B")])
        assert (caught.value.code, str(ledger.moved)) == ("ledger.moved", str(caught.value))
        if replaced:
            home.rename(tmp_path / "other")
        away.rename(home)
        ledger.append([contact("C")])
        assert ([event.payload["name"] for event in ledger.read()], ledger.moved) == (["A", "C"], None)


def test_another_writer_that_does_not_let_go_gives_a_retryable_error(tmp_path, contact):
    with Ledger.open(tmp_path / "events.sqlite", busy_ms=30) as ledger:
        other = apsw.Connection(str(ledger.path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerLocked) as caught:
            ledger.append([contact()])
        other.execute("ROLLBACK")
        other.close()
        assert (caught.value.code, caught.value.retryable) == ("ledger.locked", True)
        assert ledger.append([contact()])[0].id == 1


def test_after_trouble_with_the_device_the_file_is_opened_anew(ledger, contact):
    class Broken:
        in_transaction = False
        system_errno = 0

        def execute(self, *_):
            raise apsw.IOError("disk I/O error")

        def config(self, *_):
            return 0

        def close(self, *_):
            real.close()

    store = ledger._writer._store
    real, store._db = store._db, Broken()
    with pytest.raises(LedgerIO, match="disk I/O error") as caught:
        ledger.append([contact()])
    assert (caught.value.code, caught.value.exit_code, caught.value.retryable) == ("kb.io", 1, False)
    assert str(ledger.path) in str(caught.value.where)
    assert ledger.append([contact()])[0].id == 1


def test_after_trouble_with_the_device_nothing_is_appended_to_a_ledger_that_lost_what_it_had_acknowledged(ledger, contact, behind):
    ledger.append([contact("A"), contact("B")])
    ledger._writer._store._give_up()
    behind(ledger.path, "DELETE FROM events WHERE id = 2")
    behind(ledger.path, "UPDATE head SET last_id = 1, chain = (SELECT chain_blake3 FROM events WHERE id = 1)")
    for _ in range(2):
        with pytest.raises(LedgerCorrupt, match="event 2 is not as it was acknowledged") as caught:
            ledger.append([contact("C")])
        assert (caught.value.code, caught.value.exit_code) == ("ledger.rolled_back", EXIT_VERIFICATION)
    assert [event.payload["name"] for event in ledger.read()] == ["A"]


def test_after_trouble_with_the_device_a_change_of_what_came_later_is_noticed_too(ledger, contact, behind):
    ledger.append([contact("A")])
    with Ledger.open(ledger.path) as other:
        other.append([contact("B")])
    behind(ledger.path, "UPDATE events SET actor = 'root' WHERE id = 2")
    ledger._writer._store._give_up()
    with pytest.raises(LedgerCorrupt, match="event 2 is not as it was acknowledged: content_hash"):
        ledger.append([contact("C")])


@pytest.mark.parametrize("table", ["events", "head", "meta", "blobs", "run_numbers"])
def test_a_table_that_is_gone_is_damage_with_its_exit_code(ledger, contact, finished, behind, table):
    ledger.append([contact()])
    ledger.close()
    behind(ledger.path, f"DROP TABLE {table}")

    def use():
        with Ledger.open(ledger.path) as again:
            again.append([finished(1, {"out": ["x" * 40_000]})])

    with pytest.raises(LedgerCorrupt, match=f"a part of the file is missing: no such table: {table}") as caught:
        use()
    assert (caught.value.code, caught.value.exit_code) == ("ledger.corrupt", EXIT_VERIFICATION)
    assert "backup" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "7", "[]"])
def test_an_event_that_is_no_json_object_any_more_is_damage_and_named(ledger, contact, behind, text):
    ledger.append([contact("A"), contact("B")])
    behind(ledger.path, "UPDATE events SET provenance_json = ? WHERE id = 2", text)
    with pytest.raises(LedgerCorrupt, match="event 2 is damaged"):
        ledger.read()


@pytest.mark.parametrize("column", ["ts_ms", "kind", "actor", "scope", "payload_json", "provenance_json", "hash_blake3", "chain_blake3"])
def test_an_event_with_a_column_that_a_flipped_bit_emptied_is_damage_and_named(ledger, contact, behind, column):
    ledger.append([contact("A"), contact("B"), contact("C")])
    behind(ledger.path, "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'events'")
    behind(ledger.path, f"UPDATE events SET {column} = NULL WHERE id = 2")
    with pytest.raises(LedgerCorrupt, match="event 2 is damaged"):
        ledger.read()
    broken = verify(ledger).broken
    assert (broken.event_id, broken.what) == (2, "the event")


def test_a_header_that_lets_sqlite_only_read_is_damage_and_no_question_of_rights(ledger, contact):
    ledger.append([contact()])
    ledger.close()
    with ledger.path.open("r+b") as file:
        file.seek(18)
        file.write(b"\3")
    with Ledger.open(ledger.path) as again, pytest.raises(LedgerCorrupt, match="the file is damaged: its header"):
        again.append([contact()])


def test_what_sqlite_cannot_look_into_for_its_index_is_damage(ledger, behind, contact):
    ledger.append([contact()])
    with pytest.raises(LedgerCorrupt, match="malformed JSON"), ledger.reading() as db:
        db.execute("SELECT json_extract('{', '$.a')").fetchall()


def test_a_head_that_is_gone_is_damage(ledger, behind):
    ledger.close()
    behind(ledger.path, "DELETE FROM head")
    with pytest.raises(LedgerCorrupt, match="the head is missing"):
        Ledger.open(ledger.path)


def test_an_unexpected_error_of_the_writer_reaches_the_caller_and_the_ledger_goes_on(ledger, contact, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(ledger._writer._store, "_insert", fail)
    with pytest.raises(LedgerError, match="nobody thought of this"):
        ledger.append([contact()])
    monkeypatch.undo()
    assert ledger.append([contact()])[0].id == 1


@pytest.mark.parametrize("content", [b"this is a text file, not a database " * 40, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused_and_not_changed(tmp_path, content):
    path = tmp_path / "events.sqlite"
    path.write_bytes(content)
    with pytest.raises((LedgerCorrupt, LedgerError)) as caught:
        Ledger.open(path)
    assert str(path) in str(caught.value.where)
    assert path.read_bytes() == content


def test_damage_has_the_exit_code_of_a_failed_verification():
    assert LedgerCorrupt.exit_code == EXIT_VERIFICATION


def test_the_database_of_another_program_is_refused_and_not_changed(tmp_path, behind):
    path = tmp_path / "events.sqlite"
    behind(path, "CREATE TABLE mine(x)")
    with pytest.raises(NotALedger, match="another program"):
        Ledger.open(path)
    assert behind(path, "SELECT name FROM sqlite_schema") == [("mine",)]


def test_a_ledger_of_a_newer_version_is_refused(ledger, behind):
    ledger.close()
    behind(ledger.path, "PRAGMA user_version = 999")
    with pytest.raises(NotALedger, match="newer Runloop") as caught:
        Ledger.open(ledger.path)
    assert caught.value.code == "ledger.newer"
    with pytest.raises(NotALedger):
        Ledger.open(ledger.path, writable=False)


def test_reading_where_there_is_nothing_is_an_error_and_makes_no_file(tmp_path):
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(tmp_path / "events.sqlite", writable=False)
    assert list(tmp_path.iterdir()) == []


def test_reading_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "events.sqlite").touch()
    with pytest.raises(NotALedger, match="not a ledger yet"):
        Ledger.open(tmp_path / "events.sqlite", writable=False)


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize(
    ("stand", "said"),
    [
        (Path.mkdir, "it is a directory, and no file"),
        (os.mkfifo, "it is a pipe, a socket or a device, and no file"),
        (lambda path: path.symlink_to("/dev/null"), "it is a pipe, a socket or a device, and no file"),
    ],
)
def test_what_is_no_file_is_not_called_a_disk_that_failed(tmp_path, stand, said, writable):
    path = tmp_path / "events.sqlite"
    stand(path)
    with pytest.raises(NotALedger) as caught:
        Ledger.open(path, writable=writable)
    assert (caught.value.code, caught.value.message, caught.value.where.file) == ("ledger.foreign", said, str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerReadOnly):
        Ledger.open(tmp_path / "events.sqlite")
    tmp_path.chmod(0o700)


def test_damaged_pages_are_reported_by_verify_and_not_a_crash(ledger, contact):
    for number in range(40):
        ledger.append([contact(f"N{number}" + "x" * 2000)])
    ledger.close()
    data = bytearray(ledger.path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xa5" * 4096
    ledger.path.write_bytes(data)
    with Ledger.open(ledger.path) as damaged:
        report = damaged.verify()
    assert not report.ok
    assert 1 <= report.broken.event_id <= 40


def test_where_nothing_can_be_written_a_ledger_that_is_there_is_not_said_to_be_missing(tmp_path, monkeypatch):
    path = tmp_path / "events.sqlite"
    path.touch()
    allowed = os.access
    monkeypatch.setattr("os.access", lambda place, mode: mode != os.W_OK and allowed(place, mode))
    for error in (apsw.CantOpenError("unable to open database file"), OSError(30, "Read-only file system", str(path))):
        found = translate(error, path)
        assert (type(found), found.code, str(tmp_path) in found.hint) == (LedgerReadOnly, "ledger.read_only", True)
    path.unlink()
    assert translate(apsw.CantOpenError("unable to open database file"), path).code == "ledger.failed"


def test_a_process_without_descriptors_is_not_told_to_look_at_rights(tmp_path, monkeypatch):
    def spent(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", spent)
    with pytest.raises(Unavailable) as failed:
        Ledger.open(tmp_path / "events.sqlite")
    assert (failed.value.code, "ulimit" in failed.value.hint) == ("system.exhausted", True)


def test_a_ledger_on_a_file_system_without_locks_is_not_opened(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable) as raised:
        Ledger.open(tmp_path / "events.sqlite")
    assert (raised.value.code, raised.value.where.file) == ("system.no_locks", str(tmp_path))
