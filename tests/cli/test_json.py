"""`--json` everywhere: every verb that shows something takes it, and those that write documents say what they wrote."""

import io
import json
import sys
from pathlib import Path

import pytest

from runloop.cli import document, output
from runloop.cli.grammar import whole
from runloop.events import NewEvent, RunIdentity, run_event
from runloop.kb import KnowledgeBase

PLAN = "\x41 \u202e evil \u009b31m"


def commands(node, path=()):
    for name, each in node["commands"].items():
        if each["commands"]:
            yield from commands(each, (*path, name))
        elif path[:1] != ("help",):
            yield " ".join((*path, name)), each


LEAVES = dict(commands({**whole(), "commands": {name: each for name, each in whole()["commands"].items() if name != "help"}}))


def test_every_verb_takes_json():
    assert len(LEAVES) > 70
    assert [name for name, each in LEAVES.items() if not any("--json" in option["names"] for option in each["options"])] == []


@pytest.fixture
def contact(home):
    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([NewEvent("contact.upserted", {"name": f"Ada {PLAN}", "email": "ada@home.example"}, "user")])


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(output, "is_terminal", lambda stream: stream is sys.stdout)


def test_an_export_says_what_the_file_holds(rlp, contact, tmp_path):
    into = tmp_path / "out.jsonl"
    code, out, err = rlp("kb", "export", "-o", into, "--json")
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert (said["file"], said["format"], said["masked"], said["events"], said["bytes"]) == (
        str(into), "jsonl", True, 1, into.stat().st_size,
    )  # fmt: skip
    into = tmp_path / "out.xml"
    said = json.loads(rlp("kb", "export", "--format", "graphml", "-o", into, "--json")[1])
    assert (said["format"], said["nodes"] > 0) == ("graphml", into.read_text().count("<node ") > 0)
    assert json.loads(rlp("kb", "export", "-f", "markdown", "--entity", "event:1", "-o", tmp_path / "p.md", "--json")[1])["entity"]


@pytest.mark.parametrize("words", [["kb", "export"], ["export", "last"]])
def test_where_the_document_goes_to_standard_output_there_is_no_room_for_json(rlp, words):
    code, out, err = rlp(*words, "--json")
    assert (code, out, json.loads(err)["error"]["hint"]) == (2, "", "name a file for the document: -o FILE")


def test_an_export_to_a_terminal_cannot_drive_it_and_is_still_what_it_was(rlp, contact, terminal):
    out = rlp("kb", "export", "--format", "jsonl")[1]
    assert "\u202e" not in out
    assert "\x9b" not in out
    [name] = [json.loads(line)["event"]["payload"]["name"] for line in out.splitlines() if '"contact.upserted"' in line]
    assert name == f"Ada {PLAN}"
    graph = rlp("kb", "export", "--format", "graphml")[1]
    assert (r"\u202e evil \x9b31m" in graph, "\u202e" in graph) == (True, False)


def test_an_export_to_a_file_is_the_document_itself(rlp, contact, tmp_path):
    rlp("kb", "export", "--format", "graphml", "-o", tmp_path / "graph.xml")
    assert PLAN in (tmp_path / "graph.xml").read_text()
    assert rlp("kb", "export", "--format", "graphml")[1] == (tmp_path / "graph.xml").read_text()


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_however_the_bytes_come_the_lines_are_printed_whole(size, monkeypatch):
    monkeypatch.setattr(sys, "stdout", shown := io.StringIO())
    legible = document.Legible(output.clean)
    data = "a \u202e\nß \x1b[31m €\nend".encode()
    for at in range(0, len(data), size):
        legible.write(data[at : at + size])
    legible.end()
    assert shown.getvalue() == "a \\u202e\nß \\x1b[31m €\nend\n"


def test_a_new_opening_and_its_layout_are_told(rlp, tmp_path):
    said = json.loads(rlp("opening", "new", "mine", "--from", "pipeline", "--agent", "critic", "-o", tmp_path / "mine.yaml", "--json")[1])
    assert said == {"name": "mine", "template": "pipeline", "file": str(tmp_path / "mine.yaml")}
    said = json.loads(rlp("opening", "new", "mine", "--from", "pipeline", "--agent", "critic", "-o", "-", "--json")[1])
    assert (said["file"], said["text"]) == (None, (tmp_path / "mine.yaml").read_text())
    [said] = json.loads(rlp("opening", "fmt", tmp_path / "mine.yaml", "--json")[1])
    assert (said["form"], said["differs"], said["written"], said["text"]) == ("yaml", False, None, (tmp_path / "mine.yaml").read_text())
    [said] = json.loads(rlp("opening", "fmt", tmp_path / "mine.yaml", "--to", "brace", "--write", "--json")[1])
    assert said == {"file": str(tmp_path / "mine.yaml"), "form": "brace", "differs": True, "written": str(tmp_path / "mine.opening")}
    assert [node["id"] for node in json.loads(rlp("opening", "graph", tmp_path / "mine.yaml", "--json")[1])["nodes"]]


def test_a_frame_that_cannot_be_decoded_is_json_too(rlp, tmp_path):
    (tmp_path / "frame").write_bytes(b"\0")
    code, out, err = rlp("rmp", "decode", tmp_path / "frame", "--json")
    assert (code, json.loads(out), json.loads(err)["error"]["code"]) == (1, {"error": "Incomplete", "header": None}, "rmp.incomplete")


KEYS = json.loads((Path(__file__).parents[1] / "data/cli/json_keys.json").read_text())
"""The keys of what verbs print, which programs may rely on: more may come, none goes."""
RUN = "3f2a91c0-0000-4000-8000-000000000001"


@pytest.fixture
def run(contact, home):
    identity = RunIdentity(RUN, f"trace:{RUN}", f"opening:{RUN}", "bench")
    started = {"opening_digest": "0" * 64, "params": {}, "versions": {"runloop": "1"}, "mode": "local"}
    ended = {"status": "failed", "final_hash": "0" * 64, "ms": 1, "reason": "a test"}
    with KnowledgeBase.open(home / "pog") as kb:
        kb.ledger.append([run_event(identity, 1, "run.submitted", started, ""), run_event(identity, 2, "run.finished", ended, "")])


def test_no_key_goes_that_programs_may_rely_on(rlp, run):
    assert rlp("kb", "remember", "ada@home.example", "likes", "tea", "--source", "event:1")[0] == 0
    missing = {}
    for line, keys in KEYS.items():
        words = line.split(" ", 2) if line.startswith("kb query") else line.split(" ")
        code, out, err = rlp(*words, "--json")
        assert code in {0, 2}, (line, err)
        said = json.loads(out)
        rows = said if isinstance(said, list) else [said]
        assert rows, line
        if gone := set(keys) - set().union(*rows):
            missing[line] = gone
    assert missing == {}
