"""A full disk: nothing fails that can wait, somebody is told, and everything goes on when there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import apsw
import pytest

from runloop.kb import AsyncLedger, KnowledgeBase, Ledger, materialise, writer
from runloop.kb.errors import KeyConflict, LedgerFull


class Stalls:
    """A listener that keeps what it was told; :meth:`next` waits for the next word."""

    def __init__(self):
        self.told = []
        self._news = threading.Semaphore(0)

    def __call__(self, full):
        self.told.append(full)
        self._news.release()

    def next(self):
        assert self._news.acquire(timeout=30)
        return self.told[-1]


@pytest.fixture
def stalls():
    return Stalls()


@pytest.fixture
def ledger(tmp_path, stalls, monkeypatch):
    """Looks for room only when it is poked, or closed."""
    monkeypatch.setattr(writer, "FIRST_RETRY_S", 1000)
    monkeypatch.setattr(writer, "LAST_RETRY_S", 1000)
    with Ledger.open(tmp_path / "events.sqlite", on_stall=stalls) as opened:
        yield opened


@pytest.fixture
def fill(ledger, behind):
    """Leaves no room for another page, and gives room again: real errors of SQLite, where they come from on a full disk."""

    def fill(*, full):
        ledger._writer._store._db.pragma("max_page_count", 1 if full else 1_000_000)

    return fill


def big(contact, name="big", **more):
    return contact(name + "x" * 9000, **more)


def names(ledger):
    return [event.payload["name"].rstrip("x") for event in ledger.read()]


def test_what_finds_no_room_waits_and_is_stored_in_its_order_when_there_is_room(ledger, contact, stalls, fill):
    ledger.append([contact("before")])
    fill(full=True)
    waiting = [ledger.submit([big(contact, f"{number}")]) for number in range(5)]
    full = stalls.next()
    waiting += [ledger.submit([contact(f"{number}")]) for number in range(5, 9)]
    assert isinstance(full, LedgerFull)
    assert (full.code, full.exit_code, full.retryable) == ("kb.disk_full", 1, True)
    assert str(ledger.path) in str(full.where)
    assert str(ledger.path) in full.hint
    assert "bytes free" in full.hint
    assert ledger.stalled is full
    assert not any(future.done() for future in waiting)
    assert names(ledger) == ["before"]

    fill(full=False)
    ledger.poke()
    assert [future.result(30)[0].id for future in waiting] == list(range(2, 11))
    assert stalls.told == [full, None]
    assert ledger.stalled is None
    assert names(ledger) == ["before", *map(str, range(9))]
    assert ledger.verify().ok


def test_looking_for_room_in_vain_is_not_told_again(ledger, contact, stalls, fill, monkeypatch):
    fill(full=True)
    waiting = ledger.submit([big(contact)])
    stalls.next()
    tried = threading.Semaphore(0)
    append = ledger._writer._store.append
    monkeypatch.setattr(ledger._writer._store, "append", lambda batch: (tried.release(), append(batch)))
    for _ in range(3):
        ledger.poke()
        assert tried.acquire(timeout=30)
    fill(full=False)
    ledger.poke()
    waiting.result(30)
    assert [type(full) for full in stalls.told] == [LedgerFull, type(None)]


def test_without_a_poke_the_writer_looks_for_room_by_itself_less_and_less_often(ledger, contact, stalls, fill, monkeypatch):
    monkeypatch.setattr(writer, "FIRST_RETRY_S", 0.1)
    monkeypatch.setattr(writer, "LAST_RETRY_S", 5.0)
    waited = []

    class Again(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            if len(waited) == 8:
                fill(full=False)
            return True

    ledger._writer._again = Again()
    fill(full=True)
    ledger.append([big(contact)])
    assert waited == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_closing_fails_what_waits_with_the_reason(ledger, contact, stalls, fill):
    ledger.append([contact("before")])
    fill(full=True)
    waiting = [ledger.submit([big(contact)])]
    stalls.next()
    waiting += [ledger.submit([big(contact)]) for _ in range(3)]
    ledger.close()
    assert [future.exception(30).code for future in waiting] == ["kb.disk_full"] * 4
    with Ledger.open(ledger.path) as again:
        assert names(again) == ["before"]
        assert again.verify().ok


def test_closing_stores_what_waits_where_there_is_room_by_then(ledger, contact, stalls, fill):
    fill(full=True)
    waiting = ledger.submit([big(contact)])
    stalls.next()
    fill(full=False)
    ledger.close()
    assert waiting.result(30)[0].id == 1


def test_memory_of_what_waits_is_bounded(ledger, contact, stalls, fill, monkeypatch):
    monkeypatch.setattr(writer, "MAX_HELD_BYTES", 100_000)
    fill(full=True)
    waiting = [ledger.submit([big(contact, "0")])]
    stalls.next()

    def submit_more():
        while len(waiting) < 100:
            waiting.append(ledger.submit([big(contact, f"{len(waiting)}")]))

    with pytest.raises(LedgerFull, match="wait for room already") as caught:
        submit_more()
    assert caught.value.code == "kb.disk_full"
    assert 5 < len(waiting) < 12
    fill(full=False)
    ledger.poke()
    assert [future.result(30)[0].id for future in waiting] == list(range(1, len(waiting) + 1))
    ledger.append([big(contact, "after")])
    assert names(ledger)[-1] == "after"


def test_a_second_stall_counts_anew(ledger, contact, stalls, fill, monkeypatch):
    monkeypatch.setattr(writer, "MAX_HELD_BYTES", 25_000)
    for _ in range(3):
        fill(full=True)
        waiting = [ledger.submit([big(contact)])]
        assert stalls.next() is not None
        waiting.append(ledger.submit([big(contact)]))
        fill(full=False)
        ledger.poke()
        for future in waiting:
            future.result(30)
        assert stalls.next() is None


def test_the_guilty_fails_alone_also_when_the_disk_is_full_in_between(ledger, contact, stalls, fill):
    """A submission that spoils the transaction leads to one transaction each: those before the full disk are stored, the rest waits."""
    ledger.append([contact(key="k")])
    ledger._writer._store._db.execute("""CREATE TEMP TRIGGER spoiled BEFORE INSERT ON events WHEN new.payload_json LIKE '%guilty%'
        BEGIN SELECT raise(ABORT, 'spoiled'); END""")
    fill(full=True)
    first = ledger.submit([big(contact, "first")])
    stalls.next()
    later = [ledger.submit([event]) for event in (contact("guilty"), contact("Eve", key="k"), big(contact, "last"))]
    fill(full=False)
    ledger.poke()
    assert first.result(30)[0].id == 2
    assert "spoiled" in str(later[0].exception(30))
    assert isinstance(later[1].exception(30), KeyConflict)
    assert later[2].result(30)[0].id == 3


async def test_tasks_wait_and_the_loop_is_told(ledger, contact, fill):
    aio = AsyncLedger(ledger)
    told = asyncio.Queue()
    loop = asyncio.get_running_loop()
    aio.watch(lambda full: told.put_nowait((full, asyncio.get_running_loop() is loop)))
    fill(full=True)
    waiting = aio.append([big(contact)])
    full, on_loop = await told.get()
    assert (full.code, on_loop) == ("kb.disk_full", True)
    assert not waiting.done()
    fill(full=False)
    ledger.poke()
    assert (await waiting)[0].id == 1
    assert await told.get() == (None, True)


def test_the_derived_tables_stay_behind_on_a_full_disk_and_follow_later(tmp_path, contact, monkeypatch):
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        kb.ledger.append([contact("Ada Lovelace")])
        assert len(kb.search("Ada")) == 1

        def full(*_):
            raise apsw.FullError("database or disk is full")

        monkeypatch.setattr(materialise, "apply", full)
        kb.ledger.append([contact("Grace Hopper", "g@example.com")])
        synced = kb.sync()
        assert (synced.applied, synced.watermark) == (0, 1)
        assert kb.behind.code == "kb.disk_full"
        assert "pog.sqlite" in str(kb.behind.where)
        assert (len(kb.search("Ada")), kb.search("Grace")) == (1, [])
        monkeypatch.undo()
        assert len(kb.search("Grace")) == 1
        assert kb.behind is None
        assert kb.problems() == []


def test_a_full_disk_is_named_also_where_sqlite_took_the_transaction_back_by_itself(tmp_path, contact, monkeypatch):
    def full(db, *_):
        db.execute("ROLLBACK")
        raise apsw.FullError("database or disk is full")

    with KnowledgeBase.open(tmp_path / "pog") as kb:
        monkeypatch.setattr(materialise, "apply", full)
        kb.ledger.append([contact("Ada Lovelace")])
        kb.sync()
        assert kb.behind.code == "kb.disk_full"
        monkeypatch.undo()
        assert len(kb.search("Ada")) == 1
        assert kb.problems() == []


def test_what_is_known_is_kept_up_to_date_where_no_temporary_file_can_be_made(tmp_path):
    """Of its own process: SQLite looks for the directory once. In /proc nobody makes files, and root may write there all the same."""
    script = f"""
from pathlib import Path
from runloop.events import NewEvent
from runloop.kb import KnowledgeBase
with KnowledgeBase.open(Path({str(tmp_path / "pog")!r})) as kb:
    for number in range(3):
        payload = {{"name": "Ada " + "x" * 200_000, "email": f"ada{{number}}@example.org"}}
        kb.ledger.append([NewEvent("contact.upserted", payload, "user", "user") for _ in range(20)])
        kb.sync()
    print(kb.problems(), len(kb.search("Ada")))
"""
    environment = {**os.environ, "TMPDIR": "/proc", "SQLITE_TMPDIR": "/proc"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[] 3\n", "")


def test_a_ledger_that_only_reads_has_no_queue_that_could_stand_still(ledger):
    with Ledger.open(ledger.path, writable=False) as reading:
        reading.watch(None)
        reading.poke()
        assert reading.stalled is None
