"""The asynchronous client of the bus: connect, publish, subscribe, request; it reconnects and goes on where it was."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from asyncio import get_running_loop
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import runloop
from runloop.bus import frames
from runloop.bus.acl import CLIENT
from runloop.bus.encode import Encoder
from runloop.bus.errors import DeadlinePassed, Disconnected, from_wire
from runloop.bus.inbox import Subscription
from runloop.bus.limits import fair_bytes
from runloop.bus.message import Message
from runloop.bus.pending import Pending
from runloop.bus.subscription import DURABLE, REALTIME
from runloop.bus.versions import other_version
from runloop.bus.wire import Wire
from runloop.errors import InvalidInput, RunloopError, Where
from runloop.rmp import DEFAULT_MAX_BODY, DEFAULT_TTL_MS
from runloop.tasks import end_tasks

CONNECT_S: Final = 5.0
ACK_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_STARTING_S: Final = 60.0
"""How long a daemon that says how far its start is may be silent about it before its client gives up."""
_QUEUE_MESSAGES: Final = 1024
_FATAL: Final = frozenset({"bus.token", "bus.uid", "bus.forbidden", "bus.hello", "bus.invalid", "bus.resumed", "bus.stranger"})
"""Refusals after which connecting again would end the same way."""


class BusClient:
    """One program on the bus. Make it with :meth:`connect`; use it from one event loop; ``async with`` closes it.

    A connection that breaks is made again for ``reconnect_s`` seconds; subscriptions come back, durable ones from the record after the last
    that was received. What was waiting for an answer fails with ``bus.disconnected``, because nobody knows what became of it.
    """

    def __init__(self, path: Path, hello: frames.Hello, *, reconnect_s: float, others: bool) -> None:
        """Use :meth:`connect`."""
        self._path = path
        self._others = others
        self._hello = hello
        self._reconnect_s = reconnect_s
        self._loop = get_running_loop()
        self._wire: Wire | None = None
        self._up: asyncio.Future[None] = self._loop.create_future()
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False
        self._failed: RunloopError | None = None
        self._encoder = Encoder(trace_id=secrets.randbits(128), first_id=secrets.randbits(62), max_body=DEFAULT_MAX_BODY)
        self._acks: Pending[dict[str, Any]] = Pending()
        self._requests: Pending[Message] = Pending()
        self._subs: dict[int, Subscription] = {}
        self._sub_ids = 0
        self.on_lost: list[Callable[[], None]] = []
        """Called when a connection broke that will be tried again."""
        self.on_reconnect: list[Callable[[], None]] = []
        """Called after each new connection but the first, when the subscriptions are back."""
        self.session = ""
        self.inbox = ""
        self.role = ""
        self.version = ""
        """Of the bus, as its latest welcome says."""
        self.limits: dict[str, Any] = {}

    @classmethod
    async def connect(
        cls,
        path: Path | str,
        role: str = CLIENT,
        token: str | None = None,
        *,
        name: str = "runloop",
        version: str = runloop.__version__,
        timeout_s: float = CONNECT_S,
        reconnect_s: float = 30.0,
        others: bool = True,
    ) -> Self:
        """Connect and say hello; raises Disconnected if nobody listens, and what the bus refuses with. ``reconnect_s`` 0: never again.

        Nothing is said to who listens there but may not (:func:`~runloop.bus.peers.require_trusted`): then NotAllowed, ``bus.stranger``.
        """
        client = cls(Path(path), frames.Hello(role, name, version, token), reconnect_s=reconnect_s, others=others)
        try:
            await client._open(timeout_s)
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection and every subscription; what was published before is sent."""
        if self._closed:
            return
        self._check_loop()
        self._closed = True
        if self._reconnecting is not None:
            await end_tasks(self._reconnecting)
        if self._wire is not None:
            await self._wire.finish()
        self._give_up(None)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._wire is not None

    @property
    def closed(self) -> bool:
        """Whether there will be no connection any more: it was closed, or could not be made again."""
        return self._closed

    @property
    def pending(self) -> int:
        """Answers that are waited for."""
        return len(self._acks) + len(self._requests)

    # -- publish

    async def publish(
        self,
        topic: str,
        type_: str,
        payload: Any,
        *,
        ack: bool = False,
        ttl_ms: int = DEFAULT_TTL_MS,
        trace_id: int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> int | None:
        """Publish; with ``ack`` wait until the bus has it, and return how many subscriptions it matched. Waits while the socket is full.

        Raises EncodeError, BadFrame for the topic, UnknownSchema, Disconnected; with ``ack`` also what the bus refused with.
        """
        wire = self._wire
        if wire is None or get_running_loop() is not self._loop:
            wire = await self._connected()
        now = time.time_ns() // 1_000_000
        if ack or meta is not None or trace_id is not None:
            more = {**(meta or {}), "ack": True} if ack else meta or {}
            wire.send(self._encoder.full(topic, type_, payload, now, ttl_ms, trace_id=trace_id, meta=more))
            if ack:
                answer = await self._ack(self._encoder.msg_id, f"the publish on {topic!r}")
                return int(answer.get("matched", 0))
        else:
            wire.send(self._encoder.quick(topic, type_, payload, now, ttl_ms))
        if wire.paused:
            await wire.drained()
        return None

    async def flush(self) -> None:
        """Come back when the bus has read everything that was sent before."""
        wire = await self._connected()
        number = self._next_id()
        wire.send(frames.encode(frames.PING, {"of": number}, msg_id=number, now_ms=_now_ms()))
        await self._ack(number, "the ping")

    async def _ack(self, number: int, what: str) -> dict[str, Any]:
        late = DeadlinePassed(f"{what} was not acknowledged within {ACK_S:.0f} s", hint="the bus is overloaded: try again")
        answer = await self._acks.wait(number, self._loop.create_future(), ACK_S, late)
        if not answer.get("ok"):
            raise from_wire(answer.get("error"))
        return answer

    def _check_loop(self) -> None:
        if get_running_loop() is not self._loop:
            hint = "make a client for each asyncio.run and each thread, or use runloop.SyncClient, whose methods any thread may call"
            raise InvalidInput("this client was connected in another event loop", code="client.loop", hint=hint)

    def _next_id(self) -> int:
        self._encoder.msg_id += 1
        return self._encoder.msg_id

    # -- subscribe

    async def subscribe(
        self,
        pattern: str,
        klass: str = REALTIME,
        *,
        from_seq: int | None = None,
        max_messages: int = _QUEUE_MESSAGES,
        max_bytes: int | None = None,
        on_message: Callable[[Message], None] | None = None,
    ) -> Subscription:
        """Subscribe to a topic or pattern (``*`` one level, ``**`` the rest); active when this returns. Raises what the bus refuses with.

        Iterate over what is returned, or give ``on_message``, which must be quick and not block. Without ``max_bytes`` the queue is as long
        as leaves room for all the others that the connection may have.
        """
        wire = await self._connected()
        if max_bytes is None:
            reserved = self.limits["queue_bytes"] + sum(sub.max_bytes for sub in self._subs.values())
            max_bytes = fair_bytes(self.limits, 1 + len(self._subs), reserved)  # the other one is the inbox
        self._sub_ids += 1
        asked = {"sub": self._sub_ids, "pattern": pattern, "class": klass, "from_seq": from_seq}
        frames.read_subscribe({**asked, "max_messages": max_messages, "max_bytes": max_bytes})
        sub = Subscription(
            self, self._sub_ids, pattern, klass, from_seq=from_seq, max_messages=max_messages, max_bytes=max_bytes, on_message=on_message
        )
        self._subs[sub.number] = sub
        try:
            await self._subscribe(wire, sub)
        except BaseException:
            self._subs.pop(sub.number, None)
            self._forget(wire, sub)
            raise
        return sub

    async def _subscribe(self, wire: Wire, sub: Subscription) -> None:
        from_seq = sub.received_seq + 1 if sub.klass == DURABLE else None
        wanted = frames.Subscribe(sub.number, sub.pattern, sub.klass, from_seq, sub.max_messages, sub.max_bytes)
        number = self._next_id()
        wire.on_subscribed(number, sub)
        wire.send(frames.encode(frames.SUBSCRIBE, wanted.payload(), msg_id=number, now_ms=_now_ms()))
        await self._ack(number, f"the subscription to {sub.pattern!r}")

    async def unsubscribe(self, sub: Subscription) -> None:
        """End a subscription; what has come can still be read."""
        self._check_loop()
        if self._subs.pop(sub.number, None) is None:
            return
        sub.end()
        if self._wire is not None and (number := self._forget(self._wire, sub)) is not None:
            await self._ack(number, "the unsubscribe")

    def _forget(self, wire: Wire, sub: Subscription) -> int | None:
        """Tell the bus that a subscription is over, where it has it; the number of the frame that says so."""
        if not wire.off_subscribed(sub):
            return None
        number = self._next_id()
        wire.send(frames.encode(frames.UNSUBSCRIBE, {"sub": sub.number}, msg_id=number, now_ms=_now_ms()))
        return number

    def grant(self, number: int, messages: int, size: int) -> bool:
        """Tell the bus that there is room again; False where there is no connection."""
        if self._wire is None:
            return False
        self._wire.send(
            frames.encode(frames.CREDIT, frames.Credit(number, messages, size).payload(), msg_id=self._next_id(), now_ms=_now_ms())
        )
        return True

    # -- request

    async def request(
        self, topic: str, type_: str, payload: Any, deadline_ms: int = DEFAULT_TTL_MS, *, meta: dict[str, Any] | None = None
    ) -> Message:
        """Ask on a topic and wait for the reply; raises DeadlinePassed, and Disconnected ``bus.no_responder`` where nobody listens."""
        wire = await self._connected()
        number = secrets.randbits(62)  # who was asked before cannot guess where the answers of others go
        more = {**(meta or {}), "reply_to": f"{self.inbox}/{number}", "ack": True}
        raw = self._encoder.full(topic, type_, payload, _now_ms(), deadline_ms, trace_id=secrets.randbits(128), meta=more)
        late = DeadlinePassed(f"no reply on {topic!r} within {deadline_ms} ms", hint="ask again with a longer deadline")
        asked = self._encoder.msg_id
        wire.on_ack(asked, number, topic)
        wire.send(raw)
        try:
            reply = await self._requests.wait(number, self._loop.create_future(), deadline_ms / 1000, late)
        except DeadlinePassed:  # the bus got the request when it had expired already
            raise late from None
        finally:
            wire.off_ack(asked)
        if _is_late(reply.payload):  # both sides watch the deadline; who is first must not matter
            raise late
        return reply

    # -- the connection

    async def _open(self, timeout_s: float) -> None:
        """One attempt: connect, hello, and the subscriptions again."""
        try:
            async with asyncio.timeout(timeout_s):
                transport, wire = await self._loop.create_unix_connection(
                    lambda: Wire(self._acks, self._requests, self._subs, self._lost), str(self._path)
                )
                try:
                    from runloop.bus.peers import credentials, require_trusted  # not for who has no daemon

                    require_trusted(self._path, credentials(transport.get_extra_info("socket"))[1], others=self._others)
                    hello = frames.Hello(self._hello.role, self._hello.name, self._hello.version, self._hello.token, self.session or None)
                    wire.send(frames.encode(frames.HELLO, hello.payload(), msg_id=self._next_id(), now_ms=_now_ms()))
                    welcome = await wire.welcome
                    self._take(welcome)
                    inbox = frames.Subscribe(0, f"{self.inbox}/*")
                    number = self._next_id()
                    wire.send(frames.encode(frames.SUBSCRIBE, inbox.payload(), msg_id=number, now_ms=_now_ms()))
                    await self._ack(number, "the subscription to the inbox")
                    subs = list(self._subs.values())
                    for sub in subs:
                        if sub.number in self._subs:
                            sub.restart()
                            await self._subscribe(wire, sub)
                    for sub in subs:
                        if sub.number not in self._subs:  # closed meanwhile
                            self._forget(wire, sub)
                except BaseException:
                    wire.drop()
                    raise
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise DeadlinePassed(
                    f"the daemon at {self._path} did not answer within {timeout_s} s", hint="`rlp status` says more"
                ) from None
            why = os.strerror(error.errno) if error.errno else str(error)
            raise Disconnected(
                f"nobody answers at {self._path}: {why}", where=Where(file=str(self._path)), hint="start the daemon with `rlp up`"
            ) from None
        self._wire = wire
        for sub in self._subs.values():
            sub.grant()  # for what came, and was read, while others were subscribed again
        if not self._up.done():
            self._up.set_result(None)

    def _take(self, welcome: Any) -> None:
        self.version = str(welcome.get("version", "")) if isinstance(welcome, dict) else ""
        try:
            self.session, self.role, self.inbox, self.limits = (welcome[key] for key in ("session", "role", "inbox", "limits"))
        except (KeyError, TypeError):
            raise other_version(self.version) from None

    def _lost(self, wire: Wire, reason: RunloopError) -> None:
        """The connection ended, by a goodbye or without one."""
        self._acks.fail_all(Disconnected("the connection ended before the answer came", hint="ask again"))
        self._requests.fail_all(Disconnected("the connection ended before the reply came", hint="ask again"))
        if wire is not self._wire:
            return
        self._wire = None
        if self._closed:
            return
        if self._reconnect_s <= 0 or reason.code in _FATAL:
            self._give_up(reason)
            return
        for call in list(self.on_lost):
            call()
        self._up = self._loop.create_future()
        self._reconnecting = self._loop.create_task(self._reconnect(reason))

    async def _reconnect(self, reason: RunloopError) -> None:
        """Try again with growing, jittered pauses until it works or the time is up."""
        from runloop.bus.listen import starting  # it is slow to import, and few connections break

        pause = _FIRST_PAUSE_S
        until, said = self._loop.time() + self._reconnect_s, None
        while self._loop.time() < until:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - it spreads clients, it keeps no secret
            pause = min(pause * 2, _LONGEST_PAUSE_S)
            try:
                await self._open(min(CONNECT_S, self._reconnect_s))
            except RunloopError as error:
                reason = error
                if error.code in _FATAL:
                    break
                if (says := starting(self._path)) is not None and says != said:  # it gets on with its start
                    until, said = self._loop.time() + max(self._reconnect_s, _STARTING_S), says
            else:
                for call in list(self.on_reconnect):
                    call()
                return
        self._give_up(reason)

    def _give_up(self, reason: RunloopError | None) -> None:
        self._failed = reason
        self._closed = True
        for sub in self._subs.values():
            sub.end(reason)
        self._subs.clear()
        if not self._up.done():
            self._up.set_result(None)

    async def _connected(self) -> Wire:
        self._check_loop()
        while self._wire is None:
            if self._closed:
                raise self._failed or Disconnected("the client is closed", code="bus.closed", hint="connect again", retryable=False)
            await self._up
        return self._wire


def _is_late(payload: Any) -> bool:
    error = payload.get("error") if isinstance(payload, dict) else None
    return isinstance(error, dict) and error.get("code") == DeadlinePassed.code


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
