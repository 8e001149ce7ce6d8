"""Documents with a mark where the problem is expected, and plans that run by themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from runloop.openings import Opening, examine, parse_opening

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves it out

MARK = "‸"

BASE = """\
version: 0
name: t
nodes:
  - id: a
    use: agent:a
  - id: b
    use: agent:b
edges:
  - from: a.out
    to: b.in
"""


@pytest.fixture
def base() -> str:
    """The smallest opening with an edge, that of spec 26.4."""
    return BASE


@pytest.fixture
def found() -> Callable[..., list[tuple[int, int, str]]]:
    """Problems of a document as (line, column, message)."""

    def find(text: str | bytes, **options: Any) -> list[tuple[int, int, str]]:
        return [(problem.where.line or 0, problem.where.column or 0, problem.message) for problem in examine(text, **options).problems]

    return find


@pytest.fixture
def marked(
    found: Callable[..., list[tuple[int, int, str]]],
) -> Callable[..., tuple[list[tuple[int, int]], list[tuple[int, int]], list[str]]]:
    """Where the marks in a document are, where its problems are, and what they say."""

    def compare(text: str, **options: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[str]]:
        places = []
        while MARK in text:
            before, _, after = text.partition(MARK)
            places.append((before.count("\n") + 1, len(before) - before.rfind("\n")))
            text = before + after
        problems = found(text, **options)
        return places, [(line, column) for line, column, _ in problems], [message for _, _, message in problems]

    return compare


@pytest.fixture
def opening() -> Callable[..., Opening]:
    """An opening from short notation: nodes as ``"a b c"`` or a mapping of id to fields, edges as ``"a.out -> b.in"`` lines."""

    def build(nodes: str | dict[str, dict[str, Any]], edges: str = "", **top: Any) -> Opening:
        import json

        fields = {name: {} for name in nodes.split()} if isinstance(nodes, str) else nodes
        listed = []
        for line in filter(None, map(str.strip, dedent(edges).splitlines())):
            source, _, target = line.partition("->")
            listed.append({"from": source.strip(), "to": target.strip()})
        document = {
            "version": 0,
            "name": "t",
            "nodes": [{"id": name, "use": f"agent:{name}", **own} for name, own in fields.items()],
            "edges": listed,
            **top,
        }
        return parse_opening(json.dumps(document))

    return build


@pytest.fixture
def compose_email() -> str:
    """The opening of spec 8.7, rebuilt from its facts."""
    return (Path(__file__).parents[1] / "data" / "openings" / "compose_email.yaml").read_text(encoding="utf-8")
