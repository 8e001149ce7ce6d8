from __future__ import annotations

import errno
import fcntl
import multiprocessing
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.events import NewEvent, RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, rebuilding, views
from runloop.kb import past as past_module
from runloop.kb.clock import BLOCK, last_until
from runloop.kb.errors import InvalidDelta, LedgerFull, SeqTaken
from runloop.kb.past import MAX_STATES, Past

OPENING = "opening:16fd2706-8baf-433b-82eb-8c7fada847da"
RUNS = [
    RunIdentity(f"{digit}f8fad5b-d9cb-469f-a165-70867728950e", f"trace:{digit}c9e6679-7425-40de-944b-e07fc1f90ae7", OPENING, "o")
    for digit in "ab"
]


def dump(kb):
    """Every derived table, and what the search index finds."""
    with kb.reading() as db:
        tables = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in views.table_names()}
        index = db.execute("SELECT rowid FROM search WHERE search MATCH 'a OR b OR x*' ORDER BY rowid").fetchall()
    return tables, index


CONTACTS = st.tuples(st.sampled_from(["a", "b c"]), st.sampled_from(["a@x", "c@y"])).map(
    lambda each: NewEvent("contact.upserted", {"name": each[0], "email": each[1]}, "user", ts_ms=1)
)
NOTES = st.tuples(st.sampled_from(["/a.md", "/b.md"]), st.sampled_from("12"), st.integers(0, 2), st.sampled_from(["a b", "x"])).map(
    lambda each: NewEvent(
        "note.imported",
        {"path": each[0], "line": 1, "end_line": 1, "text": each[3], "file_hash": each[1] * 64, "part": each[2], "parts": 3},
        "user",
        ts_ms=2,
    )
)
GONE = st.sampled_from(["/a.md", "/b.md"]).map(lambda path: NewEvent("note.removed", {"path": path, "reason": "gone"}, "user", ts_ms=3))
POISON = st.just(NewEvent("note.imported", {"path": None}, "user", ts_ms=4))
RECORDS = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["started", "node", "ask", "finished"]))
META = {
    "started": ("run.started", r.RunStarted("d", {}, r.Versions("0"), "local")),
    "finished": ("run.finished", r.RunFinished("succeeded", 1)),
    "node": ("node.finished", r.NodeFinished("n", 1, "ok", usd=0.5)),
    "ask": ("effect.requested", r.EffectRequested("n", 1, 0, "x", "read", "c" * 64)),
}


def take(kb, events):
    """Append those that the ledger takes; they are returned. A record is given by its run and its sort, and is the run's next."""
    taken, last = [], Counter()
    for each in events:
        event = each
        if isinstance(each, tuple):
            index, sort = each
            last[index] += 1
            event = run_event(RUNS[index], last[index], *META[sort], "m", ts_ms=5)
        with suppress(SeqTaken):  # after the run's end
            kb.ledger.append([event], check=False)
            taken.append(event)
    return taken


@given(st.lists(st.one_of(CONTACTS, NOTES, GONE, POISON, RECORDS), min_size=2, max_size=16), st.lists(st.integers(1, 15), max_size=3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_past_at_an_event_is_a_base_that_only_ever_had_the_events_up_to_it(tmp_path_factory, events, places):
    folder = tmp_path_factory.mktemp("pog")
    with KnowledgeBase.open(folder / "whole") as kb:
        taken = take(kb, events)
        for place in [min(place, len(taken)) for place in places]:
            with kb.at(place) as past:
                found = dump(past)
            with KnowledgeBase.open(folder / f"part{place}") as part:
                if part.ledger.head().id == 0:
                    take(part, taken[:place])
                assert dump(part) == found


TIMES = st.lists(st.integers(0, 9), min_size=1, max_size=30)


@given(TIMES, st.integers(-1, 10), st.integers(1, 8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_state_at_a_time_is_the_longest_beginning_without_a_later_event(tmp_path_factory, times, moment, batch):
    with KnowledgeBase.open(tmp_path_factory.mktemp("pog")) as kb:
        for start in range(0, len(times), batch):
            events = [NewEvent("contact.upserted", {"name": "a", "email": "a@x"}, "user", ts_ms=ts) for ts in times[start : start + batch]]
            kb.ledger.append(events)
            kb.sync()
        later = [number for number, ts in enumerate(times, 1) if ts > moment]
        assert kb.event_at(moment) == (later[0] - 1 if later else len(times))


def test_a_time_is_found_across_blocks_of_events(kb, contact):
    count = 2 * BLOCK + 10
    kb.ledger.append([contact(ts_ms=1000 + number) for number in range(1, count + 1)])
    with kb.reading() as db:
        blocks = db.execute("SELECT * FROM clock").fetchall()
        found = [last_until(db, kb.ledger, 1000 + number) for number in (0, 1, BLOCK - 1, BLOCK, 2 * BLOCK, count, count + 5)]
    assert blocks == [(0, 1000 + BLOCK - 1), (1, 1000 + 2 * BLOCK - 1), (2, 1000 + count)]
    assert found == [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK, count, count]


def test_the_past_is_searched_and_read_and_cannot_be_changed(kb, contact):
    kb.ledger.append([contact("Ada"), contact("Ada King"), contact("Grace", "grace@example.com")])
    with kb.at(1) as past:
        assert [hit.title for hit in past.search("Ada")] == ["Ada"]
        assert past.search("Grace") == []
        assert (past.get("event:1")["key"], past.get("event:2")) == ("event:1", None)
        assert [each.key for each in past.find("event:2")] == []
        with pytest.raises(InvalidDelta, match="the past cannot be changed"):
            past.propose(None)
    assert [hit.title for hit in kb.search("Grace")] == ["Grace"]


def test_the_state_at_the_newest_event_is_the_base_itself(kb, contact):
    kb.ledger.append([contact()])
    with kb.at(1) as now, kb.at(7) as later:
        assert (now, later) == (kb, kb)
    assert not (kb.root / "past").exists()


def test_a_state_is_made_from_the_nearest_earlier_one_and_kept(kb, contact):
    kb.ledger.append([contact(f"A{number}", f"a{number}@x") for number in range(20)])
    told = []
    for place in (5, 12, 12):
        with kb.at(place, lambda done, of: told.append((done, of))):
            pass
    assert told == [(5, 5), (12, 12)]
    past = Past(kb.root / "past", kb.ledger)
    assert {state.event_id for state in past.states()} == {5, 12}
    with kb.reading() as db:
        assert db.execute("SELECT event_id, path FROM snapshots ORDER BY event_id").fetchall() == [
            (place, str(kb.root / "past" / f"{place}.20.sqlite")) for place in (5, 12)
        ]
    assert {path.stat().st_mode & 0o777 for path in (kb.root / "past").iterdir()} == {0o600}


def kept(kb):
    return sorted(state.event_id for state in Past(kb.root / "past", kb.ledger).states())


def test_the_tables_are_kept_as_the_base_grows_and_the_past_starts_from_there(kb, contact, monkeypatch):
    monkeypatch.setattr(past_module, "STEP", 4)
    kb._views.past._look_from = 4
    for number in range(20):
        kb.ledger.append([contact(f"A{number}", f"a{number % 7}@x")])
        kb.sync()
    assert kept(kb) == [4, 8, 12, 16, 20][: len(kept(kb))]
    assert len(kept(kb)) >= 4
    with kb.reading() as db:
        assert [row[0] for row in db.execute("SELECT event_id FROM snapshots ORDER BY 1")] == kept(kb)
    told = []
    with kb.at(14, lambda done, of: told.append((done, of))) as past:
        from_there = dump(past)
        assert [hit.title for hit in past.search("A13")] == ["A13"]
    assert told == [(14, 14)]
    Past(kb.root / "past", kb.ledger).forget()
    with kb.at(14) as past:
        assert dump(past) == from_there


def test_where_the_tables_are_made_anew_they_are_kept_at_half_and_at_three_quarters(kb, contact, monkeypatch):
    monkeypatch.setattr(past_module, "STEP", 4)
    monkeypatch.setattr(rebuilding, "BATCH", 5)
    kb.ledger.append([contact(f"A{number} b x", f"a{number % 7}@x") for number in range(40)])
    kb.rebuild()
    assert kept(kb) == [20, 30]
    states = {}
    for place in (20, 30):
        with kb.at(place) as past, past.reading() as db:
            states[place] = dump(past), db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    Past(kb.root / "past", kb.ledger).forget()
    for place in (20, 30):
        with kb.at(place) as past, past.reading() as db:
            assert states[place] == (dump(past), db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall())


def test_nothing_is_kept_of_tables_that_hold_what_was_erased_or_archived(kb, contact, monkeypatch):
    monkeypatch.setattr(past_module, "STEP", 4)
    kb.ledger.append([contact(f"A{number}", f"a{number % 7}@x") for number in range(12)])
    kb.sync()
    past = Past(kb.root / "past", kb.ledger)
    past.forget()
    assert past.keep(kb._views.db, head=12)
    assert not past.keep(kb._views.db, head=12)  # there is one
    past.forget()
    kb.ledger.append([NewEvent("events.erased", {}, "user")], check=False)
    assert not past.keep(kb._views.db, head=12)
    kb.sync()
    assert not past.keep(kb._views.db, head=13)  # they wait to be made anew


def test_a_state_that_cannot_be_kept_stops_nobody(kb, contact, monkeypatch):
    monkeypatch.setattr(past_module, "STEP", 4)
    kb._views.past._look_from = 4
    real = Path.rename

    def full(self, target):
        if self.parent.name == "past":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", full)
    kb.ledger.append([contact(f"A{number}", f"a{number}@x") for number in range(9)])
    assert kb.sync().watermark == 9
    assert [path.name for path in (kb.root / "past").iterdir()] == ["lock"]
    with Past(kb.root / "past", kb.ledger)._locked():
        assert not Past(kb.root / "past", kb.ledger).keep(kb._views.db, head=9)


def test_few_states_are_kept_and_none_that_somebody_reads_is_removed(kb, contact):
    kb.ledger.append([contact(f"A{number}", f"a{number}@x") for number in range(MAX_STATES + 6)])
    with kb.at(1) as held:
        for place in range(2, MAX_STATES + 5):
            with kb.at(place):
                pass
        assert [hit.title for hit in held.search("A0")] == ["A0"]
        assert (kb.root / "past" / f"1.{MAX_STATES + 6}.sqlite").exists()
    kept = {state.event_id for state in Past(kb.root / "past", kb.ledger).states()}
    assert kept == {1, *range(5, MAX_STATES + 5)}
    small = Past(kb.root / "past", kb.ledger, max_bytes=1)
    with small.at(3):
        assert [state.event_id for state in small.states()] == [3]


def test_states_of_other_tables_or_damaged_ones_are_made_anew(kb, contact, behind):
    kb.ledger.append([contact("Ada"), contact("Grace", "grace@example.com")])
    with kb.at(1):
        pass
    state = kb.root / "past" / "1.2.sqlite"
    behind(state, "UPDATE contacts SET name = 'wrong'")
    behind(state, "UPDATE state SET version = 0")
    with kb.at(1) as past:
        assert [hit.title for hit in past.search("Ada")] == ["Ada"]
    state.write_bytes(b"no database")
    (kb.root / "past" / ".1.77.part").write_bytes(b"of a process that was killed")
    with kb.at(1) as past:
        assert [hit.title for hit in past.search("Ada")] == ["Ada"]
    assert sorted(path.name for path in (kb.root / "past").iterdir()) == ["1.2.sqlite", "lock"]


def test_a_state_that_knew_more_than_the_ledger_holds_is_not_used(kb, contact, behind):
    kb.ledger.append([contact("Ada"), contact("Grace", "grace@example.com")])
    with kb.at(1):
        pass
    state = kb.root / "past" / "1.2.sqlite"
    behind(state, "UPDATE contacts SET name = 'of a ledger that was replaced by an older one'")
    state.rename(kb.root / "past" / "1.9.sqlite")
    with kb.at(1) as past:
        assert [hit.title for hit in past.search("Ada")] == ["Ada"]


def test_a_state_that_cannot_be_made_leaves_no_file(kb, contact):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])

    def stop(_done, _of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), kb.at(1, stop):
        pass
    assert [path.name for path in (kb.root / "past").iterdir()] == ["lock"]


def test_a_full_disk_is_said_and_leaves_no_file(kb, contact, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    kb.ledger.append([contact(f"A{number}", f"a{number}@x") for number in range(4)])
    with kb.at(1):
        pass
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(LedgerFull, match="no space left"), kb.at(2):
        pass
    assert sorted(path.name for path in (kb.root / "past").iterdir()) == ["1.4.sqlite", "lock"]


def _look(root, barrier, answers):
    with KnowledgeBase.open(root) as kb:
        barrier.wait()
        with kb.at(3) as past:
            answers.put([hit.title for hit in past.search("A2")])


def test_two_processes_that_want_the_same_state_both_get_it(kb, contact):
    kb.ledger.append([contact(f"A{number}", f"a{number}@x") for number in range(6)])
    kb.sync()
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    others = [context.Process(target=_look, args=(kb.root, barrier, answers)) for _ in range(2)]
    for each in others:
        each.start()
    assert [answers.get(timeout=60) for _ in others] == [["A2"], ["A2"]]
    for each in others:
        each.join(timeout=60)


def test_whoever_makes_a_state_holds_the_lock(kb, contact):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])

    def try_lock(_done, _of):
        with (kb.root / "past" / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with kb.at(1, try_lock):
        pass


def test_what_was_erased_is_gone_from_the_past_too(kb, contact):
    kb.ledger.append([contact("Ada Secret"), contact("Grace", "grace@example.com"), contact("Zoe", "zoe@example.com")])
    with kb.at(2):
        assert b"Ada Secret" in (kb.root / "past" / "2.3.sqlite").read_bytes()
    kb.erase([1])
    assert [path.name for path in (kb.root / "past").iterdir()] == ["lock"]
    with kb.at(2) as past:
        assert past.search("Ada") == []
        assert [hit.title for hit in past.search("Grace")] == ["Grace"]
    assert b"Ada Secret" not in (kb.root / "past" / "2.4.sqlite").read_bytes()


def test_a_state_that_was_made_before_an_erasure_is_not_used_whoever_erased(kb, contact):
    kb.ledger.append([contact("Ada"), contact("Grace", "grace@example.com"), contact("Zoe", "zoe@example.com")])
    with kb.at(2):
        old = (kb.root / "past" / "2.3.sqlite").read_bytes()
    kb.erase([1])
    (kb.root / "past" / "2.3.sqlite").write_bytes(old)
    with kb.at(2) as past:
        assert past.search("Ada") == []
    with kb.at(3) as past:
        assert [hit.title for hit in past.search("Zoe")] == ["Zoe"]
        assert past.search("Ada") == []


def test_the_tables_of_the_past_are_those_of_now_and_can_be_listed_again(kb, contact):
    kb.ledger.append([contact("Ada"), contact("Grace", "grace@example.com")])
    with kb.at(1) as past:
        assert [each.name for each in past.tables()] == [each.name for each in kb.tables()] == [each.name for each in kb.tables()]
        assert past.query("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM contacts)").rows == [(1, 1)]
