"""A person's home of the test's own, and `rlp` in this process."""

import os

import pytest

from runloop.cli.main import main

_PLACES = {"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "HISTFILE", "ZDOTDIR"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """RUNLOOP_HOME, not made yet; HOME is the directory above it, and nothing of the person who runs the tests is left."""
    for name in [each for each in os.environ if each in _PLACES or each.startswith("RUNLOOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "home"


@pytest.fixture
def rlp(home, capsysbinary):
    """`rlp WORD…`: its exit code, standard output and standard error."""

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run
