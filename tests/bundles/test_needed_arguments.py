"""What an agent's function cannot be called without, read from its source alone; nothing where that does not tell for certain."""

import pytest

from runloop.bundles.python_entry import needed_arguments

MARK = "from runloop_agent import agent\n@agent\n"


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        (MARK + "def run(): ...", ""),
        (MARK + "def run(a, b, c=1): ...", "a b"),
        (MARK + "def run(a, *, b, c=None, **rest): ...", "a b"),
        ("import runloop_agent as r\n@r.agent()\ndef go(a): ...", "a"),
        (MARK + "def run(a): ...\ndef other(b): ...", "a"),
        (MARK + "def run(a): ...\nfrom functools import partial\nrun = partial(run, a=1)", ""),
        (MARK + "def run(a): ...\nLIMIT = 3", "a"),
        (MARK + "@other\ndef run(a): ...", ""),
        (MARK + "def run(a): ...\n@agent\ndef second(b): ...", ""),
        (MARK + "def run(a, /, b): ...", ""),
        ("def run(a): ...", ""),
        ("def run(a:", ""),
        ("\0", ""),
        ("x = " + "(" * 3000, ""),
        (MARK + "def run(a): ...\nx = " + "-" * 20_000 + "1", ""),
        (MARK + "def run(a): ...\nx = " + "lambda: " * 5_000 + "1", ""),
        (MARK + "def run(a): ...\n@" + "not " * 900 + "x\ndef other(b): ...", "a"),
        (MARK + "def run(a): ...\n#" + "x" * 70_000, ""),
    ],
)
def test_only_what_is_certain_is_needed(source, needed):
    assert needed_arguments(source.encode()) == set(needed.split())
