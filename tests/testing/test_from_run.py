"""A case made from a recorded attempt runs the agent to the same end, and is added without touching what was there."""

import pytest

from runloop.effects.journal import Crossing, Failure
from runloop.errors import InvalidInput
from runloop.openings import parse_opening
from runloop.runs.history import RecordedAttempt, RecordedRun
from runloop.runs.submitted import opening_of
from runloop.testing import read_cases
from runloop.testing.from_run import attempt_of, case_document, with_case

RUN_ID, SEED = "68dcb06b-2fb1-4130-aaf1-8c41edfde38f", "ab" * 32
OPENING = 'version: 0\nname: o\nnodes: [{id: one, use: "agent:reader", with: {topic: tea}}, {id: two, use: "agent:reader"}]\nedges: []\n'


def call(number, name="kb.search", **over):
    return Crossing(number, name, "0" * 64, **{"result": {"hits": []}, "completed_ms": 1000 + number, "args": {"query": "tea: #1"}, **over})


def attempt(node="one", **over):
    values = {"status": "ok", "outputs": {"out": [{"n": 1.5, "text": "é: yes\nno"}]}, "crossings": [call(1)], "run_id": RUN_ID, **over}
    return RecordedAttempt(node, 2, {"name": "reader"}, {"in": [None]}, 999, **values)


def recorded(*attempts):
    return RecordedRun(RUN_ID, "o", {"opening": {"source": OPENING}, "params": None, "seed": SEED}, list(attempts))


def test_the_case_says_what_the_record_says():
    refused = call(2, "mail.send", result=None, failure=Failure("denied", "no", "", "approval.nobody"))
    found = recorded(attempt(crossings=[call(1), refused]))

    (case,) = read_cases(with_case(None, case_document(found, attempt_of(found, "reader", None), opening_of(found.submitted)), file="f"))

    assert (case.name, case.with_args, case.inputs) == ("as in run 68dcb06b, node one", {"topic": "tea"}, {"in": [None]})
    assert (case.recorded.run_id, case.recorded.node, case.recorded.attempt, case.recorded.seed, case.recorded.start_ms) == (
        *(RUN_ID, "one", 2, SEED, 999),
    )
    assert [(each.call, each.args, each.at_ms, each.answer) for each in case.answers] == [
        ("kb.search", {"query": "tea: #1"}, 1001, {"hits": []}),
        ("mail.send", {"query": "tea: #1"}, 1002, None),
    ]
    assert case.answers[1].error == {"code": "denied", "message": "no", "hint": ""}
    assert case.expect == {"out": {"n": 1.5, "text": "é: yes\nno"}}


@pytest.mark.parametrize(("code", "expected"), [("approval.nobody", "guest.exception"), ("guest.memory", "guest.memory")])
def test_a_failed_attempt_is_expected_to_fail_as_the_sandbox_says_it(code, expected):
    found = recorded(attempt(status="error", outputs=None, error={"code": code, "message": "no"}))
    (case,) = read_cases(with_case(None, case_document(found, attempt_of(found, "reader", None), opening_of(found.submitted)), file="f"))
    assert (case.expect, case.expect_error.code, case.expect_error.contains) == (None, expected, "no")


@pytest.mark.parametrize("before", ["cases:\n  - {name: a, expect: {}}\n", "# kept\ncases:\n- name: a # kept\n  expect: {}\n\n\n"])
def test_a_case_is_added_at_the_end_and_only_once(before):
    document = case_document(recorded(attempt()), attempt(), parse_opening(OPENING))

    after = with_case(before, document, file="f")

    assert after.startswith(before.rstrip("\n"))
    assert [case.name for case in read_cases(after)] == ["a", "as in run 68dcb06b, node one"]
    assert with_case(after, document, file="f") is None


@pytest.mark.parametrize("before", ["cases: [{name: a, expect: {}}]\n", "cases:\n  - name: as in run 68dcb06b, node one\n    expect: {}\n"])
def test_a_file_to_which_nothing_can_be_added_is_left_alone(before):
    with pytest.raises(InvalidInput) as caught:
        with_case(before, case_document(recorded(attempt()), attempt(), parse_opening(OPENING)), file="f")
    assert (caught.value.code, caught.value.where.file) == ("cases.append", "f")


@pytest.mark.parametrize(
    ("attempts", "agent", "node", "says"),
    [
        ([attempt("one"), attempt("two")], "reader", None, "several nodes of the run are reader: one, two"),
        ([attempt("one")], "writer", None, "writer did not come to an end"),
        ([attempt("one")], "reader", "two", "as node two"),
        ([attempt("one", status="cancelled")], "reader", None, "did not come to an end"),
        (
            [attempt("one", status="error", outputs=None, error={"code": "timeout", "message": "."})],
            "reader",
            "one",
            "did not come to an end",
        ),
    ],
)
def test_an_attempt_that_cannot_be_chosen_is_an_error(attempts, agent, node, says):
    with pytest.raises(InvalidInput, match=says) as caught:
        attempt_of(recorded(*attempts), agent, node)
    assert caught.value.code == "agent.from_run"


def test_an_attempt_with_a_call_under_way_makes_no_case():
    found = attempt(crossings=[call(1, answered=False)])
    with pytest.raises(InvalidInput, match="no answer in the record"):
        case_document(recorded(found), found, parse_opening(OPENING))


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("recorded: {run_id: r, node: n, attempt: 0, seed: SEED, start_ms: 1}", "recorded"),
        ("recorded: {run_id: r, node: n, attempt: 1, seed: short, start_ms: 1}", "recorded"),
        ("recorded: {run_id: r, node: n, attempt: true, seed: SEED, start_ms: 1}", "recorded"),
        ("recorded: {run_id: r}", "recorded"),
        ("answers: [{call: kb.get, answer: 1, at_ms: soon}]", "at_ms"),
    ],
)
def test_a_wrong_place_in_time_is_refused_where_it_stands(entry, key):
    with pytest.raises(InvalidInput) as caught:
        read_cases(f"cases:\n  - name: a\n    expect: {{}}\n    {entry.replace('SEED', SEED)}\n")
    assert (caught.value.code, caught.value.where.line, key in caught.value.where.key) == ("cases.invalid", 4, True)
