"""The outer wall, felt from inside: what a process of ours can still do after it gave up its privileges."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest

PROBE = """
import json, os, socket, sys
from runloop.sandbox import confine, seccomp
confine.limit()
privileges = confine.no_new_privileges()
abi = confine.landlock([sys.argv[1]])
filtered = seccomp.refuse()
def attempt(work):
    try: work()
    except OSError as error: return type(error).__name__
    return "worked"
seen = {
    "abi": abi, "seccomp": filtered, "a Unix socket": attempt(lambda: socket.socket(socket.AF_UNIX)), "fork": attempt(os.fork) if filtered else None, "no_new_privileges": privileges,
    "read elsewhere": attempt(lambda: open("/etc/passwd").read()), "read cache": attempt(lambda: open(sys.argv[1] + "/file").read()),
    "write cache": attempt(lambda: open(sys.argv[1] + "/new", "w")), "list cache": attempt(lambda: os.listdir(sys.argv[1])),
    "remove": attempt(lambda: os.unlink(sys.argv[1] + "/file")), "run": attempt(lambda: os.execv("/bin/true", ["true"])),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])))), "signal": attempt(lambda: os.kill(os.getppid(), 0)),
}
print(json.dumps(seen))
"""


def test_a_confined_process_reads_the_cache_and_nothing_else(tmp_path):
    import socket

    (tmp_path / "file").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", PROBE, str(tmp_path), str(server.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    seen = json.loads(done.stdout)
    if seen["seccomp"]:
        assert {seen[name] for name in ("a Unix socket", "fork", "run", "connect", "signal")} == {"PermissionError"}
    if seen["abi"] == 0:
        pytest.skip("this kernel has no Landlock; the wall is WebAssembly and the process alone")
    assert seen["no_new_privileges"] is True
    assert seen["read cache"] == "worked"
    forbidden = [
        "read elsewhere",
        "write cache",
        "list cache",
        "remove",
        "run",
        *(["connect"] if seen["abi"] >= 4 else []),
        *(["signal"] if seen["abi"] >= 6 else []),
    ]
    assert {name: seen[name] for name in forbidden} == dict.fromkeys(forbidden, "PermissionError")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_refuses_what_is_listed_and_jumps_nowhere_else(machine):
    from runloop.sandbox import seccomp

    steps = [struct.unpack("=HBBI", seccomp.program(machine)[at : at + 8]) for at in range(0, len(seccomp.program(machine)), 8)]
    architecture, refused = seccomp._REFUSED[machine]

    def judge(arch: int, number: int, argument: int = 0) -> int:
        """Run the filter as the kernel does."""
        at, loaded = 0, 0
        while True:
            code, yes, no, value = steps[at]
            if code == 0x06:
                return value
            if code == 0x20:
                loaded = {0: number, 4: arch, 16: argument}[value]
                at += 1
            else:
                holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
                at += 1 + (yes if holds else no)

    numbers = set(refused.values())
    assert {judge(architecture, number) for number in numbers} == {0x0005_0001}
    clone = seccomp._CLONE[machine]
    assert {judge(architecture, number) for number in range(500) if number not in {*numbers, clone, 435}} == {0x7FFF_0000}
    assert (judge(architecture, clone, 0x3D0F00), judge(architecture, clone, 17), judge(architecture, 435)) == (
        0x7FFF_0000,
        0x0005_0001,
        0x0005_0026,
    )
    assert judge(architecture, 0x4000_0001) == 0x0005_0001
    assert judge(0x4000_0003, 1) == 0x8000_0000


def test_a_process_whose_parent_is_gone_does_not_start():
    code = "from runloop.sandbox import confine; confine.die_with_parent(1 << 30); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(("chosen", "then"), [("SCHED_OTHER", "SCHED_BATCH"), ("SCHED_IDLE", "SCHED_IDLE")])
def test_a_process_that_was_started_with_a_class_of_its_own_keeps_it(chosen, then):
    code = (
        f"import os; os.sched_setscheduler(0, os.{chosen}, os.sched_param(0)); from runloop.sandbox import confine; confine.stay_behind(); "
        "print(os.sched_getscheduler(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == getattr(os, then)
