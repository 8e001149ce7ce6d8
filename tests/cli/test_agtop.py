"""What `agtop` does with its options and settings; its screens are tested in tests/tui."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runloop
from runloop.cli import agtop, context
from runloop.tui.app import Agtop
from runloop.tui.board import Board

LETTER = Path(__file__).parent.parent / "data" / "tui" / "letter.ndjson"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path / "home"


@pytest.fixture
def opened(monkeypatch):
    """The screens that would have been shown."""
    shown = []
    monkeypatch.setenv("TEXTUAL_DRIVER", "none")

    def run(app):
        shown.append(app)
        app.feed.stream.close()

    monkeypatch.setattr(Agtop, "run", run)
    return shown


def refused(capsys, *arguments):
    code = agtop.main(arguments)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(("config", "option", "theme"), [("", [], "mono"), ("light", [], "light"), ("light", ["--theme", "dark"], "dark")])
def test_the_theme_is_that_of_the_settings_or_of_the_option(home, opened, config, option, theme):
    if config:
        (home / "config.yaml").write_text(f"ui: {{theme: {config}}}\n")
    assert agtop.main(["--input", str(LETTER), *option]) == 0
    assert [app.theme for app in opened] == [theme]


def test_a_theme_that_does_not_exist_names_those_that_do(home, opened, capsys):
    code, said = refused(capsys, "--theme", "pink")
    assert (code, opened) == (2, [])
    assert "contrast" in said


@pytest.mark.parametrize(("name", "word"), [("stdin", "input"), ("stdout", "output"), ("stderr", "error")])
def test_a_screen_is_refused_where_one_of_the_streams_is_no_terminal(home, opened, capsys, monkeypatch, name, word):
    monkeypatch.delenv("TEXTUAL_DRIVER")
    monkeypatch.setattr(agtop.output, "is_terminal", lambda stream: stream is not getattr(sys, name))
    code, said = refused(capsys)
    assert (code, opened) == (2, [])
    assert "tui.no_terminal" in said
    assert f"the screen needs a terminal, and standard {word} is none" in said


def test_a_terminal_that_is_dumb_is_told_of_the_text_mode(home, opened, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert agtop.main(["--input", str(LETTER)]) == 0  # in a browser, say: what TERM is there is none of ours
    monkeypatch.delenv("TEXTUAL_DRIVER")
    monkeypatch.setattr(agtop.output, "is_terminal", lambda _stream: True)
    code, said = refused(capsys)
    assert (code, len(opened)) == (2, 1)
    assert said.startswith("error[tui.no_terminal]: the screen needs a terminal with a cursor")


def test_a_screen_needs_a_terminal_and_a_file_has_to_be_there(home, capsys):
    assert "error[tui.no_terminal]" in refused(capsys)[1]
    code, said = refused(capsys, "--input", str(home / "nothing"))
    assert (code, said.splitlines()[:2]) == (
        2,
        ["error[tui.input]: it cannot be read: No such file or directory", f"  at {home / 'nothing'}"],
    )
    assert "error[cli.usage]" in refused(capsys, "--web", "--input", "-")[1]


def test_what_is_shown_is_masked_as_rlp_masks_it(home):
    records = [json.loads(line) for line in LETTER.read_text().splitlines()]
    records[8]["message"] = records[8]["meta"]["text"] = "wrote to ada@example.org"
    context.begin()
    board, desk = Board(), agtop.KnowledgeDesk()
    for record in records:
        board.take(desk.mask(record))
    (run,) = board.runs.values()
    said = next(line.text for line in run.log if "wrote to" in line.text)
    assert not re.search(r"\bada@example.org", said)


def test_who_quits_the_text_mode_leaves_though_more_may_be_typed(home):
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop", "--plain", "--input", str(LETTER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        program.stdin.write(b"quit\n")
        program.stdin.flush()
        assert (program.wait(60), program.stderr.read()) == (0, b"")


def test_who_quits_leaves_though_more_may_come_out_of_the_pipe_that_is_shown(home, tmp_path):
    pipe, commands = tmp_path / "pipe", tmp_path / "commands"
    os.mkfifo(pipe)
    commands.write_text("runs\nquit\n")
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop", "--plain", "--input", str(pipe)]
    with contextlib.ExitStack() as opened:
        given = opened.enter_context(commands.open("rb"))
        program = opened.enter_context(subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        writing = opened.enter_context(pipe.open("wb"))
        writing.write(LETTER.read_bytes())
        writing.flush()
        assert (program.wait(60), program.stderr.read()) == (0, b"")


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_it_says_its_version(word, capsys):
    with pytest.raises(SystemExit) as ended:
        agtop.main([word])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"agtop {runloop.__version__}\n")
