"""Turns: how many may work at a time, over all runs and in one run, and who is next. Round robin over the runs, so that none starves."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.effects.types import CallContext, Outcome, Performer, Prepared

Limit: TypeAlias = int | Callable[[], int] | None

PATIENCE_S = 0.5
"""A run of which nothing is at work and that has waited for so long gets a turn beyond the limit, where any are to be had."""
_LOOK_S = 0.1


class Turns:
    """At most ``limit`` at work over all runs and ``per_run`` in one; None is no limit. Lives on one event loop.

    A limit that changes by itself is asked whenever a turn is taken or given back.

    Who leaves to wait for somebody gives the turn to others and takes it up again at once when the answer is there: those that
    come back may exceed the limit for a while, and nothing that has begun ever waits for something that has not. So a run is not kept
    waiting by others' long work by taking their turns away, but by giving it one that is ``beyond`` the limit.
    """

    def __init__(self, limit: Limit = None, per_run: int | None = None, beyond: int | Callable[[], int] = 0) -> None:
        self._limit = limit
        self._beyond = beyond
        self.per_run = per_run
        self._working: Counter[str] = Counter()
        self._at_work = 0
        self._away = 0
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._order: deque[str] = deque()
        self._since: dict[str, float] = {}
        """When each run that waits began to."""
        self._looking: asyncio.TimerHandle | None = None
        self._held: set[str] = set()
        self._closed = False
        self._quiet: list[asyncio.Future[None]] = []

    @property
    def limit(self) -> int | None:
        """How many may be at work now."""
        return self._limit() if callable(self._limit) else self._limit

    @property
    def at_work(self) -> int:
        """How many have a turn now."""
        return self._at_work

    @property
    def away(self) -> int:
        """How many wait for an answer from outside that is on its way."""
        return self._away

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return sum(len(queue) for queue in self._queues.values())

    def try_take(self, run_id: str) -> bool:
        """Take a turn if one is free and nobody is before."""
        if self._order or not self._may(run_id):
            return False
        self._begin(run_id)
        return True

    async def take(self, run_id: str) -> None:
        """Wait for a turn; it must be given back."""
        if self.try_take(run_id):
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        queue = self._queues.get(run_id)
        if queue is None:
            queue = self._queues[run_id] = deque()
            self._order.append(run_id)
            self._since[run_id] = loop.time()
        queue.append(waiter)
        self._serve()
        if self._beyond:
            self._look_later()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._forget(run_id, waiter)
            else:  # it got its turn in the same moment
                self.give_back(run_id)
            raise

    def give_back(self, run_id: str) -> None:
        """End a turn."""
        self._end(run_id)
        self._serve()
        self._tell_quiet()

    def leave(self, run_id: str, *, outside: bool = False) -> None:
        """Lend the turn while waiting: for somebody, or for an answer that is on its way (``outside``)."""
        self._away += outside
        self.give_back(run_id)

    def come_back(self, run_id: str, *, outside: bool = False) -> None:
        """Take the lent turn up again."""
        self._away -= outside
        self._begin(run_id)
        self._tell_quiet()

    def hold(self, run_id: str) -> None:
        """Give this run no more turns."""
        self._held.add(run_id)

    def release(self, run_id: str) -> None:
        """Give this run turns again."""
        self._held.discard(run_id)
        self._serve()
        if self._beyond:
            self._look_later()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._closed = True

    def allow(self, limit: Limit, per_run: int | None, beyond: int | Callable[[], int] = 0) -> None:
        """Change the limits; who has a turn keeps it."""
        self._limit, self.per_run, self._beyond = limit, per_run, beyond
        self._serve()

    def look_again(self) -> None:
        """Hand out turns that are free since the limit changed by itself."""
        self._serve()

    async def quiet(self) -> None:
        """Return when nobody is at work or away."""
        if self._at_work or self._away:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._quiet.append(waiter)
            await waiter

    def _may(self, run_id: str) -> bool:
        if self._closed or run_id in self._held:
            return False
        limit = self.limit
        if limit is not None and self._at_work >= limit:
            return False
        return self.per_run is None or self._working[run_id] < self.per_run

    def _begin(self, run_id: str) -> None:
        self._add(run_id, 1)

    def _end(self, run_id: str) -> None:
        self._add(run_id, -1)

    def _add(self, run_id: str, change: int) -> None:
        """Below zero for a moment where a stopped call comes back after its node has ended."""
        self._at_work += change
        self._working[run_id] += change
        if not self._working[run_id]:
            del self._working[run_id]

    def _serve(self) -> None:
        """Hand free turns out, one to each run in its order, until there is none or nobody may."""
        passed, limit = 0, self.limit if self._order else None
        while self._order and passed < len(self._order) and not self._closed and (limit is None or self._at_work < limit):
            run_id = self._order[0]
            self._order.rotate(-1)
            if not self._may(run_id):
                passed += 1
                continue
            passed = 0
            self._give(run_id)

    def _give(self, run_id: str) -> None:
        """Give the first of a run that waits its turn."""
        queue = self._queues[run_id]
        waiter = queue.popleft()
        if not queue:
            self._drop(run_id)
        if not waiter.done():
            self._begin(run_id)
            waiter.set_result(None)

    def _look_later(self) -> None:
        """Look in a moment, for as long as somebody waits who may get a turn: a pause may last for days."""
        if self._looking is None and not self._closed and any(each not in self._held for each in self._order):
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(_LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give runs of which nothing is at work, and that have waited for long, a turn beyond the limit."""
        self._looking = None
        beyond = self._beyond() if callable(self._beyond) else self._beyond
        limit = self.limit
        if beyond and limit is not None and not self._closed:
            late = loop.time() - PATIENCE_S
            waited = [each for each in self._order if self._since[each] <= late and each not in self._held and not self._working[each]]
            for run_id in waited[: max(0, limit + beyond - self._at_work)]:
                self._give(run_id)
                if run_id in self._queues:
                    self._order.remove(run_id)
                    self._order.append(run_id)
        self._look_later()

    def _forget(self, run_id: str, waiter: asyncio.Future[None]) -> None:
        queue = self._queues.get(run_id)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        if not queue:
            self._drop(run_id)

    def _drop(self, run_id: str) -> None:
        """Nothing of a run waits any more."""
        del self._queues[run_id], self._since[run_id]
        self._order.remove(run_id)

    def _tell_quiet(self) -> None:
        if not self._at_work and not self._away:
            waiters, self._quiet = self._quiet, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


class InTurn:
    """A performer whose calls take turns, round robin over the runs."""

    def __init__(self, performer: Performer, turns: Turns) -> None:
        self._performer, self._turns = performer, turns

    def prepare(self, args: Mapping[str, object], ctx: CallContext) -> Prepared:
        """As the performer does."""
        return self._performer.prepare(args, ctx)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """As the performer does, when it is this run's turn."""
        await self._turns.take(ctx.run_id)
        try:
            return await self._performer.perform(prepared, ctx)
        finally:
            self._turns.give_back(ctx.run_id)
