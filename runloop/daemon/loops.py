"""The daemon's event loop: that of uvloop where it is installed (the extra `fast`), else the one of the standard library."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from runloop.tasks import unattended

if TYPE_CHECKING:
    from collections.abc import Callable


class _NamesBeside:
    """A loop that looks names up in threads which nobody waits for.

    An answer may take half a minute and cannot be called off: the few threads that loops have for it would hold up all other
    names, and the end of the process.
    """

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002 - named as loops have it
        """As :meth:`asyncio.loop.getaddrinfo`."""
        return await unattended(partial(socket.getaddrinfo, host, port, family, type, proto, flags))


def names_beside(loop: type) -> Callable[[], asyncio.AbstractEventLoop]:
    """Make loops of that class, which look names up so."""
    return cast("Callable[[], asyncio.AbstractEventLoop]", type(loop.__name__, (_NamesBeside, loop), {}))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Make the daemon's loop."""
    try:
        import uvloop
    except ImportError:
        return names_beside(asyncio.SelectorEventLoop)
    return names_beside(uvloop.Loop)
