"""A small seccomp filter for workers: calls that reach other processes, the network or the kernel's own machinery fail with EPERM.

It complements Landlock, which knows neither Unix sockets nor UDP, nor modes, owners, times and attributes of files. A list of refusals, not
of permissions: wasmtime, glibc and Python may use what they like of memory, threads and time; a new thread passes, a new process does not.
Numbers from linux/arch/x86/entry/syscalls/syscall_64.tbl and asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_ALLOW, _ERRNO, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x4000_0000
_CLONE3 = 435
"""Its flags lie in memory, which a filter cannot read: it does not exist here, and glibc falls back to clone."""
_CLONE_THREAD = 0x0001_0000
_OF_OWN = {"x86_64": {"clone": 56, "tgkill": 234, "prlimit64": 302}, "aarch64": {"clone": 220, "tgkill": 131, "prlimit64": 261}}
"""What may be done to this process alone: its first argument says that it is a thread, which process, and 0 for this one."""

_NEW = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
        "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
        "file_setattr": 469}  # fmt: skip
"""The same on every architecture."""
_REFUSED: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (0xC000_003E, {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59,
        "kill": 62, "ptrace": 101, "personality": 135, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "swapon": 167,
        "reboot": 169, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "setpriority": 141, "sched_setparam": 142,
        "sched_setscheduler": 144, "sched_setaffinity": 203, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
        "sched_setattr": 314, "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68,
        "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "semtimedop": 220, "mq_open": 240, "mq_unlink": 241, "chmod": 90, "fchmod": 91,
        "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
        "lremovexattr": 198, "fremovexattr": 199, "utimes": 235, "inotify_init": 253, "inotify_add_watch": 254, "fchownat": 260,
        "futimesat": 261, "fchmodat": 268, "utimensat": 280, "inotify_init1": 294, "fanotify_init": 300, "init_module": 175,
        "delete_module": 176, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "accept4": 288,
        "perf_event_open": 298, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "execveat": 322,
        "userfaultfd": 323,
        **_NEW,
    }),
    "aarch64": (0xC000_00B7, {
        "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "ptrace": 117, "kill": 129, "reboot": 142, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
        "accept": 202, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219, "execve": 221, "swapon": 224,
        "perf_event_open": 241, "accept4": 242, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
        "ioprio_set": 30, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122, "tkill": 130, "rt_sigqueueinfo": 138,
        "setpriority": 140, "mq_open": 180, "mq_unlink": 181, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "semget": 190,
        "semctl": 191, "semtimedop": 192, "semop": 193, "shmget": 194, "shmctl": 195, "shmat": 196, "migrate_pages": 238, "move_pages": 239,
        "rt_tgsigqueueinfo": 240, "sched_setattr": 274,
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "inotify_init1": 26,
        "inotify_add_watch": 27, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "utimensat": 88, "fanotify_init": 262,
        **_NEW,
    }),
}  # fmt: skip


def program(machine: str, pid: int) -> bytes:
    """Make the filter for the process ``pid`` on a machine.

    Another architecture's calls kill, listed ones fail with EPERM, those of ``_OF_OWN`` do where they reach others, all others pass.
    """
    architecture, refused = _REFUSED[machine]
    checks = {"clone": (_ANY_BIT, _CLONE_THREAD), "tgkill": (_EQUAL, pid), "prlimit64": (_EQUAL, 0)}
    steps: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _AT_ARCHITECTURE),
        (_EQUAL, "", "kill", architecture),
        (_LOAD, "", "", _AT_NUMBER),
        (_AT_LEAST, "refuse", "", _X32),
        *((_EQUAL, "refuse", "", number) for number in sorted(refused.values())),
        *((_EQUAL, name, "", _OF_OWN[machine][name]) for name in checks),
        (_EQUAL, "unknown", "allow", _CLONE3),
    ]
    places: dict[str, int] = {}
    for name, (test, value) in checks.items():
        places[name] = len(steps)
        steps += ((_LOAD, "", "", _AT_FIRST_ARGUMENT), (test, "allow", "refuse", value))
    ends = {"allow": _ALLOW, "refuse": _ERRNO | errno.EPERM, "unknown": _ERRNO | errno.ENOSYS, "kill": _KILL}
    for name, value in ends.items():
        places[name] = len(steps)
        steps.append((_RETURN, "", "", value))

    def ahead(at: int, name: str) -> int:
        return places[name] - at - 1 if name else 0

    return b"".join(struct.pack("=HBBI", code, ahead(at, yes), ahead(at, no), value) for at, (code, yes, no, value) in enumerate(steps))


def refuse() -> bool:
    """Install the filter for this thread and those that it starts; False where there is none. No new privileges must be set before.

    It knows the process that installs it: one that inherited it could not even end itself by a signal.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _REFUSED:
        return False
    code = ctypes.create_string_buffer(program(machine, os.getpid()))
    header = struct.pack("@HP", (len(code) - 1) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(header), 0, 0)) == 0
