"""What ends a plan or holds it up: time-outs, places, budgets, a cancellation. Spec 9.1 and the cases of 26.5."""

from __future__ import annotations

from typing import Any

import pytest
from tests_openings_helpers import OUT, RETRY, begun, only

from runloop.openings import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    Failure,
    NodeDone,
    NodeFailed,
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


def test_what_is_booked_is_counted_and_nothing_follows_from_it(opening):
    plan = begun(opening({"a": {"budget_tokens": 10}}))

    plan.book(NodeSpent("a", 1, 30, 5))
    plan.book(NodeSpent("a", 2, 1))  # not the attempt that is under way
    assert plan.spent == (30, 5)
    assert plan.step(Cancel("enough"), 0)[-1] == RunDone(Status.CANCELLED, "enough", {}, "cancelled", 30, 5)


def test_an_overdrawn_opening_ends_the_run_whatever_the_node_forgives(opening):
    plan = begun(opening({"a": {"on_failure": "skip"}, "b": {}}, policy={"budget_usd": 0.01}))

    assert plan.step(NodeFailed("a", 1, "x", usd_micros=10_001), 0) == [
        NodeDone("a", 1, State.ERROR, {}, Failure("budget", "the opening used $0.010001 of $0.010000")),
        StopNode("b", 1, "node 'a' failed: the opening used $0.010001 of $0.010000"),
        NodeDone("b", 1, State.CANCELLED, {}, None, "node 'a' failed: the opening used $0.010001 of $0.010000"),
        RunDone(Status.FAILED, "node 'a' failed: the opening used $0.010001 of $0.010000", {}, "budget", 0, 10_001),
    ]


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


def test_a_node_that_overdrew_its_budget_gives_its_place_back(opening):
    plan = begun(opening({"a": {"budget_tokens": 1, "on_failure": "skip"}, "b": {}}, policy={"max_parallel": 1}))

    assert only(StartNode, plan.step(NodeSpent("a", 1, tokens=2), 0))[0].node == "b"


def test_a_time_out_that_ends_a_node_decides_what_depends_on_it_at_once(opening):
    plan = begun(opening({"a": {"timeout_ms": 50, "on_failure": "skip"}, "b": {}, "c": {}}, "a.out -> b.x"))

    assert [(command.node, command.status) for command in only(NodeDone, plan.step(Tick(), 50))] == [("a", "error"), ("b", "skipped")]
