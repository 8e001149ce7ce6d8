"""The plan, rule by rule: what it commands after what happened. Spec 9.1 and the cases of 26.5."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from tests_openings_helpers import OUT, RETRY, begun, only

from runloop.openings import Plan
from runloop.openings.graph import Step
from runloop.openings.states import (
    Begin,
    Failure,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeResumed,
    NodeRetrying,
    NodeSpent,
    NodeSucceeded,
    NodeWaiting,
    RunDone,
    StartNode,
    State,
    Status,
    StopNode,
    Tick,
)


def finish(plan: Plan, outputs: dict[str, Any] | None = None, now: int = 0) -> RunDone:
    """Let every running node succeed, with ``outputs`` of its own or ``out: x``, until the run is done."""
    while not plan.done:
        running = [node for node, state in plan.states.items() if state is State.RUNNING]
        assert running, "the plan is stuck"
        for node in running:
            plan.step(NodeSucceeded(node, 1, (outputs or {}).get(node, OUT)), now)
    assert plan.final is not None
    return plan.final


def test_nodes_without_in_edges_start_at_once_in_declaration_order(opening):
    commands = Plan(opening("b a"), b"").step(Begin(), 0)

    assert commands == [
        NodeReady("b"),
        NodeReady("a"),
        StartNode("b", 1, {}, 30_000, "agent:b"),
        StartNode("a", 1, {}, 30_000, "agent:a"),
    ]


def test_a_plan_says_how_far_it_is(opening):
    plan = Plan(opening("a"), b"")
    seen = [plan.status]
    for event in (Begin(), NodeSucceeded("a", 1, OUT)):
        plan.step(event, 0)
        seen.append(plan.status)

    assert seen == [Status.QUEUED, Status.RUNNING, Status.SUCCEEDED]
    assert plan.done


def test_a_node_gets_what_the_edges_deliver(opening):
    plan = begun(opening("a b", "a.out -> b.text"))

    assert plan.step(NodeSucceeded("a", 1, {"out": [1, 2], "other": [3]}), 5) == [
        NodeDone("a", 1, State.OK, {"out": [1, 2], "other": [3]}),
        NodeReady("b"),
        StartNode("b", 1, {"text": [1, 2]}, 30_000, "agent:b"),
    ]
    assert plan.step(NodeSucceeded("b", 1, {}), 6) == [NodeDone("b", 1, State.OK, {}), RunDone(Status.SUCCEEDED, "", {})]


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_fan_in_collects_values_in_the_order_of_the_edges(opening, order):
    plan = begun(opening("a b c z", "c.out -> z.all\na.out -> z.all\nb.out -> z.all\na.out -> z.first"))

    for node in order:
        commands = plan.step(NodeSucceeded(node, 1, {"out": [node, node.upper()]}), 0)

    assert only(StartNode, commands)[0].inputs == {"all": ["c", "C", "a", "A", "b", "B"], "first": ["a", "A"]}


def test_the_port_in_orders_and_carries_nothing(opening):
    plan = begun(opening("a b", "a.out -> b.in"))

    assert only(StartNode, plan.step(NodeSucceeded("a", 1, OUT), 0))[0].inputs == {}


def test_a_nested_opening_is_started_by_its_reference(opening):
    commands = Plan(opening({"child": {"use": "opening:mail"}}), b"").step(Begin(), 0)

    assert only(StartNode, commands)[0].use == "opening:mail"


TRUTH = [
    # guarded edge from g delivers?, plain edge from p delivers?, what z does
    ({"ok": [True]}, {"out": [1]}, State.OK),
    ({"ok": [True]}, {}, State.OK),
    ({"ok": [False, True]}, {}, State.OK),
    ({"ok": [False]}, {"out": [1]}, State.SKIPPED),
    ({"ok": []}, {"out": [1]}, State.SKIPPED),
    ({}, {"out": [1]}, State.SKIPPED),
    ({}, {}, State.SKIPPED),
]


@pytest.mark.parametrize("order", ["gp", "pg"])
@pytest.mark.parametrize(("guarded", "plain", "expected"), TRUTH)
def test_a_guard_really_guards(opening, guarded, plain, expected, order):
    plan = begun(opening("g p z", "g.ok==true -> z.in\np.out -> z.text"))
    outputs = {"g": guarded, "p": plain}

    for node in order:
        plan.step(NodeSucceeded(node, 1, outputs[node]), 0)
    finish(plan)

    assert plan.states["z"] is expected


def test_upstream_bug_13_a_false_guard_beats_another_edge_that_delivers(opening):
    plan = begun(opening("review draft send", "draft.out -> send.draft\nreview.ok==true -> send.in"))

    finish(plan, {"review": {"ok": [False]}})

    assert dict(plan.states) == {"review": "ok", "draft": "ok", "send": "skipped"}


@pytest.mark.parametrize(("value", "runs"), [(5, True), (1, False), (9, False)])
def test_of_several_guards_all_must_hold(opening, value, runs):
    plan = begun(opening("a z", "a.n>2 -> z.in\na.n<8 -> z.in"))

    finish(plan, {"a": {"n": [value]}})

    assert plan.states["z"] == ("ok" if runs else "skipped")


def test_a_node_that_is_skipped_skips_those_that_depend_on_it_alone(opening):
    plan = begun(opening("a b c d e", "a.no -> b.in\nb.out -> c.in\nc.out -> d.x\na.out -> d.y\nc.out==1 -> e.in\na.out -> e.x"))

    commands = plan.step(NodeSucceeded("a", 1, OUT), 0)

    done = {command.node: (command.status, command.why) for command in only(NodeDone, commands)}
    assert done == {
        "a": ("ok", ""),
        "b": ("skipped", "no input was delivered"),
        "c": ("skipped", "no input was delivered"),
        "e": ("skipped", "guard c.out == 1 did not hold"),
    }
    assert only(StartNode, commands)[0].inputs == {"y": ["x"]}


def test_a_run_without_success_expression_succeeds_when_no_node_failed(opening):
    assert finish(begun(opening("a"))) == RunDone(Status.SUCCEEDED, "", {})


def test_case_26_5_all_of_on_the_second_node(opening):
    plan = begun(opening("first second", "first.out -> second.text", success={"all_of": ["second.ok==true"]}))

    assert finish(plan, {"second": {"ok": [True]}}).status is Status.SUCCEEDED


def test_a_success_expression_that_does_not_hold_fails_the_run(opening):
    plan = begun(opening("a", success={"any_of": ["a.ok == true", "exists(a.late)"]}))

    assert finish(plan, {"a": {"ok": [False]}}) == RunDone(
        Status.FAILED, "success expression did not hold (any_of: a.ok == true, exists(a.late))", {}, "success"
    )


def test_saved_ports_are_those_that_were_produced(opening):
    plan = begun(opening("a b", "a.none -> b.in", artifacts={"save": ["a.out", "a.missing", "b.out"]}))

    assert finish(plan, {"a": {"out": [1, 2]}}).saved == {"a.out": [1, 2]}


def test_a_failed_run_saves_what_it_has(opening):
    plan = begun(opening("a b", "a.out -> b.in", artifacts={"save": ["a.out"]}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    done = plan.step(NodeFailed("b", 1, "no"), 0)[-1]

    assert done == RunDone(Status.FAILED, "node 'b' failed: no", {"a.out": ["x"]}, "failed")


def test_a_failure_ends_the_run_stops_what_runs_and_skips_the_rest(opening):
    plan = begun(opening("a b c d", "a.out -> c.in\nb.out -> d.in"))

    assert plan.step(NodeFailed("a", 1, "broke", "guest.exception"), 3) == [
        NodeDone("a", 1, State.ERROR, {}, Failure("guest.exception", "broke")),
        StopNode("b", 1, "node 'a' failed: broke"),
        NodeDone("b", 1, State.CANCELLED, {}, None, "node 'a' failed: broke"),
        NodeDone("c", 0, State.SKIPPED, {}, None, "node 'a' failed: broke"),
        NodeDone("d", 0, State.SKIPPED, {}, None, "node 'a' failed: broke"),
        RunDone(Status.FAILED, "node 'a' failed: broke", {}, "guest.exception"),
    ]


@pytest.mark.parametrize(("on_failure", "status"), [("continue", Status.FAILED), ("skip", Status.SUCCEEDED)])
def test_a_failure_that_does_not_end_the_run_lets_independent_nodes_go_on(opening, on_failure, status):
    plan = begun(opening({"a": {"on_failure": on_failure}, "b": {}, "c": {}, "d": {}}, "a.out -> c.in\nb.out -> d.in\na.out -> d.x"))

    plan.step(NodeFailed("a", 1, "broke"), 0)
    done = finish(plan)

    assert dict(plan.states) == {"a": "error", "b": "ok", "c": "skipped", "d": "ok"}
    assert (done.status, done.reason) == (status, "node 'a' failed: broke" if status is Status.FAILED else "")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_of_several_tolerated_failures_the_first_in_the_document_gives_the_reason(opening, order):
    plan = begun(opening({"a": {"on_failure": "continue"}, "b": {"on_failure": "continue"}}))

    for node in order:
        plan.step(NodeFailed(node, 1, f"{node} broke"), 0)

    assert plan.final == RunDone(Status.FAILED, "node 'a' failed: a broke", {}, "failed")


def test_a_forgiven_failure_still_leaves_the_success_expression_to_hold(opening):
    plan = begun(opening({"a": {"on_failure": "skip"}}, success={"any_of": ["exists(a.out)"]}))

    plan.step(NodeFailed("a", 1, "broke"), 0)

    assert plan.final is not None
    assert (plan.final.status, plan.final.code) == (Status.FAILED, "success")


def test_a_retryable_failure_is_repeated_after_a_growing_pause(opening):
    plan = begun(opening({"a": {"retry": RETRY}}))

    assert plan.step(NodeFailed("a", 1, "busy", retryable=True), 1000) == [NodeRetrying("a", 1, Failure("failed", "busy"), 1100)]
    assert (plan.states["a"], plan.next_deadline_ms) == (State.WAITING, 1100)
    assert plan.step(Tick(), 1099) == []
    assert plan.step(Tick(), 1100) == [StartNode("a", 2, {}, 30_000, "agent:a")]
    assert plan.step(NodeFailed("a", 2, "busy", retryable=True), 1200) == [NodeRetrying("a", 2, Failure("failed", "busy"), 1400)]
    plan.step(Tick(), 5000)
    assert plan.step(NodeFailed("a", 3, "busy", retryable=True), 5001)[0] == NodeDone("a", 3, State.ERROR, {}, Failure("failed", "busy"))


def test_a_failure_that_is_not_retryable_is_final(opening):
    plan = begun(opening({"a": {"retry": RETRY}}))

    assert plan.step(NodeFailed("a", 1, "no"), 0)[0] == NodeDone("a", 1, State.ERROR, {}, Failure("failed", "no"))


def test_a_second_attempt_gets_the_same_inputs_in_lists_of_its_own(opening):
    plan = begun(opening({"a": {}, "b": {"retry": RETRY}}, "a.out -> b.x"))
    first = only(StartNode, plan.step(NodeSucceeded("a", 1, OUT), 0))[0]
    first.inputs["x"].append("spoilt")

    plan.step(NodeFailed("b", 1, "busy", retryable=True), 0)

    assert only(StartNode, plan.step(Tick(), 1000))[0].inputs == {"x": ["x"]}


@pytest.mark.parametrize(
    "late",
    [
        NodeSucceeded("a", 1, OUT),
        NodeFailed("a", 1, "late", retryable=True),
        NodeSpent("a", 1, 10**9),
        NodeWaiting("a", 1),
        NodeResumed("a", 1),
        NodeSucceeded("a", 3, OUT),
        NodeResumed("a", 2),
        Begin(),
    ],
)
def test_what_another_attempt_reports_is_ignored(opening, late):
    plan = begun(opening({"a": {"retry": RETRY}}, policy={"budget_tokens": 10}))
    plan.step(NodeFailed("a", 1, "busy", retryable=True), 0)

    assert plan.step(late, 1) == []
    plan.step(Tick(), 1000)
    assert plan.step(late, 1001) == []
    assert plan.step(NodeSucceeded("a", 2, OUT), 1002)[-1] == RunDone(Status.SUCCEEDED, "", {})
    assert plan.step(late, 1003) == []


def test_an_unknown_node_is_a_mistake_of_the_caller(opening):
    plan = begun(opening("a"))

    with pytest.raises(KeyError):
        plan.step(NodeSucceeded("zz", 1), 0)


def test_states_and_outputs_can_be_watched_but_not_changed(opening):
    plan = begun(opening("a b", "a.out -> b.in"))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    assert dict(plan.outputs) == {"a": OUT}
    with pytest.raises(TypeError):
        plan.states["a"] = State.OK  # type: ignore[index]


def test_an_illegal_transition_is_an_assertion_not_a_state(opening):
    plan = begun(opening("a"))

    with pytest.raises(AssertionError, match="node 'a' cannot go from running to pending"):
        plan._move(plan._by_id["a"], State.PENDING)
    with pytest.raises(AssertionError, match="a run cannot go from running to queued"):
        plan._move_run(Status.QUEUED)


def test_what_a_closed_plan_was_told_goes_with_it_and_waits_for_no_collector(opening):
    held = {id(each) for each in gc.get_objects() if isinstance(each, Step)}
    gc.disable()
    try:
        plan = begun(opening({"a": {}, "b": {"for_each": {"in": "item"}}}, "a.out -> b.item"))
        plan.step(NodeSucceeded("a", 1, {"out": [["p", "q"]]}), 0)
        plan.step(NodeSucceeded("b[0]", 1, OUT), 0)
        plan.close()
        assert (dict(plan.states)["b[1]"], plan.outputs["b[0]"], plan.waits()) == (State.RUNNING, OUT, [])
        del plan
        assert [each for each in gc.get_objects() if isinstance(each, Step) and id(each) not in held] == []
    finally:
        gc.enable()
