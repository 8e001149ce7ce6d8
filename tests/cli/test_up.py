"""`rlp up`: what is said of a daemon that did not come."""

import subprocess
import sys
import time

import pytest

from runloop.cli.up import _failed, _Patience
from runloop.config import load


@pytest.mark.parametrize(("timeout_s", "code"), [(60, "daemon.start"), (0, "daemon.slow")])
def test_a_daemon_that_has_ended_is_not_called_slow_because_its_pipe_was_closed_first(timeout_s, code, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    command = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        if code == "daemon.start":
            process.stdin.close()
        error = _failed(process, tmp_path / "log", _Patience(load(), time.monotonic(), timeout_s))
        process.stdin.close()

    assert error.code == code
    assert ("ended with code 7" in error.message) is (code == "daemon.start")


def test_of_a_daemon_that_the_system_killed_the_signal_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) as process:
        process.wait()
        error = _failed(process, tmp_path / "log", _Patience(load(), time.monotonic(), 60))

    assert (error.code, "signal 9" in error.message, "memory" in error.hint) == ("daemon.start", True, True)
