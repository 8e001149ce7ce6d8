"""What waits for an answer, each with a deadline; pure but for the futures. Whatever happens, it returns to zero."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from runloop.errors import RunloopError

T = TypeVar("T")


class Pending(Generic[T]):
    """Questions by number."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[int, asyncio.Future[T]] = {}

    async def wait(self, number: int, future: asyncio.Future[T], timeout_s: float, late: RunloopError) -> T:
        """The answer, or what it failed with; ``late`` when there is none in time. The number is free again in every case."""
        self._open[number] = future
        timer = asyncio.get_running_loop().call_later(timeout_s, self.fail, number, late)
        try:
            return await future
        finally:
            timer.cancel()
            self._open.pop(number, None)

    def answer(self, number: int, value: T) -> bool:
        """Hand over an answer; False where nobody waits for it (any more)."""
        future = self._open.pop(number, None)
        if future is None or future.done():
            return False
        future.set_result(value)
        return True

    def fail(self, number: int, error: RunloopError) -> bool:
        """Answer with an error."""
        future = self._open.pop(number, None)
        if future is None or future.done():
            return False
        future.set_exception(error)
        return True

    def fail_all(self, error: RunloopError) -> None:
        """Nothing will be answered any more."""
        for number in list(self._open):
            self.fail(number, error)

    def __len__(self) -> int:
        return len(self._open)
