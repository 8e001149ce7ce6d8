"""What a run's records tell of it: the facts that its plan is rebuilt from, and the attempts that a replay follows."""

import sqlite3
from types import SimpleNamespace

import pytest

from runloop.kb.errors import LedgerCorrupt
from runloop.openings.states import Begin, NodeFailed, NodeResumed, NodeStarted, NodeSucceeded, NodeWaiting, TakenUp
from runloop.runs.history import RecordedAttempt, Spent, fold, load_run, spent_of

RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"


def told(*records):
    """The run that records tell: each its kind, its time, and its meta."""
    events = [
        SimpleNamespace(
            id=seq,
            kind=kind,
            ts_ms=ts_ms,
            provenance={"trace_id": "t"},
            payload={
                "v": 1,
                "run_id": RUN,
                "seq": seq,
                "opening_id": "o",
                "opening_name": "letter",
                "parent_run_id": None,
                "message": "node a ended: because",
                "meta": meta,
            },
        )
        for seq, (kind, ts_ms, meta) in enumerate(records, 1)
    ]
    return fold(RUN, events)


BEGUN = [("run.submitted", 1, {}), ("run.started", 2, {}), ("node.started", 3, {"node": "a", "attempt": 1, "agent": {"digest": "d"}})]


def ended(at_ms, status="ok", attempt=1, node="a", **more):
    return ("node.finished", at_ms, {"node": node, "attempt": attempt, "status": status, **more})


def test_a_process_that_takes_a_run_up_counts_from_the_last_record_before_it():
    run = told(*BEGUN, ("run.recovered", 900, {}), ("run.recovered", 5000, {}))
    assert run.events == [(2, Begin()), (3, NodeStarted("a")), (900, TakenUp(3)), (5000, TakenUp(900))]


def test_a_run_that_had_not_begun_is_not_taken_up():
    assert told(("run.submitted", 1, {}), ("run.recovered", 900, {})).events == []


def test_a_call_that_waits_lets_no_time_count_and_others_do():
    asked = {"node": "a", "call": 1, "args_hash": "h"}
    works = ("effect.requested", 4, {**asked, "name": "model.complete", "class": "idempotent"})
    waits = ("effect.requested", 4, {**asked, "name": "ask.person", "class": "waiting"})
    answered = ("effect.completed", 9, {"node": "a", "call": 1, "result": {}})
    assert told(*BEGUN, works, answered).events[2:] == []
    assert told(*BEGUN, waits, answered).events[2:] == [(4, NodeWaiting("a", 1)), (9, NodeResumed("a", 1))]


def test_an_attempt_that_waits_for_two_things_goes_on_after_both():
    waits = ("effect.requested", 4, {"node": "a", "call": 1, "args_hash": "h", "name": "ask.person", "class": "waiting"})
    answered = ("effect.completed", 9, {"node": "a", "call": 1, "result": {}})
    run = told(*BEGUN, waits, ("run.paused", 5, {}), answered, ("run.resumed", 12, {}))
    assert run.events[2:] == [(4, NodeWaiting("a", 1)), (12, NodeResumed("a", 1))]


def test_how_a_node_ended_last_is_its_result():
    error = {"code": "x", "message": "no"}
    assert told(*BEGUN, ended(9, outputs={"out": [1]}, outputs_hash="h")).results["a"].outputs_hash == "h"
    assert told(*BEGUN, ended(9, "error", error=error)).results["a"].error == "no"
    assert told(*BEGUN, ended(9, attempt=0, outputs={}, outputs_hash="items")).results["a"].outputs_hash == "items"
    again = [("node.ready", 10, {"node": "a"}), ended(11, "cancelled", attempt=0)]
    run = told(*BEGUN, ended(9, outputs={"out": [1]}, outputs_hash="h"), *again)
    assert (run.results, run.states, run.outputs) == ({}, {"a": "cancelled"}, {"a": {}})


def test_an_attempt_that_is_tried_again_is_no_result_yet():
    run = told(*BEGUN, ended(9, "error", error={"code": "x", "message": "no"}, retry_ms=5))
    assert (run.results, run.states) == ({}, {"a": "running"})
    assert run.events[-1] == (9, NodeFailed("a", 1, "no", "x", True, 0, 0))


def test_why_an_attempt_was_stopped_is_told_of_one_that_was():
    assert told(*BEGUN, ended(9, "cancelled")).attempts[0].why == "because"
    assert told(*BEGUN, ended(9, "error", error={"code": "x", "message": "no"})).attempts[0].why == ""
    assert told(*BEGUN, ended(9, outputs={})).events[-1] == (9, NodeSucceeded("a", 1, {}, 0, 0))


@pytest.mark.parametrize(
    ("status", "outputs", "code", "cut"),
    [
        (None, None, None, True),
        ("cancelled", None, None, True),
        ("ok", {"out": [1]}, None, False),
        ("error", None, "agent.failed", False),
        ("error", None, "timeout", True),
        ("error", None, "output.invalid", True),
        ("error", {"out": [1]}, "output.invalid", False),
    ],
)
def test_what_did_not_end_by_itself_has_an_end_that_no_replay_finds(status, outputs, code, cut):
    attempt = RecordedAttempt("a", 1, {}, {}, 0, status=status, outputs=outputs, error=code and {"code": code, "message": "m"})
    assert attempt.cut is cut


@pytest.mark.parametrize(
    ("meta", "spent"),
    [
        ({}, Spent(0, 0, priced=True)),
        ({"tokens_in": 5, "usd": 0.25}, Spent(5, 250_000, priced=True)),
        ({"tokens_out": 3}, Spent(3, 0, priced=False)),
        ({"tokens_in": 5, "tokens_out": 3, "usd": 0.0}, Spent(8, 0, priced=True)),
        ({"usd": 0.000001}, Spent(0, 1, priced=True)),
    ],
)
def test_what_a_call_used_is_what_its_outcome_says(meta, spent):
    assert spent_of(meta) == spent


def test_what_is_used_together_has_a_price_only_where_all_of_it_has():
    total = Spent(1, 2)
    total.add(Spent(3, 4))
    assert (total.tokens, total.usd_micros, total.usd) == (4, 6, 0.000006)
    total.add(Spent(1, 0, priced=False))
    assert (total.tokens, total.usd) == (5, None)


async def one_run(b):
    b.agent("relay", "@agent\ndef run():\n    kb.search('x')\n    return {'out': 1}\n", caps='kb_read = ["notes"]')
    return (await b.run('version: 0\nname: o\nnodes:\n  - {id: a, use: "agent:relay"}\nedges: []\n')).run_id


def spoil(b, statement, *values):
    """Changes the file behind the ledger's back."""
    with sqlite3.connect(b.ledger.path) as db:
        db.execute(statement, values)
    db.close()


@pytest.mark.parametrize(
    ("kind", "old", "new"), [("effect.completed", '"call":1', '"call":9'), ("node.started", '"node":"a"', '"node":"z"')]
)
async def test_a_run_with_a_changed_record_is_not_told_and_the_record_is_named(bench, kind, old, new):
    async with bench() as b:
        run_id = await one_run(b)
        number = next(event.id for event in b.ledger.read() if event.kind == kind)
        spoil(b, "UPDATE events SET payload_json = replace(payload_json, ?, ?) WHERE id = ?", old, new, number)

        with pytest.raises(LedgerCorrupt, match=f"event {number} does not say what was written"):
            load_run(b.ledger, run_id)


async def test_a_run_without_one_of_its_records_is_not_told(bench):
    async with bench() as b:
        run_id = await one_run(b)
        gone = next(event for event in b.ledger.read() if event.kind == "node.started")
        spoil(b, "DELETE FROM events WHERE id = ?", gone.id)

        with pytest.raises(LedgerCorrupt, match=f"record {gone.payload['seq']} of run {run_id} is missing"):
            load_run(b.ledger, run_id)
