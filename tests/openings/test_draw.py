"""Graphs as text: readable, complete, and never wider than asked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.openings import parse_opening
from runloop.openings.draw import draw
from runloop.openings.excerpt import excerpt, source_line, text_width
from runloop.openings.export import to_dot, to_graph, to_mermaid
from runloop.openings.expressions import Condition, PortRef
from runloop.openings.layout import layer_numbers
from runloop.openings.model import Edge, Node, Opening

DATA = Path(__file__).parents[1] / "data" / "openings"

IDS = st.sampled_from(["a", "b-long-name", "größe", "日本語", "node_with_a_rather_long_name", "x"])


@st.composite
def graphs(draw_from: st.DrawFn) -> Opening:
    count = draw_from(st.integers(1, 9))
    ids = [f"{draw_from(IDS)}{number}" for number in range(count)]
    guards = st.none() | st.just(Condition("==", True))
    edges = {}
    for target in range(1, count):
        for source in draw_from(st.lists(st.integers(0, target - 1), max_size=3)):
            edge = Edge(PortRef(ids[source], "out"), PortRef(ids[target], draw_from(st.sampled_from(["in", "x"]))), draw_from(guards))
            edges[edge] = None
    return Opening("t", tuple(Node(node, "agent", "a") for node in ids), tuple(edges))


@pytest.mark.parametrize(("name", "ascii_only"), [("box", False), ("ascii", True)])
def test_compose_email_is_drawn_as_people_approved_it(compose_email, name, ascii_only):
    assert draw(parse_opening(compose_email), width=80, ascii_only=ascii_only) + "\n" == (DATA / f"compose_email.{name}.txt").read_text(
        "utf-8"
    )


@settings(max_examples=150, deadline=None)
@given(graphs(), st.integers(20, 120), st.booleans())
def test_a_drawing_has_every_node_and_every_input_and_keeps_to_the_width(opening, width, ascii_only):
    text = draw(opening, width=width, ascii_only=ascii_only)

    is_list = text.startswith("1. ")
    for line in text.splitlines():
        assert is_list or re.match(r"\d+\. |     ", line) or text_width(line) <= width
    takes = "<-" if ascii_only else "←"
    for node in opening.nodes:
        assert node.id in text
    for edge in opening.edges:
        assert f"{edge.target.port} {takes} {'if ' if edge.guard else ''}{edge.source}{f' {edge.guard}' if edge.guard else ''}" in text
    if ascii_only:
        assert all(character.isascii() or character.isalpha() for character in text)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_lines_lead_from_every_source_to_each_of_its_targets(opening):
    """Follow the lines as an eye does: from the foot of a box along joined cells to the boxes that they reach."""
    reached = follow(draw(opening, width=4000), opening)

    for edge in opening.edges:
        assert edge.target.node in reached[edge.source.node]


JOINS = {
    "│": "ud",
    "┆": "ud",
    "─": "lr",
    "┘": "ul",
    "┐": "dl",
    "└": "ur",
    "┌": "dr",
    "┤": "udl",
    "├": "udr",
    "┴": "ulr",
    "┬": "dlr",
    "┼": "udlr",
}
MOVES = {"u": (-1, 0, "d"), "d": (1, 0, "u"), "l": (0, -1, "r"), "r": (0, 1, "l")}


def follow(text: str, opening: Opening) -> dict[str, set[str]]:
    grid = [columns(line) for line in text.splitlines()]
    width = max(map(len, grid))
    grid = [row + [" "] * (width - len(row)) for row in grid]
    tops: dict[tuple[int, int], str] = {}
    feet: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(grid):
        for column, character in enumerate(row):
            if character != "┌" or number + 1 >= len(grid) or grid[number + 1][column] != "│" or grid[number + 1][column + 1] != " ":
                continue
            name = "".join(each for each in grid[number + 1][column + 2 :] if each).split(" ", 1)[0]
            if name not in {node.id for node in opening.nodes}:
                continue
            end = row.index("┐", column)
            tops.update({(number, each): name for each in range(column, end + 1)})
            bottom = next(each for each in range(number + 1, len(grid)) if grid[each][column] == "└")
            for each in range(column, end):
                if grid[bottom][each] == "┬":
                    feet[name] = (bottom, each)
    return {node.id: reach(grid, feet[node.id], tops) if node.id in feet else set() for node in opening.nodes}


def reach(grid: list[list[str]], foot: tuple[int, int], tops: dict[tuple[int, int], str]) -> set[str]:
    found: set[str] = set()
    seen = set()
    todo = [(foot[0] + 1, foot[1], "u")]
    while todo:
        row, column, entered = todo.pop()
        if (row, column, entered) in seen or row >= len(grid):
            continue
        seen.add((row, column, entered))
        character = grid[row][column]
        if character in "▼▽":
            found.add(tops[row + 1, column])
            continue
        joins = JOINS.get(character, "")
        if entered not in joins:
            if character in "│┆" and entered in "lr":  # a line passes under another
                _, step, back = MOVES["l" if entered == "r" else "r"]
                todo.append((row, column + step, back))
            continue
        for way in joins:
            if way not in (entered, "u"):
                down, right, back = MOVES[way]
                todo.append((row + down, column + right, back))
    return found


def columns(line: str) -> list[str]:
    """One entry for each terminal column; the second column of a wide character is empty."""
    cells: list[str] = []
    for character in line:
        cells += [character, ""] if text_width(character) == 2 else [character]
    return cells


def test_a_drawing_that_does_not_fit_shrinks_to_names_and_then_to_a_list(opening):
    wide = opening("a b c d e f", "a.out -> f.in\nb.some_port>=10 -> f.with_a_long_name")

    assert [draw(wide, width=width).splitlines()[0] for width in (200, 60, 30)] == [
        "┌─────────┐  ┌─────────┐  ┌─────────┐  ┌─────────┐  ┌─────────┐",
        "┌───────┐  ┌───────┐  ┌───────┐  ┌───────┐  ┌───────┐",
        "1. a  agent:a",
    ]
    assert draw(wide, width=60).splitlines()[-1] == "     with_a_long_name ← if b.some_port >= 10"


def test_a_line_that_passes_under_another_does_not_join_it(opening):
    lines = draw(opening("a b c d", "a.out -> c.in\na.out -> d.in\nb.out -> c.in\nb.out -> d.in"), width=80).splitlines()

    assert lines[3:7] == [
        "└────┬────┘  └────┬────┘",
        "     └─────┬──────│────────┐",
        "           ├──────┴────────┤",
        "           ▼               ▼",
    ]


def test_a_long_chain_is_drawn(opening):
    names = [f"n{number}" for number in range(300)]
    edges = "\n".join(f"{source}.out -> {target}.in" for source, target in pairwise(names))

    assert draw(opening(" ".join(names), edges)).count("▼") == 299


def test_layers_follow_the_longest_way(opening):
    assert layer_numbers(opening("a b c d", "a.out -> b.in\nb.out -> c.in\na.out -> c.x")) == {"a": 0, "b": 1, "c": 2, "d": 0}


def test_edges_to_unknown_nodes_do_not_disturb_the_layers():
    opening = Opening("t", (Node("a", "agent", "a"),), (Edge(PortRef("a", "out"), PortRef("gone", "in")),))

    assert layer_numbers(opening) == {"a": 0}


def test_an_opening_without_nodes_is_drawn_as_nothing():
    assert draw(Opening("t", ())) == ""


# ── other formats ────────────────────────────────────────────────────────────────────────────────────────────────────────

AWKWARD = Opening(
    'a "quoted" \\ name',
    (Node("a", "agent", "x"), Node("größe", "opening", "y")),
    (
        Edge(PortRef("a", "out"), PortRef("größe", "in"), Condition("==", 'say "hi" | #<b> \\n')),
        Edge(PortRef("a", "n"), PortRef("größe", "x"), Condition("<", float("inf"))),
        Edge(PortRef("a", "out"), PortRef("größe", "x")),
    ),
)


def test_dot_quotes_what_must_be_quoted():
    assert to_dot(AWKWARD).splitlines() == [
        'digraph "a \\"quoted\\" \\\\ name" {',
        "  rankdir=TB;",
        '  node [shape=box, style=rounded, fontname="Helvetica"];',
        '  "a" [label="a\\nagent:x"];',
        '  "größe" [label="größe\\nopening:y"];',
        '  "a" -> "größe" [label="out == \\"say \\"hi\\" | #<b> \\\\n\\" -> in", style=dashed];',
        '  "a" -> "größe" [label="n < inf -> x", style=dashed];',
        '  "a" -> "größe" [label="out -> x"];',
        "}",
    ]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("awkward", [True, False])
def test_graphviz_reads_what_we_write(awkward, compose_email):
    opening = AWKWARD if awkward else parse_opening(compose_email)

    drawn = subprocess.run(["dot", "-Tplain"], input=to_dot(opening), capture_output=True, text=True, check=True)

    assert drawn.stderr == ""
    assert len(re.findall("^edge ", drawn.stdout, re.MULTILINE)) == len(opening.edges)


def test_mermaid_escapes_what_it_would_read_as_syntax():
    assert to_mermaid(AWKWARD).splitlines() == [
        "flowchart TD",
        '  n0["a<br/>agent:x"]',
        '  n1["größe<br/>opening:y"]',
        '  n0 -.->|"out == #34;say #34;hi#34; #124; #35;#60;b#62; #92;n#34; -#62; in"| n1',
        '  n0 -.->|"n #60; inf -#62; x"| n1',
        '  n0 -->|"out -#62; x"| n1',
    ]


def test_the_graph_as_json_is_json_and_complete(compose_email):
    graph = to_graph(parse_opening(compose_email))

    assert json.loads(json.dumps(graph, allow_nan=False)) == graph
    assert [(node["id"], node["layer"]) for node in graph["nodes"]] == [
        ("contacts", 0),
        ("context", 1),
        ("draft", 2),
        ("review", 3),
        ("send", 4),
    ]
    assert graph["edges"][-1] == {
        "from": {"node": "review", "port": "ok"},
        "to": {"node": "send", "port": "in"},
        "guard": {"op": "==", "literal": True, "text": "== true"},
    }
    assert (graph["success"], graph["save"]) == ("any_of: review.ok == true", ["draft.out"])
    assert to_graph(AWKWARD)["edges"][1]["guard"]["literal"] == "inf"
    assert to_graph(AWKWARD)["success"] is None


# ── excerpts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_line_of_a_problem_is_found_as_editors_count():
    assert [source_line("\ufeffa\r\nb\rc\nd", number) for number in (0, 1, 2, 3, 4, 5)] == ["", "a", "b", "c", "d", ""]


@pytest.mark.parametrize(
    ("line", "column", "width", "expected"),
    [
        ("use: tool:b", 6, 100, ("use: tool:b", "     ^")),
        ("日本: x", 5, 100, ("日本: x", "      ^")),
        ("\ta:\tb", 5, 100, ("  a:  b", "      ^")),
        ("a: \x1b[0m", 4, 100, ("a: ·[0m", "   ^")),
        ("e\u0301: x", 5, 100, ("e\u0301: x", "   ^")),
        ("short", 99, 100, ("short", "     ^")),
        ("", 1, 100, ("", "^")),
        ("x" * 50, 1, 20, ("x" * 19 + "…", "^")),
        ("x" * 50 + "HERE" + "y" * 50, 51, 20, ("…" + "x" * 12 + "HEREyy…", " " * 13 + "^")),
    ],
)
def test_an_excerpt_fits_and_its_caret_stands_below_the_place(line, column, width, expected):
    assert excerpt(line, column, width) == expected


@given(st.text(max_size=200).map(lambda text: text.replace("\n", "").replace("\r", "")), st.integers(1, 250), st.integers(10, 120))
def test_an_excerpt_is_never_wider_than_asked(line, column, width):
    shown, caret = excerpt(line, column, width)

    assert text_width(shown) <= width
    assert caret.strip() == "^"
    assert text_width(caret) <= width + 1


CLAUSES = """\
version: 0
name: t
params: {}
nodes:
  - {id: split, use: agent:splitter}
  - id: draft
    use: agent:writer
    for_each: {in: topic, width: 2}
    output: {schema: {type: string}}
  - id: send
    use: agent:mailer
    merge: any
    wait: {for: 1h 30m}
    gate: {ask: Send it?, revise_to: draft}
edges:
  - {from: split.out, to: draft.topic}
  - {from: draft.out, to: send.text}
"""


def test_clauses_are_drawn_in_the_order_in_which_they_act():
    assert (
        draw(parse_opening(CLAUSES), width=80)
        == """\
┌────────────────┐
│ split          │
│ agent:splitter │
└────────┬───────┘
         │
         ▼
┌───────────────────────────────┐
│ draft                         │
│ agent:writer                  │
│ · for each topic, 2 at a time │
│ · output out, else continue   │
│ topic ← split.out             │
└───────────────┬───────────────┘
                │
                ▼
┌───────────────────────────────────────────┐
│ send                                      │
│ agent:mailer                              │
│ · merge any                               │
│ · wait for 1h 30m                         │
│ · gate approve | revise | reject -> draft │
│ text ← draft.out                          │
└───────────────────────────────────────────┘"""
    )


def test_every_other_form_tells_the_clauses_too():
    opening = parse_opening(CLAUSES)

    assert "* wait for 1h 30m" in draw(opening, width=20, ascii_only=True)
    assert "wait for 1h 30m" in to_dot(opening)
    assert "wait for 1h 30m" in to_mermaid(opening)
    assert [(node["id"], node["notes"], node["revises"]) for node in to_graph(opening)["nodes"]] == [
        ("split", [], None),
        ("draft", ["for each topic, 2 at a time", "output out, else continue"], None),
        ("send", ["merge any", "wait for 1h 30m", "gate approve | revise | reject -> draft"], "draft"),
    ]


def test_a_place_far_along_a_line_without_an_end_is_shown():
    """Each of these took hours where the characters before the place were counted again for every one of them."""
    for line in ("a" * 1_000_000, "a" + "\u0301" * 100_000):
        for column in (1, len(line)):
            shown, caret = excerpt(line, column)
            assert text_width(shown) <= 100
            assert caret.endswith("^")
