"""Templates as texts: sound, canonical, filled in as asked, and played on the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runloop.errors import InvalidInput
from runloop.openings import Opening, Plan, parse_opening
from runloop.openings.fmt import Form, format_opening
from runloop.openings.states import Begin, NodeFailed, NodeSucceeded, RunDone, StartNode, State
from runloop.openings.templates import TEMPLATES, Cast, expand

Agents = dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]]


def opening(name: str, **options: Any) -> Opening:
    return parse_opening(expand(TEMPLATES[name], "o", Cast(), **options))


def play(opening: Opening, agents: Agents) -> tuple[Plan, dict[str, list[dict[str, Any]]]]:
    """Run on the plan; agents are functions by the agent's name: inputs to outputs, None to fail. Returns the inputs of every attempt."""
    plan = Plan(opening, b"seed")
    commands, calls = list(plan.step(Begin(), 0)), {}
    while not plan.done:
        command = commands.pop(0)
        if isinstance(command, StartNode):
            calls.setdefault(command.node, []).append(command.inputs)
            ports = agents[command.use.removeprefix("agent:")]({"node": command.node, **command.inputs})
            event = (
                NodeFailed(command.node, command.attempt, "no")
                if ports is None
                else NodeSucceeded(command.node, command.attempt, {port: [value] for port, value in ports.items()})
            )
            commands += plan.step(event, 0)
    assert isinstance(plan.final, RunDone)
    return plan, calls


def says(**ports: Any) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    return lambda inputs: ports


def named(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"out": inputs["node"]}


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_every_template_is_sound_canonical_and_says_who_does_what(name):
    text = expand(TEMPLATES[name], "weekly-report", Cast())

    opening = parse_opening(text)
    assert opening.name == "weekly-report"
    assert {node.name for node in opening.nodes} == {role.name for role in TEMPLATES[name].roles}
    assert all(f"#   {role.name}: " in text for role in TEMPLATES[name].roles)
    assert format_opening(text).text == text
    assert format_opening(format_opening(text, to=Form.BRACE).text, to=Form.YAML).text == text
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.parametrize("name", ["swarm", "fork_join", "parallel"])
def test_nodes_side_by_side_are_asked_in_words_of_their_own(name):
    asked = [node.with_args["instruction"] for node in opening(name, branches=5).nodes]
    assert len(set(asked)) == len(asked)  # else one would get the answer that was kept for another


def test_agents_are_named_by_role_and_for_all_the_rest():
    text = expand(TEMPLATES["swarm"], "o", Cast({"voter": ["a", "b@x"]}, "z"), branches=3)

    assert [node.use for node in parse_opening(text).nodes] == ["agent:a", "agent:b@x", "agent:a", "agent:z"]


def test_as_many_branches_as_agents_are_named_for_them():
    assert len(parse_opening(expand(TEMPLATES["parallel"], "o", Cast({"worker": ["a", "b", "c", "d"]}))).nodes) == 5
    assert len(parse_opening(expand(TEMPLATES["parallel"], "o", Cast({"worker": ["a"]}))).nodes) == 4
    assert len(opening("debate", rounds=5).nodes) == 11
    assert len(opening("iterate", rounds=1).nodes) == 2


@pytest.mark.parametrize(
    ("template", "name", "cast", "options", "code", "hint"),
    [
        ("swarm", "", Cast(), {}, "opening.name", "weekly_report"),
        ("swarm", "a.b", Cast(), {}, "opening.name", "weekly_report"),
        ("swarm", "o", Cast({"voters": ["a"]}), {}, "opening.role", "did you mean 'voter'?"),
        ("swarm", "o", Cast({"decide": ["a", "b"]}), {}, "opening.role", "name it once"),
        ("swarm", "o", Cast({"decide": ["a b"]}), {}, "opening.role", "write NAME or NAME@VARIANT"),
        ("swarm", "o", Cast({}, "agent:x"), {}, "opening.role", "write NAME or NAME@VARIANT"),
        ("swarm", "o", Cast(), {"rounds": 2}, "opening.size", "leave --rounds out"),
        ("debate", "o", Cast(), {"branches": 2}, "opening.size", "leave --branches out"),
        ("swarm", "o", Cast(), {"branches": 1}, "opening.size", "template 'swarm' has 3"),
        ("debate", "o", Cast(), {"rounds": 21}, "opening.size", "template 'debate' has 2"),
        ("swarm", "o", Cast({"voter": ["a"] * 51}), {}, "opening.size", "template 'swarm' has 3"),
    ],
)
def test_what_does_not_fit_a_template_is_refused(template, name, cast, options, code, hint):
    with pytest.raises(InvalidInput) as caught:
        expand(TEMPLATES[template], name, cast, **options)

    assert (caught.value.code, hint in caught.value.hint) == (code, True)


def test_a_pipeline_hands_on_what_each_step_made():
    def step(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"out": "".join(inputs.get("input", [])) + inputs["node"][0]}

    plan, calls = play(opening("pipeline"), dict.fromkeys(("gather", "draft", "finish"), step))

    assert plan.final.saved == {"finish.out": ["gdf"]}
    assert list(calls) == ["gather", "draft", "finish"]


def test_parallel_combines_all_and_one_failure_ends_it():
    plan, calls = play(opening("parallel"), {"worker": named, "combine": says(out="all")})
    assert (plan.final.status, calls["combine"]) == ("succeeded", [{"results": ["worker_1", "worker_2", "worker_3"]}])

    plan, calls = play(
        opening("parallel"), {"worker": lambda inputs: None if inputs["node"] == "worker_2" else named(inputs), "combine": says(out="all")}
    )
    assert (plan.final.status, "combine" in calls) == ("failed", False)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_fork_join_goes_on_with_enough_and_fails_with_fewer(failing):
    def worker(inputs: dict[str, Any]) -> dict[str, Any] | None:
        return None if inputs["node"] in ("worker_1", "worker_2")[:failing] else named(inputs)

    plan, calls = play(opening("fork_join"), {"worker": worker, "join": says(out="joined")})

    good = [["worker_1", "worker_2"], ["worker_2", "worker_3"]]
    assert plan.final.status == ("failed" if failing == 2 else "succeeded")
    assert calls.get("join") == (None if failing == 2 else [{"results": good[failing]}])


def test_fork_join_with_first_ok_stops_the_others():
    text = expand(TEMPLATES["fork_join"], "o", Cast()).replace("merge: {at_least: 2}", "merge: first_ok")

    plan, calls = play(parse_opening(text), {"worker": named, "join": says(out="joined")})

    assert (plan.final.status, calls["join"]) == ("succeeded", [{"results": ["worker_1"]}])
    assert [plan.states[f"worker_{number}"] for number in (1, 2, 3)] == [State.OK, State.CANCELLED, State.CANCELLED]


def test_the_sides_of_a_debate_answer_each_other_and_the_judge_hears_everything():
    verdict = {"winner": "con", "reason": "better sources"}

    plan, calls = play(opening("debate"), {"pro": named, "con": named, "judge": says(verdict=verdict)})

    assert (calls["pro_2"], calls["con_2"]) == ([{"input": ["con_1"]}], [{"input": ["pro_1"]}])
    assert calls["judge"] == [{"pro": ["pro_1", "pro_2"], "con": ["con_1", "con_2"]}]
    assert (plan.final.status, plan.final.saved) == ("succeeded", {"judge.verdict": [verdict]})


@pytest.mark.parametrize("verdict", [{"winner": "both", "reason": "x"}, {"winner": "pro", "reason": ""}, "pro", {"winner": "pro"}])
def test_a_verdict_without_winner_or_reason_is_asked_for_again_and_then_fails(verdict):
    plan, calls = play(opening("debate"), {"pro": named, "con": named, "judge": says(verdict=verdict)})

    assert (plan.final.status, plan.final.code) == ("failed", "output.invalid")
    assert [sorted(inputs) for inputs in calls["judge"]] == [["con", "pro"], ["con", "feedback", "pro"]]
    assert calls["judge"][1]["feedback"][0]["output"] == [verdict]


@pytest.mark.parametrize("case", ["case_1", "case_2", "case_3"])
def test_exactly_one_branch_of_a_switch_runs(case):
    plan, calls = play(opening("switch"), {"classify": says(case=case), "case": named, "finish": lambda inputs: {"out": inputs["input"]}})

    assert sorted(calls) == sorted(["classify", case, "finish"])
    assert (plan.final.status, plan.final.saved) == ("succeeded", {"finish.out": [[case]]})


def test_a_case_that_is_not_one_of_the_switch_fails_instead_of_running_nothing():
    plan, calls = play(opening("switch"), {"classify": says(case="case_4"), "case": named, "finish": named})

    assert (plan.final.status, plan.final.code, list(calls)) == ("failed", "output.invalid", ["classify"])


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        (["a", "a", "b"], "a"),
        (["b", "a", "a"], "a"),
        (["a", "a", None], "a"),
        (["a", "b", "c"], None),
        (["a", "b", None], None),
        (["a", None, None], None),
        (["a", "", "a"], "a"),
    ],
)
def test_the_majority_of_a_swarm_decides_or_nobody_does(votes, winner):
    def voter(inputs: dict[str, Any]) -> dict[str, Any] | None:
        vote = votes[int(inputs["node"][-1]) - 1]
        return None if vote is None else {"vote": vote}

    plan, calls = play(opening("swarm"), {"voter": voter, "decide": lambda inputs: {"out": inputs["vote"][0]["winner"]}})

    assert plan.final.status == ("succeeded" if winner else "failed")
    assert plan.final.saved == ({"decide.out": [winner]} if winner else {})
    assert ("decide" in calls) == bool(winner)


@pytest.mark.parametrize("good", [1, 2, 3])
def test_a_draft_is_revised_until_the_review_accepts_it(good):
    def review(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"ok": inputs["draft"] == [f"draft_{good}"], "out": f"no {inputs['draft'][0]}"}

    plan, calls = play(opening("iterate"), {"draft": named, "review": review})

    drafts = [f"draft_{number}" for number in range(1, good + 1)]
    assert (plan.final.status, plan.final.saved) == ("succeeded", {f"{draft}.out": [draft] for draft in drafts})
    assert [name for name in calls if name.startswith("draft")] == drafts
    if good > 1:
        assert calls["draft_2"] == [{"draft": ["draft_1"], "review": ["no draft_1"]}]


def test_a_draft_that_is_never_accepted_fails_after_the_last_round():
    plan, calls = play(opening("iterate", rounds=2), {"draft": named, "review": says(ok=False, out="no")})

    assert (plan.final.status, plan.final.code) == ("failed", "success")
    assert list(calls) == ["draft_1", "review_1", "draft_2", "review_2"]


def test_a_review_that_says_neither_yes_nor_no_does_not_count():
    plan, _ = play(opening("iterate"), {"draft": named, "review": says(ok="fine", out="")})

    assert (plan.final.status, plan.final.code) == ("failed", "output.invalid")


def test_every_item_is_mapped_and_the_results_come_in_order_with_the_errors():
    def mapper(inputs: dict[str, Any]) -> dict[str, Any] | None:
        return None if inputs["item"] == ["second"] else {"out": inputs["item"][0].upper()}

    plan, calls = play(opening("map_reduce"), {"map": mapper, "reduce": says(out="done")})

    [reduced] = calls["reduce"]
    assert (plan.final.status, reduced["results"]) == ("succeeded", [["FIRST", None, "THIRD"]])
    assert [error["index"] for error in reduced["errors"][0]] == [1]
    assert [calls[f"map[{index}]"] for index in range(3)] == [[{"item": [word]}] for word in ("first", "second", "third")]


@pytest.mark.parametrize(("rounds", "branches"), [(1, 2), (20, 50)])
@pytest.mark.parametrize("name", list(TEMPLATES))
def test_the_smallest_and_the_largest_of_every_template_are_sound(name, rounds, branches):
    template = TEMPLATES[name]
    options = ({"rounds": rounds} if template.rounds else {}) | ({"branches": branches} if template.branches else {})

    assert parse_opening(expand(template, "o", Cast(), **options)).success is not None
