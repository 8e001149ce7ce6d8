"""Zeros behind the log: nobody takes them for anything, whoever writes and whenever the process ends."""

from __future__ import annotations

import shutil
import threading

import apsw
import pytest

from runloop.events import NewEvent
from runloop.kb import log_room
from runloop.kb.ledger import Ledger


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Steps so small that a test takes many of them."""
    monkeypatch.setattr(log_room, "_FROM_PAGES", 2)
    monkeypatch.setattr(log_room, "_LEAST_BYTES", 1 << 13)
    monkeypatch.setattr(log_room, "_STEP_BYTES", 1 << 17)
    monkeypatch.setattr(log_room, "_WRITE_BYTES", 1 << 13)


def said(number):
    return NewEvent("cap.audit", {"text": f"{number} " + "x" * 300}, "user", "user", {}, None, f"key-{number}")


def log_of(ledger):
    return ledger.path.with_name(ledger.path.name + "-wal")


def append(ledger, number):
    ledger.append([said(number)], check=False)


def test_the_log_is_longer_than_what_is_in_it_and_grows_in_steps(tmp_path):
    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        sizes, room = set(), 0
        for number in range(120):
            append(ledger, number)
            log = log_of(ledger).read_bytes()
            sizes.add(len(log))
            room += not log[-4096:].strip(b"\0")
        assert len(sizes) < 60  # of 120 commits: most only overwrote
        assert room > 60
        assert ledger.verify().broken is None


def test_what_was_acknowledged_is_there_after_a_kill_at_any_moment(tmp_path):
    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        for number in range(60):
            append(ledger, number)
            if number % 7 == 0:
                copy = tmp_path / f"copy-{number}"
                copy.mkdir()
                for suffix in ("", "-wal"):
                    shutil.copy(f"{ledger.path}{suffix}", copy)
                with Ledger.open(copy / "events.sqlite") as again:
                    assert again.by_key(f"key-{number}") is not None
                    assert again.verify().broken is None


def test_several_writers_lose_nothing_to_each_others_zeros(tmp_path):
    def write(first):
        with Ledger.open(tmp_path / "events.sqlite") as mine:
            for number in range(first, first + 80):
                append(mine, number)

    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert ledger.head().id == 240
        assert ledger.verify().broken is None


def test_without_room_on_the_disk_the_log_goes_on_without_room_behind_it(tmp_path, monkeypatch):
    def full(_file, _data, _offset):
        raise apsw.FullError("no room")

    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        monkeypatch.setattr(log_room.apsw, "VFSFile", lambda *_: FullFile(full))
        for number in range(30):
            append(ledger, number)
        assert ledger.verify().broken is None
        assert ledger.stalled is None


class FullFile:
    """A file that takes nothing more."""

    def __init__(self, write):
        self.write = write

    def xFileSize(self):  # noqa: N802 - SQLite's word
        return 0

    def xWrite(self, data, offset):  # noqa: N802 - SQLite's word
        self.write(self, data, offset)

    def xClose(self):  # noqa: N802 - SQLite's word
        pass
