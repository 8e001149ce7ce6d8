"""The asynchronous client: one connection to the daemon, which is found, kept, and made again when it breaks."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from runloop.bus.acl import AGENT, CLIENT, CONTROL, OPERATOR, agent_token
from runloop.bus.client import BusClient
from runloop.bus.errors import DeadlinePassed, Disconnected, NotAllowed, from_wire
from runloop.bus.subscription import REALTIME
from runloop.bus.versions import fits, other_version
from runloop.client import agents
from runloop.client.handle import RunHandle, run_topic
from runloop.client.places import Place, places
from runloop.client.submission import submission
from runloop.errors import Denied, RunloopError, Unavailable, Where
from runloop.rmp import DEFAULT_TTL_MS

if TYPE_CHECKING:
    from runloop.bus.inbox import Subscription
    from runloop.bus.message import Message
    from runloop.config import Settings

REQUEST: Final = "intent.ctrl.request.v1"
AGENT_TOKEN: Final = "RUNLOOP_AGENT_TOKEN"  # noqa: S105 - the name of a variable
ANSWER_MS: Final = 120_000
"""The first run after an installation waits in the daemon until its guest is compiled."""
_BLOB_BYTES: Final = 1024 * 1024
_NOBODY: Final = frozenset({"bus.disconnected", "bus.deadline", "bus.stranger"})
_FOR_OPERATORS: Final = frozenset({"daemon.needs_operator", "bus.forbidden"})
_BROKEN: Final = frozenset({"bus.disconnected", "bus.stopping"})
_REPEATABLE: Final = frozenset(
    {"submit", "fork", "attach", "list", "approvals", "status", "metrics", "library", "describe_agents", "blob", "route"}
)
"""Verbs that are asked again after a broken connection: doing them twice is doing them once."""
_SILENT: Final = "it still starts, or hangs: its log says which; `rlp down` ends it"
_ID_LENGTH: Final = 36
"""Characters of a run's id; what names one otherwise is shorter, or longer by a prefix."""
_OF_ANY_VERSION: Final = frozenset({"status", "drain"})
"""Verbs that every version has as this one does, so that a daemon of another one can be looked at and ended."""


class Client:
    """A program's connection to the daemon; ``async with`` opens and closes it. Use it from one event loop.

    Without arguments it goes to the daemon that `rlp` would use, as operator where the token can be read and else as client. ``role`` asks
    for one role; ``agent`` is the name under which this program works as an agent. ``reconnect_s`` is how long a broken connection is tried
    to be made again; 0 is never. Errors are :class:`runloop.errors.RunloopError` with the daemon's codes.
    """

    def __init__(
        self,
        socket: Path | str | None = None,
        *,
        role: str | None = None,
        agent: str | None = None,
        token: str | None = None,
        settings: Settings | None = None,
        name: str = "runloop.Client",
        reconnect_s: float = 30.0,
    ) -> None:
        self._socket = None if socket is None else Path(socket)
        self._wanted = AGENT if agent is not None else role
        self._token = token
        self._settings = settings
        self._name = name if agent is None else agent
        self._reconnect_s = reconnect_s
        self._bus: BusClient | None = None
        self._connecting = asyncio.Lock()
        self._no_token = ""
        self.agent = agent
        self.socket: Path | None = None

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def connect(self) -> Self:
        """Find the daemon and say hello; nothing happens while there is a connection, or one is made again.

        Raises:
            Unavailable: ``daemon.unavailable`` where none answers, ``daemon.unreachable`` where the one socket that is set is dead.
            Denied: ``bus.token`` for a wrong token, ``client.agent_token`` where an agent has none.

        """
        async with self._connecting:
            if self._bus is None or self._bus.closed:
                self._bus, self.socket = await self._found()
        return self

    async def _found(self) -> tuple[BusClient, Path]:
        from runloop.config import load

        tried, silent, doing, others = places(self._settings or load(), self._socket), None, None, None
        for place in tried:
            if not place.is_there:
                continue
            if (says := place.starting) is not None:  # it would not answer
                silent, doing = place.socket, says
                continue
            try:
                role, token = await self._credentials(place)
                if place.of_the_machine and token is None and self._wanted is None:
                    others = place.socket
                    continue
                found = await self._greeted(place, role, token)
            except RunloopError as error:
                if error.code not in _NOBODY:
                    raise
                if error.code == DeadlinePassed.code:
                    silent = place.socket
                if place.explicit:
                    raise error if error.code == "bus.stranger" else _unreachable(place, error) from error
            else:
                return found, place.socket
        if silent is not None:
            message, hint = f"the daemon at {silent} does not answer", _SILENT
            if doing is not None:
                message, hint = f"{message} yet: {doing}", "`rlp up --wait` returns when it does"
            raise Unavailable(message, code="daemon.unavailable", where=Where(file=str(silent)), hint=hint)
        raise _nobody([place.socket for place in tried if place.socket != others], others)

    async def _greeted(self, place: Place, role: str, token: str | None) -> BusClient:
        """A connection; as client where the token that was found is another daemon's, and nobody asked for a role."""
        options: dict[str, Any] = {"name": self._name, "reconnect_s": self._reconnect_s, "others": place.explicit or place.of_the_machine}
        try:
            return await BusClient.connect(place.socket, role, token, **options)
        except NotAllowed as error:
            if error.code != "bus.token" or self._token is not None or self._wanted is not None:
                raise
        self._no_token = f"the token in {place.token} is not that of the daemon at {place.socket}"
        return await BusClient.connect(place.socket, CLIENT, None, **options)

    async def _credentials(self, place: Place) -> tuple[str, str | None]:
        """The role to ask for at a place, and what proves it; raises as :meth:`_greeted`."""
        if self._token is not None:
            return self._wanted or OPERATOR, self._token
        if self.agent is not None:
            return AGENT, os.environ.get(AGENT_TOKEN) or self._token_of_agent(place, self.agent)
        if self._wanted is not None and self._wanted != OPERATOR:
            return self._wanted, None
        if place.is_without_token:  # a daemon that the first connection starts has made it when it welcomes that
            await (await self._greeted(place, CLIENT, None)).close()
        found, self._no_token = place.read_token()
        return self._wanted or (CLIENT if found is None else OPERATOR), found

    def _token_of_agent(self, place: Place, name: str) -> str:
        """Who may read the operator token may start any agent."""
        found, why = place.read_token()
        if found is None:
            hint = f"start the agent with {AGENT_TOKEN}; runloop.client.agent_token(operator_token, {name!r}) makes it"
            raise Denied(f"the agent {name!r} has no token: {why}", code="client.agent_token", where=Where(key=AGENT_TOKEN), hint=hint)
        return agent_token(found, name)

    async def close(self) -> None:
        """End the connection and everything that is followed on it."""
        if self._bus is not None:
            await self._bus.close()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def bus(self) -> BusClient:
        """The connection below; raises Disconnected ``bus.closed`` before :meth:`connect`."""
        if self._bus is None:
            raise Disconnected(
                "the client is not connected", code="bus.closed", hint="use `async with`, or await connect()", retryable=False
            )
        return self._bus

    @property
    def role(self) -> str:
        """What this connection is to the daemon: operator, client, agent or worker."""
        return self.bus.role

    # ── the bus ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def publish(self, topic: str, type_: str, payload: Any, *, ack: bool = False, ttl_ms: int = DEFAULT_TTL_MS) -> int | None:
        """See :meth:`runloop.bus.BusClient.publish`."""
        return await self.bus.publish(topic, type_, payload, ack=ack, ttl_ms=ttl_ms)

    async def subscribe(self, pattern: str, klass: str = REALTIME, **options: Any) -> Subscription:
        """See :meth:`runloop.bus.BusClient.subscribe`: iterate over what it returns."""
        try:
            return await self.bus.subscribe(pattern, klass, **options)
        except NotAllowed as error:
            raise self._explained(error) from None

    async def request(self, topic: str, type_: str, payload: Any, deadline_ms: int = DEFAULT_TTL_MS) -> Message:
        """See :meth:`runloop.bus.BusClient.request`."""
        return await self.bus.request(topic, type_, payload, deadline_ms)

    async def ask(self, verb: str, /, **fields: Any) -> dict[str, Any]:
        """The answer of one of the daemon's verbs (docs/daemon.md); raises the daemon's error as one of this process.

        After a broken connection a verb that may be done twice is asked again; of the others nobody knows what became of them. A daemon
        of another minor version is asked nothing, Unavailable ``daemon.version``: what it would answer may mean something else.
        """
        given = {"verb": verb, **{name: value for name, value in fields.items() if value is not None}}
        while True:
            if not fits(self.bus.version) and verb not in _OF_ANY_VERSION:
                raise other_version(self.bus.version)
            try:
                reply = (await self.bus.request(CONTROL, REQUEST, given, ANSWER_MS)).payload
            except Disconnected as error:
                if _may_repeat(given) and error.code in _BROKEN and not self.bus.closed:
                    continue
                raise
            if isinstance(reply, dict) and isinstance(reply.get("ok"), dict):
                answer: dict[str, Any] = reply["ok"]
                return answer
            raise self._explained(from_wire(reply.get("error") if isinstance(reply, dict) else None))

    def _explained(self, error: RunloopError) -> RunloopError:
        """Say why this process is no operator where that is what is missing."""
        if error.code in _FOR_OPERATORS and self._no_token:
            error.hint = f"it is for operators, and {self._no_token}; run it as the daemon's user, outside of a sandbox"
        return error

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self,
        opening: str | Path | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        source: str | None = None,
        file: str | None = None,
        agent_digests: Mapping[str, str] | None = None,
        request_id: str | None = None,
        yes: bool = False,
        attended: bool = False,
        patient: bool = False,
        workdir: Path | str | None = None,
        traceparent: str | None = None,
    ) -> RunHandle:
        """Start a run of an opening: a name that the daemon knows, a file (a Path, or text with a slash or .yaml), or text as ``source``.

        ``file`` is what errors call the source.
        ``agent_digests`` (by name or name@variant) refuse other agents than these. ``request_id``, a UUID, becomes the run's id: the
        same one again is the same run, so that a submission can be repeated after any failure. ``yes`` approves in advance what the opening
        allows; ``attended`` says that somebody on this connection can be asked, ``patient`` that what it asks waits for somebody as long as
        it takes; ``workdir`` adds the agents and openings of a directory. ``traceparent`` names the span that the run is part of.
        """
        fields = submission(opening, source, file, agent_digests, workdir)
        run_id = str(uuid.uuid4()) if request_id is None else request_id
        found = await self.ask(
            "submit",
            request_id=run_id,
            params=dict(params) if isinstance(params, Mapping) else params,  # the daemon says what is wrong with others
            yes=yes or None,
            attended=attended or None,
            patient=patient or None,
            traceparent=traceparent,
            **fields,
        )
        return RunHandle(self, found["run_id"], found["topic"], opening_name=found["opening_name"], attended=attended)

    async def attach(self, run: str, from_seq: int = 1, *, attended: bool = False) -> RunHandle:
        """A run by its id, the beginning of one, its trace id, or ``last``; its ``records()`` begin with ``from_seq``, or with its end."""
        found = await self.ask("attach", run=run, from_seq=from_seq, attended=attended or None)
        last_seq = found["last_seq"] if found["state"] == "unfinished" else None
        return RunHandle(self, found["run_id"], found["topic"], from_seq=found["from_seq"], attended=attended, last_seq=last_seq)

    def handle(self, run_id: str, *, attended: bool = False) -> RunHandle:
        """The run of an id, without asking whether there is one: follow it before it is submitted, and no live record is missed."""
        return RunHandle(self, run_id, run_topic(run_id), attended=attended)

    async def runs(
        self,
        *,
        state: str | None = None,
        opening: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        text: str | None = None,
        limit: int = 50,
        roots: bool = False,
    ) -> list[dict[str, Any]]:
        """The newest runs first; submitted from ``since_ms`` to before ``until_ms`` (Unix milliseconds), with every word of ``text``.

        With ``roots`` only those that no other run started.
        """
        asked: dict[str, Any] = {"state": state, "opening": opening, "since_ms": since_ms, "until_ms": until_ms, "text": text}
        asked |= {"limit": limit, "roots": roots}
        found: list[dict[str, Any]] = (await self.ask("list", **asked))["runs"]
        return found

    async def approvals(self, run: str | None = None) -> list[dict[str, Any]]:
        """What waits for a person, oldest first."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            part = await self.ask("approvals", run=run, **({"after": after} if after else {}))
            found += part["open"]
            if (after := part.get("next")) is None:
                return found

    async def answer(
        self,
        approval_id: str,
        *,
        approved: bool | None = None,
        answer: str | None = None,
        scope: str | None = None,
        rationale: str | None = None,
    ) -> dict[str, Any]:
        """Decide an approval with ``approved``, or answer a question with ``answer``; the first one counts.

        ``scope`` is once (if left out), run, opening or always, as far as what is asked allows it.
        """
        return await self.ask("answer", approval_id=approval_id, approved=approved, answer=answer, scope=scope, rationale=rationale)

    async def blob(self, name: str) -> Any:
        """The value that a record names as ``{"$blob": name}``."""
        import json

        data = b""
        while True:
            part = await self.ask("blob", blob=name, offset=len(data), limit=_BLOB_BYTES)
            data += part["data"]
            if len(data) >= part["bytes"]:
                return json.loads(data)

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self) -> dict[str, Any]:
        """How the daemon is."""
        return await self.ask("status")

    async def metrics(self) -> dict[str, Any]:
        """What it measures: a snapshot."""
        found: dict[str, Any] = (await self.ask("metrics"))["snapshot"]
        return found

    async def describe_agents(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Version, digest and ports of agents, by name or name@variant."""
        wanted = [dict(zip(("name", "variant"), each.split("@", 1), strict=False)) for each in names]
        found: list[dict[str, Any]] = (await self.ask("describe_agents", agents=wanted))["agents"]
        return found

    # ── native agents ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def serve(self, handler: Callable[[agents.Work], Awaitable[agents.Ports]], *, width: int = 8) -> None:
        """Work as the agent that this client is, until cancelled: see :func:`runloop.client.agents.serve`."""
        await agents.serve(self, handler, width=width)

    async def call_agent(self, name: str, inputs: agents.Ports | None = None, **options: Any) -> dict[str, list[Any]]:
        """Give work to a native agent and wait for its outputs: see :func:`runloop.client.agents.call`."""
        return await agents.call(self, name, inputs or {}, **options)


def _may_repeat(given: Mapping[str, Any]) -> bool:
    """Whether doing what is asked twice is doing it once: so it is to cancel a run that is named by its id."""
    return given["verb"] in _REPEATABLE or (given["verb"] == "cancel" and len(str(given.get("run"))) == _ID_LENGTH)


def _nobody(tried: Sequence[Path], others: Path | None) -> Unavailable:
    """What is said where no daemon is found; ``others`` is the socket of the machine's, to which this user is a stranger."""
    named = ", ".join(map(str, tried))
    if others is None:
        return Unavailable(f"no daemon answers; tried {named}", code="daemon.unavailable", hint="start one with `rlp up`")
    message = f"no daemon of this user answers; tried {named}. The one at {others} is the machine's, for who may read its token"
    hint = f"start your own with `rlp up`; --set runtime.socket_path={others} asks the machine's for what needs no token"
    return Unavailable(message, code="daemon.unavailable", hint=hint)


def _unreachable(place: Place, why: RunloopError) -> Unavailable:
    where = Where(file=str(place.socket), key="runtime.socket_path")
    if place.is_closed:
        hint = "it is another user's, and each user has a daemon of their own: leave runtime.socket_path out and start it with `rlp up`"
        return Unavailable(f"this user may not use the socket {place.socket}", code="daemon.unreachable", where=where, hint=hint)
    if why.code == DeadlinePassed.code:
        return Unavailable(f"the daemon at {place.socket} does not answer", code="daemon.unreachable", where=where, hint=_SILENT)
    hint = "start it with `rlp up`, or use --local where the verb has it"
    return Unavailable(f"the daemon at {place.socket} is unreachable", code="daemon.unreachable", where=where, hint=hint)
