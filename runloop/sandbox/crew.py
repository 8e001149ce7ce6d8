"""The threads of a worker: one takes the queued guests one after the other, so that they do not fight for the interpreter.

Another helps where a guest takes long, and what nobody comes to is given back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Work = TypeVar("Work")

LOOK_S = 0.002
"""How often to look whether the queue moves, while there is one."""
_STUCK_S = 0.03
"""After that, with every hand at work, what is queued had better go to another worker."""
_IDLE_KEPT = 8
"""Threads that stay for the next guest; those beyond end, so that a crowd of waiting guests leaves nothing behind."""


class Crew(Generic[Work]):
    """Calls ``perform`` with each piece of work, on at most ``most`` threads at a time beside those that wait; it must not raise."""

    def __init__(self, perform: Callable[[Work], None], most: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._perform = perform
        self._most = most
        self._clock_s = clock_s
        self._lock = threading.Lock()  # guards all of the following
        self._queue: deque[Work] = deque()
        self._moved = 0.0  # when the first of the queue became the first, or got help
        self._working = 0
        self._wanted = 1
        self._idle = 0
        self._calls: SimpleQueue[None] = SimpleQueue()

    @property
    def behind(self) -> bool:
        """Whether something is queued."""
        return bool(self._queue)

    def add(self, work: Work) -> None:
        """Queue a piece of work."""
        with self._lock:
            if not self._queue:
                self._moved = self._clock_s()
            self._queue.append(work)
            if not self._working:
                self._hire()

    def take_out(self, work: Work) -> bool:
        """Take a piece of work back; False where it has begun."""
        with self._lock:
            try:
                self._queue.remove(work)
            except ValueError:
                return False
        return True

    def leave(self) -> None:
        """The work of this thread waits for somebody: another may begin."""
        with self._lock:
            self._working -= 1
            if self._queue and self._working < self._wanted:
                self._hire()

    def come_back(self) -> None:
        """The work of this thread goes on."""
        with self._lock:
            self._working += 1

    def look(self) -> list[Work]:
        """Send help where the queue stands still; the work that is to be given back because there is none, oldest first."""
        with self._lock:
            stood_s = self._clock_s() - self._moved
            if not self._queue or stood_s < LOOK_S:
                return []
            if self._working < self._most:
                self._wanted = self._working + 1
                self._moved = self._clock_s()
                self._hire()
                return []
            if stood_s < _STUCK_S:
                return []
            left = list(self._queue)
            self._queue.clear()
            return left

    def _hire(self) -> None:
        self._working += 1
        if self._idle:
            self._idle -= 1
            self._calls.put(None)
        else:
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            while (work := self._next()) is not None:
                self._perform(work)
            with self._lock:
                if self._idle >= _IDLE_KEPT:
                    return
                self._idle += 1
            self._calls.get()

    def _next(self) -> Work | None:
        """The next piece of work; without one this thread has given up its place."""
        with self._lock:
            if not self._queue:
                self._wanted = 1
            elif self._working <= self._wanted:
                self._moved = self._clock_s()
                return self._queue.popleft()
            self._working -= 1
            return None
