"""``gate``: a person looks at outputs, and what follows from each choice."""

from __future__ import annotations

import pytest
from tests_openings_helpers import DAY, OUT, begun, ended, only, started

from runloop.openings import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    CloseGate,
    Failure,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeStarted,
    NodeSucceeded,
    OpenGate,
    RunDone,
    StartNode,
    State,
    Status,
    StopNode,
    Tick,
    Waiting,
)

ASK = {"ask": "Good?"}
LOOP = {"ask": "Good?", "revise_to": "draft", "max_revisions": 2}


def test_a_gate_shows_the_outputs_asks_and_holds_no_place(opening):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}), max_parallel=1)

    commands = plan.step(NodeSucceeded("a", 1, OUT), 5)

    assert commands == [
        OpenGate("a", 1, 1, "Good?", ("approve", "reject"), None, OUT),
        StartNode("b", 1, {}, 30_000, "agent:b"),
    ]
    assert plan.states["a"] is State.WAITING
    assert plan.waits() == [Waiting("a", "gate", None)]
    assert "a" not in plan.outputs


def test_approving_delivers_the_outputs_and_the_choice(opening):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}, "a.out -> b.x\na.gate -> b.choice"))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    commands = plan.step(GateAnswered("a", 1, "approve"), 9)

    assert commands == [
        NodeDone("a", 1, State.OK, {"out": ["x"], "gate": ["approve"]}),
        NodeReady("b"),
        StartNode("b", 1, {"x": ["x"], "choice": ["approve"]}, 30_000, "agent:b"),
    ]


def test_other_options_are_values_that_edges_can_be_guarded_by(opening):
    gate = {"ask": "Which?", "options": ["short", "long"]}
    plan = begun(opening({"a": {"gate": gate}, "s": {}, "l": {}}, 'a.gate == "short" -> s.in\na.gate == "long" -> l.in'))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    plan.step(GateAnswered("a", 1, "long"), 0)

    assert (plan.states["s"], plan.states["l"]) == (State.SKIPPED, State.RUNNING)


@pytest.mark.parametrize(("comment", "message"), [("", "rejected at the gate"), ("too long", "rejected at the gate: too long")])
def test_rejecting_fails_the_node(opening, comment, message):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}, "a.out -> b.x"))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    commands = plan.step(GateAnswered("a", 1, "reject", comment), 0)

    assert commands[0] == NodeDone("a", 1, State.ERROR, {}, Failure("gate.rejected", message))
    assert commands[-1] == RunDone(Status.FAILED, f"node 'a' failed: {message}", {}, "gate.rejected")


def test_a_rejection_can_be_forgiven_like_any_failure(opening):
    plan = begun(opening({"a": {"gate": ASK, "on_failure": "skip"}, "b": {}}, "a.out -> b.x"))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert ended(plan.step(GateAnswered("a", 1, "reject"), 0)) == {"a": "error", "b": "skipped"}
    assert plan.final == RunDone(Status.SUCCEEDED, "", {})


@pytest.mark.parametrize(
    "answer", [GateAnswered("a", 2, "approve"), GateAnswered("a", 1, "maybe"), GateAnswered("b", 1, "approve"), NodeSucceeded("a", 1, OUT)]
)
def test_answers_to_a_gate_that_is_not_open_and_late_reports_are_ignored(opening, answer):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert plan.step(answer, 1) == []
    assert plan.waits() == [Waiting("a", "gate", None)]


def test_nobody_answered_in_time(opening):
    gate = {"ask": "Good?", "timeout": "2d", "on_timeout": "approve"}
    plan = begun(opening({"a": {"gate": gate}}, policy={"timeout_ms": 100}))

    assert only(OpenGate, plan.step(NodeSucceeded("a", 1, OUT), 50))[0].deadline_ms == 50 + 2 * DAY
    assert plan.next_deadline_ms == 50 + 2 * DAY
    assert plan.step(Tick(), 50 + 2 * DAY) == [
        CloseGate("a", 1, "nobody answered in time", "approve"),
        NodeDone("a", 1, State.OK, {"out": ["x"], "gate": ["approve"]}),
        RunDone(Status.SUCCEEDED, "", {}),
    ]


def test_without_a_choice_for_it_a_time_out_rejects(opening):
    plan = begun(opening({"a": {"gate": {**ASK, "timeout": "1h"}}}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert plan.step(Tick(), 3_600_000)[-1].reason == "node 'a' failed: rejected at the gate: nobody answered in time"


def test_the_end_of_the_run_closes_a_gate(opening):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    commands = plan.step(NodeFailed("b", 1, "no"), 1)

    assert CloseGate("a", 1, "node 'b' failed: no") in commands
    assert ended(commands) == {"a": "cancelled", "b": "error"}
    assert plan.next_deadline_ms is None


def test_the_clock_of_the_run_stands_still_at_a_gate(opening):
    plan = begun(opening({"a": {"gate": ASK}, "b": {}}, "a.out -> b.x", policy={"timeout_ms": 1000}))
    plan.step(NodeSucceeded("a", 1, OUT), 400)
    assert plan.next_deadline_ms is None

    plan.step(GateAnswered("a", 1, "approve"), 5000)

    assert plan.next_deadline_ms == 5600


# ── revising ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def drafted(opening, **more):
    """draft -> edit (gate) -> send, and a side branch from draft; both before the gate have run once."""
    nodes = {"draft": {}, "edit": {"gate": LOOP}, "send": {}, "side": {}, **more}
    plan = begun(opening(nodes, "draft.out -> edit.text\nedit.out -> send.text\ndraft.out -> side.text"))
    plan.step(NodeSucceeded("draft", 1, {"out": ["one"]}), 0)
    plan.step(NodeSucceeded("edit", 1, {"out": ["ONE"]}), 0)
    return plan


def test_revising_runs_the_node_again_with_the_comment_and_decides_all_that_depends_on_it_anew(opening):
    plan = drafted(opening)

    commands = plan.step(GateAnswered("edit", 1, "revise", "shorter"), 5)

    assert commands == [
        NodeDone("edit", 1, State.CANCELLED, {}, None, "revised after 'edit'"),
        StopNode("side", 1, "revised after 'edit'"),
        NodeDone("side", 1, State.CANCELLED, {}, None, "revised after 'edit'"),
        NodeReady("draft"),
        StartNode("draft", 2, {"revise": ["shorter"]}, 30_000, "agent:draft", 2),
    ]
    assert dict(plan.states) == {"draft": "running", "edit": "pending", "send": "pending", "side": "pending"}
    assert dict(plan.outputs) == {}
    commands = plan.step(NodeSucceeded("draft", 2, {"out": ["two"]}), 6)
    assert {command.node: (command.attempt, command.inputs) for command in only(StartNode, commands)} == {
        "edit": (2, {"text": ["two"]}),
        "side": (2, {"text": ["two"]}),
    }
    assert plan.step(NodeSucceeded("side", 1, OUT), 6) == []
    gate = only(OpenGate, plan.step(NodeSucceeded("edit", 2, {"out": ["TWO"]}), 7))[0]
    assert gate == OpenGate("edit", 2, 2, "Good?", ("approve", "revise", "reject"), None, {"out": ["TWO"]})
    plan.step(NodeSucceeded("side", 2, OUT), 8)
    plan.step(GateAnswered("edit", 2, "approve"), 8)
    assert plan.step(NodeSucceeded("send", 1, OUT), 9)[-1] == RunDone(Status.SUCCEEDED, "", {})


def test_after_the_last_revision_the_gate_offers_none_any_more(opening):
    plan = begun(opening({"draft": {"gate": LOOP}}))
    offered = []
    for attempt in (1, 2, 3):
        offered.append(only(OpenGate, plan.step(NodeSucceeded("draft", attempt, OUT), 0))[0].options)
        plan.step(GateAnswered("draft", attempt, "revise", "again"), 0)

    assert offered == [("approve", "revise", "reject")] * 2 + [("approve", "reject")]
    assert plan.waits() == [Waiting("draft", "gate", None)]


def test_what_does_not_depend_on_the_revised_node_is_left_alone(opening):
    plan = begun(opening({"facts": {}, "draft": {}, "edit": {"gate": LOOP}}, "facts.out -> edit.facts\ndraft.out -> edit.text"))
    plan.step(NodeSucceeded("facts", 1, {"out": ["f"]}), 0)
    plan.step(NodeSucceeded("draft", 1, OUT), 0)
    plan.step(NodeSucceeded("edit", 1, OUT), 0)

    assert started(plan.step(GateAnswered("edit", 1, "revise", "c"), 0)) == {"draft": 2}
    commands = plan.step(NodeSucceeded("draft", 2, {"out": ["two"]}), 0)
    assert only(StartNode, commands)[0].inputs == {"facts": ["f"], "text": ["two"]}


def test_retries_are_counted_anew_in_each_round(opening):
    retry = {"max_attempts": 2, "backoff_ms": 100, "jitter": 0.0}
    plan = begun(opening({"draft": {"gate": LOOP, "retry": retry}}))
    plan.step(NodeFailed("draft", 1, "busy", retryable=True), 0)
    plan.step(Tick(), 100)
    plan.step(NodeSucceeded("draft", 2, OUT), 100)
    plan.step(GateAnswered("draft", 1, "revise", "c"), 100)

    assert only(OpenGate, plan.step(NodeFailed("draft", 3, "busy", retryable=True), 100)) == []
    assert plan.next_deadline_ms == 200
    assert started(plan.step(Tick(), 200)) == {"draft": 4}
    assert plan.step(NodeFailed("draft", 4, "busy", retryable=True), 200)[-1].status is Status.FAILED


def test_a_node_that_did_not_run_in_the_last_round_is_skipped_not_cancelled(opening):
    plan = drafted(opening)
    plan.step(NodeSucceeded("side", 1, OUT), 1)
    plan.step(GateAnswered("edit", 1, "revise", "shorter"), 5)

    commands = plan.step(NodeFailed("draft", 2, "no"), 6)

    assert ended(commands) == {"draft": "error", "edit": "skipped", "send": "skipped", "side": "skipped"}
    assert [command.attempt for command in only(NodeDone, commands)] == [2, 0, 0, 0]


def test_a_failure_that_a_revision_takes_back_does_not_fail_the_run(opening):
    nodes = {"draft": {}, "side": {"on_failure": "continue"}, "edit": {"gate": LOOP}}
    plan = begun(opening(nodes, "draft.out -> side.x\ndraft.out -> edit.x"))
    plan.step(NodeSucceeded("draft", 1, OUT), 0)
    plan.step(NodeFailed("side", 1, "no"), 0)
    plan.step(NodeSucceeded("edit", 1, OUT), 0)
    plan.step(GateAnswered("edit", 1, "revise", "c"), 0)
    plan.step(NodeSucceeded("draft", 2, OUT), 0)
    plan.step(NodeSucceeded("side", 2, OUT), 0)
    plan.step(NodeSucceeded("edit", 2, OUT), 0)

    assert plan.step(GateAnswered("edit", 2, "approve"), 0)[-1] == RunDone(Status.SUCCEEDED, "", {})


# ── after a restart ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_open_gate_is_opened_again_with_its_round_and_its_deadline(opening):
    built = opening({"draft": {"gate": {**LOOP, "timeout": "2d"}}})
    history = [
        (0, Begin()),
        (0, NodeStarted("draft")),
        (5, NodeSucceeded("draft", 1, OUT)),
        (6, GateAnswered("draft", 1, "revise", "shorter")),
        (6, NodeStarted("draft")),
        (9, NodeSucceeded("draft", 2, OUT)),
    ]

    plan, commands = Plan.rebuild(built, b"seed", history, DAY)

    assert commands == [OpenGate("draft", 2, 2, "Good?", ("approve", "revise", "reject"), 9 + 2 * DAY, OUT, "reject")]
    assert plan.next_deadline_ms == 9 + 2 * DAY
    assert ended(plan.step(GateAnswered("draft", 2, "approve"), 2 * DAY)) == {"draft": "ok"}


def test_a_gate_whose_time_ran_out_meanwhile_is_closed_at_once(opening):
    built = opening({"a": {"gate": {**ASK, "timeout": "1h", "on_timeout": "approve"}}})

    plan, commands = Plan.rebuild(built, b"seed", [(0, Begin()), (0, NodeStarted("a")), (0, NodeSucceeded("a", 1, OUT))], DAY)

    assert [type(command) for command in commands] == [OpenGate, CloseGate, NodeDone, RunDone]
    assert plan.done


def test_a_revision_under_way_is_taken_up_with_its_comment(opening):
    history = [
        (0, Begin()),
        (0, NodeStarted("draft")),
        (5, NodeSucceeded("draft", 1, OUT)),
        (6, GateAnswered("draft", 1, "revise", "shorter")),
        (6, NodeStarted("draft")),
    ]

    _, commands = Plan.rebuild(opening({"draft": {"gate": LOOP}}), b"seed", history, 10)

    assert commands == [StartNode("draft", 2, {"revise": ["shorter"]}, 30_000, "agent:draft", 2)]


def test_cancelling_at_a_gate_ends_it(opening):
    plan = begun(opening({"a": {"gate": ASK}}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert plan.step(Cancel("enough"), 1) == [
        CloseGate("a", 1, "enough"),
        NodeDone("a", 1, State.CANCELLED, {}, None, "enough"),
        RunDone(Status.CANCELLED, "enough", {}, "cancelled"),
    ]


def test_after_a_gate_the_clock_of_the_run_runs_again_even_in_a_pause(opening):
    retry = {"max_attempts": 2, "backoff_ms": 500, "jitter": 0.0}
    plan = begun(opening({"a": {"gate": ASK}, "b": {"retry": retry}}, "a.out -> b.x", policy={"timeout_ms": 1000}))
    plan.step(NodeSucceeded("a", 1, OUT), 100)
    plan.step(GateAnswered("a", 1, "approve"), 5000)

    plan.step(NodeFailed("b", 1, "busy", retryable=True), 5800)

    assert plan.next_deadline_ms == 5900
    assert plan.step(Tick(), 5900)[-1].reason == "opening timed out after 1000 ms"


def test_what_follows_from_a_gate_that_nobody_answered_follows_at_once(opening):
    gate = {**ASK, "timeout": "1h", "on_timeout": "approve"}
    plan = begun(opening({"a": {"gate": gate}, "b": {}}, "a.out -> b.x"))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert started(plan.step(Tick(), 3_600_000)) == {"b": 1}
