"""A client's subscription: what has come and was not yet read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from runloop.bus.message import Message
from runloop.bus.subscription import DURABLE, REALTIME
from runloop.rmp import MessageError

if TYPE_CHECKING:
    from runloop.bus.client import BusClient
    from runloop.errors import RunloopError


class Subscription(AsyncIterator[Message]):
    """Iterate over it for the messages; it ends when it is closed, and raises what ended the connection for good.

    Of several readers each message goes to one.
    With ``on_message`` each is handed to that function instead, straight from the socket: a turn of the event loop earlier.

    Of the realtime class the newest ``max_messages`` wait here, what is older is counted in ``dropped``; of the others the bus
    sends no more than there is room for. A message whose payload breaks the rules of RMP is dropped and counted as well.
    ``seq`` is the number of the last durable record that was handed out.
    """

    __slots__ = (
        "_client",
        "_ended",
        "_error",
        "_granted",
        "_granted_bytes",
        "_queue",
        "_waiters",
        "dropped",
        "from_seq",
        "klass",
        "max_bytes",
        "max_messages",
        "number",
        "on_message",
        "pattern",
        "received_seq",
        "seq",
    )  # fmt: skip

    def __init__(
        self,
        client: BusClient,
        number: int,
        pattern: str,
        klass: str,
        *,
        from_seq: int | None,
        max_messages: int,
        max_bytes: int,
        on_message: Callable[[Message], None] | None = None,
    ) -> None:
        self._client = client
        self._queue: deque[bytes] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False
        self._error: RunloopError | None = None
        self._granted = 0
        self._granted_bytes = 0
        self.number = number
        self.pattern = pattern
        self.klass = klass
        self.from_seq = from_seq
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.on_message = on_message
        self.dropped = 0
        self.seq: int | None = None
        self.received_seq = 0 if from_seq is None else from_seq - 1

    def push(self, raw: bytes) -> None:
        """Take a frame in; :meth:`wake` follows."""
        self._queue.append(raw)
        if self.klass == REALTIME and len(self._queue) > self.max_messages:
            self._queue.popleft()
            self.dropped += 1

    def call(self, raw: bytes, on_message: Callable[[Message], None]) -> None:
        """Hand a frame to the function that wants it at once."""
        message = Message(raw)
        try:
            on_message(message)
        except MessageError:  # met where the function reads it: the bus forwards payloads without looking into them
            self.dropped += 1
        except Exception as error:  # noqa: BLE001 - the messages after it, and other subscriptions, go on
            context = {"message": f"a subscriber to {self.pattern!r} failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        if self.klass != REALTIME:
            self._read(message)

    def wake(self) -> None:
        """Let the readers go on."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def end(self, error: RunloopError | None = None) -> None:
        """No more will come; what is here can still be read."""
        self._ended = True
        self._error = error
        self.wake()

    async def __anext__(self) -> Message:
        while True:
            message = Message(await self._next())
            sound = message.is_sound()
            self.dropped += not sound
            if self.klass != REALTIME:
                self._read(message)
            if sound:
                return message

    async def _next(self) -> bytes:
        queue = self._queue
        while not queue:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return queue.popleft()

    def _read(self, message: Message) -> None:
        if self.klass == DURABLE and message.is_sound():
            self.seq = message.seq or self.seq
        self._granted += 1
        self._granted_bytes += len(message.raw)
        self.grant()

    def grant(self) -> None:
        """Grant credit for what was read, in steps of a quarter, so that granting costs little; later where there is no connection yet."""
        due = self._granted * 4 >= self.max_messages or self._granted_bytes * 4 >= self.max_bytes or not self._queue
        if self._granted and due and self._client.grant(self.number, self._granted, self._granted_bytes):
            self._granted = self._granted_bytes = 0

    def restart(self) -> None:
        """A new connection knows nothing of the credit of the one before: what waits here counts as granted already."""
        self._granted = self._granted_bytes = 0

    @property
    def waiting(self) -> int:
        """Messages that have come and were not read."""
        return len(self._queue)

    async def close(self) -> None:
        """Unsubscribe."""
        await self._client.unsubscribe(self)
