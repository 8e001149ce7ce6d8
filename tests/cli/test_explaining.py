"""`rlp why`, `rlp kb show`, `rlp kb timeline` and `--at`, as a person types them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from runloop.cli import output
from runloop.cli.kb import drawing


@pytest.fixture
def home(home, tmp_path, monkeypatch):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "plan.md").write_text("# Plan\n\nThe launch is in March. Ask ada@home.example.\n")
    monkeypatch.chdir(notes)
    return home


@pytest.fixture
def twice(rlp, tmp_path):
    """A note in two versions."""
    rlp("kb", "import", "notes", tmp_path / "notes")
    (tmp_path / "notes" / "plan.md").write_text("# Plan\n\nThe launch is in May.\n")
    rlp("kb", "import", "notes", tmp_path / "notes")


def test_last_is_a_run_and_never_the_program_of_that_name(rlp, tmp_path, monkeypatch):
    (tmp_path / "last").write_text("#!/bin/sh\n")
    (tmp_path / "last").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = rlp("why", "last")
    assert (code, out, "nothing has been recorded yet" in err) == (2, "", True)


def test_the_past_is_shown_searched_and_said_when_there_is_none(rlp, twice):
    assert json.loads(rlp("kb", "show", "plan.md:1")[1])["properties"]["text"].endswith("in May.")
    assert "in March" in json.loads(rlp("kb", "show", "plan.md:1", "--at", "2")[1])["properties"]["text"]
    assert json.loads(rlp("search", "march")[1]) == []
    [hit] = json.loads(rlp("search", "march", "--at", "event:1")[1])
    assert hit["event_id"] == 1
    count = "SELECT (SELECT count(*) FROM events) AS events, (SELECT text FROM notes) AS text"
    [then], [now] = (json.loads(rlp("kb", "query", count, *more)[1])["rows"] for more in (("--at", "2"), ()))
    assert (then["events"], "in March" in then["text"]) == (2, True)
    assert (now["events"], "in May" in now["text"]) == (4, True)
    code, _, err = rlp("kb", "show", "plan.md", "--at", "2020-01-01", "--table")
    assert code == 2
    assert "error[kb.no_past]: at 2020-01-01 there was nothing" in err
    assert "the first event is of 20" in err
    code, _, err = rlp("search", "march", "--at", "99", "--table")
    assert code == 2
    assert "event 99 has not happened: the newest is event 4" in err
    assert rlp("search", "march", "--at", "tomorrowish")[0] == 2
    assert json.loads(rlp("search", "may", "--at", "0m")[1]) != []


def test_the_past_of_an_empty_base_says_so(rlp):
    code, _, err = rlp("search", "x", "--at", "1h", "--table")
    assert code == 2
    assert "nothing has been recorded yet" in err


def test_a_timeline_has_a_line_for_each_thing_that_happened(rlp, twice):
    code, out, _ = rlp("kb", "timeline", "--table", "--no-wrap")
    assert code == 0
    assert [line.split("event:")[1] for line in out.splitlines()] == ["1", "2", "3", "4"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  read lines 1 to 3: Plan  \(user, plan.md:1\)  event:1\n", out)
    assert [entry["event_id"] for entry in json.loads(rlp("kb", "timeline", "plan.md")[1])] == [1, 3]
    assert rlp("kb", "timeline", "--until", "2020-01-01", "--table")[1] == "nothing happened\n"
    code, out, err = rlp("kb", "timeline", "-n", "1", "--table")
    assert "only the newest 1" in err


def test_show_prints_what_is_known_and_what_happened(rlp, twice):
    code, out, _ = rlp("kb", "show", "plan.md:1", "--table", "--no-wrap")
    assert code == 0
    assert out.startswith("note Plan\n  key  note:")
    assert "\nrelated to\n  part_of → " in out
    assert "\nwhat happened\n" in out
    code, _, err = rlp("kb", "show", "nobody@at.all.example")
    assert code == 2
    assert "kb.unknown_entity]: nothing is known of 'nobody@at.all.example'" in err  # as it was typed, so that a slip is seen


def test_why_says_what_to_try_and_what_excludes_what(rlp, twice):
    code, _, err = rlp("why", "nothing-like-it", "--table")
    assert code == 2
    assert "error[kb.unknown_entity]" in err
    assert "path[:line]" in err
    assert rlp("why", "event:1", "--json", "--format", "dot")[0] == 2


def test_why_as_a_table_is_cut_as_every_table_is(rlp, twice):
    code, out, _ = rlp("why", "plan.md", "--max-cols", "3", "--max-rows", "1")
    lines = out.splitlines()
    assert code == 0
    assert [name.strip() for name in lines[0].split("|")] == ["time", "event", "kind"]
    assert lines[3] == "… 2 more rows (use --max-rows to adjust)"
    assert lines[-1] == "columns truncated to first 3; use --max-cols to adjust"
    code, out, _ = rlp("why", "--line", "git status", "--format", "table")
    header, _, row = (line.split("|") for line in out.splitlines())
    assert [name.strip() for name in header] == ["route", "rule", "blocked", "features", "reason"]
    assert row[2].strip() == "false"


def link(start, relation, end, note=None):
    return {"from": start, "relation": relation, "to": end, "note": note}


def step(key, kind="event", title=None, **facts):
    return {"key": key, "kind": kind, "title": title or key, "event_id": int(key[6:]), "ts_ms": 0, "who": "u", "facts": facts}


def graph(steps, links):
    empty = {"made_by": [], "approved_by": [], "outcomes": [], "texts": [], "people": [], "gone": []}
    cost = {"model_calls": 0, "cached": 0, "failed": 0, "tokens": 0, "usd": 0}
    return {"root": steps[0]["key"], "summary": {**empty, "cost": cost}, "steps": steps, "links": links, "left_out": 0}


def test_a_tree_shows_each_step_once_where_it_is_nearest():
    said = graph(
        [step(f"event:{number}") for number in range(1, 5)],
        [
            link("event:1", "has", "event:2"),
            link("event:1", "has", "event:3"),
            link("event:2", "has", "event:3", "late"),
            link("event:3", "has", "event:4"),
            link("event:4", "has", "event:1"),
        ],
    )
    assert list(drawing.tree(said, 8)) == [
        "event:1  event:1",
        "├─ has event:2  event:2",
        "│  └─ has event:3 (shown elsewhere)",
        "└─ has event:3  event:3",
        "   └─ has event:4  event:4",
        "      └─ has event:1 (shown elsewhere)",
    ]
    assert list(drawing.tree(said, 1))[-1] == "   └─ … (--depth 2 shows more)"


def test_long_lists_and_what_was_only_looked_at_are_counted():
    steps = [step(f"event:{number}") for number in range(1, 40)]
    links = [link("event:1", "cites", f"event:{number}") for number in range(2, 22)]
    links += [link("event:1", "looked at", f"event:{number}") for number in range(22, 40)]
    lines = list(drawing.tree(graph(steps, links), 8))
    assert len(lines) == 1 + 12 + 2
    assert lines[-2].startswith("├─ cites 8 more: event:14, event:15, ")
    assert lines[-1].startswith("└─ looked at 18 more: event:22, ")
    assert len(list(drawing.tree(graph(steps, links), 8, whole=True))) == 39


NASTY = 'a "b" <c> \\ {d} [e] | #f; `g` \x1b[31m ü\n'


def test_drawn_graphs_hold_any_title():
    said = graph([step("event:1", title=NASTY), step("event:2")], [link("event:1", 'says "so"', "event:2")])
    lines = list(drawing.mermaid(said))
    assert (lines[0], len(lines)) == ("flowchart LR", 4)
    assert all(re.fullmatch(r'  n\d(\["[^"\n]*"\]| -->\|"[^"|\n]*"\| n\d)', line) for line in lines[1:])
    text = "\n".join(drawing.dot(said))
    assert "\x1b" not in text
    if shutil.which("dot"):
        assert subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=False).returncode == 0
    assert text.count("->") == 1


@pytest.mark.parametrize("size", [20, 40, 80])
def test_wrapped_lines_lose_no_word_and_stay_under_their_branch(size):
    words = " ".join(f"word{number}" for number in range(30))
    lines = output.wrapped(f"│  ├─ {words}", size)
    assert all(output.display_width(line) <= size for line in lines)
    assert lines[0].startswith("│  ├─ word0")
    assert all(line.startswith("│  │    ") for line in lines[1:])
    assert " ".join(" ".join(lines).replace("│", " ").replace("├─", " ").split()) == words


def test_what_nobody_has_decided_yet_is_not_said_to_be_decided():
    said = graph([step("event:1")], [])
    asked = {"decision": "not decided yet", "by": None, "ts_ms": 0, "why": None}
    done = {"decision": "denied", "by": "operator", "ts_ms": 0, "why": "too long"}
    said["summary"]["approved_by"] = [asked, done]
    first, second = (line for line in drawing.summary_lines(said) if "1970" in line)
    assert first.startswith("asked     not decided yet, 1970-")
    assert second.startswith("decided   denied by operator, 1970-")


def test_an_answer_whether_a_call_happened_is_no_decision():
    said = graph([step("event:1")], [])
    said["summary"]["outcomes"] = [{"action": "mail.smtp", "decision": "it happened", "by": "operator", "ts_ms": 0, "why": None}]
    [line] = (line for line in drawing.summary_lines(said) if "1970" in line)
    assert line.startswith("answered  whether mail.smtp happened: it happened by operator, 1970-")


def test_a_run_that_has_not_ended_is_not_said_to_be_left_by_its_process():
    asked = step("event:7", "run", "run r of letter", run_id="r", opening="letter", status="unfinished", mode="daemon")
    [first, *_] = drawing.tree(graph([asked], []), 8)
    assert first.startswith("run r of letter, not ended, daemon")
