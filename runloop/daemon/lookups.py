"""Looking something up for a request: the knowledge base is read in threads, which the connections share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from runloop.errors import RunloopError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Container

    from runloop.bus.session import Peer


class Lookups:
    """Each connection looks one thing up at a time, so that the many of one keep nobody else's waiting; one that ended nothing more."""

    def __init__(self, sessions: Container[str], room: Callable[[str], Awaitable[None]]) -> None:
        """``sessions`` are those of the connections that there are; ``room`` waits until one has read its answers."""
        self._sessions = sessions
        self._room = room
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, peer: Peer) -> AsyncIterator[None]:
        """Wait for the turn. Raises ``bus.closed`` where nobody hears the answer any more."""
        lock = self._turns.setdefault(peer.session, asyncio.Lock())
        async with lock:
            await self._room(peer.session)
            if peer.session not in self._sessions:
                raise RunloopError("the connection ended", code="bus.closed")
            yield
