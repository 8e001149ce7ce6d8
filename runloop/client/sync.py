"""The blocking form of the client: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from runloop.bus.errors import Disconnected
from runloop.bus.subscription import REALTIME
from runloop.client.client import Client
from runloop.errors import InvalidInput
from runloop.rmp import DEFAULT_TTL_MS
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.bus.inbox import Subscription
    from runloop.bus.message import Message
    from runloop.client.agents import Ports
    from runloop.client.following import Following, Record
    from runloop.client.handle import RunHandle, RunResult

T = TypeVar("T")


class SyncSubscription:
    """Iterate over it for the messages; ``close`` it from any thread."""

    def __init__(self, client: SyncClient, inner: Subscription) -> None:
        self._client = client
        self._inner = inner

    def __iter__(self) -> Iterator[Message]:
        while (message := self.next()) is not None:
            yield message

    def next(self, timeout_s: float | None = None) -> Message | None:
        """The next message, or None at the end; raises TimeoutError when none comes in time, and what ended the connection."""
        return self._client.run(self._next(), timeout_s)

    async def _next(self) -> Message | None:
        return await anext(self._inner, None)

    def close(self) -> None:
        """Unsubscribe."""
        self._client.run(self._inner.close())


class SyncFollowing:
    """As :class:`runloop.client.following.Following`: iterate over it within ``with``."""

    def __init__(self, client: SyncClient, inner: Following) -> None:
        self._client = client
        self._inner = inner

    def __enter__(self) -> Self:
        self._client.run(self._inner.__aenter__())
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.leave(self._inner.__aexit__())

    def __iter__(self) -> Iterator[Record]:
        while (record := self._client.run(_next(self._inner))) is not None:
            yield record


class SyncRun:
    """As :class:`runloop.client.RunHandle`."""

    def __init__(self, client: SyncClient, inner: RunHandle) -> None:
        self._client = client
        self._inner = inner
        self.id = inner.id
        self.topic = inner.topic
        self.opening_name = inner.opening_name

    def following(self, from_seq: int | None = None) -> SyncFollowing:
        """The records as a context: once it is entered, nothing that comes is missed."""
        return SyncFollowing(self._client, self._inner.following(from_seq))

    def records(self, from_seq: int | None = None) -> Iterator[Record]:
        """Every record from the first one (or ``from_seq``) to the run's end."""
        with self.following(from_seq) as records:
            yield from records

    def result(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the end; raises TimeoutError when it does not come in time."""
        return self._client.run(self._inner.result(), timeout_s)

    def outputs(self, timeout_s: float | None = None) -> Mapping[str, Mapping[str, list[Any]]]:
        """Wait for the end; what each node gave, by port."""
        return self._client.run(self._inner.outputs(), timeout_s)

    def cancel(self, reason: str | None = None) -> dict[str, Any]:
        """Stop it."""
        return self._client.run(self._inner.cancel(reason))

    def pause(self, reason: str | None = None) -> dict[str, Any]:
        """Let it begin nothing new."""
        return self._client.run(self._inner.pause(reason))

    def resume(self, reason: str | None = None) -> dict[str, Any]:
        """Let it go on."""
        return self._client.run(self._inner.resume(reason))

    def state(self) -> str:
        """What it does."""
        return self._client.run(self._inner.state())


async def _next(following: Following) -> Record | None:
    return await anext(following, None)


async def _within(work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
    """In the loop, where a message that came just in time is not lost."""
    async with asyncio.timeout(timeout_s):
        return await work


async def _cancel_others() -> None:
    await asyncio.sleep(0)  # a task that never began would leave its coroutine behind
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await end_tasks(*others)


def _closed() -> Disconnected:
    return Disconnected("the client is closed", code="bus.closed", hint="make a new one", retryable=False)


class SyncClient:
    """As :class:`runloop.client.Client`, for programs without an event loop. Its methods may be called from any thread."""

    def __init__(self, socket: Path | str | None = None, **options: Any) -> None:
        """Connect; ``options`` as for :class:`Client`, and it raises the same."""
        self._loop = asyncio.new_event_loop()
        self._starting = threading.RLock()  # the collector may end an iterator while this thread holds it
        self._ended = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="runloop-client", daemon=True)
        self._thread.start()
        try:
            self.client = Client(socket, **options)
            self.run(self.client.connect())
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine in the client's loop; it is cancelled when the time is up, the caller interrupted, or the client closed."""
        if threading.current_thread() is self._thread:
            work.close()
            hint = "hand the message to another thread, such as with queue.Queue, or use the awaitable methods of its `client`"
            raise InvalidInput("a function called by the client waits for the client", code="client.own_thread", hint=hint)
        if not self._thread.is_alive():  # a process that was forked has the client and not its thread
            work.close()
            raise _closed()
        with self._starting:
            if self._ended:
                work.close()
                raise _closed()
            future = self._start(_within(work, timeout_s))
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None
        except BaseException:  # also what a handler of the program's raises, of SIGTERM or SIGALRM: the work would go on without a reader
            future.cancel()
            raise

    def leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what ends something. In the client's own thread, where only the collector ends anything, it is begun and not waited for."""
        if threading.current_thread() is self._thread:
            self._start(work)
            return
        with suppress(Disconnected):  # the client was closed before: there is nothing to end any more
            self.run(work)

    def _start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    @property
    def role(self) -> str:
        """What this connection is to the daemon."""
        return self.client.role

    def publish(self, topic: str, type_: str, payload: Any, *, ack: bool = False, ttl_ms: int = DEFAULT_TTL_MS) -> int | None:
        """See :meth:`Client.publish`."""
        return self.run(self.client.publish(topic, type_, payload, ack=ack, ttl_ms=ttl_ms))

    def subscribe(self, pattern: str, klass: str = REALTIME, **options: Any) -> SyncSubscription:
        """See :meth:`Client.subscribe`."""
        return SyncSubscription(self, self.run(self.client.subscribe(pattern, klass, **options)))

    def request(self, topic: str, type_: str, payload: Any, deadline_ms: int = DEFAULT_TTL_MS) -> Message:
        """See :meth:`Client.request`."""
        return self.run(self.client.request(topic, type_, payload, deadline_ms))

    def ask(self, verb: str, /, **fields: Any) -> dict[str, Any]:
        """See :meth:`Client.ask`."""
        return self.run(self.client.ask(verb, **fields))

    def submit(self, opening: str | Path | None = None, params: Mapping[str, Any] | None = None, **options: Any) -> SyncRun:
        """See :meth:`Client.submit`."""
        return SyncRun(self, self.run(self.client.submit(opening, params, **options)))

    def attach(self, run: str, from_seq: int = 1, *, attended: bool = False) -> SyncRun:
        """See :meth:`Client.attach`."""
        return SyncRun(self, self.run(self.client.attach(run, from_seq, attended=attended)))

    def runs(self, **options: Any) -> list[dict[str, Any]]:
        """See :meth:`Client.runs`."""
        return self.run(self.client.runs(**options))

    def handle(self, run_id: str, *, attended: bool = False) -> SyncRun:
        """See :meth:`Client.handle`."""
        return SyncRun(self, self.client.handle(run_id, attended=attended))

    def blob(self, name: str) -> Any:
        """See :meth:`Client.blob`."""
        return self.run(self.client.blob(name))

    def describe_agents(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """See :meth:`Client.describe_agents`."""
        return self.run(self.client.describe_agents(names))

    def approvals(self, run: str | None = None) -> list[dict[str, Any]]:
        """See :meth:`Client.approvals`."""
        return self.run(self.client.approvals(run))

    def answer(self, approval_id: str, **options: Any) -> dict[str, Any]:
        """See :meth:`Client.answer`."""
        return self.run(self.client.answer(approval_id, **options))

    def call_agent(self, name: str, inputs: Ports | None = None, **options: Any) -> dict[str, list[Any]]:
        """See :meth:`Client.call_agent`."""
        return self.run(self.client.call_agent(name, inputs, **options))

    def status(self) -> dict[str, Any]:
        """See :meth:`Client.status`."""
        return self.run(self.client.status())

    def metrics(self) -> dict[str, Any]:
        """See :meth:`Client.metrics`."""
        return self.run(self.client.metrics())

    def close(self) -> None:
        """End the connection and the thread; calls that other threads wait in fail with ``bus.closed``."""
        with suppress(Disconnected):  # another thread was faster
            self.run(self.client.close())
            self._stop()

    def _stop(self) -> None:
        with self._starting:
            ended, self._ended = self._ended, True
        if not ended:
            self._start(_cancel_others()).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
