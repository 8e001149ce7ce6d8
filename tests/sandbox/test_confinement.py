"""The outer wall, felt from inside: what a process of ours can still do after it gave up its privileges."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import struct
import subprocess
import sys

import pytest

from runloop.sandbox import seccomp

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
    "mode": attempt(lambda: os.chmod(sys.argv[1] + "/file", 0o777)), "times": attempt(lambda: os.utime(sys.argv[1] + "/file", (1, 1))),
    "attribute": attempt(lambda: os.setxattr(sys.argv[1] + "/file", "user.x", b"1")), "owner": attempt(lambda: os.chown(sys.argv[1] + "/file", 1, 1)),
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
        assert {seen[name] for name in ("a Unix socket", "fork", "run", "connect", "signal", "mode", "times", "attribute", "owner")} == {
            "PermissionError"
        }
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
    filtering = seccomp.program(machine, 4711)
    steps = [struct.unpack("=HBBI", filtering[at : at + 8]) for at in range(0, len(filtering), 8)]
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
    own = seccomp._OF_OWN[machine]
    assert {judge(architecture, number) for number in range(500) if number not in {*numbers, *own.values(), 435}} == {0x7FFF_0000}
    for call, passes, fails in (("clone", 0x3D0F00, 17), ("tgkill", 4711, 4712), ("prlimit64", 0, 4712)):
        assert (judge(architecture, own[call], passes), judge(architecture, own[call], fails)) == (0x7FFF_0000, 0x0005_0001)
    assert judge(architecture, 435) == 0x0005_0026
    assert judge(architecture, 0x4000_0001) == 0x0005_0001
    assert judge(0x4000_0003, 1) == 0x8000_0000


REACHING = """
import ctypes, faulthandler, json, os, platform, resource, signal, sys, threading
from runloop.sandbox import confine, seccomp
other, end = int(sys.argv[1]), sys.argv[2]
confine.no_new_privileges()
assert seccomp.refuse()
libc = ctypes.CDLL(None, use_errno=True)
numbers = {**seccomp._REFUSED[platform.machine()][1], **seccomp._OF_OWN[platform.machine()]}
def call(name, *given):
    arguments = [each if isinstance(each, ctypes.Array) else ctypes.c_long(each) for each in given]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(numbers[name]), *arguments) < 0 else 0
info, limits = ctypes.create_string_buffer(128), (ctypes.c_ulong * 2)(64, 64)
print(json.dumps({
    "kill": call("kill", other, 0), "tkill": call("tkill", other, 0), "tgkill": call("tgkill", other, other, 0),
    "rt_sigqueueinfo": call("rt_sigqueueinfo", other, 0, info), "rt_tgsigqueueinfo": call("rt_tgsigqueueinfo", other, other, 0, info),
    "prlimit64": call("prlimit64", other, resource.RLIMIT_NOFILE, limits, 0), "setpriority": call("setpriority", 0, other, 19),
    "sched_setaffinity": call("sched_setaffinity", other, 8, limits), "shmget": call("shmget", 0, 4096, 0o1600),
    "its own thread": call("tgkill", os.getpid(), threading.get_native_id(), 0),
    "its own limits": call("prlimit64", 0, resource.RLIMIT_NOFILE, limits, 0),
}), flush=True)
faulthandler.enable()
{"abort": os.abort, "raise": lambda: signal.raise_signal(signal.SIGTERM), "fault": lambda: ctypes.string_at(0)}[end]()
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in seccomp._REFUSED, reason="no filter for this machine")
@pytest.mark.parametrize(("end", "number"), [("abort", signal.SIGABRT), ("raise", signal.SIGTERM), ("fault", signal.SIGSEGV)])
def test_a_worker_can_end_itself_and_do_nothing_to_another_process_of_the_user(end, number):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        done = subprocess.run([sys.executable, "-c", REACHING, str(other.pid), end], capture_output=True, text=True, check=False)
        other.communicate(b"\n")
    seen = json.loads(done.stdout)
    assert seen == {**dict.fromkeys(seen, errno.EPERM), "its own thread": 0, "its own limits": 0}
    assert (done.returncode, other.returncode) == (-number, 0)


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
