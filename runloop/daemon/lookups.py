"""Looking something up for a request: the knowledge base is read in threads, which the connections share."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from runloop.errors import RunloopError
from runloop.tasks import shielded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Coroutine

    from runloop.bus.session import Peer

Found = TypeVar("Found")


class Lookups:
    """Each connection looks one thing up at a time, so that the many of one keep nobody else's waiting; one that ended nothing more."""

    def __init__(self, sessions: Container[str], room: Callable[[str], Awaitable[None]]) -> None:
        """``sessions`` are those of the connections that there are; ``room`` waits until one has read its answers."""
        self._sessions = sessions
        self._room = room
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def look(self, peer: Peer, work: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
        """Wait for the turn, and do it. Raises ``bus.closed`` where nobody hears the answer any more.

        The turn lasts as long as the work, also where nobody waits for that any more: its thread goes on all the same.
        """
        turn = self._turns.setdefault(peer.session, asyncio.Lock())
        await turn.acquire()
        try:
            await self._heard(peer.session)
            looking = asyncio.create_task(work())
        except BaseException:
            turn.release()
            raise
        looking.add_done_callback(partial(_end, turn))
        return await shielded(looking)

    async def _heard(self, session: str) -> None:
        """Wait until an answer would be read; raises where it would not be."""
        await self._room(session)
        if session not in self._sessions:
            raise RunloopError("the connection ended", code="bus.closed")


def _end(turn: asyncio.Lock, looking: asyncio.Task[Any]) -> None:
    turn.release()
    if not looking.cancelled():
        looking.exception()  # who asked may have gone
