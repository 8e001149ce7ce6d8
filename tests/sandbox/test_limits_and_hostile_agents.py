"""Agents that try to break out, break down or hold on: each gets its own error, and the worker goes on or is replaced."""

from __future__ import annotations

import contextlib

import pytest
import wasmtime
from tests_sandbox_helpers import Host, code_spec

from runloop.sandbox import GuestError

MIB = 1 << 20

LIMITS = {
    "an endless loop": ("while True: pass", {"wall_ms": 150}, "guest.timeout", "more than 150 ms"),
    "an endless generator": ("sum(1 for _ in iter(int, 1))", {"wall_ms": 150}, "guest.timeout", "150 ms"),
    "a huge power": ("return len(str(7 ** (10 ** 8)))", {"wall_ms": 150}, "guest.timeout", "150 ms"),
    "a catastrophic regular expression": ("import re\n    re.match(r'(a+)+$', 'a' * 40 + 'b')", {"wall_ms": 150}, "guest.timeout", "150 ms"),
    "a busy wait on the clock": ("import time\n    end = time.monotonic() + 1e9\n    while time.monotonic() < end: pass", {"wall_ms": 150}, "guest.timeout", "150 ms"),
    "catching every exception around a loop": (
        "while True:\n        try:\n            while True: pass\n        except BaseException: pass\n        finally: continue",
        {"wall_ms": 150}, "guest.timeout", "150 ms"),
    "one allocation beyond the limit": ("return len(bytearray(512 << 20))", {"memory_bytes": 64 * MIB}, "guest.memory", "memory"),
    "memory growing": ("x = []\n    while True: x.append(bytearray(1 << 20))", {"memory_bytes": 64 * MIB}, "guest.memory", "memory"),
    "memory growing in small pieces": ("x = {}\n    while True: x[len(x)] = str(len(x))", {"memory_bytes": 64 * MIB, "wall_ms": 20_000}, "guest.memory", "memory"),
    "a string of a gigabyte": ("return len('x' * (1 << 30))", {"memory_bytes": 64 * MIB}, "guest.memory", "memory"),
    "less memory than the interpreter has": ("return 1", {"memory_bytes": 1 * MIB}, "guest.memory", "to start"),
    "recursion": ("f = lambda n: f(n + 1)\n    return f(0)", {}, "guest.exception", "RecursionError"),
    "recursion with the limit lifted": ("import sys\n    sys.setrecursionlimit(10**9)\n    f = lambda n: f(n + 1)\n    return f(0)", {}, None, ""),
    "deep source text": ("return eval('(' * 5000 + ')' * 5000)", {}, None, ""),
    "deep objects freed at once": ("x = None\n    for _ in range(10**6): x = [x]\n    del x\n    return 1", {}, None, ""),
    "a comparison of deep objects": ("a = b = None\n    for _ in range(10**5): a, b = [a], [b]\n    return a == b", {}, None, ""),
    "an output flood": ("while True: print('x' * 1000)", {"output_bytes": 100_000, "wall_ms": 30_000}, "guest.output", "100000 bytes"),
    "a flood of empty lines": ("while True: print()", {"output_bytes": 50_000, "wall_ms": 30_000}, "guest.output", "50000 bytes"),
    "a flood of progress": ("from runloop_agent import emit\n    while True: emit.progress('')", {"output_bytes": 50_000, "wall_ms": 30_000}, "guest.output", "50000"),
    "a flood on the raw descriptors": ("import os\n    while True: os.write(2, b'x' * 1000)", {"output_bytes": 50_000, "wall_ms": 30_000}, "guest.output", "50000"),
    "a result beyond the output limit": ("return 'x' * 5000", {"output_bytes": 4000}, "guest.output", "4000 bytes"),
    "a hostcall flood": ("from runloop_agent import kb\n    while True: kb.search('x')", {"hostcalls": 50, "wall_ms": 30_000}, "guest.hostcalls", "more than 50"),
    "a hostcall flood that catches everything": (
        "from runloop_agent import kb\n    while True:\n        try: kb.search('x')\n        except BaseException: pass",
        {"hostcalls": 50, "wall_ms": 30_000}, "guest.hostcalls", "more than 50"),
    "sleeping again and again": ("import time\n    while True: time.sleep(3600)", {"hostcalls": 50, "wall_ms": 30_000}, "guest.hostcalls", "more than 50"),
    "os._exit": ("import os\n    os._exit(0)", {}, "guest.trap", "ended its own process"),
    "standard input": ("return open(0).read()", {}, "guest.trap", "standard input"),
    "standard input by its number": ("import os\n    os.read(0, 1)", {}, "guest.trap", "standard input"),
    "waiting for standard input": ("import select\n    select.select([0], [], [], 1)", {}, "guest.trap", "standard input"),
    "os.abort": ("import os\n    os.abort()", {}, "guest.trap", ""),
    "sys.exit": ("import sys\n    sys.exit(3)", {}, "guest.exception", "SystemExit: 3"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", {}, "guest.exception", "KeyboardInterrupt"),
    "GeneratorExit": ("raise GeneratorExit", {}, "guest.exception", "GeneratorExit"),
    "an exception that cannot be shown": (
        "class E(Exception):\n        def __str__(self): raise E\n        __repr__ = __str__\n    raise E", {}, "guest.exception", "Traceback"),
    "an exception with a huge message": ("raise ValueError('x' * 10**7)", {}, "guest.exception", "left out"),
    "an exception with half a surrogate": ("raise ValueError('\\udc80 end')", {}, "guest.exception", "end"),
    "a class that lies about JSON": ("class D(dict):\n        def items(self): raise SystemExit\n    return D(a=1)", {}, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_ends_the_agent_with_its_own_error(run, name):
    body, limits, code, said = LIMITS[name]
    try:
        await run(f"def run():\n    {body}", **limits)
        ended, message, hint = "ok", "", ""
    except GuestError as failed:
        ended, message, hint = failed.code, failed.message, failed.hint
    assert hint or (ended in {"ok", "guest.exception", "guest.trap"} and said != "standard input")
    if code is not None:
        assert ended == code, message
    assert ended.startswith(("guest.", "ok"))
    assert said in message
    assert await run("def run():\n    return 'the next agent runs'") == "the next agent runs"


ATTEMPTS = {
    "reading a file": "open('/etc/passwd').read()",
    "reading through os": "os.read(os.open('/etc/passwd', os.O_RDONLY), 10)",
    "reading a relative path": "open('../../../../etc/passwd').read()",
    "the process's own files": "open('/proc/self/environ').read()",
    "listing a directory": "os.listdir('/etc')",
    "walking with pathlib": "[str(p) for p in __import__('pathlib').Path('/proc').iterdir()]",
    "asyncio's connections": "__import__('asyncio').run(__import__('asyncio').open_connection('127.0.0.1', 80))",
    "asyncio's servers": "__import__('asyncio').run(__import__('asyncio').start_server(print, '127.0.0.1', 0))",
    "asyncio's names of hosts": "__import__('asyncio').run(__import__('asyncio').EventLoop().getaddrinfo('localhost', 80))",
    "asyncio's processes": "__import__('asyncio').run(__import__('asyncio').create_subprocess_exec('true'))",
    "writing a file": "open('/tmp/runloop-escape', 'w').write('x')",
    "a temporary file": "__import__('tempfile').mkstemp()",
    "guessing descriptors": "[os.read(fd, 1) for fd in range(3, 64)]",
    "a socket": "__import__('socket').socket().connect(('127.0.0.1', 80))",
    "the socket's C module": "__import__('_socket').socket()",
    "a subprocess": "__import__('subprocess').run(['true'])",
    "os.system": "os.system('true')",
    "os.fork": "os.fork()",
    "os.execv": "os.execv('/bin/true', ['true'])",
    "os.kill": "os.kill(1, 9)",
    "ctypes": "__import__('ctypes').CDLL(None)",
    "a thread": "__import__('threading').Thread(target=print).start()",
    "a thread's C module": "__import__('_thread').start_new_thread(print, ())",
    "a signal": "__import__('signal').raise_signal(9)",
    "the frozen import path": "__import__('importlib.machinery').machinery.PathFinder.find_spec('socket').loader.load_module()",
    "loading native code": "__import__('importlib.machinery').machinery.ExtensionFileLoader('x', '/lib/x.so').load_module()",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_an_attempt_to_reach_the_host_ends_inside_the_guest(run, host, name):
    with pytest.raises(GuestError) as failed:
        await run(f"import os\ndef run():\n    return {ATTEMPTS[name]}")
    assert failed.value.code in {"guest.exception", "guest.trap"}
    assert [name for name, _ in host.calls if name != "emit.log"] == []  # its last words are logged
    assert await run("def run():\n    return 'the next agent runs'") == "the next agent runs"


async def test_the_environment_and_the_command_line_are_empty(run, monkeypatch):
    monkeypatch.setenv("RUNLOOP_TEST_SECRET", "leaked")
    assert await run("import os, sys\ndef run():\n    return [dict(os.environ), sys.argv, os.getcwd(), sys.stdin.read()]") == [
        {},
        ["agent.py"],
        "/",
        "",
    ]


async def test_bindings_used_directly_meet_the_same_wall(run, host):
    source = """
import wit_world.imports.exec as raw
from componentize_py_types import Err
def run():
    said = []
    for request in ('', 'nonsense', '[]', '{"a": NaN}', '{"a": 1e999}', '{"a":' * 60 + '1' + '}' * 60, '{"n": 99999999999999999999}', '{"s": "\\\\ud800"}', '"x"',
                    '{"big": "' + 'x' * (5 << 20) + '"}', '[' * 100000):
        try: said.append(raw.run(request))
        except Err as e: said.append([e.value.code.name, e.value.message[:60]])
    return said
"""
    said = await run(source)
    assert [one[0] for one in said] == ["INVALID"] * 11
    assert [name for name, _ in host.calls if name != "emit.log"] == []  # its last words are logged


async def test_a_call_with_a_wrong_type_does_not_reach_the_host(run, host):
    source = "import wit_world.imports.exec as raw\ndef run():\n    raw.run(5)"
    with pytest.raises(GuestError) as failed:
        await run(source)
    assert failed.value.code in {"guest.exception", "guest.trap"}
    assert [name for name, _ in host.calls if name != "emit.log"] == []  # its last words are logged
    assert await run("def run():\n    return 1") == 1


async def test_patching_the_guest_changes_nothing_for_the_next_agent(run):
    source = """
import builtins, json, sys, os, time, random
import runloop_guest.invoke, runloop_guest.bundle, runloop_agent._calls
def run():
    runloop_guest.invoke.Failed = builtins.dict
    runloop_agent._calls._dispatch = lambda *a: '{}'
    builtins.print = builtins.len = time.time = os.urandom = None
    sys.modules.clear(); sys.meta_path.clear()
    return 'patched'
"""
    with contextlib.suppress(GuestError):
        assert await run(source) == "patched"
    assert await run("def run():\n    return len('still here')") == 10


async def test_what_it_had_begun_to_say_when_it_ended_itself_is_in_the_log(run, host):
    with pytest.raises(GuestError, match=r"ended its own process .*\nhalf"):
        await run("import os\nfrom runloop_agent import agent\n\n@agent\ndef run():\n    os.write(2, b'half')\n    os._exit(0)\n")
    assert host.logged() == [("warn", "half")]


async def test_terminal_escapes_come_through_as_data_and_are_made_harmless_for_display(run, host):
    from runloop.cli.output import clean

    evil = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp.exe\r\x08\x7f"
    assert await run("def run(t):\n    print(t)\n    return t", {"t": evil}) == evil
    ((_, line),) = host.logged()
    assert clean(line) == "\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\u202egnp.exe\\r\\x08\\x7f"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("wasm32-wasip1", '(module (memory (export "memory") 900) (memory 900) (memory 900) (func (export "_start")))'),
        ("component", "(component (core module $m (memory 900)) (core instance (instantiate $m)) (core instance (instantiate $m)))"),
    ],
)
async def test_several_memories_do_not_multiply_the_limit_of_one(pool, kind, text):
    with pytest.raises(GuestError) as failed:
        await pool.run(code_spec(kind, bytes(wasmtime.wat2wasm(text)), memory_bytes=64 << 20), Host())
    assert (failed.value.code, "more than one memory" in failed.value.message) == ("guest.memory", True)
