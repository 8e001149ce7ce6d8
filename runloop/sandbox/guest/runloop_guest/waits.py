"""Waiting for what another thread would do, as ``queue`` and ``threading`` do: in a guest there is none, so only the time passes."""

import math
import queue
import threading
import time

_TICK = 0.001
"""The host counts whole milliseconds."""


def _wait(condition: threading.Condition, timeout: float | None = None) -> bool:
    """Stand in for ``threading.Condition.wait``, on which events, semaphores, barriers and queues stand: nobody will notify."""
    if not condition._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - as the original asks
        raise RuntimeError("cannot wait on un-acquired lock")
    if timeout is None:
        raise RuntimeError("nobody can end this wait: an agent runs in one thread")
    if timeout > 0:
        ends = time.monotonic() + timeout
        time.sleep(math.ceil(timeout * 1000) / 1000)
        while 0 < ends - time.monotonic() < _TICK:  # what is left over would be waited for again; every look moves the clock
            pass
    return False


def freeze() -> None:
    """Let every wait of the standard library be one of these; a lock that is taken twice stays a crash of the guest."""
    _wait.__name__ = _wait.__qualname__ = "wait"
    simple = getattr(queue, "_PySimpleQueue")  # noqa: B009 - the one in C waits for a lock
    simple.__name__ = simple.__qualname__ = "SimpleQueue"
    setattr(threading.Condition, "wait", _wait)  # noqa: B010 - a method, whose type checkers know
    setattr(queue, "SimpleQueue", simple)  # noqa: B010 - as above
