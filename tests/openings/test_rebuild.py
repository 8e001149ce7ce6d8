"""A plan rebuilt from a run's records; docs/openings.md says which record is which fact."""

from __future__ import annotations

import pytest
from tests_openings_helpers import DAY, OUT

from runloop.openings import Plan
from runloop.openings.machine import UnknownNode
from runloop.openings.states import (
    Begin,
    Cancel,
    ClockSet,
    Failure,
    Forked,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeSpent,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    OpenGate,
    RunDone,
    StartNode,
    State,
    Status,
    StopNode,
    TakenUp,
    Tick,
)

RETRY = {"max_attempts": 2, "backoff_ms": 100, "jitter": 0.0}


def test_an_attempt_that_was_under_way_is_started_again_under_its_number(opening):
    history = [(10, Begin()), (10, NodeStarted("a")), (20, NodeSucceeded("a", 1, OUT)), (20, NodeStarted("b"))]

    plan, commands = Plan.rebuild(opening("a b", "a.out -> b.x"), b"", history, 10**6)

    assert commands == [StartNode("b", 1, {"x": ["x"]}, 30_000, "agent:b")]
    assert plan.next_deadline_ms == 10**6 + 30_000
    assert plan.step(NodeSucceeded("b", 1, OUT), 10**6 + 5)[-1] == RunDone(Status.SUCCEEDED, "", {})


def test_a_node_that_was_ready_and_not_started_starts(opening):
    _, commands = Plan.rebuild(opening("a b"), b"", [(0, Begin()), (0, NodeStarted("a"))], 5, max_parallel=2)

    assert commands == [StartNode("a", 1, {}, 30_000, "agent:a"), StartNode("b", 1, {}, 30_000, "agent:b")]


def test_the_time_in_between_counts_against_no_deadline(opening):
    built = opening({"a": {"retry": RETRY}, "b": {}}, policy={"timeout_ms": 500})
    history = [(0, Begin()), (0, NodeStarted("a")), (0, NodeStarted("b")), (200, NodeFailed("a", 1, "busy", retryable=True))]

    plan, commands = Plan.rebuild(built, b"", history, 10_000)

    assert commands == [StartNode("b", 1, {}, 500, "agent:b"), StartNode("a", 2, {}, 500, "agent:a")]  # its pause was over at 300
    assert plan.next_deadline_ms == 10_300
    assert plan.step(Tick(), 10_300)[-1].reason == "opening timed out after 500 ms"


def test_neither_does_the_time_before_an_earlier_process_took_the_run_up(opening):
    built = opening({"a": {}}, policy={"timeout_ms": 500})
    history = [(0, Begin()), (0, NodeStarted("a")), (90_100, TakenUp(since_ms=100)), (90_200, NodeSpent("a", 1, 1))]

    plan, _ = Plan.rebuild(built, b"", history, 200_000)

    assert plan.next_deadline_ms == 200_300


@pytest.mark.parametrize("by_ms", [7_200_000, -7_200_000])
def test_nor_does_a_clock_that_was_set_and_it_gives_no_time_either(opening, by_ms):
    built = opening({"a": {}}, policy={"timeout_ms": 500})
    began = 10_000_000
    set_at = began + 100 + by_ms
    history = [(began, Begin()), (began, NodeStarted("a")), (set_at, ClockSet(by_ms)), (set_at + 100, NodeSpent("a", 1, 1))]

    plan, _ = Plan.rebuild(built, b"", history, set_at + 5000)

    assert plan.next_deadline_ms == set_at + 5000 + 300


def test_a_second_attempt_that_was_started_is_started_again_as_the_second(opening):
    history = [(0, Begin()), (0, NodeStarted("a")), (1, NodeFailed("a", 1, "busy", retryable=True)), (101, NodeStarted("a"))]

    plan, commands = Plan.rebuild(opening({"a": {"retry": RETRY}}), b"", history, 200)

    assert commands == [StartNode("a", 2, {}, 30_000, "agent:a")]
    assert plan.step(NodeFailed("a", 2, "busy", retryable=True), 201)[0] == NodeDone("a", 2, State.ERROR, {}, Failure("failed", "busy"))


def test_a_fact_that_a_node_was_started_is_ignored_where_it_cannot_be(opening):
    history = [(0, NodeStarted("a")), (0, Begin()), (0, NodeStarted("a")), (0, NodeStarted("a")), (0, NodeStarted("b"))]

    plan, commands = Plan.rebuild(opening("a b", "a.out -> b.in"), b"", history, 0)

    assert commands == [StartNode("a", 1, {}, 30_000, "agent:a")]
    assert dict(plan.states) == {"a": "running", "b": "pending"}


def test_a_time_out_that_was_recorded_folds_as_the_failure_it_was(opening):
    history = [(0, Begin()), (0, NodeStarted("a")), (50, NodeFailed("a", 1, "timeout after 50 ms", "timeout", retryable=True))]

    plan, commands = Plan.rebuild(opening({"a": {"timeout_ms": 50}}), b"", history, 60)

    assert commands == [RunDone(Status.FAILED, "node 'a' timed out after 50 ms", {}, "timeout")]
    assert plan.done


def test_an_attempt_that_waited_for_a_person_is_replayed_with_a_time_out_of_its_own(opening):
    history = [(0, Begin()), (0, NodeStarted("a")), (30, NodeWaiting("a", 1))]

    plan, commands = Plan.rebuild(opening({"a": {"timeout_ms": 50}}, policy={"timeout_ms": 100}), b"", history, 10**9)

    assert commands == [StartNode("a", 1, {}, 50, "agent:a")]
    assert (plan.states["a"], plan.next_deadline_ms) == (State.RUNNING, 10**9 + 50)
    plan.step(NodeWaiting("a", 1), 10**9 + 1)
    assert plan.next_deadline_ms is None


def test_a_run_that_was_submitted_and_never_began_waits_for_its_beginning(opening):
    plan, commands = Plan.rebuild(opening("a"), b"", [], 5)

    assert commands == []
    assert plan.step(Begin(), 6) == [NodeReady("a"), StartNode("a", 1, {}, 30_000, "agent:a")]


def test_a_run_that_ended_gives_its_end_again_and_nothing_after_it(opening):
    history = [(0, Begin()), (0, NodeStarted("a")), (5, Cancel("enough")), (6, NodeSucceeded("a", 1, OUT))]

    plan, commands = Plan.rebuild(opening("a"), b"", history, 10)

    assert commands == [RunDone(Status.CANCELLED, "enough", {}, "cancelled")]
    assert plan.step(Tick(), 11) == []


def test_folding_a_wide_run_gives_back_the_order_of_the_places(opening):
    built = opening("a b c", policy={"max_parallel": 1})
    history = [(0, Begin()), (0, NodeStarted("a")), (1, NodeSucceeded("a", 1, OUT))]

    plan, commands = Plan.rebuild(built, b"", history, 2)

    assert commands == [StartNode("b", 1, {}, 30_000, "agent:b")]
    assert StopNode("b", 1, "x") in plan.step(Cancel("x"), 3)


def test_places_that_folding_used_up_are_not_used_twice(opening):
    history = [(0, Begin()), (0, NodeStarted("b"))]

    _, commands = Plan.rebuild(opening("a b"), b"", history, 2, max_parallel=2)

    assert commands == [StartNode("b", 1, {}, 30_000, "agent:b"), StartNode("a", 1, {}, 30_000, "agent:a")]


def test_a_node_that_comes_back_to_the_queue_after_folding_stands_at_its_end(opening):
    built = opening({"a": {"gate": {"ask": "?", "revise_to": "a"}}, "b": {}, "c": {}}, policy={"max_parallel": 1})
    history = [(0, Begin()), (0, NodeStarted("a")), (0, NodeSucceeded("a", 1, OUT)), (0, NodeStarted("b"))]

    plan, _ = Plan.rebuild(built, b"", history, 0)
    plan.step(GateAnswered("a", 1, "revise"), 0)

    assert plan.step(NodeSucceeded("b", 1, OUT), 0)[-1] == StartNode("c", 1, {}, 30_000, "agent:c")


@pytest.mark.parametrize("by_ms", [DAY, -DAY])
def test_a_clock_that_is_set_changes_nothing_of_what_is_left_of_a_time_out(opening, by_ms):
    plan = Plan(opening("a"), b"")
    now_ms = 10 * DAY
    plan.step(Begin(), now_ms)

    plan.set_clock(by_ms, by_ms)

    assert plan.next_deadline_ms == now_ms + by_ms + 30_000
    assert plan.step(Tick(), now_ms + by_ms + 29_999) == []
    assert StopNode("a", 1, "timeout after 30000 ms") in plan.step(Tick(), now_ms + by_ms + 30_000)


@pytest.mark.parametrize("by_ms", [1_800_000, -1_800_000])
@pytest.mark.parametrize(("wait", "moves"), [({"for": "1h"}, True), ({"until": "1970-01-11T01:00:00Z"}, False)])
def test_a_wait_for_a_time_has_left_what_it_had_where_the_clock_is_set_and_one_until_a_date_ends_then(opening, wait, moves, by_ms):
    built, began = opening({"a": {"wait": wait}, "b": {"gate": {"ask": "?", "timeout": "2h", "on_timeout": "approve"}}}), 10 * DAY
    plan, history = Plan(built, b""), [(began, Begin()), (began, NodeStarted("b")), (began, NodeSucceeded("b", 1, OUT))]
    for at_ms, event in history:
        plan.step(event, at_ms)
    plan.set_clock(by_ms, by_ms)
    rebuilt, _ = Plan.rebuild(built, b"", [*history, (began + by_ms, ClockSet(by_ms, by_ms))], began + by_ms)

    for each in (plan, rebuilt):
        dates = {waiting.node: waiting.until_ms for waiting in each.waits()}
        assert dates == {"a": began + 3_600_000 + moves * by_ms, "b": began + 7_200_000}


def test_a_wait_goes_on_while_the_machine_sleeps(opening):
    plan = Plan(opening({"a": {"wait": {"for": "1h"}}}), b"")
    plan.step(Begin(), DAY)
    plan.set_clock(1_800_000, 0)
    assert plan.next_deadline_ms == DAY + 3_600_000


def test_where_a_fork_begins_the_clock_and_the_gates_that_are_open_begin_anew(opening):
    gate = {"ask": "?", "timeout": "5s", "on_timeout": "approve"}
    built = opening({"a": {"gate": gate}}, policy={"timeout_ms": 500})
    asked = [(0, Begin()), (0, NodeStarted("a")), (400, NodeSucceeded("a", 1, OUT))]

    plan, (opened,) = Plan.rebuild(built, b"", [*asked, (DAY, Forked())], DAY)

    assert (opened.round, opened.deadline_ms, plan.next_deadline_ms) == (1, DAY + 5000, DAY + 5000)
    plan.step(GateAnswered("a", 1, "approve"), DAY + 4000)
    assert plan.final == RunDone(Status.SUCCEEDED, "", {})

    plan, (started,) = Plan.rebuild(built, b"", [*asked[:2], (DAY, Forked())], DAY)
    assert (started.node, plan.next_deadline_ms) == ("a", DAY + 500)


def test_a_history_of_another_opening_is_refused_by_the_name_that_it_does_not_have(opening):
    with pytest.raises(UnknownNode) as caught:
        Plan.rebuild(opening("a"), b"", [(0, Begin()), (0, NodeStarted("a[1]"))], 0)
    assert caught.value.args == ("a[1]",)


def test_a_run_that_is_taken_up_only_to_be_ended_begins_nothing_and_no_time_comes_whatever_it_is(opening):
    gate = {"ask": "?", "timeout": "5s", "on_timeout": "approve"}
    built = opening({"a": {"gate": gate}, "b": {}, "c": {}}, policy={"max_parallel": 1})
    history = [(0, Begin()), (0, NodeStarted("a")), (1, NodeSucceeded("a", 1, OUT)), (10**9, TakenUp(2))]

    plan, commands = Plan.rebuild(built, b"", history, None)

    assert [type(command) for command in commands] == [OpenGate]
    assert plan.step(Cancel("enough"), 2 * 10**9)[-1] == RunDone(Status.CANCELLED, "enough", {}, "cancelled")
