from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from blake3 import blake3

from runloop.errors import InvalidInput
from runloop.events import (
    INLINE_LIMIT,
    InvalidEvent,
    NewEvent,
    NotCanonical,
    RunIdentity,
    chain_hash,
    content_hash,
    genesis,
    is_blob_ref,
    run_event,
)
from runloop.events.records import RunFinished, RunStarted, Versions
from runloop.kb import Ledger
from runloop.kb.errors import BlobMissing, KeyConflict, LedgerClosed, LedgerReadOnly
from runloop.kb.ledger import _KNOWS
from runloop.kb.runs import find_run, matching


def test_an_append_gives_the_stored_events_with_ids_from_one_without_gaps(ledger, contact):
    first = ledger.append([contact(), contact("Grace", "grace@example.com")])
    second = ledger.append([contact()])
    assert [event.id for event in [*first, *second]] == [1, 2, 3]
    assert ledger.read() == [*first, *second]


def test_every_event_carries_its_content_hash_and_its_place_in_the_chain(ledger, contact):
    stored = ledger.append([contact(), contact("Grace", "grace@example.com", key="k")])
    previous = genesis(ledger.id)
    for event in stored:
        assert event.content_hash == content_hash(event.kind, event.actor, event.scope, event.payload, event.provenance)
        assert event.chain_hash == chain_hash(previous, event.id, event.ts_ms, event.content_hash, event.key)
        previous = event.chain_hash
    assert ledger.head() == (2, previous)


def test_the_same_delta_at_two_times_is_two_events(ledger, contact):
    first, second = ledger.append([contact(), contact()])
    assert first.id != second.id
    assert first.content_hash == second.content_hash
    assert first.chain_hash != second.chain_hash


def test_a_repeat_under_the_same_key_returns_the_first_event_and_stores_nothing(ledger, contact):
    [first] = ledger.append([contact(key="once")])
    [again] = ledger.append([contact(key="once")])
    both = ledger.append([contact(key="twice"), contact(key="twice")])
    assert again == first
    assert both[0] == both[1]
    assert [event.id for event in ledger.read()] == [1, 2]
    assert ledger.by_key("once") == first
    assert ledger.by_key("never") is None


def test_a_key_that_stands_for_something_else_is_refused_and_nothing_of_the_append_is_stored(ledger, contact):
    ledger.append([contact(key="k")])
    with pytest.raises(KeyConflict, match=r"stands for another event \(event 1, contact.upserted\)"):
        ledger.append([contact("Grace", "grace@example.com"), contact("Other", key="k")])
    with pytest.raises(KeyConflict):
        ledger.append([contact(key="new"), contact("Other", key="new")])
    assert len(ledger.read()) == 1


def test_an_invalid_event_is_refused_before_anything_is_stored(ledger, contact):
    with pytest.raises(InvalidEvent, match="email"):
        ledger.append([contact(), NewEvent("contact.upserted", {"name": "x"}, "user")])
    assert ledger.read() == []


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b", "trust": 2**60}, "user"), "events.integer_range"),
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b"}, ""), "events.invalid"),
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b"}, "user", "invalid"), "events.invalid_scope"),
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b"}, "user", "agent:"), "events.invalid_scope"),
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b"}, "user", ts_ms=-1), "events.invalid"),
        (NewEvent("contact.upserted", {"name": "x", "email": "a@b"}, "user", provenance={"trace_id": 5}), "events.invalid"),
        (NewEvent("no.such", {}, "user"), "events.unknown_kind"),
        (NewEvent("node.progress", {}, "user"), "events.live_only"),
    ],
)
def test_what_cannot_be_an_event_is_refused_with_a_code(ledger, event, code):
    with pytest.raises((InvalidEvent, NotCanonical)) as caught:
        ledger.append([event])
    assert caught.value.code == code


def test_checks_can_be_left_out_for_records_from_the_builders(ledger, finished):
    [event] = ledger.append([finished(1)], check=False)
    assert ledger.get(1) == event


def test_one_bad_submission_of_a_batch_does_not_harm_the_others(ledger, contact):
    stop = threading.Event()
    futures = []

    class Slow:
        def deliver(self, submissions):
            stop.wait(10)

    ledger.enqueue([contact()], Slow(), check=True)  # keeps the writer busy, so that the next ones share a batch
    futures = [ledger.submit([contact()]), ledger.submit([contact(ts_ms=2**70)], check=False), ledger.submit([contact()])]
    stop.set()
    assert [event.id for event in futures[0].result(10)] == [2]
    with pytest.raises(Exception, match=r"too large to convert|'q' format requires"):  # as this Python says it
        futures[1].result(10)
    assert [event.id for event in futures[2].result(10)] == [3]
    assert ledger.verify().ok


def test_large_values_become_blobs_and_come_back_whole(ledger, finished):
    text = "é" * INLINE_LIMIT
    [event] = ledger.append([finished(1, {"out": [text]})])
    reference = event.payload["meta"]["outputs"]
    assert is_blob_ref(reference)
    assert ledger.full(ledger.get(1)).payload["meta"]["outputs"] == {"out": [text]}
    assert blake3(ledger.blob(reference["$blob"])).hexdigest() == reference["$blob"]


def test_the_same_blob_is_stored_once(ledger, finished, behind):
    outputs = {"out": ["x" * INLINE_LIMIT]}
    ledger.append([finished(1, outputs), finished(2, outputs)])
    assert behind(ledger.path, "SELECT count(*) FROM blobs") == [(1,)]
    assert behind(ledger.path, "SELECT count(*) FROM event_blobs") == [(2,)]


def test_raw_bytes_can_be_kept_with_an_event(ledger, contact):
    name = blake3(b"\0previous\xff").hexdigest()
    event = contact()
    ledger.append([NewEvent(event.kind, event.payload, "user", blobs=(b"\0previous\xff",))])
    assert ledger.blob(name) == b"\0previous\xff"


def test_a_blob_that_is_not_there_is_an_error(ledger):
    with pytest.raises(BlobMissing):
        ledger.blob("0" * 64)


def test_data_that_looks_like_a_blob_reference_is_data(ledger, finished):
    forged = {"out": [{"$blob": "0" * 64, "bytes": 1}]}
    top = {"$blob": "0" * 64, "bytes": 1}
    ledger.append([finished(1, forged), finished(2, top)])
    assert [ledger.full(event).payload["meta"]["outputs"] for event in ledger.read()] == [forged, top]
    assert ledger.verify().ok


def test_reading_can_be_narrowed_to_kinds_a_run_and_a_place(ledger, contact, finished, run):
    ledger.append([contact(), finished(1), contact("G", "g@x"), finished(2), finished(3)])
    assert [event.id for event in ledger.read(kinds=["contact.upserted"])] == [1, 3]
    assert [event.id for event in ledger.read(run_id=run.run_id)] == [2, 4, 5]
    assert [event.id for event in ledger.read(2, 2)] == [3, 4]
    assert [event.id for event in ledger.read_run(run.run_id, 2)] == [5]
    assert ledger.read(run_id="other") == []
    assert ledger.get(99) is None


def test_times_are_those_given_or_those_of_the_writing(ledger, contact):
    given, written = ledger.append([contact(ts_ms=5), contact()])
    assert given.ts_ms == 5
    assert written.ts_ms > 1_700_000_000_000


def test_the_order_of_one_thread_is_kept(ledger, contact):
    futures = [ledger.submit([contact(f"N{number}")]) for number in range(300)]
    ids = [future.result(10)[0].id for future in futures]
    assert ids == sorted(ids)
    assert [event.payload["name"] for event in ledger.read()] == [f"N{number}" for number in range(300)]


def test_many_threads_append_and_every_one_gets_its_own_events(ledger, contact):
    results = {}

    def work(name):
        results[name] = [ledger.append([contact(f"{name}-{number}")])[0] for number in range(25)]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: [event.payload["name"] for event in events] for name, events in results.items()} == {
        name: [f"{name}-{number}" for number in range(25)] for name in range(8)
    }
    assert all(a.id < b.id for events in results.values() for a, b in pairwise(events))
    assert ledger.head().id == 200
    assert ledger.verify().ok


def test_what_was_appended_is_there_after_reopening(tmp_path, contact):
    path = tmp_path / "deep" / "events.sqlite"
    with Ledger.open(path) as ledger:
        stored = ledger.append([contact(), contact()])
    with Ledger.open(path) as ledger:
        assert ledger.read() == stored
        assert [event.id for event in ledger.append([contact()])] == [3]


def test_nothing_is_left_beside_the_file_when_it_is_closed(tmp_path, contact):
    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        ledger.append([contact()])
        ledger.read()
    assert [path.name for path in tmp_path.iterdir()] == ["events.sqlite"]


def test_only_the_owner_can_read_the_files(tmp_path, contact):
    with Ledger.open(tmp_path / "pog" / "events.sqlite") as ledger:
        ledger.append([contact()])
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "pog").iterdir()}
    assert modes == dict.fromkeys(("events.sqlite", "events.sqlite-wal", "events.sqlite-shm"), 384)
    assert (tmp_path / "pog").stat().st_mode & 0o777 == 0o700


def test_what_was_submitted_before_closing_is_stored(tmp_path, contact):
    ledger = Ledger.open(tmp_path / "events.sqlite")
    futures = [ledger.submit([contact()]) for _ in range(50)]
    ledger.close()
    assert [future.result(0)[0].id for future in futures] == list(range(1, 51))


def test_a_closed_ledger_takes_nothing(tmp_path, contact):
    ledger = Ledger.open(tmp_path / "events.sqlite")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerClosed):
        ledger.append([contact()])


def test_a_ledger_opened_for_reading_sees_new_events_and_takes_none(ledger, contact):
    with Ledger.open(ledger.path, writable=False) as reader:
        assert reader.read() == []
        stored = ledger.append([contact()])
        assert reader.read() == stored
        with pytest.raises(LedgerReadOnly, match="reading only"):
            reader.append([contact()])


def test_an_empty_append_stores_nothing(ledger):
    assert ledger.append([]) == []
    assert ledger.head().id == 0


def test_runs_are_found_by_the_beginning_of_their_id_newest_first(ledger, run):
    ids = [f"{digit}f8fad5b-d9cb-469f-a165-70867728950e" for digit in "0a0"][:2]
    for run_id in ids:
        identity = RunIdentity(run_id, run.trace_id, run.opening_id, run.opening_name)
        ledger.append([run_event(identity, 1, "run.submitted", RunStarted("d", {}, Versions("0"), "local"), "m")])
    assert ledger.run_ids() == list(reversed(ids))
    assert ledger.run_ids("0f8f") == [ids[0]]
    assert ledger.run_ids(limit=1) == [ids[1]]
    assert ledger.run_ids("zz") == []


def test_where_nothing_ran_who_asks_for_the_last_run_is_told_how_to_start_one(ledger):
    with pytest.raises(InvalidInput) as caught:
        find_run(ledger, "last")
    assert (caught.value.code, caught.value.hint) == ("run.unknown", "`rlp run OPENING` starts one")


def test_the_last_run_is_the_newest_that_no_other_run_started(ledger, run):
    ids = [f"{digit}f8fad5b-d9cb-469f-a165-70867728950e" for digit in "0a"]
    for run_id, parent in zip(ids, (None, ids[0]), strict=True):
        identity = RunIdentity(run_id, run.trace_id, run.opening_id, run.opening_name, parent)
        ledger.append([run_event(identity, 1, "run.submitted", RunStarted("d", {}, Versions("0"), "local"), "m")])
    assert (matching(ledger, "last"), matching(ledger, "af8f")) == ([ids[0]], [ids[1]])


def test_one_look_tells_whether_a_key_or_a_run_is_known(ledger, contact, run):
    started = RunStarted("d", {}, Versions("0"), "local")
    ledger.append([run_event(run, 1, "run.submitted", started, "m"), contact(key="k")])
    known = [ledger.knows(key, run_id) for key in ("k", "other") for run_id in (run.run_id, run.run_id[:8])]
    assert known == [True, True, True, False]


def test_the_look_for_a_key_or_a_run_searches_by_index(ledger):
    with ledger.reading() as db:
        plan = [step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {_KNOWS}", ("", ""))]
    assert not [step for step in plan if step.startswith("SCAN") and step != "SCAN CONSTANT ROW"], plan


@pytest.mark.parametrize("count", [1, 7, 16, 17, 31, 33, 63, 64, 65, 129, 200])
def test_any_number_of_events_is_stored_in_order(ledger, contact, count):
    stored = ledger.append([contact(f"N{number}") for number in range(count)])
    assert ledger.read() == stored
    assert [event.payload["name"] for event in stored] == [f"N{number}" for number in range(count)]
    assert ledger.verify().ok


def test_errors_of_input_are_errors_of_input():
    assert issubclass(KeyConflict, InvalidInput)


@pytest.mark.parametrize(("window", "widest"), [(1, 1), (1, 3), (2, 8), (5, 5), (100, 100)])
def test_a_run_is_read_whole_however_much_lies_between_its_records(ledger, contact, run, finished, monkeypatch, window, widest):
    monkeypatch.setattr("runloop.kb.ledger._WINDOW", window)
    monkeypatch.setattr("runloop.kb.ledger._WIDEST", widest)
    versions = Versions("0")
    begins = run_event(run, 1, "run.submitted", RunStarted("d", {}, versions, "local"), "m")
    ends = run_event(run, 8, "run.finished", RunFinished("succeeded", 1), "end")
    records = [begins, finished(2), finished(3), finished(4), finished(5), finished(6), finished(7), ends]
    for gap, record in zip([3, 0, 1, 4, 0, 0, 17, 2], records, strict=True):
        ledger.append([*(contact(f"N{number}") for number in range(gap)), record])
    ledger.append([contact()])

    def seqs(after_seq=0):
        return [event.payload["seq"] for event in ledger.read_run(run.run_id, after_seq)]

    assert (seqs(), seqs(3), seqs(8)) == ([1, 2, 3, 4, 5, 6, 7, 8], [4, 5, 6, 7, 8], [])


def test_a_run_that_goes_on_while_it_is_read_is_read_on(ledger, run, finished, monkeypatch):
    monkeypatch.setattr("runloop.kb.ledger._WINDOW", 1)
    monkeypatch.setattr("runloop.kb.ledger._WIDEST", 1)
    ledger.append([run_event(run, 1, "run.submitted", RunStarted("d", {}, Versions("0"), "local"), "m"), finished(2)])
    reading = ledger.read_run(run.run_id)
    assert [next(reading).payload["seq"], next(reading).payload["seq"]] == [1, 2]
    ledger.append([finished(3)])
    assert [event.payload["seq"] for event in reading] == [3]


@pytest.mark.parametrize("save_every", [1, 7, 100])
def test_a_run_without_an_end_costs_its_records_and_not_what_was_stored_since(ledger, contact, run, finished, monkeypatch, save_every):
    monkeypatch.setattr("runloop.kb.numbers.SAVE_EVERY", save_every)
    monkeypatch.setattr("runloop.kb.ledger._WINDOW", 4)
    monkeypatch.setattr("runloop.kb.ledger._WIDEST", 4)
    begun = RunStarted("d", {}, Versions("0"), "local")
    child, ended = (RunIdentity(f"{digit}{run.run_id[1:]}", run.trace_id, run.opening_id, "o", run.run_id) for digit in "9a")
    ledger.append([run_event(run, 1, "run.submitted", begun, "m"), contact(), finished(2)])
    ledger.append([run_event(child, 1, "run.submitted", begun, "m")])
    ends = run_event(ended, 2, "run.finished", RunFinished("failed", 1), "m")
    ledger.append([run_event(ended, 1, "run.submitted", begun, "m"), ends])
    for number in range(300):
        ledger.append([contact(f"N{number}")])
    seen = []

    def spans(self, at, to=None):
        for first, last in look(self, at, to):
            seen.append(last - first + 1)
            yield first, last

    look = Ledger._spans
    monkeypatch.setattr(Ledger, "_spans", spans)
    assert ([event.payload["seq"] for event in ledger.read_run(run.run_id)], sum(seen) <= save_every + 8) == ([1, 2], True)
    seen.clear()
    assert (ledger.newer(run.run_id, 2, 3), sum(seen) <= save_every) == ([], True)
    assert (ledger.children(run.run_id), sum(seen) <= 2 * save_every) == ([child.run_id, ended.run_id], True)
    ledger.append([finished(3), *(contact(f"M{number}") for number in range(20)), finished(4)])
    late = RunIdentity(f"b{run.run_id[1:]}", run.trace_id, run.opening_id, "o", run.run_id)
    ledger.append([run_event(late, 1, "run.submitted", begun, "m")])
    assert [[event.payload["seq"] for event in ledger.read_run(run.run_id, after)] for after in range(5)] == [
        [1, 2, 3, 4], [2, 3, 4], [3, 4], [4], [],
    ]  # fmt: skip
    assert (ledger.children(run.run_id), ledger.children(late.run_id)) == ([child.run_id, ended.run_id, late.run_id], [])


def test_the_children_of_a_run_are_the_runs_that_it_started(ledger, run):
    ids = [f"{digit}f8fad5b-d9cb-469f-a165-70867728950e" for digit in "0abc"]
    for run_id, parent in zip(ids, (None, ids[0], None, ids[0]), strict=True):
        identity = RunIdentity(run_id, run.trace_id, run.opening_id, run.opening_name, parent)
        ledger.append([run_event(identity, 1, "run.submitted", RunStarted("d", {}, Versions("0"), "local"), "m")])
    assert [ledger.children(run_id) for run_id in ids] == [[ids[1], ids[3]], [], [], []]


@pytest.mark.parametrize("window", [1, 2, 1024])
def test_the_children_of_a_run_are_looked_for_up_to_its_end(ledger, run, monkeypatch, window):
    monkeypatch.setattr("runloop.kb.ledger._WINDOW", window)
    monkeypatch.setattr("runloop.kb.ledger._WIDEST", window)
    child = RunIdentity(f"9{run.run_id[1:]}", run.trace_id, run.opening_id, run.opening_name, run.run_id)
    begun = RunStarted("d", {}, Versions("0"), "local")
    ledger.append([run_event(run, 1, "run.submitted", begun, "m"), run_event(child, 1, "run.submitted", begun, "m")])
    ended = run_event(run, 2, "run.finished", RunFinished("succeeded", 9, "c" * 64), "m")
    ledger.append([run_event(child, 2, "run.started", begun, "m"), ended])
    stray = RunIdentity(f"8{run.run_id[1:]}", run.trace_id, run.opening_id, run.opening_name, run.run_id)
    ledger.append([run_event(stray, 1, "run.submitted", begun, "m")])
    assert ledger.children(run.run_id) == [child.run_id]
