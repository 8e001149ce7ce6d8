"""Which runs have no end, who has them, and how little of the ledger is read to find out."""

import pytest

from runloop.events import RunIdentity, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, Ledger
from runloop.runs.unfinished import unfinished_runs


@pytest.fixture
def kb(tmp_path):
    with KnowledgeBase.open(tmp_path / "pog") as opened:
        yield opened


def append(kb, number, *records):
    run_id = f"{number:08x}-d9cb-469f-a165-70867728950e"
    identity = RunIdentity(run_id, f"trace:{run_id}", "opening:16fd2706-8baf-433b-82eb-8c7fada847da", "letter", None)
    kb.ledger.append([run_event(identity, seq, kind, meta, "m", ts_ms=seq) for seq, (kind, meta) in enumerate(records, 1)])


def submitted(owner, mode="daemon", **fields):
    return "run.submitted", r.RunStarted("d", {}, r.Versions("0", "g" * 64), mode, owner=owner, **fields)


def test_the_last_owner_counts_and_runs_that_ended_are_left_out(kb):
    one, two = "a" * 32, "b" * 32
    append(kb, 1, submitted(one), ("run.finished", r.RunFinished("succeeded", 9, "c" * 64)))
    append(kb, 2, submitted(one, patient=True), ("run.recovered", r.RunChanged("its process ended", owner=two)))
    append(kb, 3, submitted(one), ("run.waiting", r.RunChanged("person", since=1, owner=one)))
    found = {int(each.identity.run_id[:8], 16): each for each in unfinished_runs(kb)}
    assert {number: (each.owner, each.patient, each.guest) for number, each in found.items()} == {
        2: (two, True, "g" * 64),
        3: (one, False, "g" * 64),
    }
    assert (found[2].waiting, found[3].waiting["why"], found[3].waiting_ms) == (None, "person", 2)


def test_what_the_process_of_a_terminal_left_is_patient_where_it_goes_on(kb):
    append(kb, 1, submitted("a" * 32, "local"))
    append(kb, 2, submitted("a" * 32, "daemon"))
    assert {int(each.identity.run_id[:8], 16): each.patient for each in unfinished_runs(kb)} == {1: True, 2: False}


def test_what_was_paused_and_what_had_not_begun_are_told_apart(kb):
    owner = "a" * 32
    append(kb, 1, submitted(owner))
    append(kb, 2, submitted(owner), ("run.paused", r.RunChanged("lunch")))
    append(kb, 3, submitted(owner), ("run.started", submitted(owner)[1]))
    found = {int(each.identity.run_id[:8], 16): (each.queued, each.paused) for each in unfinished_runs(kb)}
    assert found == {1: (True, False), 2: (False, True), 3: (False, False)}


def test_many_unfinished_runs_are_found_in_one_pass(kb, monkeypatch):
    for number in range(1, 41):
        append(kb, number, submitted("a" * 32))
    kb.sync()
    reads, read = [], Ledger.read
    monkeypatch.setattr(Ledger, "read", lambda ledger, *args, **named: reads.append(1) or read(ledger, *args, **named))
    assert len(list(unfinished_runs(kb))) == 40
    assert len(reads) < 5


def test_an_old_run_that_waits_costs_no_look_over_what_was_stored_since(kb, monkeypatch):
    owner = "a" * 32
    append(kb, 1, submitted(owner), ("run.waiting", r.RunChanged("person", since=1, owner=owner)))
    for number in range(2, 22):
        append(kb, number, submitted(owner), ("run.finished", r.RunFinished("succeeded", 9, "c" * 64)))
    append(kb, 22, submitted(owner))
    kb.sync()
    looked, those = [], Ledger.those
    monkeypatch.setattr(Ledger, "read", lambda *_args, **_named: pytest.fail("the whole ledger is read"))
    monkeypatch.setattr(Ledger, "those", lambda ledger, event_ids: looked.append(len(event_ids)) or those(ledger, event_ids))
    assert [int(each.identity.run_id[:8], 16) for each in unfinished_runs(kb)] == [1, 22]
    assert [each.owner for each in unfinished_runs(kb, "00000001-d9cb-469f-a165-70867728950e")] == [owner]
    assert looked == [2, 1]
