"""The client's side of one connection: frames in and out, and to whom each belongs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from runloop.bus import frames
from runloop.bus.errors import Disconnected, from_wire
from runloop.bus.inbox import Subscription
from runloop.bus.message import Message
from runloop.bus.pending import Pending
from runloop.bus.subscription import DURABLE
from runloop.bus.topics import check_pattern, matches
from runloop.errors import RunloopError
from runloop.rmp import DEFAULT_MAX_BODY, FramingError, MessageError
from runloop.rmp.registry import ID_OF

if TYPE_CHECKING:
    from runloop.rmp.scan import Row

_GATHER: Final = 64 * 1024
_SOON_S: Final = 0.0001
"""Who sends again within this time is likely to go on: the end of the turn is worth waiting for."""
_HIGH_WATER: Final = 256 * 1024
_ROUTES: Final = 4096
_READ_BYTES: Final = 256 * 1024
_WELCOME: Final = ID_OF[frames.WELCOME]
_ACK: Final = ID_OF[frames.ACK]
_PING: Final = ID_OF[frames.PING]
_PONG: Final = ID_OF[frames.PONG]
_GOODBYE: Final = ID_OF[frames.GOODBYE]


class Wire(asyncio.BufferedProtocol):
    """Frames of one connection.

    What is sent goes out at once where nothing was sent just before, else together with the rest of the turn of the event loop.
    """

    def __init__(
        self,
        acks: Pending[dict[str, Any]],
        requests: Pending[Message],
        subs: dict[int, Subscription],
        lost: Callable[[Wire, RunloopError], None],
    ) -> None:
        from runloop.rmp.scan import TAG_BYTES, Reader, read_meta_bytes  # they import msgspec, which takes 25 ms

        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._reader = Reader(DEFAULT_MAX_BODY + TAG_BYTES)
        self._read_meta = read_meta_bytes
        self._acks = acks
        self._requests = requests
        self._subs = subs
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._turn = False
        self._sent_s = 0.0
        self._routes: dict[bytes, tuple[Subscription, ...]] = {}
        self._patterns: dict[int, tuple[str, ...]] = {}
        """Of subscriptions that the bus has: a frame before the acknowledgement is for another one."""
        self._subscribing: dict[int, Subscription] = {}
        self._asked: dict[int, tuple[int, str]] = {}
        self._goodbye: RunloopError | None = None
        self._drain: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.paused = False
        self.welcome: asyncio.Future[dict[str, Any]] = self._loop.create_future()

    # -- out

    def send(self, raw: bytes) -> None:
        """Send a frame; nothing happens where the connection is gone, which :meth:`connection_lost` tells."""
        self._out.append(raw)
        if self._turn:
            self._out_bytes += len(raw)
            if self._out_bytes > _GATHER:
                self._flush()
            return
        now = time.monotonic()
        if now - self._sent_s < _SOON_S:
            self._turn, self._out_bytes = True, len(raw)
            self._loop.call_soon(self._end_turn)
        else:
            self._flush()
        self._sent_s = now

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._out_bytes = 0
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _end_turn(self) -> None:
        self._turn = False
        self._flush()

    def pause_writing(self) -> None:
        """The socket is full."""
        self.paused = True
        self._drain = self._loop.create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        self.paused = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    async def drained(self) -> None:
        """Wait for room; raises Disconnected."""
        if self._drain is not None:
            await asyncio.shield(self._drain)

    # -- life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Everybody who waits is told."""
        reason = self._goodbye or Disconnected("the connection to the daemon broke", hint="`rlp status` says whether it runs")
        self._transport = None
        if self._drain is not None and not self._drain.done():
            self._drain.set_exception(reason)
            self._drain.exception()
        self.paused = False
        if not self.welcome.done():
            self.welcome.set_exception(reason)
            self.welcome.exception()
        if not self._gone.done():
            self._gone.set_result(None)
        self._lost(self, reason)

    def drop(self) -> None:
        """End without waiting."""
        if self._transport is not None:
            self._transport.abort()

    async def finish(self) -> None:
        """Send what is gathered, then end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
        # no asyncio.timeout: in a task that is cancelled it raises CancelledError before Python 3.11.4 (gh-102780)
        if not (await asyncio.wait({self._gone}, timeout=1.0))[0]:
            self.drop()
            await self._gone

    # -- in

    def on_ack(self, asked: int, number: int, topic: str) -> None:
        """Remember which request a publish is, so that its refusal fails the request."""
        self._asked[asked] = (number, topic)

    def off_ack(self, asked: int) -> None:
        """The request is over."""
        self._asked.pop(asked, None)

    def on_subscribed(self, asked: int, sub: Subscription) -> None:
        """Give frames to a subscription once the frame that asks for it is acknowledged."""
        self._subscribing[asked] = sub

    def off_subscribed(self, sub: Subscription) -> bool:
        """The subscription is over; whether the bus has it, or may have."""
        asked = [number for number, other in self._subscribing.items() if other is sub]
        for number in asked:
            del self._subscribing[number]
        self._routes.clear()
        return self._patterns.pop(sub.number, None) is not None or bool(asked)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into: always the same memory, since taking new costs more than reading."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand each frame to whom it belongs."""
        data, rows, refusal = self._reader.feed(bytes(self._buffer[:nbytes]))
        routes = self._routes
        touched: dict[Subscription, None] = {}
        for row in rows:
            at, end, _, _, _, meta = row
            subs = routes.get(meta)  # type: ignore[arg-type]  # an error is never a key
            if subs is None:
                subs = self._unusual(data, row)
            raw = data[at:end]
            for sub in subs:
                if sub.on_message is None:
                    sub.push(raw)
                    touched[sub] = None
                else:
                    sub.call(raw, sub.on_message)
        for sub in touched:
            sub.wake()
        if refusal is not None:
            self._protocol_error(refusal)

    def _protocol_error(self, error: FramingError) -> None:
        self._goodbye = error
        self.drop()

    def _unusual(self, data: bytes, row: Row) -> tuple[Subscription, ...]:
        """Session frames, replies, and frames whose ``meta`` was not seen before."""
        at, end, schema_id, _, _, packed = row
        if isinstance(packed, MessageError):
            return ()
        raw = data[at:end]
        try:
            if frames.FIRST_ID <= schema_id <= frames.LAST_ID:
                self._session_frame(schema_id, Message(raw))
                return ()
            meta = self._read_meta(packed)
        except MessageError:
            return ()
        topic = meta.get("topic")
        if not isinstance(topic, str):
            return ()
        if topic.startswith("rlp/inbox/"):
            number = topic.rpartition("/")[2]
            if number.isascii() and number.isdigit():
                self._requests.answer(int(number), Message(raw))
            return ()
        return self._readers(packed, topic, meta)

    def _readers(self, packed: bytes, topic: str, meta: dict[str, Any]) -> tuple[Subscription, ...]:
        """The subscriptions that a frame is for; remembered for a ``meta`` that says nothing but the topic."""
        if "sub" in meta:
            sub = self._subs.get(meta["sub"])
            found: tuple[Subscription, ...] = () if sub is None else (sub,)
        else:
            patterns = self._patterns
            found = tuple(sub for number, sub in self._subs.items() if number in patterns and matches(patterns[number], topic))
        seq = meta.get("seq")
        if isinstance(seq, int):
            found = tuple(sub for sub in found if sub.klass != DURABLE or seq > sub.received_seq)
            for sub in found:
                if sub.klass == DURABLE:
                    sub.received_seq = seq
        elif len(meta) == 1:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            self._routes[packed] = found
        return found

    def _session_frame(self, schema_id: int, message: Message) -> None:
        payload = message.payload
        if schema_id == _ACK and isinstance(payload, dict):
            self._acked(payload)
        elif schema_id == _PING:
            self.send(frames.encode(frames.PONG, payload, msg_id=message.header.msg_id, now_ms=message.header.created_at_ms))
        elif schema_id == _PONG and isinstance(payload, dict):
            self._acks.answer(payload.get("of", -1), {"ok": True})
        elif schema_id == _WELCOME and not self.welcome.done():
            self.welcome.set_result(payload)
        elif schema_id == _GOODBYE:
            self._goodbye = from_wire(payload)

    def _acked(self, payload: dict[str, Any]) -> None:
        of = payload.get("of", -1)
        ended = self._subs.get(payload.get("sub", -1))
        if ended is not None and not payload.get("ok"):
            del self._subs[ended.number]
            self.off_subscribed(ended)
            ended.end(from_wire(payload.get("error")))
        begun = self._subscribing.pop(of, None)
        if begun is not None and payload.get("ok"):
            self._patterns[begun.number] = check_pattern(begun.pattern)
            self._routes.clear()
        asked = self._asked.get(of)
        if asked is None:
            self._acks.answer(of, payload)
        elif not payload.get("ok"):
            self._requests.fail(asked[0], from_wire(payload.get("error")))
        elif not payload.get("matched"):
            nobody = Disconnected(f"nobody serves {asked[1]!r}", code="bus.no_responder", hint="is the program that answers there running?")
            self._requests.fail(asked[0], nobody)
