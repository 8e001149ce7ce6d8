"""The system's name service: an answer of it may take half a minute, cannot be called off, and must hold up nobody else."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from runloop.tasks import shielded, unattended

MOST_ASKED = 64
"""Names that are looked up at a time, each in a thread of its own."""


class NameService:
    """Finds the addresses of names; a name that is being looked up is not looked up again for who asks meanwhile."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[list[str]]] = {}
        self._places = asyncio.Semaphore(MOST_ASKED)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses that the system gives, in its order. Raises OSError."""
        key = (host, port)
        if key not in self._asked:
            asked = self._asked[key] = asyncio.ensure_future(self._look_up(host, port))
            asked.add_done_callback(lambda _: self._asked.pop(key))
        return await shielded(self._asked[key])

    async def _look_up(self, host: str, port: int) -> list[str]:
        async with self._places:
            found = await unattended(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))
