"""Telling who started the daemon how it is: systemd's notify socket, and the pipe of `rlp up`."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runloop.dataclass import dataclass

READY_FD = "RUNLOOP_READY_FD"
"""Number of an inherited pipe: one line of JSON is written to it when the daemon is ready, or why it could not start."""

_PATIENCE_S = 0.05
"""How long the daemon stands still for a systemd that does not read."""
_ASK_S = 10.0
_WORKING = 0.05
"""Share of a core from which on a start counts as work and not as a hang."""


@dataclass(slots=True)
class Notifier:
    """Says ``READY=1`` and the like to systemd where it listens, and one line to the pipe where there is one."""

    address: str | None
    watchdog_s: float | None
    pipe: int | None
    doing: str = "starting"
    """What a start that works is at."""

    @classmethod
    def of(cls, env: Mapping[str, str], pid: int) -> Notifier:
        """From the environment that systemd and `rlp up` set."""
        watchdog = None
        if env.get("WATCHDOG_USEC", "").isdecimal() and env.get("WATCHDOG_PID", str(pid)) == str(pid):
            watchdog = int(env["WATCHDOG_USEC"]) / 1_000_000
        fd = env.get(READY_FD, "")
        return cls(env.get("NOTIFY_SOCKET") or None, watchdog or None, int(fd) if fd.isdecimal() else None)

    def systemd(self, *lines: str) -> None:
        """Send a state to systemd; nothing where it does not listen."""
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.settimeout(_PATIENCE_S)
            try:
                notify.sendto("\n".join(lines).encode(), address)
            except TimeoutError:  # it does not read; the next message may find room
                pass
            except OSError:
                self.address = None  # nobody is there any more: the daemon goes on

    @contextmanager
    def starting(self) -> Iterator[Callable[[], None]]:
        """Have systemd wait while the start works: tables made anew after an upgrade may take minutes. Gives what ends that.

        A start that hangs uses no processor; systemd then ends it after its own time.
        """
        over = threading.Event()
        if self.address is not None:
            threading.Thread(target=self._ask_for_time, args=(over,), name="runloop-starting", daemon=True).start()
        try:
            yield over.set
        finally:
            over.set()

    def _ask_for_time(self, over: threading.Event) -> None:
        used = time.process_time()
        while not over.wait(_ASK_S):
            before, used = used, time.process_time()
            if used - before >= _WORKING * _ASK_S:
                self.more_time(3 * _ASK_S, f"STATUS={self.doing}")

    def more_time(self, seconds: float, *lines: str) -> None:
        """Have systemd wait so long from now on, where its own time would be over before."""
        self.systemd(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", *lines)

    def starter(self, message: Mapping[str, Any]) -> None:
        """Tell `rlp up`, once: the end of the line is the end of its wait."""
        if self.pipe is None:
            return
        descriptor, self.pipe = self.pipe, None
        try:
            os.write(descriptor, json.dumps(message).encode() + b"\n")
        except OSError:  # it went away before the daemon was ready
            pass
        finally:
            os.close(descriptor)
