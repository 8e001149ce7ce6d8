"""The blocking form of the client: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from runloop.bus.acl import CLIENT
from runloop.bus.client import BusClient
from runloop.bus.inbox import Subscription
from runloop.bus.message import Message
from runloop.bus.subscription import REALTIME
from runloop.rmp import DEFAULT_TTL_MS

T = TypeVar("T")


class SyncSubscription:
    """Iterate over it for the messages; ``close`` it from any thread."""

    def __init__(self, client: SyncClient, inner: Subscription) -> None:
        self._client = client
        self.inner = inner

    def __iter__(self) -> Iterator[Message]:
        while (message := self.next()) is not None:
            yield message

    def next(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None at the end; raises TimeoutError when none comes in time, and what ended the connection."""
        return self._client.run(self._next(), timeout_s)

    async def _next(self) -> Message | None:
        return await anext(self.inner, None)

    def close(self) -> None:
        """Unsubscribe."""
        self._client.run(self.inner.close())


class SyncClient:
    """As :class:`BusClient`, for programs without an event loop. Its methods may be called from any thread."""

    def __init__(self, path: Path | str, role: str = CLIENT, token: str | None = None, **options: Any) -> None:
        """Connect; ``options`` as for :meth:`BusClient.connect`, and it raises the same."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runloop-bus", daemon=True)
        self._thread.start()
        try:
            self.client = self.run(BusClient.connect(path, role, token, **options))
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine in the client's loop; it is cancelled when the time is up or the caller interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except (concurrent.futures.TimeoutError, KeyboardInterrupt):
            future.cancel()
            raise

    def publish(self, topic: str, type_: str, payload: Any, **options: Any) -> int | None:
        """See :meth:`BusClient.publish`."""
        return self.run(self.client.publish(topic, type_, payload, **options))

    def subscribe(self, pattern: str, klass: str = REALTIME, **options: Any) -> SyncSubscription:
        """See :meth:`BusClient.subscribe`."""
        return SyncSubscription(self, self.run(self.client.subscribe(pattern, klass, **options)))

    def request(self, topic: str, type_: str, payload: Any, deadline_ms: int = DEFAULT_TTL_MS) -> Message:
        """See :meth:`BusClient.request`."""
        return self.run(self.client.request(topic, type_, payload, deadline_ms))

    def close(self) -> None:
        """See :meth:`BusClient.close`."""
        if self._thread.is_alive():
            self.run(self.client.close())
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
