"""Work of the processor that may take long, done beside everything else: others must not wait meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Done = TypeVar("Done")


async def beside(work: Callable[[], Done]) -> Done:
    """Do it in a thread, and raise what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_thread(), work)


@cache
def _thread() -> ThreadPoolExecutor:
    """One thread, so that many of these take no more of the interpreter than one does."""
    return ThreadPoolExecutor(1, "beside")
