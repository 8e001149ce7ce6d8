"""The bus on a Unix socket: :class:`BusServer` hosts a :class:`~runloop.bus.core.Broker` in an event loop."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import runloop
from runloop.bus import replay
from runloop.bus.acl import Acl
from runloop.bus.connection import Connection
from runloop.bus.core import Broker
from runloop.bus.counters import BusStats
from runloop.bus.encode import Encoder
from runloop.bus.errors import DeadlinePassed
from runloop.bus.limits import BusLimits
from runloop.bus.lines import Lines
from runloop.bus.listen import BACKLOG, Listener, listen
from runloop.bus.message import Message
from runloop.bus.publishing import Call, Own
from runloop.bus.replay import DurableSource
from runloop.bus.session import Peer
from runloop.dataclass import dataclass
from runloop.errors import RunloopError, exhausted
from runloop.rmp import DEFAULT_TTL_MS
from runloop.tasks import end_tasks

REPLY: Final = "toolresult.ctrl.response.v1"
_CLOSING_S: Final = 1.0
_ON_THE_WAY_S: Final = 1.0
"""How long before its deadline a request is answered at the latest, or a quarter of its time: after it nobody hears why."""
_LONGEST_MS: Final = 2**53
_READ_BYTES: Final = 256 * 1024
_LEAVES_FILES: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""From Python 3.13 on a server that ends removes its socket file, also one that systemd made and listens on."""


@dataclass(frozen=True, slots=True)
class Request:
    """A message to a handler: from whom, and until when an answer is of use (epoch ms)."""

    topic: str
    message: Message
    peer: Peer
    expires_at_ms: int

    @property
    def payload(self) -> Any:
        """What is asked."""
        return self.message.payload


Handler = Callable[[Request], Awaitable[Any]]


def now_ms() -> int:
    """The clock of the frames."""
    return time.time_ns() // 1_000_000


def mono_ms() -> int:
    """The clock of patience, which nobody sets."""
    return time.monotonic_ns() // 1_000_000


class BusServer:
    """A broker, its connections and its handlers. Use it from the thread of its event loop."""

    def __init__(
        self,
        *,
        limits: BusLimits | None = None,
        acl: Acl | None = None,
        token: str | None = None,
        ledger: DurableSource | None = None,
        any_uid: bool = False,
        on_error: Callable[[BaseException, str], None] | None = None,
    ) -> None:
        """``token`` makes operators; ``any_uid`` leaves the check of the user to the socket's group; ``on_error`` hears what broke."""
        durable, secret = ledger is not None, secrets.token_bytes(32)
        self.broker = Broker(limits, acl=acl, token=token, version=runloop.__version__, durable=durable, secret=secret)
        self.any_uid = any_uid
        self.buffer = memoryview(bytearray(_READ_BYTES))  # reading into a new one each time costs eight times as much
        self._ledger = ledger
        self._on_error = on_error
        self._handlers: dict[str, tuple[Handler, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = Lines()
        self._reads: dict[str, deque[replay.Read]] = {}
        self._turn_due = False
        self._turn_s = 0.0
        self._connections: set[Connection] = set()
        self._listening: list[tuple[Listener, list[asyncio.Server]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._flush_due = False
        self.before_flush: Callable[[], None] | None = None
        """Called before what waits is sent at the end of a turn: the time to publish what was gathered in it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._encoder = Encoder(trace_id=secrets.randbits(128), first_id=secrets.randbits(62), max_body=self.broker.limits.max_body)

    # -- life

    async def start(self, where: Path | str | Listener, *more: Listener, group: int | None = None) -> None:
        """Listen at a path (mode 0600, or 0660 with a group id) or on given sockets, and on ``more``; raises what ``listen`` raises."""
        self._loop = asyncio.get_running_loop()
        for listener in (where if isinstance(where, Listener) else listen(Path(where), group=group), *more):
            self._listening.append((listener, await self._serve_at(listener)))

    async def _serve_at(self, listener: Listener) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        make = partial(loop.create_unix_server, lambda: Connection(self), backlog=BACKLOG, **_LEAVES_FILES)
        return [await make(sock=each) for each in listener.sockets]

    @property
    def removed(self) -> list[Path]:
        """Where somebody removed the socket that this server made."""
        return [listener.path for listener, _ in self._listening if listener.removed and listener.path is not None]

    async def listen_again(self, path: Path) -> None:
        """Listen once more at a path whose socket was removed; connections stay. Raises as ``listen``."""
        for number, (listener, servers) in enumerate(self._listening):
            if listener.path == path:
                sockets = listener.again()
                self._listening[number] = listener, await self._serve_at(listener)
                for server in servers:
                    server.close()
                for listening in sockets:
                    listening.close()

    async def close(self, reason: RunloopError | None = None) -> None:
        """Say goodbye to everybody, end the handlers, take the socket away."""
        reason = reason or RunloopError("the daemon stops", code="bus.stopping", hint="connect again later", retryable=True)
        for _, servers in self._listening:
            for server in servers:
                server.close()
        for session in list(self.broker.sessions.values()):
            self.broker.goodbye(session, reason, now_ms())
        self.pump()
        self._lines = Lines()
        await end_tasks(*self._tasks)
        waiting = [connection.gone for connection in self._connections]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSING_S)
        for connection in list(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for listener, _ in self._listening:
            listener.close()
        self._listening.clear()

    @property
    def paths(self) -> list[Path]:
        """Where it listens."""
        return [listener.path for listener, _ in self._listening if listener.path is not None]

    @property
    def path(self) -> Path | None:
        """Where it listens, first of all: the first place that stands, or the first of all where none does."""
        paths, removed = self.paths, self.removed
        return next((path for path in paths if path not in removed), next(iter(paths), None))

    def stats(self) -> BusStats:
        """What was counted."""
        return self.broker.stats()

    # -- what the hosting process says

    def publish(
        self,
        topic: str,
        type_: str,
        payload: Any,
        *,
        trace_id: int | None = None,
        ttl_ms: int = DEFAULT_TTL_MS,
        meta: dict[str, Any] | None = None,
    ) -> int:
        """Publish as the daemon; how many subscriptions it matched. ``meta={"seq": n}`` numbers a record. Raises what is wrong."""
        now = now_ms()
        if meta or trace_id is not None:
            raw = self._encoder.full(topic, type_, payload, now, ttl_ms, trace_id=trace_id, meta=meta or {})
        else:
            raw = self._encoder.quick(topic, type_, payload, now, ttl_ms)
        return self.publish_frame(raw)

    def publish_frame(self, raw: bytes) -> int:
        """Publish a frame that is already encoded."""
        matched = self.broker.publish(raw, now_ms())
        self.flush_soon()
        return matched

    def wanted(self, topic: str, frames: int = 1) -> bool:
        """As :meth:`Broker.wanted`."""
        return self.broker.wanted(topic, frames)

    def publish_own(self, topic: str, frames: Sequence[Own]) -> None:
        """Publish frames that this process encoded, as :meth:`Broker.publish_own` does."""
        self.broker.publish_own(topic, frames, now_ms())
        self.flush_soon()

    def on_request(self, topic: str, handler: Handler, *, reply_type: str = REPLY, answered: bool = False) -> None:
        """Let a coroutine serve a topic. What it returns is the payload of the reply, if one is wanted; ``answered``: every asker has to.

        A RunloopError becomes the reply ``{"error": …}``. A request that expires is cancelled, and answered with :meth:`late`.
        """
        self._handlers[topic] = (handler, reply_type)
        self.broker.routes.serve(topic, answered=answered)

    async def room(self, session_id: str, size: int = 0) -> None:
        """Wait until a connection has read so much of its answers that another one, of ``size`` bytes, costs none, or has ended."""
        session = self.broker.sessions.get(session_id)
        if session is not None:
            await session.owner.room(size)

    @property
    def handling(self) -> int:
        """Requests and readings of the ledger that are under way."""
        return len(self._tasks) + len(self._lines)

    # -- between the connections and the broker

    def joined(self, connection: Connection) -> None:
        """A connection was made."""
        self._connections.add(connection)
        self.arm(0)

    def left(self, connection: Connection) -> None:
        """A connection ended."""
        self._connections.discard(connection)

    def pump(self) -> None:
        """Send what waits, start what is asked for. Called after everything that gives the broker something to do."""
        broker = self.broker
        if broker.calls:
            calls, broker.calls = broker.calls, []
            self._lines.join(calls)
            if not self._turn_due:
                self._turn()
        if broker.reads:
            reads, broker.reads = broker.reads, []
            for read in reads:
                self._read_in_line(read)
        while broker.dirty:
            sessions, broker.dirty = broker.dirty, []
            for session in sessions:
                session.dirty = False
                session.owner.flush()
        if broker.due_ms is not None:
            self.arm(max(0, broker.due_ms - now_ms()))

    def flush_soon(self) -> None:
        """Send what waits at the end of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            assert self._loop is not None  # noqa: S101 - it was started
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self.before_flush is not None:
            self.before_flush()
        self._flush_due = False
        self.pump()

    def arm(self, after_ms: int) -> None:
        """Tick in so many ms, unless it will sooner."""
        at = mono_ms() + after_ms
        if self._timer is not None and self._timer_ms <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None  # noqa: S101 - it was started
        self._timer_ms = at
        self._timer = self._loop.call_later(after_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        after = self.broker.tick(now_ms(), mono_ms())
        self.pump()
        if self.broker.sessions or self.broker.due_ms is not None:
            self.arm(after)

    # -- what takes time

    def _turn(self) -> None:
        """Begin requests whose turn it is; the next ones after what else there is to read and to do."""
        assert self._loop is not None  # noqa: S101 - it was started
        calls = self._lines.turn()
        self._turn_due = bool(self._lines)
        if self._turn_due:
            self._loop.call_soon(self._turn_begins)
        for call in calls:
            self._spawn(self._serve(call))
        if self._turn_due:
            self._loop.call_soon(self._next_turn)

    def _turn_begins(self) -> None:
        self._turn_s = time.perf_counter()

    def _next_turn(self) -> None:
        self._lines.took((time.perf_counter() - self._turn_s) * 1000)
        self._turn()

    def _spawn(self, work: Any) -> None:
        assert self._loop is not None  # noqa: S101 - it was started
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: Call) -> None:
        try:
            await self._answer(call)
        finally:
            call.done()

    async def _answer(self, call: Call) -> None:
        handler, reply_type = self._handlers[call.topic]
        request = Request(call.topic, Message(call.raw), call.peer, call.expires_at_ms)
        answer = await self._handled(handler, request)
        if call.reply_to is not None:
            left_ms = max(0, request.expires_at_ms - now_ms())
            ttl_ms, trace_id = DEFAULT_TTL_MS + min(left_ms, _LONGEST_MS), request.message.trace_id  # it lives on from when there is room
            encoded = partial(self._encoder.full, call.reply_to, reply_type, trace_id=trace_id, meta={})
            try:
                raw = encoded(answer, now_ms(), ttl_ms)
            except RunloopError as error:
                unsent = {**error.to_dict(), "message": f"the answer cannot be sent: {error.message}", "hint": "ask for less at a time"}
                raw = encoded({"error": unsent}, now_ms(), ttl_ms)
            del request, answer  # what they hold is more than the bytes
            call.session.answer_bytes += len(raw)
            try:
                with suppress(TimeoutError):  # nobody waits for it any more: it costs no answer that is still to be read
                    async with asyncio.timeout(left_ms / 1000):
                        await self.room(call.session.id, len(raw))
                        self.publish_frame(raw)
            finally:
                call.session.answer_bytes -= len(raw)

    async def _handled(self, handler: Handler, request: Request) -> Any:
        left_s = (request.expires_at_ms - now_ms()) / 1000
        if left_s <= 0:
            hint = "ask for less at a time, or with a longer deadline"
            return {"error": DeadlinePassed("it waited for its turn until it expired, and was not begun", hint=hint).to_dict()}
        try:
            async with asyncio.timeout(left_s - min(_ON_THE_WAY_S, left_s / 4)) as deadline:
                return await handler(request)
        except RunloopError as error:
            return {"error": {**error.to_dict(), "exit_code": error.exit_code}}
        except TimeoutError as error:
            return {"error": self.late(left_s).to_dict()} if deadline.expired() else self._broke(error, request.topic)
        except Exception as error:  # noqa: BLE001 - a handler that breaks must not leave its caller waiting
            return self._broke(error, request.topic)

    def late(self, within_s: float) -> RunloopError:
        """What is answered where no handler answers in time."""
        return RunloopError(
            f"no answer within {within_s:.1f} s", code="bus.deadline", hint="ask again with a longer deadline", retryable=True
        )

    def _broke(self, error: BaseException, topic: str) -> dict[str, Any]:
        if self._on_error is not None:
            self._on_error(error, topic)
        broken = exhausted(error) or RunloopError(
            f"the daemon failed to answer: {type(error).__name__}", code="bus.handler", hint="the daemon's log says more"
        )
        return {"error": {**broken.to_dict(), "exit_code": broken.exit_code}}

    def _read_in_line(self, read: replay.Read) -> None:
        """Let a reading wait for the others of its connection: the threads that read are everybody's."""
        session_id = read.sub.session.id
        line = self._reads.get(session_id)
        if line is None:
            line = self._reads[session_id] = deque()
            self._spawn(self._read_line(session_id, line))
        line.append(read)

    async def _read_line(self, session_id: str, line: deque[replay.Read]) -> None:
        try:
            while line:
                await self._read(line.popleft())
                await asyncio.sleep(0)  # what is still in memory is read without a wait: the others come in between
        finally:
            del self._reads[session_id]

    async def _read(self, read: replay.Read) -> None:
        assert self._ledger is not None  # noqa: S101 - otherwise there are no durable subscriptions
        if not replay.wanted(read):
            return
        try:
            records = await self._ledger.read(read.topic, read.from_seq, read.limit)
        except RunloopError as error:
            replay.failed(self.broker, read, error, now_ms())
        except Exception as error:  # noqa: BLE001 - the subscriber is told, whatever broke
            if self._on_error is not None:
                self._on_error(error, read.topic)
            replay.failed(self.broker, read, RunloopError("the ledger cannot be read", code="bus.ledger"), now_ms())
        else:
            replay.supply(self.broker, read, records)
        self.pump()
