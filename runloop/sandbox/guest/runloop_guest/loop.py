"""``asyncio`` in a guest: one thread, no sockets; what sleeps waits through the host, and all else runs as soon as it can.

Calls of ``runloop_agent`` answer where they stand, inside coroutines too, so tasks take turns at their awaits and never while one of them
asks the host.
"""

import math
import sys
import time
import types
from collections.abc import Callable
from typing import Any

sys.modules["fcntl"] = types.ModuleType("fcntl")  # what asyncio takes it for is not to be had anyway
import asyncio  # noqa: E402
from asyncio import base_events, events, futures  # noqa: E402

from runloop_agent import CallError  # noqa: E402

from . import frozen  # noqa: E402

del sys.modules["fcntl"]

_REFUSED = {
    frozen.NO_NETWORK: (
        "create_connection create_server create_datagram_endpoint create_unix_connection create_unix_server connect_accepted_socket "
        "getaddrinfo getnameinfo sock_connect sock_accept sock_recv sock_recv_into sock_recvfrom sock_sendall sock_sendto sock_sendfile"
    ),
    frozen.NO_PROCESSES: "subprocess_exec subprocess_shell",
}


_HAIR = 0.001
"""Of a millisecond: what additions of times leave over."""


class EventLoop(base_events.BaseEventLoop):
    """Tasks and timers, and nothing that would need a network, a process, a signal or a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._slept = 0.0

    def time(self) -> float:
        """Tell the time, which is never before the end of the last sleep, whatever the clock of the host has moved by."""
        return max(time.monotonic(), self._slept)

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass, in whole milliseconds, as the host counts it: nothing else can happen outside."""
        if timeout is None:
            places = ", ".join(sorted({_place(task) for task in asyncio.all_tasks(self)} - {""}))
            raise RuntimeError(f"nothing can wake what is awaited{places and f' ({places})'}: no task is ready, and none sleeps")
        if timeout > 0:
            ends = self.time() + timeout
            try:
                time.sleep(math.ceil(timeout * 1000 - _HAIR) / 1000)
            except CallError as error:
                self._refused(error)
            else:
                self._slept = max(self._slept, ends)
        return []

    def _refused(self, error: CallError) -> None:
        """Raise the host's refusal in the coroutine that sleeps, or here where something else set the timer."""
        timer = self._scheduled[0]  # type: ignore[attr-defined]  # the next one, for which the time was to pass
        sets = getattr(futures, "_set_result_unless_cancelled")  # noqa: B009 - asyncio.sleep's own
        future = timer._args[0] if timer._callback is sets else None  # noqa: SLF001
        if future is None or future.done():
            raise error
        timer.cancel()
        future.set_exception(error)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # any function
        """Call it now: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits it
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """There is nobody to be woken: all of it is one thread."""


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task stands, in the innermost file that is not the standard library's."""
    awaited: Any = task.get_coro()
    place = ""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith(("/", "<")):
            place = f"{frame.f_code.co_filename}, line {frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return place


def _refuse(name: str, why: str) -> None:
    async def refuse(*_args: object, **_named: object) -> None:
        raise OSError(why)

    refuse.__name__ = refuse.__qualname__ = name
    setattr(EventLoop, name, refuse)


for _why, _names in _REFUSED.items():
    for _name in _names.split():
        _refuse(_name, _why)


class _Policy(events._BaseDefaultEventLoopPolicy):  # type: ignore[name-defined,misc]  # noqa: SLF001 - there is no other way in
    _loop_factory = EventLoop


def freeze() -> None:
    """Make ``asyncio`` use this loop."""
    setattr(asyncio, "EventLoop", EventLoop)  # noqa: B010 - what there is of one depends on the system
    setattr(events, "_event_loop_policy", _Policy())  # noqa: B010
