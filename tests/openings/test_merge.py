"""``merge``: when a node with several in-edges runs, and with what."""

from __future__ import annotations

import itertools

import pytest
from tests_openings_helpers import OUT, begun, ended, only, started

from runloop.openings import Plan
from runloop.openings.states import (
    Begin,
    CloseGate,
    Failure,
    GateAnswered,
    NodeDone,
    NodeFailed,
    NodeReady,
    NodeStarted,
    NodeSucceeded,
    StartNode,
    State,
    Status,
    StopNode,
    Tick,
)

THREE = "a.out -> z.x\nb.out -> z.x\nc.out -> z.x"
FORGIVEN = {"on_failure": "skip"}


def merged(opening, merge, edges=THREE, nodes=None, **options):
    return begun(opening({"a": FORGIVEN, "b": FORGIVEN, "c": FORGIVEN, "z": {"merge": merge}, **(nodes or {})}, edges, **options))


def report(plan, node, delivers, attempt=1):
    """A source ends: well with a value, or not."""
    event = NodeSucceeded(node, attempt, {"out": [node]}) if delivers else NodeFailed(node, attempt, "no")
    return plan.step(event, 0)


RUNS = {
    "all": lambda delivered: delivered >= 1,
    "any": lambda delivered: delivered >= 1,
    "first_ok": lambda delivered: delivered >= 1,
    "at_least 2": lambda delivered: delivered >= 2,
    "at_least 3": lambda delivered: delivered >= 3,
}
EARLY = {"all": 4, "any": 1, "first_ok": 1, "at_least 2": 2, "at_least 3": 3}


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
@pytest.mark.parametrize("delivers", list(itertools.product([True, False], repeat=3)))
@pytest.mark.parametrize("rule", list(RUNS))
def test_when_a_node_runs_and_with_what(opening, rule, delivers, order):
    plan = merged(opening, {"at_least": int(rule[-1])} if rule.startswith("at_least") else rule)
    brought = dict(zip("abc", delivers, strict=True))
    got: list[str] = []
    expected_at = None
    for node in order:
        if plan.states[node] is not State.RUNNING:
            continue
        commands = report(plan, node, brought[node])
        got += [node] if brought[node] else []
        enough = len(got) >= EARLY[rule] or (plan.states[node] and all(plan.states[n] is not State.RUNNING for n in "abc"))
        if expected_at is None and enough:
            expected_at = list(got)
            runs = RUNS[rule](len(got))
            assert (plan.states["z"] is State.RUNNING) == runs
            if runs:
                assert only(StartNode, commands)[0].inputs == {"x": sorted(got)}
        elif expected_at is None:
            assert plan.states["z"] is State.PENDING

    assert expected_at is not None


def test_why_a_node_was_skipped(opening):
    plan = merged(opening, {"at_least": 2})
    for node in "abc":
        commands = report(plan, node, node == "b")
    assert only(NodeDone, commands)[-1].why == "1 of 2 sources delivered"

    plan = merged(opening, "any")
    for node in "abc":
        commands = report(plan, node, False)
    assert only(NodeDone, commands)[-1].why == "no input was delivered"


def test_what_comes_after_a_node_was_decided_changes_nothing_not_even_its_next_attempt(opening):
    retry = {"retry": {"max_attempts": 2, "backoff_ms": 100, "jitter": 0.0}}
    plan = begun(opening({"a": {}, "b": {}, "z": {"merge": "any", **retry}}, "a.out -> z.x\nb.out -> z.x"))
    plan.step(NodeSucceeded("b", 1, {"out": ["B"]}), 0)
    assert plan.step(NodeSucceeded("a", 1, {"out": ["A"]}), 0) == [NodeDone("a", 1, State.OK, {"out": ["A"]})]

    plan.step(NodeFailed("z", 1, "busy", retryable=True), 0)

    assert only(StartNode, plan.step(Tick(), 100))[0].inputs == {"x": ["B"]}


def test_all_edges_of_the_source_that_decides_bring_their_values_and_a_source_counts_once(opening):
    plan = begun(opening({"a": {}, "b": {}, "z": {"merge": {"at_least": 2}}}, "a.out -> z.x\na.more -> z.y\nb.out -> z.x"))
    plan.step(NodeSucceeded("a", 1, {"out": [1], "more": [2]}), 0)
    assert plan.states["z"] is State.PENDING

    assert only(StartNode, plan.step(NodeSucceeded("b", 1, {"out": [3]}), 0))[0].inputs == {"x": [1, 3], "y": [2]}


def test_a_guard_that_does_not_hold_only_keeps_its_own_edge_from_delivering(opening):
    plan = begun(opening({"a": {}, "b": {}, "z": {"merge": "any"}}, "a.ok == true -> z.x\nb.out -> z.x"))
    plan.step(NodeSucceeded("a", 1, {"ok": [False]}), 0)
    assert plan.states["z"] is State.PENDING

    assert started(plan.step(NodeSucceeded("b", 1, OUT), 0)) == {"z": 1}


def test_a_vote_counts_those_whose_guards_hold(opening):
    plan = begun(opening({"a": {}, "b": {}, "z": {"merge": {"vote": {"of": "x"}}}}, "a.ok == true -> z.x\nb.out -> z.x"))
    plan.step(NodeSucceeded("b", 1, OUT), 0)

    assert started(plan.step(NodeSucceeded("a", 1, {"ok": [False]}), 0)) == {"z": 1}


# ── first_ok ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_that_ends_well_wins_and_the_others_are_stopped(opening):
    plan = merged(opening, "first_ok")
    report(plan, "c", delivers=False)

    commands = report(plan, "b", delivers=True)

    why = "'z' has what it needs"
    assert commands[1:] == [
        NodeReady("z"),
        StopNode("a", 1, why),
        NodeDone("a", 1, State.CANCELLED, {}, None, why),
        StartNode("z", 1, {"x": ["b"]}, 30_000, "agent:z"),
    ]
    assert plan.step(NodeSucceeded("z", 1, OUT), 0)[-1].status is Status.SUCCEEDED


def test_a_source_that_ends_well_and_delivers_nothing_has_not_won(opening):
    plan = merged(opening, "first_ok", "a.ok == true -> z.x\nb.out -> z.x\nc.out -> z.x")

    plan.step(NodeSucceeded("a", 1, {"ok": [False]}), 0)

    assert plan.states["z"] is State.PENDING


def test_what_leads_to_losers_alone_is_cancelled_and_what_something_else_needs_goes_on(opening):
    edges = "p.out -> a.x\nq.out -> b.x\nq.out -> other.x\na.out -> z.x\nb.out -> z.x\nc.out -> z.x"
    plan = merged(opening, "first_ok", edges, {"p": {}, "q": {}, "other": {}})

    commands = report(plan, "c", delivers=True)

    assert ended(commands) == {"c": "ok", "a": "cancelled", "b": "cancelled", "p": "cancelled"}
    assert (plan.states["q"], plan.states["other"]) == (State.RUNNING, State.PENDING)
    plan.step(NodeSucceeded("q", 1, OUT), 0)
    assert plan.states["other"] is State.RUNNING


def test_a_loser_that_feeds_another_node_is_not_one(opening):
    plan = merged(opening, "first_ok", THREE + "\na.out -> other.x", {"other": {}})

    assert ended(report(plan, "b", delivers=True)) == {"b": "ok", "c": "cancelled"}


def test_the_winner_s_own_way_is_not_touched(opening):
    plan = merged(opening, "first_ok", "a.out -> b.x\n" + THREE)

    assert ended(report(plan, "a", delivers=True)) == {"a": "ok", "b": "cancelled", "c": "cancelled"}


def test_losers_at_gates_in_waits_and_with_items_are_ended_too(opening):
    nodes = {
        "a": {"gate": {"ask": "Good?"}},
        "b": {"wait": {"for": "1d"}},
        "c": {"for_each": {"in": "params.names", "width": 1}},
        "d": {},
        "z": {"merge": "first_ok"},
    }
    plan = begun(opening(nodes, THREE + "\nd.out -> z.x", params={"names": ["p", "q"]}))
    plan.step(NodeSucceeded("a", 1, OUT), 0)

    commands = report(plan, "d", delivers=True)

    cancelled = {"a": "cancelled", "b": "cancelled", "c[0]": "cancelled", "c[1]": "skipped", "c": "cancelled"}
    assert ended(commands) == {"d": "ok", **cancelled}
    assert CloseGate("a", 1, "'z' has what it needs") in commands
    assert plan.waits() == []
    assert plan.step(NodeSucceeded("z", 1, OUT), 0)[-1].status is Status.SUCCEEDED


def test_a_race_is_run_again_by_a_revision(opening):
    gate = {"gate": {"ask": "Good?", "revise_to": "start"}}
    built = opening(
        {"start": {}, "a": {}, "b": {}, "z": {"merge": "first_ok", **gate}},
        "start.out -> a.x\nstart.out -> b.x\na.out -> z.x\nb.out -> z.x",
    )
    plan = begun(built)
    for node in ("start", "a", "z"):
        plan.step(NodeSucceeded(node, 1, OUT), 0)
    plan.step(GateAnswered("z", 1, "revise", "c"), 0)

    assert started(plan.step(NodeSucceeded("start", 2, OUT), 0)) == {"a": 2, "b": 2}
    assert ended(plan.step(NodeSucceeded("b", 2, OUT), 0)) == {"b": "ok", "a": "cancelled"}


def test_a_race_that_was_decided_is_decided_the_same_after_a_restart(opening):
    built = opening({"a": {}, "b": {}, "z": {"merge": "first_ok"}}, "a.out -> z.x\nb.out -> z.x")
    history = [(0, Begin()), (0, NodeStarted("a")), (0, NodeStarted("b")), (5, NodeSucceeded("b", 1, OUT)), (5, NodeSucceeded("a", 1, OUT))]

    plan, commands = Plan.rebuild(built, b"seed", history, 9)

    assert plan.states["a"] is State.CANCELLED
    assert started(commands) == {"z": 1}


# ── votes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_gets_the_result_of_the_vote_with_the_votes(opening):
    plan = merged(opening, {"vote": {"of": "x/choice"}})
    plan.step(NodeSucceeded("a", 1, {"out": [{"choice": "left"}]}), 0)
    plan.step(NodeSucceeded("c", 1, {"out": [{"choice": "left"}]}), 0)
    assert plan.states["z"] is State.PENDING

    commands = plan.step(NodeSucceeded("b", 1, {"out": [{"choice": "right"}]}), 0)

    tally = [{"value": "left", "votes": 2}, {"value": "right", "votes": 1}]
    assert only(StartNode, commands)[0].inputs == {
        "x": [{"choice": "left"}, {"choice": "right"}, {"choice": "left"}],
        "vote": [{"winner": "left", "votes": 2, "cast": 3, "abstained": 0, "tally": tally}],
    }


def test_a_vote_without_a_winner_fails_the_node_before_it_starts(opening):
    plan = merged(opening, {"vote": {"of": "x"}})
    report(plan, "a", delivers=True)
    report(plan, "b", delivers=True)

    commands = report(plan, "c", delivers=False)

    failure = Failure("vote.undecided", "2 values have 1 of 2 votes each")
    assert commands[-2:] == [NodeDone("z", 0, State.ERROR, {}, failure), plan.final]
    assert plan.final.reason == "node 'z' failed: 2 values have 1 of 2 votes each"


def test_nobody_at_the_vote_skips_the_node(opening):
    plan = merged(opening, {"vote": {"of": "x"}})
    for node in "abc":
        report(plan, node, delivers=False)

    assert plan.states["z"] is State.SKIPPED


def test_the_items_of_a_for_each_can_vote(opening):
    built = opening(
        {"swarm": {"for_each": {"in": "params.who"}}, "z": {"merge": {"vote": {"of": "x"}}}},
        "swarm.out -> z.x",
        params={"who": [1, 2, 3]},
    )
    plan = begun(built)
    for index, choice in enumerate(["yes", "no", "yes"]):
        commands = plan.step(NodeSucceeded(f"swarm[{index}]", 1, {"out": [choice]}), 0)

    assert only(StartNode, commands)[0].inputs["vote"][0]["winner"] == "yes"


def test_the_places_of_losers_are_free_at_once(opening):
    nodes = {"a": {}, "b": {}, "z": {"merge": "first_ok"}, "other": {}}
    plan = begun(opening(nodes, "a.out -> z.x\nb.out -> z.x", policy={"max_parallel": 2}))

    assert started(plan.step(NodeSucceeded("a", 1, OUT), 0)) == {"other": 1, "z": 1}
