"""The command line's way to the daemon: where it may listen, asking it, and its errors as the errors that they are."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from runloop.errors import (
    EXIT_DENIED,
    EXIT_INVALID,
    EXIT_UNAVAILABLE,
    EXIT_VERIFICATION,
    Denied,
    InvalidInput,
    RunloopError,
    Unavailable,
    VerificationFailed,
    Where,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runloop.bus import BusClient
    from runloop.config import Settings

CONTROL = "rlp/ctrl"
REQUEST = "intent.ctrl.request.v1"
SYSTEM_SOCKET = Path("/run/runloop/rmp.sock")
SYSTEM_TOKEN = Path("/var/lib/runloop/token")
ANSWER_MS = 120_000
"""The first run after an installation waits in the daemon until its guest is compiled."""
T = TypeVar("T")
_KINDS: dict[int, type[RunloopError]] = {
    EXIT_INVALID: InvalidInput,
    EXIT_UNAVAILABLE: Unavailable,
    EXIT_DENIED: Denied,
    EXIT_VERIFICATION: VerificationFailed,
}
_NOBODY = frozenset({"bus.disconnected", "bus.deadline"})


@dataclass(frozen=True, slots=True)
class Place:
    """A socket where a daemon may listen, and the token that makes its operators."""

    socket: Path
    token: Path


def places(settings: Settings) -> tuple[Place, ...]:
    """Where to look, in order (spec 1.1): the socket that is set and no other, else the user's and then the machine's."""
    token = settings.directories.token
    explicit: Path | None = settings.get("runtime.socket_path")
    if explicit is not None:
        return (Place(explicit, token),)
    ours = dict.fromkeys([settings.directories.socket, settings.base.state / "sock" / "rmp.sock"])
    return (*(Place(socket, token) for socket in ours), Place(SYSTEM_SOCKET, SYSTEM_TOKEN))


async def find(settings: Settings, *, reconnect_s: float = 0) -> BusClient | None:
    """A connection as operator to the first daemon that answers, or None.

    Raises:
        Unavailable: ``daemon.unreachable`` where ``runtime.socket_path`` is set and nobody answers there.

    """
    from runloop.bus import BusClient
    from runloop.bus.token import read_token

    explicit: Path | None = settings.get("runtime.socket_path")
    for place in places(settings):
        if explicit is None and not place.socket.is_socket():
            continue
        try:
            token = read_token(place.token)
        except RunloopError:
            if place.token != SYSTEM_TOKEN:
                raise
            continue  # the machine's daemon is for who may read its token
        role = "client" if token is None else "operator"
        try:
            return await BusClient.connect(place.socket, role, token, name="rlp", reconnect_s=reconnect_s)
        except RunloopError as error:
            if error.code not in _NOBODY:
                raise
            if explicit is not None:
                raise Unavailable(
                    f"the daemon at {explicit} is unreachable",
                    code="daemon.unreachable",
                    where=Where(file=str(explicit), key="runtime.socket_path"),
                    hint="start it with `rlp up`, or use --local where the verb has it",
                ) from error
    return None


@asynccontextmanager
async def linked(settings: Settings) -> AsyncIterator[BusClient]:
    """A connection to the daemon; raises Unavailable ``daemon.unavailable`` with the places that were tried."""
    client = await find(settings)
    if client is None:
        tried = ", ".join(str(place.socket) for place in places(settings))
        raise Unavailable(f"no daemon answers; tried {tried}", code="daemon.unavailable", hint="start one with `rlp up`")
    async with client:
        yield client


async def ask(client: BusClient, verb: str, **fields: Any) -> dict[str, Any]:
    """The answer of a verb; raises the daemon's error as one of this process."""
    given = {name: value for name, value in fields.items() if value is not None}
    reply = await client.request(CONTROL, REQUEST, {"verb": verb, **given}, ANSWER_MS)
    payload = reply.payload
    if "error" in payload:
        raise error_of(payload["error"])
    answer: dict[str, Any] = payload["ok"]
    return answer


def ask_once(settings: Settings, verb: str, **fields: Any) -> dict[str, Any]:
    """Connect, ask, leave."""

    async def once() -> dict[str, Any]:
        async with linked(settings) as client:
            return await ask(client, verb, **fields)

    return run(once())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run in an event loop of its own."""
    import asyncio

    return asyncio.run(work)


def error_of(error: Mapping[str, Any]) -> RunloopError:
    """The daemon's error with its code, place, hint and exit code; further problems of an opening stay with it."""
    kind = _KINDS.get(error.get("exit_code", 1), RunloopError)
    found = kind(
        str(error.get("message", "the daemon refused")),
        code=error.get("code"),
        where=Where(**error.get("where", {})),
        hint=error.get("hint", ""),
        retryable=bool(error.get("retryable")),
    )
    others = [error_of({**each, "exit_code": error.get("exit_code", 1)}) for each in error.get("problems", ())[1:]]
    if others:
        found.others = tuple(others)  # type: ignore[attr-defined]  # as OpeningError has it: `output.print_error` shows them
    return found


def new_id() -> str:
    """A request id, which becomes the id of the run."""
    return str(uuid.uuid4())
