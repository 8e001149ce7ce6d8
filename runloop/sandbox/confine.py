"""The outer wall: what a worker process gives up before it runs anything that is not ours."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK = {"create_ruleset": 444, "add_rule": 445, "restrict_self": 446}
"""System call numbers, the same on every architecture (linux/include/uapi/asm-generic/unistd.h)."""
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1
_FS_READ_FILE = 1 << 2
_FS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_ALL = 3
_SCOPE_ALL = 3


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; exits at once if it is dead already."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit(*, files: int = 256, file_bytes: int = 1 << 20, cpu_s: int | None = None, memory_bytes: int | None = None) -> None:
    """Lower resource limits: no core dumps, few and small files. Address space stays open for workers: wasmtime reserves 4 GiB a memory."""
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: files, resource.RLIMIT_FSIZE: file_bytes}
    if cpu_s is not None:
        wanted[resource.RLIMIT_CPU] = cpu_s
    if memory_bytes is not None:
        wanted[resource.RLIMIT_AS] = memory_bytes
    for what, value in wanted.items():
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901 - the hard limit cannot be raised
        resource.setrlimit(what, (value, value))


def stay_behind() -> None:
    """From now on who wakes this process is not interrupted by it, above all not the loop that sends it a guest.

    Its share of the processor stays the same. Who chose another class for it keeps that one; a service's filter of system calls may refuse,
    and then it is as it was.
    """
    with contextlib.suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def no_new_privileges() -> bool:
    """Give up set-uid programs for good, as Landlock and seccomp ask."""
    return sys.platform == "linux" and int(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) == 0


def landlock(readable: list[str]) -> int:
    """Give up TCP, signals to others, and the file system but for reading below ``readable``.

    Returns the version of Landlock, 0 where the kernel has none.
    """
    if sys.platform != "linux":
        return 0
    abi = _syscall("create_ruleset", None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return 0
    fs = _FS_BY_ABI[min(abi, 5)]
    attributes = struct.pack("=QQQ", fs, _NET_ALL if abi >= 4 else 0, _SCOPE_ALL if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _syscall("create_ruleset", attributes[:size], size, 0)
    if ruleset < 0:
        return 0
    try:
        for path in readable:
            with contextlib.suppress(FileNotFoundError):
                directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    _syscall("add_rule", ruleset, _LANDLOCK_RULE_PATH_BENEATH, struct.pack("=Qi", _FS_READ_FILE, directory), 0)
                finally:
                    os.close(directory)
        return abi if _syscall("restrict_self", ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(name: str, *arguments: bytes | int | None) -> int:
    call = _libc().syscall
    call.restype = ctypes.c_long
    converted = [
        ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(one) if isinstance(one, int) else None for one in arguments
    ]
    return int(call(ctypes.c_long(_LANDLOCK[name]), *converted))
