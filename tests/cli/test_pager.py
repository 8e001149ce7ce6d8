"""Long output on a terminal goes through the pager, and nothing else does."""

import os
import pty
import subprocess
import sys

import pytest

from runloop.cli.pager import PAGED, paged

CODE = "import sys; from runloop.cli.entry import main; sys.exit(main())"


def on_a_terminal(tmp_path, *words, **environment):
    """What a terminal of ten rows shows of `rlp WORDS`, and the exit code."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START") if name in os.environ}
    env = {**kept, "HOME": str(tmp_path), "TERM": "xterm", "LINES": "10", "COLUMNS": "80", **environment}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-P", "-c", CODE, *words], env)
    shown = b""
    try:
        while data := os.read(terminal, 4096):
            shown += data
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def counting(tmp_path):
    """A pager that says how many lines it got and whether they were coloured for it."""
    program = tmp_path / "pager"
    program.write_text('#!/bin/sh\necho "PAGED $(wc -l) $LESS"\n')
    program.chmod(0o755)
    return str(program)


def test_what_is_longer_than_the_screen_goes_through_the_pager(tmp_path, counting):
    shown, code = on_a_terminal(tmp_path, "config", "show", "--all", PAGER=counting)
    assert (code, shown.startswith("PAGED "), "FRX" in shown) == (0, True, True)


@pytest.mark.parametrize(
    "words",
    [("help", "exit-codes"), ("config", "path"), ("--no-pager", "config", "show", "--all"), ("version",)],
    ids=["a topic", "short", "not wanted", "no verb that is paged"],
)
def test_what_is_short_or_not_wanted_is_printed_at_once(tmp_path, counting, words):
    shown, _ = on_a_terminal(tmp_path, *words, PAGER=counting)
    assert "PAGED" not in shown
    assert shown.strip()


@pytest.mark.parametrize("pager", ["cat", "", "/nowhere/at-all", "'"])
def test_without_a_usable_pager_the_terminal_scrolls(tmp_path, pager):
    shown, code = on_a_terminal(tmp_path, "config", "show", "--all", PAGER=pager)
    assert (code, "mail.smtp.host" in shown) == (0, True)


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    shown, code = on_a_terminal(tmp_path, "config", "show", "--all", PAGER="head -1")
    assert (code, shown.count("\n")) == (0, 1)


def test_an_error_ends_with_its_code_also_through_the_pager(tmp_path, counting):
    _, code = on_a_terminal(tmp_path, "config", "explain", "no.such.key", PAGER=counting)
    assert code == 2


def test_in_a_pipe_nothing_is_paged(tmp_path, counting):
    env = {**os.environ, "HOME": str(tmp_path), "PAGER": counting}
    done = subprocess.run(
        [sys.executable, "-c", CODE, "config", "show", "--all", "--table"], env=env, capture_output=True, text=True, check=True
    )
    assert "PAGED" not in done.stdout


def test_every_verb_that_is_paged_is_one():
    from runloop.cli.commands import command_of
    from runloop.cli.main import VERBS

    known = {*VERBS, "help"} | {f"{verb} {name}" for verb in ("kb", "agent", "opening", "config") for name in command_of(verb).commands}
    assert PAGED - known == set()


def test_what_is_followed_is_not_paged(monkeypatch):
    monkeypatch.setattr("runloop.cli.output.is_terminal", lambda stream: True)
    before = sys.stdout
    with paged(["logs", "last", "-f"], wanted=True):
        assert sys.stdout is before
    with paged(["logs", "last"], wanted=True):
        assert sys.stdout is not before


def test_a_verbs_help_is_paged_although_its_library_tries_whether_the_stream_takes_bytes(tmp_path, counting):
    shown, code = on_a_terminal(tmp_path, "runs", "--help", PAGER=counting)
    assert (code, shown.startswith("PAGED ")) == (0, True)
