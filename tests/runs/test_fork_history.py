"""What a fork has of its parent: everything up to a record, with some of it changed, and none of what is the parent's alone."""

import itertools

import pytest

from runloop.errors import InvalidInput
from runloop.events import StoredEvent
from runloop.runs.fork import find_point, open_attempts, open_calls, recorded_overrides, shared, told_events

PARENT, FORK, GRAND = (f"0000000{n}-0000-4000-8000-000000000000" for n in (1, 2, 3))


def events(run_id, *told, start=1):
    """Records of a run: ``(kind, meta)`` each."""
    return [
        StoredEvent(seq, seq * 10, kind, "agent:runloop", "system", {"v": 1, "run_id": run_id, "seq": seq, "meta": meta}, {}, b"", b"")
        for seq, (kind, meta) in enumerate(told, start)
    ]


def started(node, attempt=1, agent="reader"):
    return "node.started", {"node": node, "attempt": attempt, "agent": {"name": agent, "digest": "old"}}


def requested(node, call, name="model.complete", klass="idempotent"):
    return "effect.requested", {"node": node, "attempt": 1, "call": call, "name": name, "class": klass}


def completed(node, call, result="said", **over):
    return "effect.completed", {
        "node": node,
        "attempt": 1,
        "call": call,
        "result": result,
        "tokens_in": 3,
        "tokens_out": 4,
        "usd": 0.5,
        **over,
    }


def finished(node, **over):
    return "node.finished", {"node": node, "attempt": 1, "status": "ok", "outputs": {"out": [1]}, "tokens": 7, "usd": 0.5, **over}


TOLD = events(
    PARENT,
    ("run.submitted", {}),  # 1
    ("run.started", {}),
    started("a"),
    requested("a", 1),
    completed("a", 1),  # 5
    started("b", agent="writer"),
    ("approval.requested", {"approval_id": "x", "node": "b", "attempt": 1}),
    ("run.paused", {}),
    ("approval.decided", {"approval_id": "x", "node": "b", "attempt": 1}),
    requested("b", 1, "mail.send", "external"),  # 10
    finished("a"),
    completed("b", 1),
    requested("b", 2),
    completed("b", 2),
    finished("b"),  # 15
    ("run.finished", {}),
)


def kinds(found):
    return [event.payload["seq"] for event in found]


def test_the_history_up_to_a_record_is_shared_without_what_is_the_parents_own():
    assert kinds(shared(TOLD, PARENT, 12)) == [2, 3, 4, 5, 6, 10, 11, 12]
    assert kinds(shared(TOLD, PARENT, 16)) == [2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15]
    assert shared(TOLD, PARENT, 1) == []


def test_a_call_without_an_answer_by_then_is_the_forks_to_make():
    assert kinds(shared(TOLD, PARENT, 4)) == [2, 3]
    assert kinds(shared(TOLD, PARENT, 13)) == [2, 3, 4, 5, 6, 10, 11, 12]


def test_what_is_shared_costs_the_fork_nothing():
    metas = [event.payload["meta"] for event in shared(TOLD, PARENT, 16)]
    costs = [meta[name] for meta in metas for name in ("tokens", "tokens_in", "tokens_out", "usd") if name in meta]
    assert (len(costs), set(costs)) == (13, {0})


def test_an_answer_is_changed_and_a_failure_becomes_one():
    failed = ("effect.failed", {"node": "a", "attempt": 1, "call": 1, "error": {"code": "x"}, "result_hash": "h"})
    told = events(PARENT, ("run.submitted", {}), ("run.started", {}), started("a"), requested("a", 1), failed)
    overrides = {"answers": [{"node": "a", "attempt": 1, "call": 1, "result": {"text": "new"}}]}

    event = shared(told, PARENT, 5, overrides)[-1]

    assert (event.kind, event.payload["meta"]) == (
        "effect.completed",
        {"node": "a", "attempt": 1, "call": 1, "result": {"text": "new"}, "given": True},
    )


def test_other_code_is_that_of_attempts_under_way_and_not_of_those_that_ended():
    overrides = {"agents": {"reader": "new", "writer": "newer"}}
    metas = [event.payload["meta"] for event in shared(TOLD, PARENT, 12, overrides) if event.kind == "node.started"]
    assert {meta["node"]: meta["agent"]["digest"] for meta in metas} == {"a": "old", "b": "newer"}


class Source:
    """Several runs, as a ledger gives them."""

    def __init__(self, **runs):
        self.runs = runs

    def read_run(self, run_id, after_seq=0):
        return iter(self.runs[run_id])

    def full(self, event):
        return event


def submitted(parent, seq, **overrides):
    return "run.submitted", {"forked_from": {"run_id": parent, "seq": seq}, "overrides": overrides or None}


def test_a_fork_of_a_fork_tells_the_history_of_all_three():
    fork = events(FORK, submitted(PARENT, 5), ("run.started", {}), requested("a", 2), completed("a", 2, "own"))
    answers = [{"node": "a", "attempt": 1, "call": 1, "result": "changed"}, {"node": "a", "attempt": 1, "call": 2, "result": "too"}]
    grand = events(GRAND, submitted(FORK, 4, answers=answers), ("run.started", {}))

    found = list(told_events(Source(**{PARENT: TOLD, FORK: fork, GRAND: grand}), GRAND))

    assert [(event.payload["run_id"][7], event.payload["seq"]) for event in found] == [
        *[("3", 1), ("1", 2), ("1", 3), ("1", 4), ("1", 5), ("2", 2), ("2", 3), ("2", 4), ("3", 2)],
    ]
    assert [event.payload["meta"]["result"] for event in found if event.kind == "effect.completed"] == ["changed", "too"]


@pytest.mark.parametrize(("at", "seq"), [("5", 5), ("16", 16), ("b", 5), ("a", 2)])
def test_a_point_is_a_record_or_the_moment_before_a_node_started(at, seq):
    assert find_point(TOLD, PARENT, at, {}).seq == seq


@pytest.mark.parametrize("call", ["a/1/1", "5"])
def test_a_changed_answer_is_a_point_by_itself(call):
    point = find_point(TOLD, PARENT, None, {call: "new"})
    assert (point.seq, point.answers) == (5, {("a", 1, 1): "new"})


@pytest.mark.parametrize(
    ("at", "answers", "code", "hint"),
    [
        (None, {}, "fork.point", "name a node or the number of a record"),
        ("0", {}, "fork.point", "1 to 16"),
        ("17", {}, "fork.point", "1 to 16"),
        ("9" * 5000, {}, "fork.point", "1 to 16"),
        ("c", {}, "fork.point", "these did: a, b"),
        (None, {"a/1/2": 1}, "fork.call", "NODE/ATTEMPT/CALL"),
        (None, {"4": 1}, "fork.call", "NODE/ATTEMPT/CALL"),
        (None, {"a//": 1}, "fork.call", "NODE/ATTEMPT/CALL"),
        ("11", {"a/1/1": 1}, "fork.answer_late", "fork at 5"),
        ("4", {"a/1/1": 1}, "fork.answer_late", "fork at 5"),
        ("16", {"b/1/1": 1}, "fork.answer_late", "fork at 12"),
        ("10", {}, "fork.in_effect", "fork at 9, before it, or at 12, after it"),
        ("11", {}, "fork.in_effect", "fork at 9, before it, or at 12, after it"),
    ],
)
def test_a_point_that_would_tell_something_untrue_is_refused(at, answers, code, hint):
    with pytest.raises(InvalidInput) as caught:
        find_point(TOLD, PARENT, at, answers)
    assert (caught.value.code, hint in caught.value.hint) == (code, True)


@pytest.mark.parametrize(("at", "why"), [("4", "the call has not been answered there, and is made live"), ("11", "would not follow")])
def test_why_an_answer_does_not_fit_its_point_depends_on_what_comes_first(at, why):
    with pytest.raises(InvalidInput, match=why):
        find_point(TOLD, PARENT, at, {"a/1/1": 1})


def test_a_nested_opening_is_under_way_until_it_is_at_its_gate():
    def below(number):
        return "node.started", {"node": "below", "attempt": number, "agent": {"name": "inner"}}

    gate = "approval.requested", {"node": "below", "attempt": 1, "action": "gate"}
    mail = "approval.requested", {"node": "below", "attempt": 1, "action": "mail.send"}
    for more, left in (([], 1), ([mail], 1), ([gate], None), ([gate, below(2)], 2)):
        told = events(PARENT, below(1), *more)
        assert open_attempts(told) == ({("below", left)} if left else set())
        assert open_calls(told, PARENT, len(told)) == ([("below", left, 0)] if left else [])


def test_a_node_that_started_before_the_parent_was_forked_is_the_grandparents():
    fork = events(FORK, submitted(PARENT, 5), ("run.started", {}))
    told = list(told_events(Source(**{PARENT: TOLD, FORK: fork}), FORK))
    with pytest.raises(InvalidInput) as caught:
        find_point(told, FORK, "a", {})
    assert (caught.value.code, caught.value.hint) == ("fork.point", f"fork run {PARENT} at a")


def test_an_answer_of_the_grandparent_can_be_changed_by_its_place_and_not_by_its_number():
    fork = events(FORK, submitted(PARENT, 5), ("run.started", {}))
    told = list(told_events(Source(**{PARENT: TOLD, FORK: fork}), FORK))
    assert find_point(told, FORK, "2", {"a/1/1": 1}).answers == {("a", 1, 1): 1}
    with pytest.raises(InvalidInput):
        find_point(told, FORK, "2", {"5": 1})


def test_what_is_changed_is_recorded_and_nothing_else():
    point = find_point(TOLD, PARENT, None, {"a/1/1": {"x": 1}})
    assert recorded_overrides(point, {"topic": "rum"}, {"reader": "d"}) == {
        "params": {"topic": "rum"},
        "answers": [{"node": "a", "attempt": 1, "call": 1, "result": {"x": 1}}],
        "agents": {"reader": "d"},
    }
    assert recorded_overrides(find_point(TOLD, PARENT, "5", {}), {}, {}) is None


def test_every_point_gives_a_history_in_which_every_answer_has_its_question_and_no_effect_is_left_open():
    for seq in range(1, len(TOLD) + 1):
        found = shared(TOLD, PARENT, seq)
        asked = [(event.payload["meta"]["node"], event.payload["meta"]["call"]) for event in found if event.kind == "effect.requested"]
        told = [(event.payload["meta"]["node"], event.payload["meta"]["call"]) for event in found if event.kind == "effect.completed"]
        assert sorted(asked) == sorted(told)
        assert all(one.payload["seq"] < two.payload["seq"] for one, two in itertools.pairwise(found))
