"""No record of a run is stored under a number that the run has used, whichever process or object writes it."""

from __future__ import annotations

import dataclasses

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from runloop.events import RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import Ledger, numbers
from runloop.kb.errors import KeyConflict, SeqMissing, SeqTaken
from runloop.kb.keeping.migrating import migrate_ledger


def started(run, seq=1):
    return run_event(run, seq, "run.started", r.RunStarted("d", {}, r.Versions("0"), "local"), "began")


def ended(run, seq):
    return run_event(run, seq, "run.finished", r.RunFinished("succeeded", 1), "ended")


def line(run, seq):
    return run_event(run, seq, "node.log", r.NodeText("a", f"line {seq}", 1, "info"), "line")


def other(run, digit="1"):
    return dataclasses.replace(run, run_id=digit + run.run_id[1:])


def seqs(ledger, run):
    return [event.payload["seq"] for event in ledger.read(run_id=run.run_id)]


def test_two_processes_that_drive_one_run_do_not_both_store_the_same_record(tmp_path, run):
    with Ledger.open(tmp_path / "e.sqlite") as one, Ledger.open(tmp_path / "e.sqlite") as two:
        one.append([started(run), line(run, 2)])
        two.append([line(run, 3)])
        with pytest.raises(SeqTaken, match=f"record 3 of run {run.run_id} cannot be stored: the run is at number 3") as caught:
            one.append([line(run, 3)])
        assert (caught.value.code, caught.value.exit_code, caught.value.retryable) == ("kb.seq_taken", 1, False)
        assert str(one.path) in str(caught.value.where)
        assert run.run_id in caught.value.hint
        one.append([line(run, 4)])
        assert seqs(one, run) == [1, 2, 3, 4]


def test_only_the_submission_with_the_taken_number_fails_and_it_fails_whole(ledger, run):
    ledger.append([started(run)])
    futures = [ledger.submit([event]) for event in (line(run, 2), line(run, 2), line(run, 3))]
    refused = ledger.submit([line(run, 4), line(run, 4)])
    futures.append(ledger.submit([line(run, 4), line(run, 5)]))
    assert [type(future.exception()) for future in futures] == [type(None), SeqTaken, type(None), type(None)]
    assert isinstance(refused.exception(), SeqTaken)
    assert seqs(ledger, run) == [1, 2, 3, 4, 5]


def test_a_run_that_ended_takes_no_further_record_also_in_a_new_process(ledger, run):
    ledger.append([started(run), line(run, 2), ended(run, 3)])
    with pytest.raises(SeqTaken, match=r"record 4 .* the run has ended"):
        ledger.append([line(run, 4)])
    with Ledger.open(ledger.path) as again, pytest.raises(SeqTaken, match="the run has ended"):
        again.append([line(run, 4)])


def test_a_run_without_its_start_ends_too(ledger, run):
    ledger.append([line(run, 7), ended(run, 8)])
    with Ledger.open(ledger.path) as again:
        for each in (ledger, again):
            with pytest.raises(SeqTaken, match="the run has ended"):
                each.append([line(run, 9)])


def test_runs_are_numbered_by_themselves(ledger, run):
    child = dataclasses.replace(other(run), parent_run_id=run.run_id)
    ledger.append([started(run), line(run, 2), started(child), line(child, 2), line(run, 3)])
    assert (seqs(ledger, run), seqs(ledger, child)) == ([1, 2, 3], [1, 2])


def test_a_repeat_under_its_key_is_answered_and_no_conflict(ledger, run):
    event = structs.replace(line(run, 1), key="k")
    [first] = ledger.append([event])
    assert ledger.append([event]) == [first]
    assert ledger.append([event, event]) == [first, first]
    twice = structs.replace(line(run, 2), key="l")
    assert [stored.id for stored in ledger.append([twice, twice])] == [2, 2]


def test_a_record_whose_predecessor_was_not_stored_is_refused(ledger, run):
    ledger.append([started(run)])
    wrong = structs.replace(line(run, 2), key="k")
    ledger.append([structs.replace(line(other(run), 1), key="k")])
    refused = [ledger.submit([event]) for event in (wrong, line(run, 3), line(run, 4))]
    assert [type(future.exception()) for future in refused] == [KeyConflict, SeqMissing, SeqMissing]
    error = refused[1].exception()
    assert (error.code, "record 2 is not there" in error.message, run.run_id in error.hint) == ("kb.seq_missing", True, True)
    ledger.append([line(run, 2), line(run, 3)])
    assert seqs(ledger, run) == [1, 2, 3]


def test_numbers_of_a_transaction_that_was_rolled_back_are_free(ledger, run):
    db = ledger._writer._store._db
    ledger.append([started(run)])
    db.execute("CREATE TEMP TRIGGER broken BEFORE INSERT ON events BEGIN SELECT raise(ABORT, 'not now'); END")
    with pytest.raises(Exception, match="not now"):
        ledger.append([line(run, 2)])
    db.execute("DROP TRIGGER broken")
    ledger.append([line(run, 2)])
    assert seqs(ledger, run) == [1, 2]


def test_a_ledger_of_the_first_schema_is_brought_up_to_date_with_its_numbers(ledger, run, behind):
    ledger.append([started(run), line(run, 2), started(other(run)), ended(other(run), 2)])
    ledger.close()
    behind(ledger.path, "DROP TABLE run_numbers; DELETE FROM meta WHERE key = 'run_numbers_at'")
    for table in ("checkpoints", "pruned_stretches", "archived_runs", "archived_keys"):
        behind(ledger.path, f"DROP TABLE {table}")
    behind(ledger.path, "DELETE FROM migrations WHERE version > 1; PRAGMA user_version = 1")
    with Ledger.open(ledger.path, writable=False) as reading:
        assert len(reading.read()) == 4
    migrate_ledger(ledger.path, ledger.path.parent.parent / f"{ledger.path.parent.name}-backup", {})
    with Ledger.open(ledger.path) as again:
        for taken in (line(run, 2), line(other(run), 3)):
            with pytest.raises(SeqTaken):
                again.append([taken])
        again.append([line(run, 3)])
        assert again.verify().ok


def test_what_a_new_process_reads_is_bounded_however_long_the_ledger(ledger, run, behind, monkeypatch):
    monkeypatch.setattr(numbers, "SAVE_EVERY", 10)
    ledger.append([started(run), started(other(run))])
    for seq in range(2, 26):
        ledger.append([line(run, seq)])
    ledger.append([ended(other(run), 2)])
    assert behind(ledger.path, "SELECT value FROM meta WHERE key = 'run_numbers_at'") == [(20,)]
    assert behind(ledger.path, "SELECT last_seq FROM run_numbers WHERE run_id = ?", run.run_id) == [(19,)]
    with Ledger.open(ledger.path) as again, pytest.raises(SeqTaken, match="at number 25"):
        again.append([line(run, 25)])
    for seq in range(26, 40):
        ledger.append([line(run, seq)])
    assert behind(ledger.path, "SELECT run_id FROM run_numbers") == [(run.run_id,)]


WRITES = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 6), st.sampled_from(["start", "line", "line", "end"]))


@given(st.lists(WRITES, max_size=30), st.integers(1, 8))
@settings(max_examples=60)
def test_whoever_writes_the_numbers_of_a_run_have_no_gap_and_nothing_follows_its_end(tmp_path_factory, writes, save_every):
    path = tmp_path_factory.mktemp("numbers") / "e.sqlite"
    runs = [RunIdentity(f"{n}f8fad5b-d9cb-469f-a165-70867728950e", "trace:x", "opening:x", "o") for n in range(3)]
    make = {"start": started, "line": line, "end": ended}
    model = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "SAVE_EVERY", save_every)
        writers = [Ledger.open(path), Ledger.open(path)]
        for who, which, seq, what in writes:
            if who == 2:  # a new process
                writers.pop(0).close()
                writers.append(Ledger.open(path))
            run = runs[which]
            last = model.get(run.run_id, 0)
            try:
                writers[who % 2].append([make[what](run, seq)], check=False)
            except SeqTaken:
                assert seq <= last
            except SeqMissing:
                assert 0 < last < seq - 1
            else:
                assert seq == last + 1 or not last
                model[run.run_id] = 99 if what == "end" else seq
        for writer in writers:
            writer.close()
    db = apsw.Connection(str(path))
    assert db.execute("SELECT count(*) - count(DISTINCT run_id || seq) FROM events").get == 0
    db.close()
