"""What happened to a run and its plan has not heard of yet: a queue for one reader that weighs nothing while it is empty."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Put from anywhere on the loop; one task at a time waits, for something or until a time of the loop's clock.

    The timer stays set when something comes before: whoever waits until later is woken by it once, and sets the next.
    """

    __slots__ = ("_alarm", "_items", "_waiter")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def put(self, item: Item, *, first: bool = False) -> None:
        """Add something, before all that is here with ``first``, and wake who waits."""
        self._items.insert(0 if first else len(self._items), item)
        self._wake()

    def close(self) -> None:
        """Nobody waits any more: take the timer away."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._items

    def first(self) -> Item:
        """Take the oldest; there must be one."""
        return self._items.pop(0)

    async def take(self, wait_s: float | None = None) -> list[Item]:
        """Everything that is here, oldest first, once there is something; nothing if that takes longer than ``wait_s`` seconds."""
        if not self._items:
            loop = asyncio.get_running_loop()
            until = None if wait_s is None else loop.time() + wait_s
            while not self._items:
                if until is not None:
                    self._ring_at(until, loop)
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
                if until is not None and loop.time() >= until:
                    break
        items, self._items = self._items, []
        return items

    def _ring_at(self, until: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            if self._alarm.when() <= until:
                return
            self._alarm.cancel()
        self._alarm = loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
