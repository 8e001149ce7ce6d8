"""docs/openings.md tells the truth where a program can ask it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from runloop.openings import examine
from runloop.openings.model import ACTIONS
from runloop.openings.nodes import NODE_KEYS, RETRY_KEYS
from runloop.openings.parse import OPENING_KEYS, POLICY_KEYS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "openings.md").read_text("utf-8")
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")


def test_the_example_is_an_opening_without_problems():
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)

    assert examine(example).problems == ()


def test_every_key_of_the_language_is_described():
    named = {word for code in CODE.findall(PROSE) for word in re.findall(r"[a-z_]+", code)}

    assert {*OPENING_KEYS, *POLICY_KEYS, *NODE_KEYS, *RETRY_KEYS} <= named
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

    assert used == {code for code in CODE.findall(PROSE) if re.fullmatch(r"opening\.[a-z_]+", code)}


def constants(node: ast.expr) -> list[ast.Constant]:
    branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [each for each in branches if isinstance(each, ast.Constant) and isinstance(each.value, str)]
