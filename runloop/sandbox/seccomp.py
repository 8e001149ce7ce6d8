"""A small seccomp filter for workers: calls that reach other processes, the network or the kernel's own machinery fail with EPERM.

It complements Landlock, which knows neither Unix sockets nor UDP. A list of refusals, not of permissions: wasmtime, glibc and Python
may use what they like of memory, threads and time; a new thread passes, a new process does not. Numbers from
linux/arch/x86/entry/syscalls/syscall_64.tbl and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x4000_0000
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
"""Its flags lie in memory, which a filter cannot read: it does not exist here, and glibc falls back to clone."""
_CLONE_THREAD = 0x0001_0000

_NEW = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438}  # fmt: skip
"""The same on every architecture."""
_REFUSED: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000_003E, {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59,
        "kill": 62, "ptrace": 101, "personality": 135, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "swapon": 167,
        "reboot": 169,
        "init_module": 175, "delete_module": 176, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
        "accept4": 288, "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323,
        **_NEW,
    }),
    "aarch64": (0xC000_00B7, {
        "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "ptrace": 117, "kill": 129, "reboot": 142, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
        "accept": 202, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219, "execve": 221, "swapon": 224,
        "perf_event_open": 241, "accept4": 242, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
        **_NEW,
    }),
}  # fmt: skip


def program(machine: str) -> bytes:
    """Make the filter for a machine: another architecture's calls kill, listed ones fail with EPERM, all others pass."""
    architecture, refused = _REFUSED[machine]
    numbers = sorted(refused.values())
    count = len(numbers)
    steps = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_AT_LEAST, count + 5, 0, _X32),
        *((_EQUAL, count + 4 - at, 0, number) for at, number in enumerate(numbers)),
        (_EQUAL, 5, 0, _CLONE3),
        (_EQUAL, 0, 2, _CLONE[machine]),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def refuse() -> bool:
    """Install the filter for this thread and those it starts; False where there is none. No new privileges must be set before."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _REFUSED:
        return False
    code = ctypes.create_string_buffer(program(machine))
    header = struct.pack("@HP", (len(code) - 1) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header), 0, 0)) == 0
