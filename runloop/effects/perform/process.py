"""Running a program with limits, so that nothing of it is left when its time is over.

The program gets its own session and process group. At the end of its time, or when the call is cancelled, the group is
killed and the pipes are closed, so a child that keeps them open delays nobody; children that left the group are found by a
mark in their environment (Linux).
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from runloop.dataclass import dataclass
from runloop.oom import ADJUSTMENT, FIRST
from runloop.tasks import shielded

SHELL = "/bin/sh"
MARK = "RUNLOOP_EXEC"
TERM_GRACE_S = 0.3
PIPE_GRACE_S = 0.2
NO_PIDFD_POLL_S = 0.02
_CHUNK = 65_536
_PIPE_HOLDS = 1 << 20
_SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What one program may use, each per process: CPU seconds, bytes of one file, open files. Core dumps are off."""

    cpu_s: int = 600
    file_bytes: int = 1 << 30
    open_files: int = 512


@dataclass(frozen=True, slots=True)
class Command:
    """What is run: ``argv[0]`` is an absolute path; ``cwd`` exists; ``env`` is all of the environment."""

    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    stdin: bytes
    timeout_s: float
    output_bytes: int
    limits: ResourceLimits


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended. ``exit_code`` is minus the signal's number for an end by signal."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool

    @property
    def signal_name(self) -> str | None:
        """The signal that ended it, such as ``SIGKILL``, or None."""
        if self.exit_code >= 0:
            return None
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:
            return f"SIG{-self.exit_code}"


async def run_command(command: Command) -> Finished:
    """Run to the end. A cancelled call returns after the program is gone. Raises OSError when it cannot be started."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Finished] = loop.create_future()
    wake_read, wake_write = os.pipe()

    def settle(result: Finished | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        elif result is not None:
            done.set_result(result)

    def work() -> None:
        try:
            result, error = _Run(command, wake_read).to_end(), None
        except BaseException as raised:  # noqa: BLE001 - handed to the waiting task, whatever it is
            result, error = None, raised
        loop.call_soon_threadsafe(settle, result, error)

    # A thread of its own: a program may run for minutes, and the shared pool of threads has other work.
    thread = threading.Thread(target=work, name="runloop-exec", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        os.close(wake_write)
        os.close(wake_read)
        raise OSError(errno.EAGAIN, str(error)) from error
    try:
        try:
            return await shielded(done)
        except asyncio.CancelledError:
            os.write(wake_write, b"x")
            with suppress(Exception):
                await shielded(done)
            raise
    finally:
        os.close(wake_write)
        thread.join()
        os.close(wake_read)


class _Run:
    """One program, from start to the last closed pipe. Blocking."""

    def __init__(self, command: Command, wake: int) -> None:
        self._command, self._wake = command, wake
        self._mark = secrets.token_hex(16)
        self._output: dict[int, bytearray] = {}
        self._truncated = False
        self._to_write = memoryview(command.stdin)

    def to_end(self) -> Finished:
        with selectors.DefaultSelector() as selector:  # before anything runs: files may have run out
            return self._run(selector)

    def _run(self, selector: selectors.BaseSelector) -> Finished:
        self._process = subprocess.Popen(  # noqa: S603 - policy admitted these words, and no shell reads them
            self._argv(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._command.cwd,
            env={**dict(self._command.env), MARK: self._mark},
            start_new_session=True,
            bufsize=0,
        )
        process = self._process
        stdin, stdout, stderr = (cast("IO[bytes]", pipe) for pipe in (process.stdin, process.stdout, process.stderr))
        self._stdin, self._pipes = stdin.fileno(), (stdout.fileno(), stderr.fileno())
        self._output = {pipe: bytearray() for pipe in self._pipes}
        for pipe in (*self._pipes, self._stdin):
            os.set_blocking(pipe, False)
        try:
            timed_out = self._watch(selector, time.monotonic() + self._command.timeout_s)
        finally:
            self._end_all()
            self._drain()
            for stream in (stdin, stdout, stderr):
                with suppress(OSError):
                    stream.close()
        out, err = (bytes(self._output[pipe]) for pipe in self._pipes)
        return Finished(process.returncode, out, err, timed_out, self._truncated)

    def _argv(self) -> list[str]:
        """The program behind a shell that sets the limits and is replaced by it; the arguments are never parsed.

        Setting them in the child from Python would need a preexec_fn, which can deadlock in a process with threads.
        """
        limits = self._command.limits
        blocks = max(1, limits.file_bytes // 512)  # POSIX counts ulimit -f in blocks of 512 bytes
        settings = {"c": 0, "t": limits.cpu_s, "f": blocks, "n": limits.open_files}
        # A limit that the system already holds lower stays as it is.
        lower = "; ".join(f"ulimit -{letter} {value} 2>/dev/null" for letter, value in settings.items())
        script = f'{{ read -r is <{ADJUSTMENT} && [ "$is" -lt {FIRST} ] && echo {FIRST} >{ADJUSTMENT}; }} 2>/dev/null; {lower}'
        return [SHELL, "-c", f'{script}; exec "$@"', "runloop-exec", *self._command.argv]

    def _watch(self, selector: selectors.BaseSelector, deadline: float) -> bool:
        """Move bytes until the program and its pipes have ended; True when its time was over first."""
        exited = _exit_descriptor(self._process.pid)
        grace = None
        try:
            self._register(selector, exited)
            while True:
                until = deadline if grace is None else min(deadline, grace)
                left = until - time.monotonic()
                if left <= 0:
                    return grace is None and not self._has_exited()
                for key, _ in selector.select(left if exited is not None or grace else min(left, NO_PIDFD_POLL_S)):
                    if key.fd == self._wake:
                        return False
                    self._move(selector, key.fd, exited)
                open_pipes = [pipe for pipe in self._pipes if pipe in selector.get_map()]
                if grace is None and self._has_exited():
                    if not open_pipes:
                        return False
                    # Whatever it started and left behind holds the pipes: end it, take what is in them, go on.
                    self._kill_group(signal.SIGKILL)
                    grace = time.monotonic() + PIPE_GRACE_S
                if grace is not None and not open_pipes:
                    return False
        finally:
            if exited is not None:
                os.close(exited)

    def _register(self, selector: selectors.BaseSelector, exited: int | None) -> None:
        for descriptor in (*self._pipes, self._wake, *(() if exited is None else (exited,))):
            selector.register(descriptor, selectors.EVENT_READ)
        if self._to_write:
            selector.register(self._stdin, selectors.EVENT_WRITE)
        elif self._process.stdin is not None:
            self._process.stdin.close()

    def _move(self, selector: selectors.BaseSelector, descriptor: int, exited: int | None) -> None:
        if descriptor == exited:
            selector.unregister(descriptor)  # it stays readable; _has_exited says so from now on
        elif descriptor == self._stdin:
            self._feed(selector)
        elif descriptor in self._output and self._take(descriptor) == b"":
            selector.unregister(descriptor)

    def _feed(self, selector: selectors.BaseSelector) -> None:
        try:
            self._to_write = self._to_write[os.write(self._stdin, self._to_write[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # the program does not want the rest
            self._to_write = memoryview(b"")
        if not self._to_write:
            selector.unregister(self._stdin)
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _take(self, pipe: int) -> bytes | None:
        """A part of what is in the pipe: nothing at its end, None where there is nothing yet."""
        try:
            part = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return None
        kept = self._output[pipe]
        room = self._command.output_bytes - len(kept)
        kept += part[: max(0, room)]
        self._truncated |= len(part) > room
        return part

    def _drain(self) -> None:
        """Take what is in the pipes, and wait for nothing."""
        for pipe in self._pipes:
            for _ in range(_PIPE_HOLDS // _CHUNK):
                if not self._take(pipe):
                    break

    def _has_exited(self) -> bool:
        """Whether the program is over, without reaping it: until then its group's number cannot mean another group."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _end_all(self) -> None:
        if not self._has_exited():
            self._kill_group(signal.SIGTERM)
            until = time.monotonic() + TERM_GRACE_S
            while not self._has_exited() and time.monotonic() < until:
                self._drain()  # what it says at its end, which may be more than a pipe holds
                time.sleep(NO_PIDFD_POLL_S)
        self._kill_group(signal.SIGKILL)
        self._process.wait()
        until = time.monotonic() + _SWEEP_S
        while strays := _marked(self._mark):
            for stray in strays:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(stray, signal.SIGKILL)
            if time.monotonic() >= until:
                return
            time.sleep(NO_PIDFD_POLL_S)  # on a busy machine one that was killed is there for a while

    def _kill_group(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _exit_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where the system has one."""
    opened = getattr(os, "pidfd_open", None)
    if opened is None:
        return None
    try:
        return int(opened(pid))
    except OSError:
        return None


def _marked(mark: str) -> list[int]:
    """Processes whose environment at start held the mark; none where the system has no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found
