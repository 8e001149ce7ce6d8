"""docs/openings.md tells the truth where a program can ask it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runloop.openings import Plan, examine, parse_opening
from runloop.openings.model import ACTIONS
from runloop.openings.nodes import NODE_KEYS, RETRY_KEYS
from runloop.openings.parse import OPENING_KEYS, POLICY_KEYS
from runloop.openings.read_clauses import FOR_EACH_KEYS, GATE_KEYS, MERGE_KEYS, OUTPUT_KEYS, VOTE_KEYS, WAIT_KEYS
from runloop.openings.states import Begin, Command, GateAnswered, NodeSucceeded, OpenGate, StartNode, Tick

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "openings.md").read_text("utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


EXAMPLES = {parse_opening(example).name: example for example in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)}


def drive(name: str, outputs: dict[str, Any], answers: Sequence[tuple[str, str]] = ()) -> tuple[Plan, list[Command]]:
    """Run an example: each attempt's outputs in turn (``out: NODE`` without any), gates answered in turn, time passing otherwise."""
    plan, given, now, seen = Plan(parse_opening(EXAMPLES[name]), b"seed"), iter(answers), 0, []
    todo = plan.step(Begin(), now)
    while not plan.done:
        seen += todo
        happened = []
        for command in todo:
            if isinstance(command, StartNode):
                made = outputs.get(command.node, [])
                ports = made[min(command.attempt, len(made)) - 1] if made else {"out": [command.node]}
                happened.append(NodeSucceeded(command.node, command.attempt, ports))
            elif isinstance(command, OpenGate) and (answer := next(given, None)):
                happened.append(GateAnswered(command.node, command.round, *answer))
        todo = [command for event in happened for command in plan.step(event, now)]
        if not happened:
            now = plan.next_deadline_ms or now
            todo = plan.step(Tick(), now)
    return plan, seen + todo


def starts(commands: list[Command]) -> list[tuple[str, dict[str, Any]]]:
    return [(command.node, command.inputs) for command in commands if isinstance(command, StartNode)]


def test_every_example_is_an_opening_without_problems():
    assert sorted(EXAMPLES) == sorted(["compose_note", "reminder", "newsletter", "summaries", "score", "race", "jury"])
    assert [examine(example).problems for example in EXAMPLES.values()] == [()] * len(EXAMPLES)


def test_the_example_of_a_wait_reminds_after_two_days():
    plan, _ = drive("reminder", {})

    assert (plan.final.status, plan._now) == ("succeeded", 2 * 86_400_000)


def test_the_example_of_a_gate_is_revised_and_goes_where_the_person_says():
    plan, commands = drive("newsletter", {}, [("revise", "shorter"), ("print", "")])

    assert starts(commands) == [
        ("draft", {}),
        ("layout", {"text": ["draft"]}),
        ("draft", {"revise": ["shorter"]}),
        ("layout", {"text": ["draft"]}),
        ("printer", {"pages": ["layout"]}),
    ]
    assert dict(plan.states) == {"draft": "ok", "layout": "ok", "printer": "ok", "mailer": "skipped"}


def test_the_example_of_a_gate_is_mailed_when_nobody_answers():
    plan, _ = drive("newsletter", {})

    assert (plan.states["printer"], plan.states["mailer"]) == ("skipped", "ok")


def test_the_example_of_a_for_each_reads_every_page_and_joins_them():
    _, commands = drive("summaries", {"find": [{"out": [["p", "q"]]}]})

    assert starts(commands)[1:] == [
        ("read[0]", {"page": ["p"]}),
        ("read[1]", {"page": ["q"]}),
        ("join", {"notes": [["read[0]", "read[1]"]], "missing": [[]]}),
    ]


def test_the_example_of_a_contract_says_what_was_wrong():
    plan, commands = drive("score", {"judge": [{"out": [{"score": 11}]}, {"out": [{"score": 9}]}]})

    assert starts(commands)[1][1]["feedback"][0]["errors"] == [
        {"message": "11 is greater than the maximum of 10", "path": "score", "rule": "properties/score/maximum"}
    ]
    assert plan.final.status == "succeeded"


def test_the_example_of_a_race_has_one_winner():
    plan, commands = drive("race", {})

    assert starts(commands)[-1] == ("answer", {"facts": ["fast"]})
    assert plan.states["deep"] == "cancelled"


def test_the_example_of_a_vote_publishes_what_two_of_three_say():
    verdicts = {f"juror[{index}]": [{"out": [{"verdict": verdict}]}] for index, verdict in enumerate(["good", "bad", "good"])}

    _, commands = drive("jury", verdicts)

    assert starts(commands)[-1][1]["vote"][0]["winner"] == "good"


def test_every_key_of_the_language_is_described():
    named = {word for code in CODE.findall(PROSE) for word in re.findall(r"[a-z_]+", code)}

    assert {*OPENING_KEYS, *POLICY_KEYS, *NODE_KEYS, *RETRY_KEYS} <= named
    assert {*WAIT_KEYS, *GATE_KEYS, *FOR_EACH_KEYS, *OUTPUT_KEYS, *MERGE_KEYS, *VOTE_KEYS} <= named
    assert all(f"`{action}`" in TEXT for action in ACTIONS)


def test_every_code_that_a_problem_can_have_is_listed_and_no_other():
    used = {"opening.unreadable", "opening.not_found"}
    for file in (ROOT / "runloop" / "openings").glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in {"add", "problem", "fatal"}
                and call.args
            ):
                used |= {f"opening.{each.value}" for each in constants(call.args[0])}
            elif isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Problem":
                used |= {each.value for each in constants(call.args[0])}

    assert used == {code for code in CODE.findall(PROSE) if re.fullmatch(r"opening\.[a-z0-9_]+", code)}


def constants(node: ast.expr) -> list[ast.Constant]:
    branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [each for each in branches if isinstance(each, ast.Constant) and isinstance(each.value, str)]
