"""Which hostcalls the sources of an agent name, whatever they imported them as."""

import pytest

from runloop.bundles.calls import named_calls
from runloop.effects.catalogue import CATALOGUE


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("from runloop_agent import timer\ntimer.sleep(1)", {"timer.sleep": 2}),
        ("from runloop_agent import timer as t, kb\ndef run():\n    t.sleep(1)\n    kb.get('a').data", {"timer.sleep": 3, "kb.get": 4}),
        ("from runloop_agent import *\nfiles.read('a'); files.read('b')", {"files.read": 2}),
        ("from runloop_agent.ask import person as who\nwho('a?')", {"ask.person": 2}),
        ("from runloop_agent import mail\nclass A:\n    send = mail.send", {}),
        ("import runloop_agent\nrunloop_agent.http.fetch('u')", {"http.fetch": 2}),
        ("import runloop_agent as ra\nra.http.fetch('u')", {"http.fetch": 2}),
        ("import runloop_agent.http\nrunloop_agent.http.fetch('u')", {"http.fetch": 2}),
        ("import runloop_agent.http as web\nweb.fetch('u')", {"http.fetch": 2}),
        ("def run():\n    import time\n    time.sleep(1)", {"timer.sleep": 3}),
        ("import asyncio\nasync def run():\n    await asyncio.sleep(0)\n    await asyncio.sleep(0.5)", {"timer.sleep": 4}),
        ("from asyncio import sleep\nasync def run():\n    await sleep(0)", {}),
        ("from time import sleep, time\ntime()\nsleep(1)", {"timer.sleep": 3}),
        ("import time as t, os\nt.time(); t.sleep(2); os.getcwd()", {"timer.sleep": 2}),
        ("from .files import read\nread('a')\nfiles.write('a', 'b')", {}),
        ("from other import timer\ntimer.sleep(1)\nprint(list(map(str, [])))[0]()", {}),
        ("from runloop_agent import timer\ntimer.wait(1)\ntimers.sleep(2)", {}),
        ("not python", {}),
        ("(" * 5000, {}),
    ],
)  # fmt: skip
def test_calls_are_found_by_what_their_imports_mean(source, calls):
    assert named_calls({"agent.py": source.encode()}, CATALOGUE) == {name: ("agent.py", line) for name, line in calls.items()}


def test_each_call_is_told_where_it_stands_first_and_tests_do_not_count():
    first = b"from runloop_agent import files\nfiles.write('a', 'b')\nfiles.write('a', 'c')\n"
    files = {"b.py": first, "a.py": b"\n\n" + first, "tests/t.py": b"from runloop_agent import mail\nmail.send([])", "notes.txt": first}
    assert named_calls(files, CATALOGUE) == {"files.write": ("a.py", 4)}
