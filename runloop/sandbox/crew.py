"""The threads of a worker: one takes the queued guests one after the other, so that they do not fight for the interpreter.

Who reads the socket may do so itself, between two looks at it. Another helps where a guest takes long, and what nobody comes to is
given back.
"""

from __future__ import annotations

import os
import sys
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
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    @property
    def behind(self) -> bool:
        """Whether something is queued."""
        return bool(self._queue)

    def add(self, work: Work) -> None:
        """Queue a piece of work; somebody must :meth:`take` it, or :meth:`call` for a thread."""
        with self._lock:
            if not self._queue:
                self._moved = self._clock_s()
            self._queue.append(work)

    def call(self) -> None:
        """Have a thread begin with what is queued, if nobody is at work."""
        with self._lock:
            if self._queue and not self._working:
                self._hire()

    def begin(self, work: Work) -> None:
        """Have a thread begin with this at once, however many are at work."""

        def task() -> None:
            self._perform(work)
            self.go_on()

        with self._lock:
            self._working += 1
            self._start(task)

    def take(self) -> Work | None:
        """The next piece of work for the calling thread, which is at work until it says :meth:`rest` or :meth:`go_on`.

        None where somebody is at work already, or nothing is queued.
        """
        with self._lock:
            if self._working or not self._queue:
                return None
            self._working = 1
            self._moved = self._clock_s()
            return self._queue.popleft()

    def rest(self) -> None:
        """The calling thread did what it took."""
        with self._lock:
            self._working -= 1

    def go_on(self) -> None:
        """The calling thread did what it took, and goes on with what is queued for as long as one of the crew would."""
        while (work := self._next()) is not None:
            self._perform(work)

    def lend(self, task: Callable[[], None]) -> None:
        """Run something else on a thread; it does not count as being at work."""
        with self._lock:
            self._start(task)

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
        self._start(self.go_on)

    def _start(self, task: Callable[[], None]) -> None:
        if self._idle:
            self._idle -= 1
            self._calls.put(task)
        else:
            _started(threading.Thread(target=self._live, args=(task,), daemon=True))

    def _live(self, task: Callable[[], None]) -> None:
        while True:
            task()
            with self._lock:
                if self._idle >= _IDLE_KEPT:
                    return
                self._idle += 1
            task = self._calls.get()

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


def _started(thread: threading.Thread) -> None:
    """Start a thread that guests wait for; where the system has none, they would wait for ever, so this process ends and says why."""
    try:
        thread.start()
    except RuntimeError as error:
        limits = "processes and threads (`ulimit -u`), or of memory and addresses (`ulimit -v`, `ulimit -d`, vm.overcommit_memory)"
        sys.stderr.write(f"{error}: its limit of {limits} is reached\n")
        sys.stderr.flush()
        os._exit(1)
