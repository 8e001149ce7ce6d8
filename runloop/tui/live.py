"""The live feed: everything that the daemon publishes, over one connection that is made anew when it breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any, Final

from runloop.dataclass import dataclass
from runloop.errors import Denied, RunloopError, Unavailable
from runloop.tasks import end_tasks
from runloop.tui.board import Board
from runloop.tui.changing import Change, became
from runloop.tui.deciding import Decision
from runloop.tui.model import ENDED, Record, RunModel

if TYPE_CHECKING:
    from runloop.client import Client

RUNS: Final = "rlp/runs/*/events"
SYSTEM: Final = "rlp/sys/*"
ASKED: Final = "action.request"
RUN_EVENT: Final = "observation.run.event.v1"
LISTED: Final = 200
"""How many of the newest runs are listed when it begins; those without an end are listed however old they are."""
OPEN: Final = ("queued", "running", "waiting", "paused", "unfinished")
"""States of runs without an end, of each of which at most MOST_OPEN are listed."""
MOST_OPEN: Final = 1000
_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0)
_FETCHES: Final = 8


@dataclass(slots=True)
class LiveFeed:
    """Fills a board from the daemon that ``connect`` makes clients of; what is shown goes through ``mask``, approvals excepted."""

    connect: Callable[[], Client]
    mask: Callable[[Any], Any] = lambda value: value
    mode: str = "LIVE"
    _client: Client | None = None
    _lost: RunloopError | None = None
    """Why the connection ended that was there last, or could not be made."""
    _board: Board = field(default_factory=Board)
    _changed: Callable[[], None] = lambda: None
    _wanted: dict[str, int] = field(default_factory=dict)
    """Runs that are being fetched, and up to which record."""
    _fetching: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_FETCHES))

    def now_ms(self) -> int:
        """Now."""
        return time.time_ns() // 1_000_000

    async def fill(self, board: Board, changed: Callable[[], None]) -> None:
        """As :class:`runloop.tui.ports.Feed`: for ever, over restarts of the daemon. Raises Denied where this is no operator."""
        self._board, self._changed = board, changed
        tries = 0
        while True:
            try:
                async with self.connect() as client:
                    if client.role != "operator":
                        raise Denied("agtop shows what people wrote, which is for operators", code="tui.operator", hint=_NO_TOKEN)
                    tries, self._client = 0, client
                    await self._serve(client)
            except* RunloopError as group:
                error = _first(group)
                if isinstance(error, Denied):
                    raise error from None
                self._lost = error
                there_is_none = error.code == "daemon.unavailable"
                board.lose("no daemon answers: `rlp up` starts one" if there_is_none else f"{error.message}: {error.hint}")
                changed()
            finally:
                self._client = None
                await self._stop_fetching()
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1

    async def _serve(self, client: Client) -> None:
        board = self._board
        runs = await client.subscribe(RUNS, max_messages=4096, max_bytes=8 * 1024 * 1024)
        system = await client.subscribe(SYSTEM)
        asked = await client.subscribe(ASKED)
        status, library, rows = await client.status(), await client.ask("library"), await self._listed(client)
        board.know(link=f"connected to {client.socket}", status=status, library=library)
        board.list_runs(self.mask(rows))
        board.list_approvals(await client.approvals())
        board.measure(await client.metrics())
        board.heard_ms = self.now_ms()
        self._changed()
        for row in rows:
            known = board.runs.get(row["run_id"])
            if known is not None and (row["state"] not in ENDED or known.seq):
                self._want(row["run_id"], row["last_seq"])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._each(runs, self._record))
            group.create_task(self._each(system, self._system))
            group.create_task(self._each(asked, board.ask))

    async def _listed(self, client: Client) -> list[dict[str, Any]]:
        """The newest runs, and every one that has no end."""
        rows = await client.runs(limit=LISTED)
        self._board.older = len(rows) == LISTED
        if not self._board.older:
            return rows
        still = [row for state in OPEN for row in await client.runs(state=state, limit=MOST_OPEN)]
        return list({row["run_id"]: row for row in (*still, *rows)}.values())

    async def _each(self, messages: Any, take: Callable[[Any], None]) -> None:
        async for message in messages:
            self._board.heard_ms = self.now_ms()
            take(message.payload)
            self._changed()
        raise Unavailable("the connection to the daemon ended", code="daemon.lost", hint="`rlp up` starts it again")

    def _record(self, payload: Any) -> None:
        if not isinstance(payload, dict) or "kind" not in payload:
            return  # the end of a run that stopped without one: the list tells
        run_id = payload["run_id"]
        known = self._board.runs.get(run_id)
        if known is not None and payload["event_id"] is not None and payload["seq"] <= known.seq:
            return
        if not self._board.take(self.mask(payload)):
            self._want(run_id, payload["seq"])

    def _system(self, payload: Any) -> None:
        board = self._board
        if not isinstance(payload, dict):
            return
        if "gauges" in payload:
            board.measure(payload)
            return
        board.tell(told(payload))
        self._spawn(self._look_again)

    async def _look_again(self) -> None:
        if self._client is not None:
            self._board.know(status=await self._client.status(), library=await self._client.ask("library"))
            self._changed()

    # ── what is missing ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def know(self, run_id: str) -> None:
        """Fetch a run from its first record on; returns when what is stored now is known."""
        if self._client is None:
            return
        found = await self._client.ask("attach", run=run_id)
        fetching = self._want(found["run_id"], found["last_seq"] or 0)
        if fetching is not None:
            await asyncio.wait([fetching])

    def _want(self, run_id: str, seq: int) -> asyncio.Task[None] | None:
        """Let a run be fetched up to a record, by one task for all who want that; None where it is known so far."""
        if self._board.run(run_id).seq >= seq:
            return None
        self._wanted[run_id] = max(self._wanted.get(run_id, 0), seq)
        if run_id not in self._fetching:
            self._fetching[run_id] = self._spawn(self._fetch, run_id)
        return self._fetching[run_id]

    async def _fetch(self, run_id: str) -> None:
        client, run, before = self._client, self._board.run(run_id), -1
        try:
            async with self._slots:
                while client is not None and before < run.seq < self._wanted[run_id]:  # more may be wanted while it ends
                    before = run.seq
                    await self._fetch_on(client, run)
        finally:
            self._wanted.pop(run_id, None)
            self._fetching.pop(run_id, None)

    async def _fetch_on(self, client: Client, run: RunModel) -> None:
        topic = (await client.ask("attach", run=run.run_id))["topic"]
        stored = await client.subscribe(topic, "durable", from_seq=run.seq + 1, max_messages=512, max_bytes=256 * 1024)
        try:
            while run.seq < self._wanted[run.run_id] and (message := await anext(stored, None)) is not None:
                if message.type == RUN_EVENT and message.payload["event_id"] is not None:
                    self._board.take(self.mask(message.payload))
                    self._changed()
        finally:
            await stored.close()

    def _spawn(self, work: Callable[..., Awaitable[None]], *arguments: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._quietly(work, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _quietly(self, work: Callable[..., Awaitable[None]], *arguments: str) -> None:
        try:
            await work(*arguments)
        except RunloopError as error:
            self._board.tell(f"{error.code}: {error.message}")
            self._changed()

    async def _stop_fetching(self) -> None:
        """End what fetches: with the connection that it reads from."""
        await end_tasks(*self._tasks)
        self._wanted.clear()
        self._fetching.clear()

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def whole(self, value: Any) -> Any:
        """As :class:`runloop.tui.ports.Feed`."""
        if self._client is not None and isinstance(value, Mapping) and value.keys() == {"$blob", "bytes"}:
            return self.mask(await self._client.blob(value["$blob"]))
        return value

    async def answer(self, approval_id: str, decision: Decision) -> None:
        """As :class:`runloop.tui.ports.Feed`."""
        await self._connected().answer(approval_id, **asdict(decision))

    async def change(self, change: Change) -> str:
        """As :class:`runloop.tui.ports.Feed`."""
        return became(change, await self._connected().ask(change.verb, **change.fields()))

    def _connected(self) -> Client:
        if self._client is not None:
            return self._client
        if self._lost is not None:
            raise self._lost.with_traceback(None)
        raise Unavailable("no daemon answers", code="daemon.unavailable", hint="start one with `rlp up`")


_NO_TOKEN = "run it as the daemon's user, who can read the token, and outside of a sandbox"  # noqa: S105 - a hint


def told(payload: Record) -> str:
    """What the daemon says of itself, as a line."""
    if "what" in payload:
        error = payload.get("error") or {}
        return f"{payload['what']} {payload['name']}: {payload['state']}" + (f": {error['message']} [{error['code']}]" if error else "")
    if "state" in payload:
        return f"the daemon is {payload['state']}"
    return " ".join(f"{name}={value}" for name, value in payload.items())


def _first(group: BaseExceptionGroup[RunloopError]) -> RunloopError:
    found: Any = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    error: RunloopError = found
    return error
