"""The command line's way to the daemon: the client library, with the settings of this command."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from runloop.cli import context
from runloop.errors import RunloopError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from runloop.client import Client
    from runloop.config import Settings


T = TypeVar("T")
RECONNECT_S = 10.0
"""How long a terminal that waits for a run's end waits for a daemon that is gone to come back: systemd starts one again in two or three."""
RESTART_S = 120.0
"""How long one that only follows does: long enough for an upgrade of the package, in which the daemon is away."""
NOT_HERE = "run.not_here"
"""What the daemon says of an unfinished run that it does not have."""
_OF_A_REQUEST = dict.fromkeys(("run", "request_id", "blob"))
"""Fields of requests to which no option belongs: a person has typed the run, and the rest is ours."""
_OF_THE_LINK = frozenset({"runtime.socket_path", "runtime.sockets_dir"})


def waited(coroutine: Coroutine[Any, Any, T], options: Mapping[str, str] | None = None) -> T:
    """What the coroutine gives, in an event loop of its own; nothing of loops is imported before there is something to wait for.

    What it raises names no field of a request to the daemon, but the one of ``options`` that gives it.
    """
    import asyncio

    try:
        return asyncio.run(coroutine)
    except RunloopError as error:
        shown = {**_OF_A_REQUEST, **(options or {})}
        if error.where.key in shown:
            error.where = replace(error.where, key=shown[error.where.key])
        raise


def own_settings() -> list[str]:
    """The keys of `--set` that are for this process, which no daemon would obey."""
    return sorted(set(context.current().overrides) - _OF_THE_LINK)


async def find(settings: Settings, *, reconnect_s: float = 0) -> Client | None:
    """A connection to the first daemon that answers, or None; raises ``daemon.unreachable`` where the one socket that is set is dead."""
    from runloop.client import Client

    client = Client(settings=settings, name="rlp", reconnect_s=reconnect_s)
    try:
        return await client.connect()
    except Unavailable as error:
        if error.code != "daemon.unavailable":
            raise
        return None


@asynccontextmanager
async def linked(settings: Settings, *, reconnect_s: float = 0) -> AsyncIterator[Client]:
    """A connection to the daemon; raises Unavailable ``daemon.unavailable`` with the places that were tried."""
    from runloop.client import Client

    async with Client(settings=settings, name="rlp", reconnect_s=reconnect_s) as client:
        yield client


def ask_once(settings: Settings, verb: str, **fields: Any) -> dict[str, Any]:
    """Connect, ask, leave."""

    async def once() -> dict[str, Any]:
        async with linked(settings) as client:
            return await client.ask(verb, **fields)

    return waited(once())


def ask_if_operator(settings: Settings, verb: str, **fields: Any) -> dict[str, Any] | None:
    """As :func:`ask_if_there`; None also where this process is no operator of a daemon that nobody named."""
    return ask_if_there(settings, verb, operators_only=True, **fields)


def ask_if_there(settings: Settings, verb: str, *, operators_only: bool = False, **fields: Any) -> dict[str, Any] | None:
    """The daemon's answer, or None where no daemon answers or `--set` is for this process. Raises what the daemon refuses."""
    return _if_there(settings, lambda client: client.ask(verb, **fields), operators_only=operators_only)


def approvals_if_there(settings: Settings, *, operators_only: bool = False) -> list[dict[str, Any]]:
    """What waits for a person in the daemon's runs, oldest first; nothing where :func:`ask_if_there` has no answer."""
    return _if_there(settings, lambda client: client.approvals(), operators_only=operators_only) or []


def _if_there(settings: Settings, asked: Callable[[Client], Awaitable[T]], *, operators_only: bool) -> T | None:
    from runloop.client.places import places

    if own_settings() or not any(place.is_there for place in places(settings)):
        return None
    from runloop.bus.acl import OPERATOR  # what is slow to import is for those who have a daemon

    async def once() -> T | None:
        client = await find(settings)
        if client is None:
            return None
        async with client:
            unasked = operators_only and client.role != OPERATOR and settings.get("runtime.socket_path") is None
            return None if unasked else await asked(client)

    return waited(once())
