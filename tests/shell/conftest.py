"""Shells in tmux. They are a module of tests/support, which scripts/record-shell and a benchmark use too."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from shells import Home, Terminal


@pytest.fixture(params=["zsh", "bash", "fish"])
def shell(request):
    if shutil.which(request.param) is None or shutil.which("tmux") is None:
        pytest.skip(f"{request.param} or tmux is not installed")
    return request.param


@pytest.fixture
def home(request, tmp_path, shell, guest_cache):
    """A home in which `rlp ask` only says what it was asked; with the parameter True it answers."""
    answers = getattr(request, "param", False)
    made = Home(tmp_path, shell, guest_cache, answers=answers)
    if answers:  # no screen waits for a guest that is compiled: on a new machine that takes as long as it takes
        subprocess.run([sys.executable, "-P", "-m", "runloop.daemon.main", "--prepare"], env=made.env, check=True, capture_output=True)
    yield made
    if answers:
        made.rlp("down")


@pytest.fixture
def terminal(home):
    """Opens a shell: ``terminal(NAME=value)`` with further variables."""
    opened = []

    def make(**env):
        opened.append(Terminal(home, **env))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
