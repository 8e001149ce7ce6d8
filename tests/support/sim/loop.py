"""An asyncio event loop whose time passes only when nothing else can happen; no sockets, no threads, no sleeping."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from weakref import WeakSet

MAX_TURNS = 50_000


class StuckError(Exception):
    """Nothing is ready and no timer is set: whatever is awaited will never come."""


class BusyError(Exception):
    """Time passes without an end: something turns in a circle."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Timers that are due at the same moment fire in an order that ``chance`` decides; callbacks keep theirs, as asyncio promises.

    Times are rounded up to multiples of ``moment_s``; what is due at the same one fires in one turn.
    """

    def __init__(self, chance, moment_s):
        super().__init__()
        self._chance = chance
        self._now = 0.0
        self._turns = 0
        self._frozen = []
        self._selector = self
        self._clock_resolution = 1e-6 if moment_s else 1e-9
        self._moment_s = moment_s
        self.slow_callback_duration = 1e9
        self.complaints = []
        self._tasks = WeakSet()
        self.set_exception_handler(lambda _loop, context: self.complaints.append(context))

    def time(self):
        return self._now

    def call_at(self, when, callback, *args, context=None):
        if self._moment_s:
            when = max(when, math.ceil(when / self._moment_s) * self._moment_s)
        return super().call_at(when + self._chance.random() * 1e-7, callback, *args, context=context)

    def create_task(self, coro, **options):
        task = super().create_task(coro, **options)
        self._tasks.add(task)
        return task

    @property
    def left(self):
        """The tasks that are not done. asyncio knows them too, among those of every loop that the collector has not come to."""
        return [task for task in self._tasks if not task.done()]

    def run_in_executor(self, executor, func, *args):
        """Work of a thread is done at once; its answer comes back like one from a thread, a little later."""
        future = self.create_future()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - as an executor does
            self.call_later(self._chance.random() * 0.002, _settle, future.set_exception, future, error)
        else:
            self.call_later(self._chance.random() * 0.002, _settle, future.set_result, future, result)
        return future

    # what BaseEventLoop asks of a selector

    def select(self, timeout):
        if timeout is None:
            raise StuckError
        self._turns += 1
        if self._turns > MAX_TURNS:
            raise BusyError
        if timeout > 0:
            due = self._scheduled[0]._when if self._scheduled else self._now
            reached = self._now + timeout
            self._now = due if due - reached < 1e-6 else reached
        return ()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass

    # the end

    def until(self, task):
        """Run until ``task`` is done or somebody stops the loop. Raises :class:`StuckError`."""
        task.add_done_callback(self._halt)
        try:
            if not task.done():
                self.run_forever()
        finally:
            task.remove_done_callback(self._halt)
        return task.done()

    def _halt(self, _task):
        self.stop()

    def settle(self):
        """Run what is ready now, without letting time pass."""
        self.call_soon(self.stop)
        self.run_forever()

    def freeze(self):
        """Nothing that is ready runs any more: the process is gone."""
        for handle in self._ready:
            self._frozen.append((handle._callback, handle._args))
            handle.cancel()
        self.stop()

    def bury(self):
        """Unwind every task that is left; the world takes no notice of what they do on their way out."""
        for callback, args in self._frozen:
            if callback is not None:
                self.call_soon(callback, *args)
        for _ in range(20):
            left = self.left
            if not left:
                break
            for task in left:
                task.cancel()
            self._turns = 0
            with suppress(StuckError, BusyError):
                self.until(asyncio.gather(*left, return_exceptions=True))
        self._ready.clear()
        self._scheduled.clear()
        self.close()


def _settle(settle, future, value):
    if not future.done():
        settle(value)
