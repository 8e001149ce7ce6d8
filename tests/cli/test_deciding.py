"""`rlp why LINE` and `rlp ask --dry-run`: the whole decision about a line, told before anything runs."""

from __future__ import annotations

import json
import re

import pytest

TWO = """
version: 0
name: {name}
goals: [Write a report about a project.]
examples: ["write the {name} report about {{topic}}"]
params: {{topic: all}}
nodes:
  - id: answer
    use: agent:assistant
    with: {{question: "{{{{params.topic}}}}"}}
edges: []
success: {{any_of: [exists(answer.out)]}}
"""


@pytest.fixture
def home(home, tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    for folder in (home / "openings", programs, tmp_path / "work"):
        folder.mkdir(parents=True)
    for name in ("git", "find"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.chdir(tmp_path / "work")
    return home


def why(rlp, *words):
    code, out, err = rlp("why", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_request_is_explained_down_to_its_parameters(rlp):
    said = why(rlp, "please write an e-mail to Maria Lee about the plan")

    assert (said["router"]["route"], said["router"]["rule"]) == ("agent", "sentence")
    assert {each["feature"]: each["weight"] for each in said["router"]["features"]}["article:an"] > 0
    assert (said["request"]["opening"], said["request"]["outcome"]) == ("compose_email", "one")
    assert said["request"]["params"]["recipient"] == "Maria Lee"
    assert said["request"]["matches"][0]["example"] == "write an e-mail to {recipient} about {topic}"
    assert "email" in [each["word"] for each in said["request"]["matches"][0]["terms"]]


def test_what_the_shell_at_the_prompt_knows_is_looked_at(rlp, monkeypatch):
    before = why(rlp, "zz all of the things that I did")
    monkeypatch.setenv("RUNLOOP_SHELL_FACTS", '{"shell": "zsh", "aliases": {"zz": "git log"}, "functions": []}')
    after = why(rlp, "zz all of the things that I did")

    assert (before["router"]["rule"], after["router"]["rule"]) == ("sentence", "sentence:command_word")
    assert why(rlp, "zz -n 3")["router"]["rule"] == "command:alias"


@pytest.mark.parametrize("facts", ["[1]", "{", '{"aliases": 3}', "[" * 100_000])
def test_facts_that_cannot_be_read_are_said_so(rlp, monkeypatch, facts):
    monkeypatch.setenv("RUNLOOP_SHELL_FACTS", facts)
    code, _, err = rlp("why", "zz -n 3")

    assert code == 2
    assert "shell" in err.lower()


def test_a_command_goes_to_the_shell_and_no_opening_is_sought(rlp):
    said = why(rlp, "git status -s")

    assert (said["line"], said["router"]["rule"], said["request"]) == ("git status -s", "command:command", None)
    assert why(rlp, "git", "status")["router"]["route"] == why(rlp, "git")["router"]["route"] == "shell"


def test_a_denied_line_is_told_to_be_denied(rlp, home):
    (home / "config.yaml").write_text('router: {denylist: ["zap-everything --now"]}\n')

    said = why(rlp, "true && zap-everything --now")
    code, out, _ = rlp("why", "true && zap-everything --now", "--table")

    assert (said["router"]["blocked"], said["router"]["exit"], said["request"]) == (True, 14, None)
    assert code == 0
    assert "  goes to     nobody: no shell may run it\n" in out


def test_what_fits_no_opening_is_the_assistant_s_with_the_nearest_ones(rlp):
    said = why(rlp, "? what failed yesterday")

    assert (said["router"]["rule"], said["request"]["opening"], said["request"]["outcome"]) == ("sigil", "assistant", "answer")
    assert said["request"]["params"]["question"] == "what failed yesterday"
    assert [each["opening"] for each in said["request"]["matches"]] == ["assistant", "compose_email"]


def test_the_explanation_for_people_has_the_features_the_opening_the_words_and_the_parameters(rlp):
    _, out, _ = rlp("why", "tell Maria Lee about the plan", "--table", "--no-wrap")

    assert out.startswith("tell Maria Lee about the plan\n  names       nothing that is known; as a line typed at the prompt it")
    assert "  goes to     agents\n" in out
    assert "(rule sentence, confidence " in out
    assert "article:the +" in out
    assert "  opening     compose_email 1.00, because compose_email fits best (like “tell {recipient} about {topic}”" in out
    assert "    recipient = Maria Lee  (from: tell {recipient} about {topic})\n" in out
    assert "    directories = []  (default)\n" in out


def test_what_was_typed_is_masked_as_all_explanations_are(rlp):
    code, out, _ = rlp("why", "please write to ada@home.example about lunch")

    assert code == 0
    assert not re.search(r"\bada@", out)


def test_openings_that_are_too_close_are_both_told_and_none_is_taken(rlp, home):
    for name in ("weekly", "monthly"):
        (home / "openings" / f"{name}.yaml").write_text(TWO.format(name=name))

    said = why(rlp, "please write a report about the launch")["request"]
    code, out, _ = rlp("why", "please write a report about the launch", "--table", "--no-wrap")
    dry_code, dry, _ = rlp("ask", "--dry-run", "please write a report about the launch")

    assert (said["outcome"], said["opening"], said["params"]) == ("close", None, {})
    assert code == dry_code == 0
    assert "you would be asked which" in out
    assert json.loads(dry) == {**said, "line": "please write a report about the launch"}


@pytest.mark.parametrize("word", ["zebra", "contact:Nobody At All"])
def test_what_can_only_be_a_name_is_unknown_and_not_a_line(rlp, word):
    assert "error[run.no_ledger]" in rlp("why", word)[2]
    rlp("kb", "remember", "a", "b", "c")
    code, _, err = rlp("why", word)

    assert code == 2
    assert "error[kb.unknown_entity]" in err


def test_an_entity_is_explained_before_a_line_unless_the_line_is_asked_for(rlp, tmp_path):
    (tmp_path / "work" / "git").write_text("# Git\n\nNotes.\n")
    (tmp_path / "work" / "status.md").write_text("# Status of git\n\nGood.\n")
    rlp("kb", "import", "notes", tmp_path / "work")

    assert "router" not in why(rlp, "status.md")
    assert "router" in why(rlp, "status.md", "--line")


def test_a_line_has_no_graph(rlp):
    code, _, err = rlp("why", "git status", "--format", "dot")

    assert code == 2
    assert "error[cli.usage]: the decision for a line is no graph" in err


def test_the_sigil_of_the_settings_is_no_part_of_the_request(rlp, home):
    (home / "config.yaml").write_text('router: {sigil: ",,"}\n')

    assert why(rlp, ",, what failed?")["request"]["line"] == "what failed?"
    assert json.loads(rlp("ask", "--dry-run", ",,what failed?")[1])["line"] == "what failed?"
    assert json.loads(rlp("ask", "--dry-run", "? is it")[1])["line"] == "? is it"


def test_bytes_that_are_no_utf_8_are_shown_as_such(rlp):
    assert why(rlp, "please write to Bob \udcff about lunch")["request"]["params"]["recipient"] == "Bob \ufffd"
    assert rlp("why", "\udcff")[0] == 2
    assert json.loads(rlp("ask", "--dry-run", "what \udcff is")[1])["line"] == "what \ufffd is"
