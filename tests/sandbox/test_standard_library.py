"""Parts of the standard library that elsewhere need OpenSSL, other threads or a terminal."""

import hashlib

import pytest

from runloop.sandbox import GuestError

KEYS = [
    (name, length, salt, rounds, wanted)
    for name in ("md5", "sha1", "sha224", "sha256", "sha512", "sha3_256")
    for length, salt, rounds, wanted in ((0, 0, 3, 1), (3, 4, 1, None), (64, 5, 2, 33), (65, 1, 2, 20), (200, 8, 7, 100), (129, 8, 2, None))
]


async def test_keys_are_derived_from_passwords_as_openssl_does(run):
    source = "import hashlib\ndef run(keys):\n    return [hashlib.pbkdf2_hmac(n, bytes(range(l)), bytes(range(s)), r, d).hex() for n, l, s, r, d in keys]"

    assert await run(source.replace("hashlib\n", "hashlib\nfrom hashlib import *\n"), {"keys": KEYS}) == [
        hashlib.pbkdf2_hmac(name, bytes(range(length)), bytes(range(salt)), rounds, wanted).hex()
        for name, length, salt, rounds, wanted in KEYS
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("'sha256', 'text', b's', 1", "a bytes-like object is required, not 'str'"),
        ("'sha256', b'p', b's', 0", "ValueError: iteration value must be greater than 0."),
        ("'sha256', b'p', b's', 1, 0", "ValueError: key length must be greater than 0."),
        ("'shake_128', b'p', b's', 1", "ValueError: unsupported hash type shake_128"),
    ],
)
async def test_what_no_key_can_be_derived_from_is_refused(run, arguments, error):
    with pytest.raises(GuestError, match=error):
        await run(f"import hashlib\ndef run(): return hashlib.pbkdf2_hmac({arguments}).hex()")


@pytest.mark.parametrize(
    ("asks", "hint"),
    [
        ("hashlib.scrypt(b'p', salt=b's', n=2, r=1, p=1)", "hashlib.pbkdf2_hmac is there"),
        ("exec('from hashlib import scrypt')", "hashlib.pbkdf2_hmac is there"),
        ("hashlib.new('ripemd160')", "hashlib.algorithms_guaranteed"),
        ("hmac.new(b'k', b'm', 'sm3')", "hashlib.algorithms_guaranteed"),
    ],
)
async def test_what_only_openssl_has_is_answered_with_what_there_is(run, asks, hint):
    with pytest.raises(GuestError) as failed:
        await run(f"import hashlib, hmac\ndef run(): return {asks}")

    assert hint in failed.value.hint


WAITS = """
import queue, threading, time

def run():
    full, condition = queue.Queue(1), threading.Condition()
    full.put(1)
    def within():
        with condition:
            return condition.wait(0.25)
    def empty(which):
        try:
            which.get(timeout=0.25)
        except queue.Empty:
            return "empty"
    def no_room():
        try:
            full.put(2, timeout=0.25)
        except queue.Full:
            return "full"
    return [within(), empty(queue.Queue()), empty(queue.SimpleQueue()), no_room(), threading.Event().wait(0.25),
            threading.Semaphore(0).acquire(timeout=0.25), threading.Event().wait(0), threading.Event().wait(-1)]
"""


async def test_what_waits_with_a_timeout_for_another_thread_lets_that_time_pass_once(run, host):
    host.answers["timer.sleep"] = lambda asked: setattr(host, "now_ms", host.now_ms + asked["ms"]) or {}

    assert await run(WAITS) == [False, "empty", "empty", "full", False, False, False, False]
    assert host.calls == [("timer.sleep", {"ms": 250})] * 6


@pytest.mark.parametrize(
    "waits", ["queue.Queue().get()", "queue.SimpleQueue().get()", "threading.Event().wait()", "threading.Semaphore(0).acquire()"]
)
async def test_a_wait_that_nobody_could_end_is_an_error_at_its_line(run, waits):
    with pytest.raises(GuestError) as failed:
        await run(f"import queue, threading\ndef run():\n    {waits}")

    assert failed.value.code == "guest.exception"
    assert 'File "agent.py", line 3, in run' in failed.value.message
    assert "get_nowait" in failed.value.hint


async def test_a_queue_that_is_served_in_turn_works(run):
    source = "import queue\ndef run():\n    q = queue.SimpleQueue()\n    q.put(1)\n    return [q.get(timeout=1), q.empty(), q.qsize(), type(q).__name__]"
    assert await run(source) == [1, True, 0, "SimpleQueue"]


@pytest.mark.parametrize("asks", ["breakpoint()", "__import__('pdb').set_trace()", "__import__('pdb').post_mortem()"])
async def test_who_asks_for_a_debugger_is_told_what_there_is_instead(run, asks):
    with pytest.raises(GuestError, match="RuntimeError: nobody can debug inside an agent: print") as failed:
        await run(f"def run():\n    {asks}")

    assert 'File "agent.py", line 2, in run' in failed.value.message


@pytest.mark.parametrize("again", ["importlib.reload(textwrap)", "sys.modules.pop('textwrap'); import textwrap"])
async def test_a_module_of_the_guest_is_not_loaded_twice_and_that_is_said(run, again):
    with pytest.raises(GuestError, match="No module named 'textwrap': it was loaded when the guest was built"):
        await run(f"import importlib, sys, textwrap\ndef run():\n    {again}")


async def test_a_module_of_the_bundle_is_loaded_again(run):
    source = "import importlib, helper\ndef run():\n    helper.X = 5\n    return importlib.reload(helper).X"
    assert await run({"agent.py": source, "helper.py": "X = 1"}) == 1


async def test_mocks_are_there_for_packages_that_import_them(run):
    source = """
import json
from unittest import mock
from unittest.mock import Mock, patch

def run():
    called = Mock(return_value=3)
    with patch.object(json, "dumps", return_value="patched"):
        return [called(1), called.call_args == mock.call(1), json.dumps(1), mock.ANY == 7]
"""
    assert await run(source) == [3, True, "patched", True]


async def test_dates_are_written_as_linux_writes_them(run):
    asked = ["%k|%l|%P", "%-k|%0l|%^a %#Z", "%K %N %f%", "%%k %-d.%m.", "100%", "%H%M%S %j %G-W%V-%u %s"]
    source = """
import time
from datetime import datetime, UTC

def run(asked):
    evening, morning = datetime(2026, 2, 3, 21, 5, 6, tzinfo=UTC), time.gmtime(1770091506)
    return [[evening.strftime(each) for each in (asked[0], "%-k %^a %Z")], [time.strftime(each, morning) for each in asked], f"{evening:%l o'clock}"]
"""
    assert await run(source, {"asked": asked}) == [
        ["21| 9|pm", "21 TUE UTC"],
        [" 4| 4|am", "4|04|TUE utc", "%K %N %f%", "%k 3.02.", "100%", "040506 034 2026-W06-2 1770091506"],
        " 9 o'clock",
    ]


@pytest.mark.parametrize("name", ["de_DE.UTF-8", "en_US", "fr"])
async def test_a_locale_that_is_not_there_is_refused_and_not_taken_for_one_that_is(run, name):
    with pytest.raises(GuestError, match=r"locale\.Error: unsupported locale setting: an agent has the locale C only"):
        await run(f"import locale\ndef run(): locale.setlocale(locale.LC_ALL, {name!r})")


async def test_the_locale_that_is_there_can_be_set(run):
    source = "import locale\ndef run(): return [locale.setlocale(locale.LC_ALL, name) for name in ('C', '', 'C.UTF-8', None, 'POSIX')] and locale.format_string('%.1f', 1.5)"
    assert await run(source) == "1.5"


PLUGINS = {
    "agent.py": """
import importlib.util, os, pkgutil
from pathlib import Path
import plugins

def run():
    def names(found):
        return [[each.name, each.ispkg] for each in found]
    below = names(pkgutil.iter_modules(plugins.__path__))
    return {
        "below": below,
        "by file": names(pkgutil.iter_modules([os.path.dirname(plugins.__file__)])) == below,
        "by path": names(pkgutil.iter_modules([str(Path(__file__).parent / "plugins")])) == below,
        "all": [name for name, _ in names(pkgutil.walk_packages(plugins.__path__, "plugins."))],
        "beside": [name for name, _ in names(pkgutil.iter_modules()) if name in {"agent", "plugins", "spaced"}],
        "nowhere": names(pkgutil.iter_modules(["/nowhere"])),
        "specs": [importlib.util.find_spec(name) is None for name in ("numpy", "plugins.none", "plugins.one", "json")],
    }
""",
    "plugins/__init__.py": "",
    "plugins/one.py": "",
    "plugins/not.one.py": "",
    "plugins/two/__init__.py": "",
    "plugins/two/three.py": "",
    "spaced/deep.py": "",
}


async def test_who_asks_which_modules_there_are_is_told(run):
    assert await run(PLUGINS, data={"plugins/readme.txt": b"x"}) == {
        "below": [["one", False], ["two", True]],
        "by file": True,
        "by path": True,
        "all": ["plugins.one", "plugins.two", "plugins.two.three"],
        "beside": ["agent", "plugins"],
        "nowhere": [],
        "specs": [True, True, False, False],
    }


async def test_what_nothing_can_wake_is_told_with_its_place(run):
    source = "import asyncio\n\nasync def waits(event):\n    await event.wait()\n\nasync def run():\n    await asyncio.gather(waits(asyncio.Event()))\n"
    with pytest.raises(GuestError, match=r"nothing can wake what is awaited \(agent.py, line 4, agent.py, line 7\)") as failed:
        await run(source)

    assert "asyncio.timeout" in failed.value.hint


async def test_who_wants_a_signal_is_told_what_bounds_time(run):
    with pytest.raises(GuestError) as failed:
        await run("import signal\ndef run(): signal.alarm(5)")

    assert "asyncio.timeout" in failed.value.hint


@pytest.mark.parametrize(
    ("does", "levels", "said"), [("hash", 1_000_000, "call stack exhausted"), ("repr", 100_000, "RecursionError: Stack overflow")]
)
async def test_data_that_is_nested_too_deeply_for_c_is_told_to_be_walked(run, does, levels, said):
    with pytest.raises(GuestError, match=said) as failed:
        await run(f"def run():\n    x = ()\n    for _ in range({levels}): x = (x,)\n    return {does}(x)")

    assert "a list of what is still to be done" in failed.value.hint


@pytest.mark.parametrize(
    "deep",
    [
        "json.loads('[' * 100_000)",
        "json.loads('{\"a\":' * 100_000)",
        "json.dumps(nested())",
        "repr(nested())",
        "nested() == nested()",
        "copy.deepcopy(nested())",
        "pickle.dumps(nested())",
        "eval('+'.join(['1'] * 100_000))",
        "re.compile('(' * 5_000 + ')' * 5_000)",
        "sorted([Deep(), Deep()])",
    ],
)
async def test_too_deep_a_recursion_in_c_can_be_caught_as_elsewhere(run, deep):
    source = f"""
import copy, json, pickle, re

class Deep:
    def __lt__(self, other): return sorted([Deep(), Deep()])

def nested():
    x = []
    for _ in range(100_000): x = [x]
    return x

def run():
    try:
        return str(type({deep}))
    except RecursionError:
        return "caught"
"""
    assert await run(source) == "caught"


async def test_what_writes_bytes_to_standard_output_or_reconfigures_it_writes_lines_of_the_log(run, host):
    source = """
import sys

def run():
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    for piece in ("grü".encode()[:-1], "ü".encode()[1:] + b"n\\nand ", memoryview(b"more"), b"\\xff\\n"):
        sys.stdout.buffer.write(piece)
    sys.stderr.buffer.write(b"aside")
    sys.stdout.buffer.flush()
"""
    await run(source)

    assert host.logged() == [("info", "grün"), ("info", "and more\ufffd"), ("warn", "aside")]


async def test_clocks_tell_the_step_in_which_they_go(run):
    step = "[round(time.get_clock_info(each).resolution, 9) for each in ('time', 'monotonic', 'perf_counter')]"
    assert await run(f"import time\ndef run():\n    return {step}") == [1e-6] * 3


@pytest.mark.parametrize("clock", ["process_time", "thread_time"])
async def test_the_clocks_of_processor_time_go_on_like_the_runs_own(run, clock):
    source = (
        f"import time\ndef run():\n    a, b, c = time.{clock}(), time.{clock}(), time.{clock}_ns()\n    return 0 <= a < b < c / 1e9 < 1"
    )
    assert await run(source) is True
