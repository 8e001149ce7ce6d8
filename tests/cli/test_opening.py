"""`rlp opening check` and `rlp opening graph`, as a person and as a program meet them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from runloop.cli.main import main

GOOD = """\
version: 0
name: tést
nodes:
  - {id: größe, use: agent:reader}
  - {id: b, use: agent:reader}
edges:
  - {from: größe.text, to: b.body}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home and a working directory of its own, and a terminal that is 80 columns wide."""
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def file(home):
    def write(text, name="o.yaml"):
        path = home / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write


def run(capsys, *arguments):
    lines = ["--table"] if arguments[0] == "check" and "--json" not in arguments else []
    code = main(["opening", *arguments, *lines])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_sound_opening_says_ok_with_its_size(capsys, file):
    assert run(capsys, "check", "--no-agents", file(GOOD)) == (0, "o.yaml: ok (2 nodes, 1 edge)\n", "")


def test_a_problem_shows_its_line_with_a_caret_below_the_place_and_a_hint(capsys, file):
    code, out, _ = run(capsys, "check", "--no-agents", file(GOOD.replace("to: b.body", "to: c.body")))

    assert (code, out) == (
        2,
        """\
o.yaml:7:28: edge references unknown node 'c' [opening.reference]
    7 |   - {from: größe.text, to: c.body}
      |                            ^
      = hint: known: b, größe
o.yaml: 1 problem
""",
    )


def test_all_problems_of_all_files_are_shown_and_one_is_enough_for_the_exit_code(capsys, file):
    bad = file(GOOD.replace("version: 0", "version: 1").replace("nodes:", "colour: red\nnodes:"), "bad.yaml")
    good = file(GOOD, "good.yaml")

    code, out, _ = run(capsys, "check", "--no-agents", bad, good)

    places = [line.split(" ")[0] for line in out.splitlines() if line.startswith(("bad", "good"))]
    assert (code, places) == (2, ["bad.yaml:1:10:", "bad.yaml:3:1:", "bad.yaml:", "good.yaml:"])


def test_json_has_every_problem_of_every_file(capsys, file):
    bad = file(GOOD.replace("version: 0", "version: 1"), "bad.yaml")
    good = file(GOOD, "good.yaml")

    code, out, _ = run(capsys, "check", "--json", "--no-agents", bad, good)

    results = json.loads(out)
    assert code == 2
    assert [(result["file"], result["ok"], result["name"]) for result in results] == [
        ("bad.yaml", False, "tést"),
        ("good.yaml", True, "tést"),
    ]
    assert results[0]["problems"] == [
        {
            "code": "opening.version",
            "message": "unsupported DSL version 1; expected 0",
            "where": {"file": "bad.yaml", "line": 1, "column": 10, "key": "version"},
            "hint": "",
            "retryable": False,
        }
    ]
    assert len(results[1]["digest"]) == 64


def test_an_agent_that_is_not_installed_is_a_problem_at_its_use(capsys, file):
    text = GOOD.replace("agent:reader", "agent:nobody_has_this")

    code, out, _ = run(capsys, "check", file(text))

    assert code == 2
    assert [line for line in out.splitlines() if "not installed" in line] == [
        "o.yaml:4:22: agent 'nobody_has_this' is not installed [opening.unknown_agent]",
        "o.yaml:5:18: agent 'nobody_has_this' is not installed [opening.unknown_agent]",
    ]


def test_a_name_that_is_near_to_an_agent_or_opening_gets_that_as_a_hint(capsys, file, home):
    (home / "openings").mkdir()
    file("version: 0\nname: child\nnodes: [{id: a, use: 'agent:reader'}]\nedges: []\n", "openings/child.yaml")
    text = "version: 0\nname: o\nnodes: [{id: a, use: 'agent:maler'}, {id: b, use: 'opening:chidl'}]\nedges: []\n"

    _, out, _ = run(capsys, "check", file(text))

    assert ["did you mean 'mailer'?" in out, "did you mean 'child'?" in out] == [True, True]


def test_a_directory_of_agents_must_exist(capsys, file):
    code, _, err = run(capsys, "check", "--root", "nowhere", file(GOOD))

    assert (code, err.splitlines()[0]) == (2, "error[agent.root]: there is no directory nowhere")


def test_standard_input_is_a_dash(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.replace("name", "nam").encode())))

    code, out, _ = run(capsys, "check", "--no-agents", "-")

    assert (code, out.splitlines()[0]) == (2, "<stdin>:1:1: missing required field 'name' [opening.missing]")


def test_an_opening_is_found_by_name_too(capsys, file, home):
    (home / "openings").mkdir()
    file(GOOD, "openings/mine.yaml")

    assert run(capsys, "check", "--no-agents", "mine")[0] == 0


@pytest.mark.parametrize("verb", ["check", "graph"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.yaml", "opening 'nowhere.yaml' not found"),
        (".", "cannot read the opening .: it is a directory"),
        ("x" * 300, "x" * 300),  # not to be read, or from Python 3.14 on no file
    ],
)
def test_what_cannot_be_read_is_an_error_and_not_a_traceback(capsys, verb, name, message):
    code, out, err = run(capsys, verb, name)

    assert (code, out) == (2, "")
    assert message in err
    assert "hint: " in err


def test_bytes_that_are_no_text_have_a_place(capsys, file):
    code, out, _ = run(capsys, "check", "--no-agents", file(b"version: 0\nname: \xff\n"))

    assert (code, out.splitlines()[:3]) == (
        2,
        ["o.yaml:2:7: byte 0xff is not UTF-8 [opening.not_utf8]", "    2 | name: �", "      |       ^"],
    )


def test_terminal_escapes_in_a_document_do_not_reach_the_terminal(capsys, file):
    _, out, _ = run(capsys, "check", "--no-agents", file('version: 0\nname: t\nnodes: []\nedges: []\n"\\e[31m\u202ered": 1\n'))

    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_file_that_is_too_large_is_refused_without_reading_all_of_it(capsys, file):
    code, out, _ = run(capsys, "check", "--no-agents", file(b"#" * (3 << 20)))

    assert (code, out.splitlines()[0]) == (2, "o.yaml:1:1: an opening is at most 1048576 bytes long [opening.limit]")


def test_the_graph_is_drawn_to_the_width(capsys, file):
    code, out, _ = run(capsys, "graph", file(GOOD), "--width", "60")

    assert code == 0
    assert out.splitlines()[:4] == ["┌──────────────┐", "│ größe        │", "│ agent:reader │", "└───────┬──────┘"]


def test_the_graph_keeps_to_ascii_when_asked_or_when_the_terminal_knows_no_more(file, monkeypatch, capsys):
    _, asked, _ = run(capsys, "graph", file(GOOD.replace("größe", "a")), "--ascii")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["opening", "graph", "o.yaml"]) == 0
    stream.flush()

    assert asked.isascii()
    assert stream.buffer.getvalue().decode("ascii") == asked


@pytest.mark.parametrize(("form", "start"), [("dot", 'digraph "tést" {'), ("mermaid", "flowchart TD"), ("json", "{")])
def test_the_graph_in_other_formats(capsys, file, form, start):
    code, out, _ = run(capsys, "graph", file(GOOD), "--format", form)

    assert (code, out.splitlines()[0]) == (0, start)


def test_the_json_graph_is_json(capsys, file):
    assert [node["id"] for node in json.loads(run(capsys, "graph", file(GOOD), "--format", "json")[1])["nodes"]] == ["größe", "b"]


def test_a_graph_of_a_broken_opening_is_refused_with_every_problem(capsys, file):
    code, out, err = run(capsys, "graph", file(GOOD.replace("version: 0", "version: 1").replace("b.body", "c.body")))

    assert (code, out) == (2, "")
    assert [line for line in err.splitlines() if line.startswith("error")] == [
        "error[opening.version]: unsupported DSL version 1; expected 0",
        "error[opening.reference]: edge references unknown node 'c'",
    ]


def test_ports_and_arguments_are_checked_against_the_agents_in_a_directory(capsys, file, home):
    assert main(["agent", "scaffold", "reader", "--root", str(home)]) == 0
    capsys.readouterr()
    text = """\
version: 0
name: t
nodes:
  - {id: a, use: agent:reader, with: {topic: x, sentences: 99}}
  - {id: b, use: agent:reader}
edges:
  - {from: a.text, to: b.topik}
"""
    code, out, _ = run(capsys, "check", "--root", ".", file(text))

    assert (code, [line for line in out.splitlines() if line.startswith(("o.yaml:", "      = "))]) == (
        2,
        [
            "o.yaml:4:60: with: 99 is greater than the maximum of 20 [opening.argument]",
            "      = hint: the manifest of agent 'reader' says so under [schemas.with]",
            "o.yaml:7:12: agent 'reader' has no output port 'text' [opening.port]",
            "      = hint: known: out; others are declared under [ports.out] in the agent's manifest.toml",
            "o.yaml:7:24: agent 'reader' has no input port 'topik' [opening.port]",
            "      = hint: did you mean 'topic'?",
            "o.yaml: 3 problems",
        ],
    )
    fixed = text.replace("a.text", "a.out").replace("topik", "topic").replace("99", "9")
    assert run(capsys, "check", "--root", ".", file(fixed))[:2] == (0, "o.yaml: ok (2 nodes, 1 edge)\n")


def test_nested_openings_are_looked_at_by_name(capsys, file, home):
    (home / "openings").mkdir()
    file("version: 0\nname: child\nparams: {text: ''}\nnodes: [{id: a, use: 'opening:parent'}]\nedges: []\n", "openings/child.yaml")
    file("version: 0\n", "openings/broken.yaml")
    text = "version: 0\nname: {}\nnodes: [{{id: a, use: 'opening:{}', with: {{text: 1}}}}]\nedges: []\n"

    for used, problem in {
        "child": "opening 'child' leads to itself without a condition: parent -> child -> parent [opening.recursion]",
        "nowhere": "there is no opening 'nowhere' [opening.unknown_opening]",
        "broken": "opening 'broken' cannot be used",
    }.items():
        code, out, _ = run(capsys, "check", file(text.format("parent", used)))
        assert (code, problem in out) == (2, True)
    code, out, _ = run(capsys, "check", file(text.format("other", "child")))
    assert (code, "parameter 'text' of opening 'child' is of type string, not number" in out) == (2, True)


def test_the_schema_for_editors_is_the_published_one(capsys):
    code, out, _ = run(capsys, "schema")

    assert (code, out) == (0, (Path(__file__).parents[2] / "docs" / "schemas" / "opening.schema.json").read_text("utf-8"))
