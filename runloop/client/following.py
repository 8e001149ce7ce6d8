"""Following a run: its records as they are written, over restarts of the daemon, to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from runloop.bus.errors import Disconnected, from_wire
from runloop.bus.subscription import DURABLE
from runloop.errors import EXIT_FAILED, EXIT_UNAVAILABLE, RunloopError, Unavailable
from runloop.tasks import end_tasks

if TYPE_CHECKING:
    from runloop.bus.inbox import Subscription
    from runloop.client.client import Client

Record = dict[str, Any]
"""A run record: docs/events.md has its keys."""
RUN_EVENT: Final = "observation.run.event.v1"
_MESSAGES: Final = 512
_BYTES: Final = 256 * 1024


class Following:
    """The records of one run from a number on, each once and in order, the live ones between them; ``async with`` begins and ends it.

    Iteration ends after ``run.finished``. It raises Unavailable where no end can come: ``daemon.lost`` or ``daemon.stopped`` where the
    daemon does not come back in time, ``run.unfinished`` after the last record of a run that no daemon drives; else what broke the run off.
    """

    def __init__(
        self, client: Client, run_id: str, topic: str, from_seq: int = 1, *, attended: bool = False, last_seq: int | None = None
    ) -> None:
        self._client = client
        self._topic = topic
        self._attended = attended
        self._seq = from_seq - 1
        self._last = last_seq
        self._sub: Subscription | None = None
        self._told: RunloopError | None = None
        self._check: asyncio.Task[None] | None = None
        self.run_id = run_id
        self.outputs: dict[str, Any] = {}
        """What finished nodes gave, by node, as recorded: a large value stands as ``{"$blob": …}``."""
        self.end: Record | None = None
        """The last record, once it came."""

    async def __aenter__(self) -> Self:
        client = self._client
        self._sub = await client.subscribe(self._topic, DURABLE, from_seq=self._seq + 1, max_messages=_MESSAGES, max_bytes=_BYTES)
        client.bus.on_reconnect.append(self._reconnected)
        return self

    async def __aexit__(self, *_error: object) -> None:
        with suppress(ValueError):
            self._client.bus.on_reconnect.remove(self._reconnected)
        if self._check is not None:
            await end_tasks(self._check)
        if self._sub is not None:
            with suppress(RunloopError):
                await self._sub.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        if self.end is not None:
            raise StopAsyncIteration
        if self._last is not None and self._seq >= self._last:
            await self._look_again()
        while True:
            message = await self._next()
            if message.type == RUN_EVENT:
                break
            self._hear(message.payload)
        record: Record = message.payload
        if record["event_id"] is not None:
            self._seq = record["seq"]
            self._fold(record)
        return record

    async def _next(self) -> Any:
        if self._sub is None:
            raise Disconnected("nothing is followed yet", code="bus.closed", hint="use `async with`", retryable=False)
        try:
            return await anext(self._sub)
        except StopAsyncIteration:
            raise Disconnected("the client is closed", code="bus.closed", hint="connect again", retryable=False) from None
        except Disconnected as error:
            raise self._told or self._lost() from error

    async def _look_again(self) -> None:
        """Whether the run, which had no end and was in no daemon, has been taken up since. Raises Unavailable where it has not."""
        try:
            await self._ask()
        except Disconnected as error:
            raise self._told or self._lost() from error
        if self._last is not None:
            raise self._unfinished()

    async def _ask(self) -> None:
        """Ask whether the daemon drives the run, and say that somebody follows it."""
        found = await self._client.ask("attach", run=self.run_id, attended=self._attended or None)
        self._last = found["last_seq"] if found["state"] == "unfinished" else None

    def _fold(self, record: Record) -> None:
        kind, meta = record["kind"], record["meta"]
        if record["run_id"] != self.run_id:
            return
        if kind == "node.finished" and meta["status"] == "ok":
            self.outputs[meta["node"]] = meta.get("outputs")
        elif kind == "run.finished":
            self.end = record

    def _hear(self, payload: Any) -> None:
        """The daemon says that the run stopped without an end; one that only stops may come back and go on with it."""
        error = payload.get("error") if isinstance(payload, dict) else None
        retryable = isinstance(error, dict) and bool(error.get("retryable"))
        told = from_wire({**error, "exit_code": EXIT_UNAVAILABLE if retryable else EXIT_FAILED} if isinstance(error, dict) else None)
        if not told.retryable:
            raise told
        self._told = told

    # ── a new connection ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _reconnected(self) -> None:
        self._told = None
        if self._check is not None:
            self._check.cancel()
        self._check = asyncio.get_running_loop().create_task(self._ask_again())

    async def _ask_again(self) -> None:
        """Whether the daemon that is there now goes on with the run; and that somebody still follows it."""
        try:
            await self._ask()
        except RunloopError:
            return  # not submitted yet, or the connection is gone again, which the subscription tells
        if self._last is not None and self._seq >= self._last and self._sub is not None:
            self._sub.end(self._unfinished())

    def _unfinished(self) -> Unavailable:
        hint = f"it was cut off, or another process drives it; `rlp show {self.run_id[:8]}` shows what is recorded"
        message = f"run {self.run_id} has no end and does not run in this daemon"
        return Unavailable(message, code="run.unfinished", hint=hint, retryable=False)

    def _lost(self) -> Unavailable:
        hint = f"`rlp up` starts it again; `rlp show {self.run_id[:8]}` shows what is recorded"
        return Unavailable(f"the connection to the daemon was lost; run {self.run_id} may go on there", code="daemon.lost", hint=hint)
