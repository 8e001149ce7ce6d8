"""The plan, rule by rule: what it commands after what happened. Spec 9.1 and the cases of 26.5."""

from __future__ import annotations

from typing import Any

import pytest

from runloop.openings import Opening, Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    Command,
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

OUT = {"out": ["x"]}
RETRY = {"max_attempts": 3, "backoff_ms": 100, "jitter": 0.0}


def begun(opening: Opening, **options: Any) -> Plan:
    plan = Plan(opening, b"seed", **options)
    plan.step(Begin(), 0)
    return plan


def finish(plan: Plan, outputs: dict[str, Any] | None = None, now: int = 0) -> RunDone:
    """Let every running node succeed, with ``outputs`` of its own or ``out: x``, until the run is done."""
    while not plan.done:
        running = [node for node, state in plan.states.items() if state is State.RUNNING]
        assert running, "the plan is stuck"
        for node in running:
            plan.step(NodeSucceeded(node, 1, (outputs or {}).get(node, OUT)), now)
    assert plan.final is not None
    return plan.final


def only(kind: type[Command], commands: list[Command]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]


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


# ── guards and skipping ──────────────────────────────────────────────────────────────────────────────────────────────────

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


# ── success and artifacts ────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_that_takes_too_long_is_stopped_and_repeated(opening):
    plan = begun(opening({"a": {"timeout_ms": 50, "retry": RETRY}}))

    assert plan.next_deadline_ms == 50
    assert plan.step(Tick(), 50) == [
        StopNode("a", 1, "timeout after 50 ms"),
        NodeRetrying("a", 1, Failure("timeout", "timeout after 50 ms"), 150),
    ]


def test_a_last_attempt_that_takes_too_long_fails_the_node(opening):
    plan = begun(opening({"a": {"timeout_ms": 50}}))

    assert plan.step(Tick(), 70) == [
        StopNode("a", 1, "timeout after 50 ms"),
        NodeDone("a", 1, State.ERROR, {}, Failure("timeout", "timeout after 50 ms")),
        RunDone(Status.FAILED, "node 'a' timed out after 50 ms", {}, "timeout"),
    ]
    assert plan.next_deadline_ms is None


def test_a_result_that_comes_with_the_deadline_counts(opening):
    plan = begun(opening({"a": {"timeout_ms": 50}}))

    assert plan.step(NodeSucceeded("a", 1, OUT), 50)[-1].status is Status.SUCCEEDED


def test_any_event_brings_the_time_so_that_another_node_may_expire(opening):
    plan = begun(opening({"a": {"timeout_ms": 50, "on_failure": "skip"}, "b": {}}))

    commands = plan.step(NodeSucceeded("b", 1, OUT), 60)

    assert [command.node for command in only(NodeDone, commands)] == ["b", "a"]


def test_the_node_time_out_falls_back_to_the_policy_and_then_to_thirty_seconds(opening):
    def timeout_of(**top: Any) -> int:
        return int(only(StartNode, Plan(opening({"a": {}}, **top), b"").step(Begin(), 0))[0].timeout_ms)

    assert (timeout_of(), timeout_of(policy={"timeout_ms": 700})) == (30_000, 700)


def test_the_opening_has_a_wall_clock_of_its_own(opening):
    plan = begun(opening("a b c", "a.out -> b.in\nb.out -> c.in", policy={"timeout_ms": 100}))
    plan.step(NodeSucceeded("a", 1, OUT), 60)

    assert plan.next_deadline_ms == 100
    assert plan.step(Tick(), 100) == [
        StopNode("b", 1, "opening timed out after 100 ms"),
        NodeDone("b", 1, State.CANCELLED, {}, None, "opening timed out after 100 ms"),
        NodeDone("c", 0, State.SKIPPED, {}, None, "opening timed out after 100 ms"),
        RunDone(Status.FAILED, "opening timed out after 100 ms", {}, "timeout"),
    ]


def test_the_opening_ends_even_between_two_attempts(opening):
    plan = begun(opening({"a": {"retry": RETRY}}, policy={"timeout_ms": 100}))
    plan.step(NodeFailed("a", 1, "busy", retryable=True), 50)

    assert plan.step(Tick(), 120)[0] == NodeDone("a", 1, State.CANCELLED, {}, None, "opening timed out after 100 ms")


def test_time_never_goes_back(opening):
    plan = begun(opening({"a": {"retry": RETRY}}))
    plan.step(Tick(), 1000)

    assert plan.step(NodeFailed("a", 1, "busy", retryable=True), 5)[0].at_ms == 1100


def test_waiting_for_a_person_stops_the_clocks(opening):
    plan = begun(opening({"a": {"timeout_ms": 50}}, policy={"timeout_ms": 100}))

    assert plan.step(NodeWaiting("a", 1), 30) == []
    assert (plan.states["a"], plan.next_deadline_ms) == (State.WAITING, None)
    assert plan.step(Tick(), 10**9) == []
    assert plan.step(NodeWaiting("a", 1), 10**9) == []
    assert plan.step(NodeResumed("a", 1), 10**9) == []
    assert (plan.states["a"], plan.next_deadline_ms) == (State.RUNNING, 10**9 + 20)
    assert plan.step(Tick(), 10**9 + 20)[0] == StopNode("a", 1, "timeout after 50 ms")


def test_the_opening_clock_runs_while_anything_else_runs(opening):
    plan = begun(opening("a b", policy={"timeout_ms": 100}))
    plan.step(NodeWaiting("a", 1), 10)

    assert plan.next_deadline_ms == 100
    plan.step(NodeSucceeded("b", 1, OUT), 40)
    assert plan.next_deadline_ms is None
    plan.step(NodeResumed("a", 1), 1000)
    assert plan.next_deadline_ms == 1060


@pytest.mark.parametrize("report", [NodeSucceeded("a", 1, OUT), NodeFailed("a", 1, "no")])
def test_an_attempt_may_end_while_it_waits(opening, report):
    plan = begun(opening("a"))
    plan.step(NodeWaiting("a", 1), 0)

    assert plan.step(report, 1)[-1] == plan.final


def test_an_attempt_that_waits_is_stopped_when_the_run_is_cancelled(opening):
    plan = begun(opening("a"))
    plan.step(NodeWaiting("a", 1), 0)

    assert plan.step(Cancel("enough"), 1) == [
        StopNode("a", 1, "enough"),
        NodeDone("a", 1, State.CANCELLED, {}, None, "enough"),
        RunDone(Status.CANCELLED, "enough", {}, "cancelled"),
    ]


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("policy", "argument", "expected"), [(None, None, 5), (2, None, 2), (None, 3, 3), (2, 3, 2), (4, 1, 1)])
def test_no_more_nodes_run_side_by_side_than_both_limits_allow(opening, policy, argument, expected):
    plan = begun(opening("a b c d e", policy={"max_parallel": policy} if policy else {}), max_parallel=argument)

    assert list(plan.states.values()).count(State.RUNNING) == expected
    assert list(plan.states.values()).count(State.READY) == 5 - expected
    commands = plan.step(NodeSucceeded("a", 1, OUT), 0)
    assert len(only(StartNode, commands)) == (1 if expected < 5 else 0)


def test_a_node_that_waits_for_a_person_keeps_its_place_and_one_that_pauses_gives_it_up(opening):
    plan = begun(opening({"a": {"retry": RETRY}, "b": {}}), max_parallel=1)

    assert plan.step(NodeWaiting("a", 1), 0) == []
    assert only(StartNode, plan.step(NodeFailed("a", 1, "busy", retryable=True), 0)) == [StartNode("b", 1, {}, 30_000, "agent:b")]
    assert plan.step(Tick(), 5000) == []
    assert only(StartNode, plan.step(NodeSucceeded("b", 1, OUT), 5001)) == [StartNode("a", 2, {}, 30_000, "agent:a")]


def test_a_run_that_ends_starts_nothing_that_was_ready(opening):
    plan = begun(opening("a b"), max_parallel=1)

    commands = plan.step(NodeFailed("a", 1, "no"), 0)

    assert only(StartNode, commands) == []
    assert dict(plan.states) == {"a": "error", "b": "skipped"}


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_left_is_the_less_of_node_and_opening(opening):
    plan = begun(opening({"a": {"budget_tokens": 60}, "b": {}}, policy={"budget_tokens": 100, "budget_usd": 0.5}))

    assert (plan.remaining_tokens("a"), plan.remaining_tokens("b")) == (60, 100)
    plan.step(NodeSpent("b", 1, 70, 200_000), 0)
    assert (plan.remaining_tokens("a"), plan.remaining_tokens("b")) == (30, 30)
    assert (plan.remaining_usd_micros("a"), plan.spent) == (300_000, (70, 200_000))


def test_without_budgets_there_is_no_limit(opening):
    plan = begun(opening("a"))

    assert (plan.remaining_tokens("a"), plan.remaining_usd_micros("a")) == (None, None)


def test_the_total_of_an_attempt_counts_once(opening):
    plan = begun(opening("a", policy={"budget_tokens": 100}))
    plan.step(NodeSpent("a", 1, 30, 5), 0)

    assert plan.step(NodeSucceeded("a", 1, OUT, tokens=100, usd_micros=7), 0)[-1] == RunDone(Status.SUCCEEDED, "", {}, "", 100, 7)


def test_failed_attempts_are_paid_for_too(opening):
    plan = begun(opening({"a": {"retry": RETRY, "budget_tokens": 10}}))
    plan.step(NodeFailed("a", 1, "busy", retryable=True, tokens=6), 0)
    plan.step(Tick(), 1000)

    assert plan.remaining_tokens("a") == 4
    assert plan.step(NodeSucceeded("a", 2, OUT, tokens=5), 1001)[0] == NodeDone(
        "a", 2, State.ERROR, {}, Failure("budget", "the node used 11 of 10 tokens")
    )


def test_a_node_that_overdraws_while_it_runs_is_stopped_and_not_repeated(opening):
    plan = begun(opening({"a": {"retry": RETRY, "budget_tokens": 10, "on_failure": "skip"}, "b": {}}))

    assert plan.step(NodeSpent("a", 1, 10), 0) == []
    assert plan.step(NodeSpent("a", 1, 1), 0) == [
        StopNode("a", 1, "the node used 11 of 10 tokens"),
        NodeDone("a", 1, State.ERROR, {}, Failure("budget", "the node used 11 of 10 tokens")),
    ]
    assert plan.remaining_tokens("a") == 0


def test_an_overdrawn_opening_ends_the_run_whatever_the_node_forgives(opening):
    plan = begun(opening({"a": {"on_failure": "skip"}, "b": {}}, policy={"budget_usd": 0.01}))

    assert plan.step(NodeFailed("a", 1, "x", usd_micros=10_001), 0) == [
        NodeDone("a", 1, State.ERROR, {}, Failure("budget", "the opening used $0.010001 of $0.010000")),
        StopNode("b", 1, "node 'a' failed: the opening used $0.010001 of $0.010000"),
        NodeDone("b", 1, State.CANCELLED, {}, None, "node 'a' failed: the opening used $0.010001 of $0.010000"),
        RunDone(Status.FAILED, "node 'a' failed: the opening used $0.010001 of $0.010000", {}, "budget", 0, 10_001),
    ]


# ── cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cancelling_stops_what_runs_and_ends_everything(opening):
    plan = begun(opening("a b", "a.out -> b.in"))

    assert plan.step(Cancel("Ctrl-C"), 1) == [
        StopNode("a", 1, "Ctrl-C"),
        NodeDone("a", 1, State.CANCELLED, {}, None, "Ctrl-C"),
        NodeDone("b", 0, State.CANCELLED, {}, None, "Ctrl-C"),
        RunDone(Status.CANCELLED, "Ctrl-C", {}, "cancelled"),
    ]
    assert plan.step(Cancel("again"), 2) == []


def test_a_cancellation_gives_the_run_its_code(opening):
    plan = Plan(opening("a"), b"")
    plan.step(Begin(), 0)
    assert plan.step(Cancel("nobody", "approval.nobody"), 1)[-1] == RunDone(Status.CANCELLED, "nobody", {}, "approval.nobody")


def test_a_run_can_be_cancelled_before_it_begins(opening):
    plan = Plan(opening("a"), b"")

    assert plan.step(Tick(), 0) == []
    assert [type(command) for command in plan.step(Cancel(), 0)] == [NodeDone, RunDone]
    assert plan.step(Begin(), 1) == []


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


def test_a_node_that_overdrew_its_budget_gives_its_place_back(opening):
    plan = begun(opening({"a": {"budget_tokens": 1, "on_failure": "skip"}, "b": {}}, policy={"max_parallel": 1}))

    assert only(StartNode, plan.step(NodeSpent("a", 1, tokens=2), 0))[0].node == "b"


def test_a_time_out_that_ends_a_node_decides_what_depends_on_it_at_once(opening):
    plan = begun(opening({"a": {"timeout_ms": 50, "on_failure": "skip"}, "b": {}, "c": {}}, "a.out -> b.x"))

    assert [(command.node, command.status) for command in only(NodeDone, plan.step(Tick(), 50))] == [("a", "error"), ("b", "skipped")]
