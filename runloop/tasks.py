"""Waiting for tasks, and ending them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks, and wait until they have ended, however they do.

    What they ended with is let go of: a task keeps it until somebody asks, and with it the frames that it came through. On Python 3.14
    those of ``asyncio.wait`` lead back to the task, and only the collector would find them.
    """
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        with suppress(asyncio.CancelledError):
            task.exception()


async def shielded(work: Awaitable[T]) -> T:
    """Wait for work that goes on where the waiting is cancelled, as ``asyncio.shield`` does.

    What the work comes to then is for whoever cancelled to see. ``asyncio.shield`` would tell the log of it from Python 3.14 on.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_seen)
    await asyncio.wait({task})
    return task.result()


async def unattended(call: Callable[[], T]) -> T:
    """What a call gives that may never return: the process ends without it, as it does not with a thread of ``asyncio.to_thread``."""
    loop = asyncio.get_running_loop()
    given: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if given.done():
            return
        if error is not None:
            given.set_exception(error)
        else:
            given.set_result(cast("T", result))

    def make() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:  # noqa: BLE001 - it is for who waits
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=make, name="unattended", daemon=True).start()
    return await given


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
