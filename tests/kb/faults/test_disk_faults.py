"""The real ledger on a disk that fails and loses power: nothing acknowledged is lost, nothing is there twice or in part."""

from __future__ import annotations

import random

import apsw
import pytest
from disk_sweep import FAULTS, SESSIONS, Point, check_cut, check_session, hold
from faulty_disk import HOW, SECTOR, Disk, Fault, Inode, faulty

from runloop.kb import Ledger

SEED = 2026


@pytest.fixture(scope="module")
def undisturbed(scratch):
    """A session of each kind in which nothing fails."""
    sessions = {}
    for kind in SESSIONS:
        folder = scratch / kind
        folder.mkdir()
        sessions[kind] = hold(folder, kind)
        check_session(folder, sessions[kind])
        assert all(each.stored for each in sessions[kind].appends)
    return sessions


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("how", HOW)
def test_after_a_power_cut_everything_acknowledged_is_there_and_nothing_in_part(undisturbed, scratch, kind, how):
    session = undisturbed[kind]
    chosen = random.Random(f"{SEED}{kind}{how}")
    for at in range(chosen.randrange(12), len(session.steps) + 1, 12):
        check_cut(session, at, how, chosen, scratch)


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_of_the_disk_everything_acknowledged_is_there_and_the_ledger_goes_on(undisturbed, scratch, kind, fault):
    count = undisturbed[kind].calls
    chosen = random.Random(f"{SEED}{kind}{fault}")
    for at in range(chosen.randrange(10), count, 10):
        Point(kind, fault, at, 1, SEED).run(scratch)


@pytest.mark.parametrize("times", [1, 5])
def test_after_syncs_that_fail_nobody_builds_on_what_they_lost(undisturbed, scratch, times):
    """The system has thrown away what it says it has written: it may be neither appended to nor folded in before it is written again."""
    for at in range(0, undisturbed["alone"].calls, 8 // times + 3):
        fault = Fault(at, apsw.SQLITE_IOERR_FSYNC, times=times, on=frozenset({"sync"}))
        folder = scratch / f"sync-{times}-{at}"
        folder.mkdir()
        session = hold(folder, "alone", fault)
        check_session(folder, session)
        failed = [number for number, step in enumerate(session.steps) if step[0] == "failed sync"]
        if failed:
            for cut_at in range(failed[-1], min(failed[-1] + 45, len(session.steps)), 4):
                check_cut(session, cut_at, "nothing", random.Random(at), scratch)


def test_a_point_can_be_repeated(scratch):
    sessions = []
    for name in "ab":
        folder = scratch / f"repeat-{name}"
        folder.mkdir()
        sessions.append(hold(folder, "shared", Fault(120, apsw.SQLITE_IOERR)))
    one, two = ([step[:3] for step in session.steps] for session in sessions)
    assert one == two


def test_a_session_has_enough_places_to_fail_in(undisturbed):
    assert all(session.calls > 250 for session in undisturbed.values())
    assert {step[0] for step in undisturbed["alone"].steps} >= {"open", "write", "sync", "truncate", "delete", "sync directory"}


def test_a_long_log_is_written_again_in_pieces_that_sqlite_takes(tmp_path, contact):
    with Ledger.open(tmp_path / "events.sqlite") as ledger, Ledger.open(tmp_path / "events.sqlite", writable=False) as reader:
        ledger._writer._store._room._enough_to = 1 << 30  # the writer's thread leaves the connection alone
        kept = ledger.append([contact("x" * 3000) for _ in range(300)])
        assert (tmp_path / "events.sqlite-wal").stat().st_size > 900_000
        ledger._writer._store._give_up()
        kept += ledger.append([contact()])
        assert ledger.stalled is None
        assert reader.read() == kept


class TestTheFaultyDisk:
    """What the sweep rests on."""

    def test_what_was_synced_stays_and_of_the_rest_what_is_chosen(self):
        inode = Inode(b"", [(0, b"a" * SECTOR * 3)])
        disk = Disk()
        disk.link("f", inode)
        disk.sync(inode)
        disk.sync_directory()
        inode.pending += [(SECTOR, b"b" * SECTOR * 2), (SECTOR * 2 + 1, None)]
        assert disk.left(lambda: False, random.Random(0)) == {"f": b"a" * SECTOR * 3}
        assert disk.left(lambda: True, random.Random(0)) == {"f": b"a" * SECTOR + b"b" * SECTOR + b"b"}
        survives = iter([True, False, True, False])  # the entry, the two sectors, the end
        assert disk.left(lambda: next(survives), random.Random(0)) == {"f": b"a" * SECTOR * 2 + b"b" * SECTOR}

    def test_a_new_file_is_there_once_its_directory_was_synced(self):
        disk = Disk()
        disk.link("f", Inode(b"x"))
        assert disk.left(lambda: False, random.Random(0)) == {}
        disk.sync_directory()
        disk.link("f", None)
        assert disk.left(lambda: False, random.Random(0)) == {"f": b"x"}
        assert disk.left(lambda: True, random.Random(0)) == {}

    def test_a_sync_that_fails_loses_what_it_should_have_written_for_good(self):
        disk, inode = Disk(), Inode(b"old")
        disk.entries["f"] = inode
        inode.pending.append((0, b"new"))
        disk.failed_sync(inode, lambda: False)
        disk.sync(inode)
        assert disk.left(lambda: True, random.Random(0)) == {"f": b"old"}

    def test_a_fault_strikes_as_often_as_it_says_and_half_of_a_write_is_half(self, tmp_path):
        with faulty() as vfs:
            db = apsw.Connection(str(tmp_path / "x"))
            vfs.fault = Fault(vfs.calls, apsw.SQLITE_IOERR, times=2, short=True, on=frozenset({"write"}))
            db.pragma("journal_mode", "memory")
            for _ in range(2):
                with pytest.raises(apsw.IOError):
                    db.execute("CREATE TABLE t(x)")
            db.execute("CREATE TABLE t(x)")
            db.close()
        assert vfs.failed == ["write x", "write x"]
        assert [len(step[3]) for step in vfs.steps if step[0] == "write"][:2] == [2048, 2048]
