"""``for_each``: one item each, a few at a time, collected in the order of the items."""

from __future__ import annotations

import pytest
from tests_openings_helpers import OUT, begun, ended, only, started

from runloop.openings import Plan
from runloop.openings.states import (
    Begin,
    Cancel,
    Failure,
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
    Tick,
)

EACH = {"for_each": {"in": "item"}}


def fanned(opening, clause=None, items=("p", "q", "r"), node=None, edges="", nodes=None, **options):
    """split -> work, a for_each node over what split produced; the split has ended."""
    work = {"for_each": {"in": "item", **(clause or {})}, **(node or {})}
    built = opening({"split": {}, "work": work, **(nodes or {})}, f"split.out -> work.item\nsplit.style -> work.style\n{edges}", **options)
    plan = begun(built)
    commands = plan.step(NodeSucceeded("split", 1, {"out": [list(items)], "style": ["dry"]}), 0)
    return plan, commands


def test_each_item_is_started_with_its_value_and_what_else_the_node_got(opening):
    plan, commands = fanned(opening)

    assert commands[1:] == [
        NodeReady("work"),
        *(StartNode(f"work[{i}]", 1, {"item": [value], "style": ["dry"]}, 30_000, "agent:work") for i, value in enumerate("pqr")),
    ]
    assert list(plan.states) == ["split", "work", "work[0]", "work[1]", "work[2]"]
    assert plan.states["work"] is State.RUNNING


def test_outputs_are_one_list_for_each_port_in_item_order(opening):
    plan, _ = fanned(opening)
    plan.step(NodeSucceeded("work[2]", 1, {"out": ["R"], "extra": [1, 2]}), 0)
    plan.step(NodeSucceeded("work[0]", 1, {"out": ["P"]}), 0)

    commands = plan.step(NodeSucceeded("work[1]", 1, {"out": [["Q"]]}), 0)

    assert commands[:2] == [
        NodeDone("work[1]", 1, State.OK, {"out": [["Q"]]}),
        NodeDone("work", 1, State.OK, {"out": [["P", ["Q"], "R"]], "extra": [[None, None, [1, 2]]]}),
    ]
    assert commands[-1] == RunDone(Status.SUCCEEDED, "", {})


@pytest.mark.parametrize(
    ("values", "items"), [([["p", "q"]], ["p", "q"]), (["p", "q"], ["p", "q"]), ([["p"], "q", [["r"]]], ["p", "q", ["r"]])]
)
def test_lists_on_the_port_give_their_elements_and_other_values_are_items(opening, values, items):
    plan = begun(opening({"split": {}, "work": EACH}, "split.out -> work.item"))

    commands = plan.step(NodeSucceeded("split", 1, {"out": values}), 0)

    assert [command.inputs["item"] for command in only(StartNode, commands)] == [[item] for item in items]


def test_items_can_be_a_parameter_and_have_a_port_of_their_own(opening):
    plan = Plan(opening({"work": {"for_each": {"in": "params.names", "as": "name"}}}, params={"names": ["p", "q"]}), b"")

    assert [command.inputs for command in only(StartNode, plan.step(Begin(), 0))] == [{"name": ["p"]}, {"name": ["q"]}]


def test_no_more_than_width_run_at_a_time(opening):
    plan, commands = fanned(opening, {"width": 2}, items="pqrs")
    assert started(commands) == {"work[0]": 1, "work[1]": 1}

    assert started(plan.step(NodeSucceeded("work[1]", 1, OUT), 0)) == {"work[2]": 1}
    assert started(plan.step(NodeWaiting("work[0]", 1), 0)) == {}
    assert started(plan.step(NodeFailed("work[0]", 1, "no"), 0)) == {}
    assert plan.done


def test_the_width_is_free_while_an_item_pauses_before_its_next_attempt(opening):
    plan, _ = fanned(opening, {"width": 1}, items="pq", node={"retry": {"max_attempts": 2, "backoff_ms": 100, "jitter": 0.0}})

    assert started(plan.step(NodeFailed("work[0]", 1, "busy", retryable=True), 0)) == {"work[1]": 1}
    assert started(plan.step(Tick(), 100)) == {}
    assert started(plan.step(NodeSucceeded("work[1]", 1, OUT), 150)) == {"work[0]": 2}


def test_the_places_of_the_run_are_kept_too(opening):
    _, commands = fanned(opening, {"width": 3}, policy={"max_parallel": 2})

    assert list(started(commands)) == ["work[0]", "work[1]"]


def test_an_empty_list_gives_empty_lists_on_the_ports_that_are_read(opening):
    edges = "work.out -> join.parts\nwork.notes -> join.notes"
    plan, commands = fanned(opening, {"on_failure": "continue"}, items=(), nodes={"join": {}}, edges=edges)

    assert plan.outputs["work"] == {"out": [[]], "notes": [[]], "errors": [[]]}
    assert commands[1:4] == [
        NodeReady("work"),
        NodeDone("work", 1, State.OK, {"out": [[]], "notes": [[]], "errors": [[]]}),
        NodeReady("join"),
    ]
    assert only(StartNode, commands)[0].inputs == {"parts": [[]], "notes": [[]]}


def test_a_node_whose_port_nobody_reads_has_the_port_out(opening):
    plan = begun(opening({"work": {"for_each": {"in": "params.names"}}}, params={"names": []}))

    assert plan.outputs["work"] == {"out": [[]]}
    assert plan.final == RunDone(Status.SUCCEEDED, "", {})


def test_an_item_that_fails_ends_the_others_and_fails_the_node(opening):
    plan, _ = fanned(opening, {"width": 2}, node={"on_failure": "skip"})

    commands = plan.step(NodeFailed("work[0]", 1, "no", "guest.exception"), 0)

    assert commands == [
        NodeDone("work[0]", 1, State.ERROR, {}, Failure("guest.exception", "no")),
        StopNode("work[1]", 1, "item 0 failed"),
        NodeDone("work[1]", 1, State.CANCELLED, {}, None, "item 0 failed"),
        NodeDone("work[2]", 0, State.SKIPPED, {}, None, "item 0 failed"),
        NodeDone("work", 1, State.ERROR, {}, Failure("guest.exception", "item 0: no")),
        RunDone(Status.SUCCEEDED, "", {}),
    ]


def test_with_continue_failed_items_are_null_and_listed(opening):
    plan, _ = fanned(opening, {"on_failure": "continue"}, edges="work.out -> join.parts", nodes={"join": {}})
    plan.step(NodeSucceeded("work[0]", 1, OUT), 0)
    plan.step(NodeFailed("work[2]", 1, "no", "failed"), 0)

    plan.step(NodeFailed("work[1]", 1, "late", "timeout"), 0)

    assert plan.outputs["work"] == {
        "out": [["x", None, None]],
        "errors": [[{"index": 1, "code": "timeout", "message": "late"}, {"index": 2, "code": "failed", "message": "no"}]],
    }
    assert plan.states["join"] is State.RUNNING


def test_too_many_items_fail_the_node_before_any_starts(opening):
    _, commands = fanned(opening, {"max": 2})

    failure = Failure("items.too_many", "there are 3 items, at most 2 are allowed (max of its for_each)")
    assert commands[1:3] == [NodeReady("work"), NodeDone("work", 0, State.ERROR, {}, failure)]
    assert only(StartNode, commands) == []


def test_a_thousand_items_are_the_limit_unless_the_node_says_otherwise(opening):
    assert fanned(opening, items=range(1001))[0].final.code == "items.too_many"
    assert len(started(fanned(opening, {"max": 1001}, items=range(1001))[1])) == 1001


def test_items_share_the_budget_of_their_node_and_overdrawing_it_fails_the_node(opening):
    plan, _ = fanned(opening, {"on_failure": "continue"}, node={"budget_tokens": 10})
    plan.step(NodeSucceeded("work[0]", 1, OUT, tokens=8), 0)
    assert plan.remaining_tokens("work[1]") == plan.remaining_tokens("work") == 2

    commands = plan.step(NodeSpent("work[1]", 1, tokens=3), 0)

    assert ended(commands) == {"work[1]": "error", "work[2]": "cancelled", "work": "error"}
    assert plan.final.reason == "node 'work' failed: item 1: the node used 11 of 10 tokens"


def test_an_item_that_times_out_is_an_item_that_failed(opening):
    plan, _ = fanned(opening, {"on_failure": "continue"}, items="pq", node={"timeout_ms": 50})
    plan.step(NodeSucceeded("work[1]", 1, OUT), 0)

    assert ended(plan.step(Tick(), 50)) == {"work[0]": "error", "work": "ok"}
    assert plan.outputs["work"]["out"] == [[None, "x"]]


def test_a_cancelled_run_ends_every_item(opening):
    plan, _ = fanned(opening, {"width": 1})

    commands = plan.step(Cancel("enough"), 0)

    assert ended(commands) == {"work[0]": "cancelled", "work[1]": "skipped", "work[2]": "skipped", "work": "cancelled"}
    assert only(StopNode, commands) == [StopNode("work[0]", 1, "enough")]


def test_a_node_that_is_cancelled_before_an_item_started_never_started(opening):
    plan, commands = fanned(opening, nodes={"busy": {}}, policy={"max_parallel": 1})
    assert started(commands) == {"busy": 1}

    assert ended(plan.step(NodeFailed("busy", 1, "no"), 0)) == {"busy": "error", "work": "skipped", **dict.fromkeys(
        ["work[0]", "work[1]", "work[2]"], "skipped"
    )}  # fmt: skip


def test_the_outputs_of_all_items_go_to_the_node_s_gate_and_a_revision_fans_out_again(opening):
    gate = {"gate": {"ask": "Good?", "revise_to": "split", "options": ["approve"]}}
    plan, _ = fanned(opening, items="pqr", node=gate)
    for index in (0, 1):
        plan.step(NodeSucceeded(f"work[{index}]", 1, OUT), 0)

    commands = plan.step(NodeSucceeded("work[2]", 1, OUT), 0)
    assert only(OpenGate, commands) == [OpenGate("work", 1, 1, "Good?", ("approve", "revise"), None, {"out": [["x"] * 3]})]

    commands = plan.step(GateAnswered("work", 1, "revise", "fewer"), 0)
    assert ended(commands) == {"work": "cancelled"}
    commands = plan.step(NodeSucceeded("split", 2, {"out": [["s", "t"]], "style": ["wet"]}), 0)
    assert started(commands) == {"work[0]": 2, "work[1]": 2}
    assert (plan.states["work[2]"], "work[2]" in plan.outputs) == (State.OK, False)
    plan.step(NodeSucceeded("work[0]", 2, {"out": ["S"]}), 0)
    commands = plan.step(NodeSucceeded("work[1]", 2, {"out": ["T"]}), 0)
    assert only(OpenGate, commands)[0].outputs == {"out": [["S", "T"]]}
    plan.step(GateAnswered("work", 2, "approve"), 0)
    assert plan.outputs["work"] == {"out": [["S", "T"]], "gate": ["approve"]}


def test_a_revision_to_the_node_itself_gives_the_comment_to_every_item(opening):
    gate = {"ask": "Good?", "revise_to": "work"}
    built = opening({"work": {"for_each": {"in": "params.names"}, "gate": gate}}, params={"names": ["p"]})
    plan = begun(built)
    plan.step(NodeSucceeded("work[0]", 1, OUT), 0)

    commands = plan.step(GateAnswered("work", 1, "revise", "shorter"), 0)

    assert only(StartNode, commands)[0].inputs == {"names": ["p"], "revise": ["shorter"]}


def test_items_under_way_are_started_again_and_the_others_in_their_order(opening):
    built = opening({"work": {"for_each": {"in": "params.names", "width": 2}}}, params={"names": ["p", "q", "r", "s"]})
    history = [
        (0, Begin()),
        (0, NodeStarted("work[0]")),
        (0, NodeStarted("work[1]")),
        (5, NodeSucceeded("work[0]", 1, OUT)),
        (5, NodeStarted("work[2]")),
    ]

    plan, commands = Plan.rebuild(built, b"", history, 10)

    assert started(commands) == {"work[1]": 1, "work[2]": 1}
    assert started(plan.step(NodeSucceeded("work[2]", 1, OUT), 11)) == {"work[3]": 1}


def test_items_that_a_history_starts_out_of_turn_are_not_started_twice(opening):
    built = opening({"work": {"for_each": {"in": "params.names", "width": 1}}}, params={"names": ["p", "q", "r"]})
    history = [(0, Begin()), (0, NodeStarted("work[1]")), (1, NodeSucceeded("work[1]", 1, OUT)), (1, NodeStarted("work[0]"))]

    plan, commands = Plan.rebuild(built, b"", history, 2)

    assert started(commands) == {"work[0]": 1}
    assert started(plan.step(NodeSucceeded("work[0]", 1, OUT), 3)) == {"work[2]": 1}


def test_an_item_that_a_history_started_out_of_turn_takes_a_place_of_the_width(opening):
    built = opening({"work": {"for_each": {"in": "params.names", "width": 1}}}, params={"names": ["p", "q", "r"]})

    plan, commands = Plan.rebuild(built, b"", [(0, Begin()), (0, NodeStarted("work[1]"))], 2)

    assert started(commands) == {"work[0]": 1, "work[1]": 1}
    assert started(plan.step(NodeSucceeded("work[0]", 1, OUT), 3)) == {}
    assert started(plan.step(NodeSucceeded("work[1]", 1, OUT), 4)) == {"work[2]": 1}


def test_a_start_of_an_item_says_that_the_wait_of_its_node_was_over(opening):
    work = {"for_each": {"in": "params.names"}, "wait": {"for": "1h"}}
    history = [(0, Begin()), (3_600_000, NodeStarted("work[1]"))]

    _, commands = Plan.rebuild(opening({"work": work}, params={"names": ["p", "q"]}), b"", history, 3_600_000)

    assert started(commands) == {"work[0]": 1, "work[1]": 1}


def test_the_node_itself_is_not_started_and_reports_nothing(opening):
    plan, commands = Plan.rebuild(
        opening({"work": {"for_each": {"in": "params.names"}}}, params={"names": ["p"]}),
        b"",
        [(0, Begin()), (0, NodeStarted("work")), (0, NodeStarted("work[0]")), (0, NodeSucceeded("work", 1, OUT))],
        0,
    )

    assert started(commands) == {"work[0]": 1}
    assert plan.states["work"] is State.RUNNING


def test_a_long_chain_of_empty_lists_is_no_recursion(opening):
    count = 1500
    nodes = {f"n{i}": {"for_each": {"in": "x"}} for i in range(1, count)}
    plan = begun(opening({"n0": {}, **nodes}, "\n".join(f"n{i}.out -> n{i + 1}.x" for i in range(count - 1))))

    assert plan.step(NodeSucceeded("n0", 1, {"out": [[]]}), 0)[-1].status is Status.SUCCEEDED


def test_items_share_what_only_nodes_have_and_nobody_fills_it(opening):
    plan, _ = fanned(
        opening,
        {"width": 2, "on_failure": "continue"},
        nodes={"next": {"gate": {"ask": "Good?", "revise_to": "work"}}},
        edges="work.out -> next.in\n",
    )
    for number in (0, 1):
        plan.step(NodeSucceeded(f"work[{number}]", 1, OUT), 0)
    plan.step(NodeFailed("work[2]", 1, "no", "code", False), 0)
    plan.step(NodeSucceeded("next", 1, OUT), 0)
    plan.step(GateAnswered("next", 1, "revise", "again"), 0)
    plan.step(NodeSucceeded("work[0]", 2, OUT), 0)
    plan.step(Cancel("enough"), 0)
    assert plan.done

    items = [step for step in plan._steps if step.parent is not None]
    shared = [(each.incoming, each.outgoing, each.items, each.waiting, each.placed) for each in items]
    assert len({tuple(map(id, each)) for each in shared}) == 1
    assert not any(shared[0])
