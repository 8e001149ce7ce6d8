"""`rlp` as a person runs it: a process of its own, an empty home, real contacts and notes, real servers."""

import fcntl
import importlib.util
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
RLP = [sys.executable, "-m", "runloop"]
CONTACTS = """BEGIN:VCARD
VERSION:3.0
FN:Zoë Ångström
N:Ångström;Zoë;;;
NICKNAME:Zo
EMAIL;TYPE=WORK:zoe@harbour.example
ORG:Harbour Works
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:Sam Rivers
EMAIL:sam.rivers@one.example
END:VCARD
BEGIN:VCARD
VERSION:4.0
FN:Sam Brooks
EMAIL:sam.brooks@two.example
END:VCARD
"""
NOTES = """# Pier repair

- The pier repair starts on 3 March and takes nine days.
- Divers inspected the north pillars; two need new bolts.

# Lunch

- The canteen has soup on Fridays.
"""


class Home:
    """One person's Runloop: runs `rlp` in it."""

    def __init__(self, root, cache):
        self.root = root
        self.state = root / "state"
        kept = ("PATH", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        self.env = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(root),
            "RUNLOOP_HOME": str(self.state),
            "XDG_CACHE_HOME": str(cache),
            "COLUMNS": "120",
        }

    def rlp(self, *arguments, env=None, stdin=None, timeout=120, stdout=subprocess.PIPE):
        command, env, streams = [*RLP, *map(str, arguments)], {**self.env, **(env or {})}, {"stdout": stdout, "stderr": subprocess.PIPE}
        return subprocess.run(command, env=env, cwd=self.root, input=stdin, timeout=timeout, text=True, check=False, **streams)

    def start(self, *arguments, **options):
        return subprocess.Popen([*RLP, *map(str, arguments)], env=self.env, cwd=self.root, stdout=subprocess.PIPE, text=True, **options)

    def configure(self, text):
        self.state.mkdir(exist_ok=True)
        (self.state / "config.yaml").write_text(textwrap.dedent(text))

    def agent(self, name, code, caps=""):
        """A bundle in this home, made as an author makes one."""
        assert self.rlp("agent", "scaffold", name, "--opening").returncode == 0
        bundle = self.state / "agents" / name
        (bundle / "agent.py").write_text(code)
        (bundle / "policy.caps").write_text(f"[capabilities]\n{caps}\n")
        made = self.rlp("agent", "build", name)
        assert made.returncode == 0, made.stderr
        return bundle

    def records(self, done):
        return [json.loads(line) for line in done.stdout.splitlines()]

    def outbox(self):
        return sorted((self.state / "outbox").glob("*.eml"))


class Terminal:
    """A command on a pseudo-terminal: what the screen was sent, and keys typed when a prompt is there."""

    def __init__(self, home, *arguments):
        self.shown = ""
        pid, self.fd = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who tests in the background leaves Ctrl-C without effect
            os.chdir(home.root)
            os.execve(RLP[0], [*RLP, *map(str, arguments)], {**home.env, "TERM": "xterm-256color"})
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))

    def expect(self, text, seconds=60):
        """Read until ``text`` was shown; fails with the screen when it does not come."""
        until = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < until, f"{text!r} was not shown in:\n{self.shown}"
            if not self._read():
                break
        assert text in self.shown, self.shown

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self):
        ready, _, _ = select.select([self.fd], [], [], 60)
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"nothing more was shown after:\n{self.shown}")
        try:
            data = os.read(self.fd, 65_536)
        except OSError:
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def empty_home(tmp_path, guest_cache):
    return Home(tmp_path, guest_cache)


@pytest.fixture
def home(empty_home):
    """A home with three contacts and a note."""
    (empty_home.root / "people.vcf").write_text(CONTACTS)
    notes = empty_home.root / "my notes"
    notes.mkdir()
    (notes / "pier.md").write_text(NOTES)
    assert empty_home.rlp("kb", "import", "contacts", "people.vcf").returncode == 0
    assert empty_home.rlp("kb", "import", "notes", "my notes").returncode == 0
    return empty_home


@pytest.fixture
def terminal():
    return Terminal


@pytest.fixture
def serving():
    """The context manager that starts a server of tests/support."""
    spec = importlib.util.spec_from_file_location("support_processes", SUPPORT / "processes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.serving
