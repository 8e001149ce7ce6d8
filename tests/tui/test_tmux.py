"""agtop as a person uses it: a real daemon, a real terminal, from the start of a run to the approval and the mail in the outbox."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: apt-get install tmux")


class Terminal:
    """A terminal of 80×24 in a tmux server of its own."""

    def __init__(self, root, env):
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(root / "tmux")]
        self._env = {**env, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self._env.pop("COLUMNS", None)

    def run(self, *command):
        line = [*self._tmux, "new-session", "-d", "-x", "80", "-y", "24", " ".join(command)]
        subprocess.run(line, env=self._env, check=True, timeout=30)

    def press(self, *keys):
        subprocess.run([*self._tmux, "send-keys", *keys], env=self._env, check=True, timeout=30)

    def screen(self):
        return subprocess.run(
            [*self._tmux, "capture-pane", "-p"], env=self._env, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def until(self, pattern):
        """The screen, once it has this; asked again until then."""
        ends = time.monotonic() + 60
        while not re.search(pattern, shown := self.screen()):
            assert time.monotonic() < ends, f"no {pattern!r} on the screen:\n{shown}"
            time.sleep(0.05)
        return shown

    def ended(self):
        return subprocess.run([*self._tmux, "has-session"], env=self._env, capture_output=True, check=False, timeout=30).returncode != 0

    def program(self):
        """The process that was started from the shell in it."""
        line = [*self._tmux, "list-panes", "-F", "#{pane_pid}"]
        pid = subprocess.run(line, env=self._env, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def close(self):
        subprocess.run([*self._tmux, "kill-server"], env=self._env, capture_output=True, check=False, timeout=30)


@pytest.fixture
def terminal(daemon):
    made = Terminal(daemon.root, daemon.env)
    yield made
    made.close()


def test_a_run_is_seen_read_and_approved_in_a_terminal(mailing, terminal, begin):
    terminal.run(sys.executable, "-P", "-m", "runloop.cli.agtop")
    terminal.until("no runs yet")
    run_id = begin(mailing, "mails")
    terminal.until(rf"{run_id[:8]} mails +◆ waiting .* approval of mail")
    terminal.press("Enter")
    terminal.until(r"│◆a")
    terminal.press("a")
    terminal.until("To: ada@example.org")
    terminal.until("your decision")  # from now on keys count
    terminal.press("y", "Enter")
    terminal.until("'y' is no answer to this")
    assert not list((mailing.state / "outbox").glob("*.eml"))
    terminal.press("C-u")
    terminal.until("your decision")  # the line is empty again
    terminal.press("-l", "yes")
    terminal.press("Enter")
    terminal.until(r"mails [0-9a-f]{8} ✔ succeeded")
    terminal.press("4")
    terminal.until(r"mail\.send +✔ ok")
    (mail,) = (mailing.state / "outbox").glob("*.eml")
    assert "the pier is repaired" in mail.read_text()
    terminal.press("w")
    terminal.until(r"decided +approved by operator")
    terminal.press("Escape")
    terminal.until(r"\[4 Ladder\]")  # an Escape and a letter at once are another key to a terminal
    terminal.press("q")
    ends = time.monotonic() + 30
    while not terminal.ended():
        assert time.monotonic() < ends, terminal.screen()
        time.sleep(0.05)
    assert mailing.socket.exists()


def test_records_of_a_pipe_are_shown_while_the_keys_come_from_the_terminal(terminal):
    path = Path(__file__).parent.parent / "data" / "tui" / "letter.ndjson"
    terminal.run("cat", str(path), "|", sys.executable, "-P", "-m", "runloop.cli.agtop", "--input", "-")
    terminal.until("✔ succeeded")
    terminal.press("Enter")
    terminal.until("✔send")


def test_a_terminal_of_another_encoding_has_frames_too(terminal):
    path = Path(__file__).parent.parent / "data" / "tui" / "letter.ndjson"
    without_unicode = ("LC_ALL=POSIX", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0")
    terminal.run("env", *without_unicode, sys.executable, "-P", "-m", "runloop.cli.agtop", "--input", str(path))
    terminal.until(r"\+ succeeded")
    terminal.press("?")
    terminal.until(r"\+- agtop: keys -+\+\n\| 1 to 9 .* \|\n")


def shell(terminal):
    """A shell with agtop in it, and what stands on its screen."""
    terminal.run("env", "PS1=ready:", "bash", "--norc", "-i")
    terminal.until("ready:")
    path = Path(__file__).parent.parent / "data" / "tui" / "letter.ndjson"
    terminal.press("-l", f"{sys.executable} -P -m runloop.cli.agtop --input {path}")
    terminal.press("Enter")
    return terminal.until(r"✔ succeeded[\s\S]*to the end\s*\n.*q leave")


def test_who_leaves_for_a_while_finds_the_whole_screen_again(terminal):
    before = shell(terminal)
    terminal.press("C-z")
    terminal.until("Stopped")
    terminal.press("-l", "fg")
    terminal.press("Enter")
    terminal.until(re.escape(before))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_agtop_that_is_told_to_end_gives_the_terminal_back(terminal, number):
    shell(terminal)
    os.kill(terminal.program(), number)
    terminal.until(r"ready:\s*$")
    terminal.press("-l", "echo $?")
    terminal.press("Enter")
    terminal.until(r"\n130\n")
