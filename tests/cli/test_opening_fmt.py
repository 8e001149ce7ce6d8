"""`rlp opening fmt` and `rlp opening new`: what they print, write and refuse."""

from __future__ import annotations

import io
import json
import stat
import sys

import pytest

from runloop.cli.main import main
from runloop.cli.opening_files import TemplateName
from runloop.openings import parse_opening
from runloop.openings.templates import TEMPLATES

UNTIDY = 'version: 0\nname: tést\nnodes: [{id: a, use: "agent:b"}] # one\nedges: []\n'
TIDY = "version: 0\nname: tést\nnodes:  # one\n  - id: a\n    use: agent:b\nedges: []\n"
BRACE = 'opening "tést" {\n  nodes:  # one\n    a := agent("b")\n  edges:\n}\n'


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "o.yaml").write_text(UNTIDY, "utf-8")
    return work


def run(capsys, *arguments):
    code = main(["opening", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_an_opening_is_printed_canonically_and_stays_as_it_is(capsys, home):
    assert run(capsys, "fmt", "o.yaml") == (0, TIDY, "")
    assert run(capsys, "fmt", "o.yaml", "--to", "brace") == (0, BRACE, "")
    assert (home / "o.yaml").read_text("utf-8") == UNTIDY


def test_standard_input_is_read_and_its_form_kept(capsys, monkeypatch):
    for text, printed in ((UNTIDY, TIDY), (BRACE.replace("  ", " "), BRACE)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run(capsys, "fmt", "-") == (0, printed, "")


def test_a_terminal_gets_comments_without_the_characters_that_drive_it(capsys, home, monkeypatch):
    (home / "o.yaml").write_text(UNTIDY.replace("# one", "# \u202eone"), "utf-8")
    monkeypatch.setattr("runloop.cli.output.is_terminal", lambda _stream: True)

    _, out, _ = run(capsys, "fmt", "o.yaml")

    assert ("\u202e" in out, out.count("\n")) == (False, TIDY.count("\n"))


def test_check_names_what_would_change_and_changes_nothing(capsys, home):
    (home / "good.yaml").write_text(TIDY, "utf-8")

    assert run(capsys, "fmt", "--check", "o.yaml", "good.yaml") == (1, "would change: o.yaml\n", "")
    assert run(capsys, "fmt", "--check", "good.yaml") == (0, "", "")
    assert (home / "o.yaml").read_text("utf-8") == UNTIDY


def test_write_changes_the_file_once_and_keeps_its_rights_and_links(capsys, home):
    (home / "o.yaml").chmod(0o600)
    (home / "link.yaml").symlink_to("o.yaml")

    assert run(capsys, "fmt", "--write", "link.yaml") == (0, "wrote link.yaml\n", "")
    assert run(capsys, "fmt", "--write", "link.yaml") == (0, "", "")
    assert (home / "link.yaml").is_symlink()
    assert ((home / "o.yaml").read_text("utf-8"), stat.S_IMODE((home / "o.yaml").stat().st_mode)) == (TIDY, 0o600)
    assert sorted(path.name for path in home.iterdir()) == ["link.yaml", "o.yaml"]


def test_another_form_is_written_beside_the_file_and_over_nothing(capsys, home):
    assert run(capsys, "fmt", "--write", "--to", "brace", "o.yaml") == (
        0,
        "wrote o.opening (o.yaml is still there; keep one of them)\n",
        "",
    )
    assert ((home / "o.opening").read_text("utf-8"), (home / "o.yaml").read_text("utf-8")) == (BRACE, UNTIDY)

    code, _, err = run(capsys, "fmt", "--write", "--to", "brace", "o.yaml")
    assert (code, "path already exists: o.opening" in err, "--force" in err) == (2, True, False)
    assert run(capsys, "fmt", "--write", "--to", "brace", "o.opening") == (0, "", "")

    code, _, err = run(capsys, "new", "mine", "--from", "pipeline", "--output", "o.yaml")
    assert (code, "remove what is there, or pass --force to replace it" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check", "--write", "o.yaml"], "exclude each other"),
        (["o.yaml", "o.yaml"], "several openings cannot be printed as one"),
        (["--to", "toml", "o.yaml"], "toml"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, arguments, message):
    code, out, err = run(capsys, "fmt", *arguments)

    assert (code, out, message in err) == (2, "", True)


def test_standard_input_cannot_be_written(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UNTIDY.encode())))

    code, _, err = run(capsys, "fmt", "--write", "-")

    assert (code, "standard input cannot be written" in err) == (2, True)


def test_an_opening_with_problems_is_not_printed_and_its_first_problem_is_told(capsys, home):
    (home / "bad.opening").write_text("opening x { nodes: a = agent(b) }", "utf-8")

    code, out, err = run(capsys, "fmt", "bad.opening")

    assert (code, out) == (2, "")
    assert "bad.opening:1:22" in err
    assert "expected ':=', found '='" in err


def test_the_brace_form_is_checked_and_found_by_name_like_yaml(capsys, home, tmp_path):
    own = tmp_path / "home" / "openings"
    own.mkdir(parents=True)
    (own / "mine.opening").write_text(BRACE.replace('agent("b")', 'tool("b")'), "utf-8")

    code, out, _ = run(capsys, "check", "--table", "--no-agents", "mine")

    assert code == 2
    assert "mine.opening:3:10: unknown use prefix 'tool' [opening.use]" in out


def test_a_new_opening_goes_to_your_own_openings_and_is_sound(capsys, tmp_path):
    code, out, _ = run(capsys, "new", "talk", "--from", "debate", "--agent", "thinker", "--agent", "judge=court@strict", "--rounds", "1")

    file = tmp_path / "home" / "openings" / "talk.yaml"
    assert (code, out) == (0, f"created {file}\nnext: edit it, then `rlp opening check talk` and `rlp run talk`\n")
    opening = parse_opening(file.read_text("utf-8"))
    assert [(node.id, node.use) for node in opening.nodes] == [
        ("pro_1", "agent:thinker"),
        ("con_1", "agent:thinker"),
        ("judge", "agent:court@strict"),
    ]
    assert run(capsys, "fmt", "--check", "talk") == (0, "", "")


def test_a_new_opening_replaces_nothing_without_force(capsys, home):
    assert run(capsys, "new", "o", "--from", "swarm", "-o", "o.yaml")[0] == 2
    assert (home / "o.yaml").read_text("utf-8") == UNTIDY

    code, out, _ = run(capsys, "new", "o", "--from", "swarm", "-o", "o.yaml", "--force")

    assert (code, "rlp run o.yaml" in out) == (0, True)
    assert parse_opening((home / "o.yaml").read_text("utf-8")).name == "o"


def test_a_new_opening_can_be_printed(capsys):
    code, out, _ = run(capsys, "new", "o", "--from", "parallel", "--branches", "2", "-o", "-")

    assert (code, [node.id for node in parse_opening(out).nodes]) == (0, ["worker_1", "worker_2", "combine"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a b", "--from", "swarm"], "invalid opening name 'a b'"),
        (["o", "--from", "swarms"], "swarms"),
        (["o", "--from", "swarm", "--agent", "vote=x"], "has no role 'vote'"),
        (["o", "--from", "swarm", "--agent", "x", "--agent", "y"], "several agents are named for all roles"),
        (["o", "--from", "swarm", "-o", "o.yaml/o.yaml"], "cannot write o.yaml/o.yaml"),
    ],
)
def test_a_new_opening_that_cannot_be_made_is_refused(capsys, arguments, message):
    code, out, err = run(capsys, "new", *arguments)

    assert (code, out, message in err) == (2, "", True)


def test_the_command_line_offers_every_template():
    assert [name.value for name in TemplateName] == list(TEMPLATES)


def test_errors_are_json_where_that_is_asked_for(capsys, home):
    (home / "bad.opening").write_text("opening", "utf-8")

    code, out, _ = run(capsys, "check", "--json", "bad.opening")

    [result] = json.loads(out)
    assert (code, result["ok"], result["problems"][0]["code"]) == (2, False, "opening.syntax")
