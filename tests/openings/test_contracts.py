"""``output``: what a node must produce, and what follows if it does not."""

from __future__ import annotations

import pytest
from tests_openings_helpers import begun, ended, only, started

from runloop.openings import Plan
from runloop.openings.contract import faults
from runloop.openings.states import (
    Begin,
    Failure,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeRetrying,
    NodeStarted,
    NodeSucceeded,
    OpenGate,
    RunDone,
    StartNode,
    State,
    Status,
    Tick,
    Warn,
)
from runloop.schemas import StepsError

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}
GOOD, BAD = {"out": [{"score": 7}]}, {"out": [{"score": "high"}]}
MESSAGE = "output 'out' breaks its contract at score: 'high' is not of type 'integer' [schema properties/score/type]"
FEEDBACK = {
    "output": [{"score": "high"}],
    "errors": [{"message": "'high' is not of type 'integer'", "path": "score", "rule": "properties/score/type"}],
    "comment": "",
}


def judged(opening, node=None, **clause):
    return begun(opening({"a": {"output": {"schema": SCHEMA, **clause}, **(node or {})}}))


def test_an_output_that_keeps_the_contract_is_delivered(opening):
    assert judged(opening).step(NodeSucceeded("a", 1, GOOD), 0)[0] == NodeDone("a", 1, State.OK, GOOD)


def test_the_next_attempt_continues_with_what_was_wrong(opening):
    plan = judged(opening)

    commands = plan.step(NodeSucceeded("a", 1, BAD), 5)

    assert commands == [
        NodeRetrying("a", 1, Failure("output.invalid", MESSAGE), 5, BAD),
        StartNode("a", 2, {"feedback": [FEEDBACK]}, 30_000, "agent:a"),
    ]
    assert ended(plan.step(NodeSucceeded("a", 2, GOOD), 6)) == {"a": "ok"}


def test_a_fresh_attempt_is_told_nothing(opening):
    commands = judged(opening, retry="fresh").step(NodeSucceeded("a", 1, BAD), 0)

    assert commands[1] == StartNode("a", 2, {}, 30_000, "agent:a")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "output 'out' breaks its contract: there is no value on port 'out'"),
        ({"out": []}, "output 'out' breaks its contract: there is no value on port 'out'"),
        ({"out": [{}]}, "output 'out' breaks its contract: 'score' is a required property [schema required]"),
        ({"out": [{"score": 1}, 2, None]}, "output 'out' breaks its contract: 2 is not of type 'object' [schema type] (and 1 more)"),
    ],
)
def test_every_value_counts_and_one_must_be_there(opening, outputs, message):
    commands = judged(opening, attempts=1).step(NodeSucceeded("a", 1, outputs), 0)

    assert commands[0] == NodeDone("a", 1, State.ERROR, outputs, Failure("output.invalid", message))
    assert commands[1].code == "output.invalid"


def test_long_messages_are_cut_and_only_ten_are_told(opening):
    plan = judged(opening)

    [retry, start] = plan.step(NodeSucceeded("a", 1, {"out": ["x" * 1000, *range(20)]}), 0)

    errors = start.inputs["feedback"][0]["errors"]
    assert (len(errors), len(errors[0]["message"])) == (10, 300)
    assert retry.error.message.endswith("… [schema type] (and 9 more)")


def test_when_the_tries_are_used_up_the_node_fails_or_delivers_with_a_warning(opening):
    fails, warns = judged(opening), judged(opening, on_exhausted="warn")
    for plan in (fails, warns):
        plan.step(NodeSucceeded("a", 1, BAD), 0)

    assert fails.step(NodeSucceeded("a", 2, BAD), 0)[0] == NodeDone("a", 2, State.ERROR, BAD, Failure("output.invalid", MESSAGE))
    assert warns.step(NodeSucceeded("a", 2, BAD), 0) == [
        Warn("a", MESSAGE),
        NodeDone("a", 2, State.OK, BAD),
        RunDone(Status.SUCCEEDED, "", {}),
    ]


def test_tries_at_the_contract_and_retries_of_failures_are_counted_apart(opening):
    plan = judged(opening, node={"retry": {"max_attempts": 2, "backoff_ms": 100, "jitter": 0.0}}, attempts=3)
    plan.step(NodeSucceeded("a", 1, BAD), 0)
    plan.step(NodeFailed("a", 2, "busy", retryable=True), 0)
    assert plan.next_deadline_ms == 100

    assert only(StartNode, plan.step(Tick(), 100))[0].inputs == {"feedback": [FEEDBACK]}
    assert started(plan.step(NodeSucceeded("a", 3, BAD), 100)) == {"a": 4}
    assert plan.step(NodeFailed("a", 4, "busy", retryable=True), 100)[0].status is State.ERROR


def escalated(opening, **clause):
    plan = judged(opening, retry="escalate", **clause)
    return plan, plan.step(NodeSucceeded("a", 1, BAD), 0)


def test_a_person_may_accept_try_again_or_reject(opening):
    plan, commands = escalated(opening)
    assert commands == [OpenGate("a", 1, 1, MESSAGE, ("accept", "retry", "reject"), None, BAD)]
    assert plan.step(GateAnswered("a", 1, "accept"), 0)[0] == NodeDone("a", 1, State.OK, BAD)

    plan, _ = escalated(opening)
    assert plan.step(GateAnswered("a", 1, "retry", "a number!"), 7) == [
        NodeRetrying("a", 1, Failure("output.invalid", MESSAGE), 7, BAD),
        StartNode("a", 2, {"feedback": [{**FEEDBACK, "comment": "a number!"}]}, 30_000, "agent:a"),
    ]
    assert plan.step(NodeSucceeded("a", 2, BAD), 8)[0].options == ("accept", "reject")

    plan, _ = escalated(opening)
    assert plan.step(GateAnswered("a", 1, "reject"), 0)[0] == NodeDone("a", 1, State.ERROR, {}, Failure("output.invalid", MESSAGE))


def test_an_accepted_output_goes_on_to_the_node_s_own_gate(opening):
    gate = {"gate": {"ask": "Good?"}}
    plan = judged(opening, node=gate, retry="escalate")
    plan.step(NodeSucceeded("a", 1, BAD), 0)

    assert plan.step(GateAnswered("a", 1, "accept"), 0) == [OpenGate("a", 1, 2, "Good?", ("approve", "reject"), None, BAD)]
    assert plan.step(GateAnswered("a", 2, "approve"), 0)[0] == NodeDone("a", 1, State.OK, {**BAD, "gate": ["approve"]})


def test_each_item_of_a_for_each_keeps_the_contract(opening):
    node = {"for_each": {"in": "params.names"}, "output": {"schema": SCHEMA, "retry": "escalate"}, "gate": {"ask": "All?"}}
    plan = begun(opening({"a": node}, params={"names": ["p", "q"]}))
    plan.step(NodeSucceeded("a[1]", 1, GOOD), 0)

    assert plan.step(NodeSucceeded("a[0]", 1, BAD), 0)[0].node == "a[0]"
    commands = plan.step(GateAnswered("a[0]", 1, "accept"), 0)
    assert only(OpenGate, commands)[0].outputs == {"out": [[{"score": "high"}, {"score": 7}]]}


def test_what_was_wrong_is_known_after_a_restart(opening):
    built = opening({"a": {"output": {"schema": SCHEMA}}})
    history = [(0, Begin()), (0, NodeStarted("a")), (5, NodeSucceeded("a", 1, BAD)), (5, NodeStarted("a"))]

    _, commands = Plan.rebuild(built, b"seed", history, 9)

    assert commands == [StartNode("a", 2, {"feedback": [FEEDBACK]}, 30_000, "agent:a")]


def test_the_gate_of_a_contract_is_opened_again_after_a_restart(opening):
    built = opening({"a": {"output": {"schema": SCHEMA, "retry": "escalate"}}})
    history = [(0, Begin()), (0, NodeStarted("a")), (5, NodeSucceeded("a", 1, BAD))]

    plan, commands = Plan.rebuild(built, b"seed", history, 9)

    assert commands == [OpenGate("a", 1, 1, MESSAGE, ("accept", "retry", "reject"), None, BAD)]
    assert ended(plan.step(GateAnswered("a", 1, "accept"), 10)) == {"a": "ok"}


def test_what_was_found_before_is_not_looked_for_again(opening):
    fault = {"message": "too low", "path": "score", "rule": "minimum"}

    commands = judged(opening).step(NodeSucceeded("a", 1, GOOD, faults=[fault]), 0)

    assert commands[1].inputs["feedback"][0]["errors"] == [fault]
    assert ended(judged(opening).step(NodeSucceeded("a", 1, BAD, faults=[]), 0)) == {"a": "ok"}


def test_a_check_may_be_given_up_after_so_many_steps_and_else_that_is_a_fault(opening, monkeypatch):
    contract = opening({"a": {"output": {"schema": {"items": SCHEMA}}}}).node("a").output
    outputs = {"out": [[{"score": number} for number in range(100)]]}
    with pytest.raises(StepsError, match="more than 50 steps"):
        faults(contract, outputs, 50)
    assert faults(contract, outputs, 100_000) == []

    monkeypatch.setattr("runloop.schemas.MOST_STEPS", 50)
    [fault] = faults(contract, outputs)
    assert "more than 50 steps" in fault["message"]
