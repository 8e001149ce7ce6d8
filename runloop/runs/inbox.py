"""What happened to a run and its plan has not heard of yet: a queue for one reader that weighs nothing while it is empty."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Put from anywhere on the loop; one task at a time waits."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Item, *, first: bool = False) -> None:
        """Add something, before all that is here with ``first``, and wake who waits."""
        self._items.insert(0 if first else len(self._items), item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._items

    def first(self) -> Item:
        """Take the oldest; there must be one."""
        return self._items.pop(0)

    async def take(self) -> list[Item]:
        """Everything that is here, oldest first, once there is something."""
        if not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items, self._items = self._items, []
        return items
