"""``wait``: a node starts no earlier, whatever happens to the process meanwhile."""

from __future__ import annotations

import pytest
from tests_openings_helpers import DAY, OUT, begun, ended, started

from runloop.openings import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    RunDone,
    StartNode,
    State,
    Status,
    Tick,
    Waiting,
)

TWO_DAYS = {"wait": {"for": "2d"}}


def test_a_node_waits_from_the_moment_it_became_ready_and_holds_no_place(opening):
    plan = begun(opening({"a": {}, "b": TWO_DAYS, "c": {}}, "a.out -> b.x"), max_parallel=1)

    commands = plan.step(NodeSucceeded("a", 1, OUT), 1000)

    assert commands == [NodeDone("a", 1, State.OK, OUT), StartNode("c", 1, {}, 30_000, "agent:c")]
    assert plan.states["b"] is State.WAITING
    assert plan.waits() == [Waiting("b", "timer", 1000 + 2 * DAY)]
    plan.step(NodeSucceeded("c", 1, OUT), 2000)
    assert plan.next_deadline_ms == 1000 + 2 * DAY
    assert plan.step(Tick(), 999 + 2 * DAY) == []
    assert plan.step(Tick(), 1000 + 2 * DAY) == [NodeReady("b"), StartNode("b", 1, {"x": ["x"]}, 30_000, "agent:b")]
    assert plan.waits() == []


@pytest.mark.parametrize(("now", "state"), [(1_790_000_000_000, State.WAITING), (1_800_000_000_000, State.RUNNING), (2**42, State.RUNNING)])
def test_a_node_waits_until_a_moment_and_not_at_all_if_it_is_past(opening, now, state):
    plan = begun(opening({"a": {"wait": {"until": "2027-01-15T09:00:00+01:00"}}}), now)

    assert plan.states["a"] is state


def test_the_time_of_a_wait_can_be_a_parameter(opening):
    plan = begun(opening({"a": {"wait": {"for": "{{params.pause}}"}}}, params={"pause": "90s"}))

    assert plan.waits() == [Waiting("a", "timer", 90_000)]


def test_the_clock_of_the_run_stands_still_while_nothing_but_waits(opening):
    built = opening({"a": TWO_DAYS, "b": {}}, policy={"timeout_ms": 5000})
    plan = begun(built)
    assert plan.next_deadline_ms == 5000

    plan.step(NodeSucceeded("b", 1, OUT), 3000)

    assert plan.next_deadline_ms == 2 * DAY
    plan.step(Tick(), 2 * DAY)
    assert plan.next_deadline_ms == 2 * DAY + 2000
    assert plan.step(Tick(), 2 * DAY + 2000)[-1].reason == "opening timed out after 5000 ms"


def test_a_wait_ends_when_it_would_have_ended_whatever_time_nobody_drove_the_run(opening):
    built = opening({"a": {}, "b": TWO_DAYS}, "a.out -> b.x")
    history = [(0, Begin()), (0, NodeStarted("a")), (1000, NodeSucceeded("a", 1, OUT))]

    plan, commands = Plan.rebuild(built, b"seed", history, DAY)
    assert (commands, plan.waits()) == ([], [Waiting("b", "timer", 1000 + 2 * DAY)])

    plan, commands = Plan.rebuild(built, b"seed", history, 3 * DAY)
    assert commands == [NodeReady("b"), StartNode("b", 1, {"x": ["x"]}, 30_000, "agent:b")]


def test_a_start_in_the_history_says_that_the_wait_was_over(opening):
    history = [(0, Begin()), (2 * DAY, NodeStarted("a"))]

    plan, commands = Plan.rebuild(opening({"a": TWO_DAYS}), b"seed", history, 2 * DAY)

    assert commands == [StartNode("a", 1, {}, 30_000, "agent:a")]
    assert plan.waits() == []


def test_a_run_that_ends_does_not_wait_any_more(opening):
    built = opening({"a": TWO_DAYS, "b": {}})

    assert ended(begun(built).step(Cancel("enough"), 1)) == {"a": "cancelled", "b": "cancelled"}
    assert ended(begun(built).step(NodeFailed("b", 1, "no"), 1)) == {"a": "skipped", "b": "error"}


def test_waiting_is_before_the_first_attempt_only(opening):
    plan = begun(opening({"a": {**TWO_DAYS, "retry": {"max_attempts": 2, "jitter": 0.0}}}))
    plan.step(Tick(), 2 * DAY)

    plan.step(NodeFailed("a", 1, "busy", retryable=True), 2 * DAY)

    assert started(plan.step(Tick(), 2 * DAY + 100)) == {"a": 2}
    assert plan.step(NodeSucceeded("a", 2, OUT), 3 * DAY)[-1] == RunDone(Status.SUCCEEDED, "", {})


def test_an_attempt_that_waits_for_a_person_is_told_apart(opening):
    plan = begun(opening({"a": {}, "b": TWO_DAYS}))

    plan.step(NodeWaiting("a", 1), 0)

    assert plan.waits() == [Waiting("a", "person", None), Waiting("b", "timer", 2 * DAY)]


def test_a_record_that_the_node_was_ready_says_that_its_wait_was_over_and_keeps_the_order_of_the_places(opening):
    built = opening({"a": TWO_DAYS, "b": {}, "c": {}}, "b.out -> c.x", policy={"max_parallel": 1})
    history = [
        (0, Begin()),
        (0, NodeStarted("b")),
        (2 * DAY, NodeReady("a")),
        (2 * DAY, NodeReady("a")),
        (3 * DAY, NodeSucceeded("b", 1, OUT)),
    ]

    _, commands = Plan.rebuild(built, b"seed", history, 3 * DAY)

    assert started(commands) == {"a": 1}
