"""Starting worker processes: by the pool when it needs one, or ahead of it, while the process that will drive them still imports itself."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from runloop.dataclass import dataclass
from runloop.sandbox.process import command, environment

THREADS = 2
"""How many guests of a worker run at once."""


@dataclass(slots=True)
class Started:
    """A worker process that nobody has heard of yet: our end of its socket, and the file that has its last words."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    errors: int

    def end(self) -> None:
        """Kill it and leave nothing behind."""
        self.process.kill()
        self.process.wait()
        self.channel.close()
        os.close(self.errors)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def start_worker(cache_dir: Path, threads: int = THREADS) -> Started:
    """Start a worker on this thread, which must live as long as the worker: the kernel kills it with the thread that started it."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as unless_started, theirs:
        unless_started.callback(ours.close)
        errors = os.memfd_create("worker-stderr", os.MFD_CLOEXEC)
        unless_started.callback(os.close, errors)
        process = subprocess.Popen(  # noqa: S603 - our own module with our own arguments
            command("runloop.sandbox.worker", [str(theirs.fileno()), str(os.getpid()), str(cache_dir), str(threads)]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            pass_fds=(theirs.fileno(),), env=environment(), cwd=os.sep, start_new_session=True,
        )  # fmt: skip
        unless_started.pop_all()
    return Started(process, ours, errors)


def ahead_of(workers: int, cores: int) -> int:
    """How many of the workers to start ahead: on a core that the importing process needs itself one would only delay it."""
    return min(workers, max(1, cores - 1))


@contextlib.contextmanager
def started_ahead(cache_dir: Path, count: int) -> Iterator[list[Started]]:
    """Workers for a pool to take out of the list; those left in it in the end are ended.

    None where the cache does not exist yet: a worker may only ever read what was there when it began.
    """
    started = [start_worker(cache_dir) for _ in range(count if cache_dir.is_dir() else 0)]
    try:
        yield started
    finally:
        for each in started:
            each.end()
