"""A guest for which no worker has a place: its node's time stands still, and who was taken out for others lends them the turn."""

from __future__ import annotations

import asyncio
import time

import pytest

from runloop.openings.states import Tick
from runloop.runs import attempting, turns

ONE = "@agent\ndef run(**inputs):\n    kb.search('x')\n    return {'out': 1}\n"
TIME_MS = 30_000
OPENING = f'version: 0\nname: one\nnodes: [{{id: only, use: "agent:one", timeout_ms: {TIME_MS}}}]\nedges: []\n'


@pytest.fixture
def clocks(monkeypatch):
    """Installs clocks into a bench that go on by more than a node's time, once they are asked to."""
    monkeypatch.setattr(attempting, "_UNTOLD_MS", 0)

    def install(b):
        ahead_ms = 0

        async def go_on(run):
            nonlocal ahead_ms
            for _ in range(100):  # what waits has said so by then
                await asyncio.sleep(0)
            ahead_ms = 2 * TIME_MS
            for each in run.family():
                each.tell(Tick())
            for _ in range(100):
                await asyncio.sleep(0)

        object.__setattr__(b.services, "steady_ms", lambda: time.monotonic_ns() // 1_000_000 + ahead_ms)
        object.__setattr__(b.services, "clock_ms", lambda: time.time_ns() // 1_000_000 + ahead_ms)
        return go_on

    return install


def nested(b):
    """An opening with one that has one."""
    b.agent("one", ONE, caps="kb_read = true")
    b.openings["inner"] = OPENING.replace("name: one", "name: inner")
    b.openings["middle"] = OPENING.replace("name: one", "name: middle").replace("agent:one", "opening:inner")
    return OPENING.replace("agent:one", "opening:middle")


class Full:
    """The pool, where the first guest finds no place until a test says so."""

    def __init__(self, b, *, again):
        self.pool, self.again = b.pool, again
        self.waits, self.room = asyncio.Event(), asyncio.Event()
        object.__setattr__(b.services, "guests", self)

    async def prepare(self, spec=None):
        await self.pool.prepare(spec)

    async def run(self, spec, hostcall, tape, in_line):
        if not self.waits.is_set():
            with in_line(self.again):
                self.waits.set()
                await self.room.wait()
        return await self.pool.run(spec, hostcall, tape, in_line)


@pytest.mark.parametrize("again", [False, True])
async def test_what_waits_for_a_worker_does_not_use_up_its_time(bench, clocks, again):
    async with bench() as b:
        go_on = clocks(b)
        b.agent("one", ONE, caps="kb_read = true")
        left = []
        search = b.services.performers["kb.search"]
        prepare = search.prepare
        search.prepare = lambda args, ctx: (left.append(ctx.deadline_ms - ctx.now_ms), prepare(args, ctx))[1]
        full = Full(b, again=again)
        run = await b.submit(OPENING)
        driven = asyncio.ensure_future(b.manager.drive(run))
        await full.waits.wait()
        await go_on(run)
        full.room.set()
        assert (await driven).status == "succeeded"
        assert 0 < left[0] <= TIME_MS  # what it asks for has that time as well


async def test_nor_does_it_use_up_the_time_of_a_nested_opening_at_any_depth(bench, clocks):
    async with bench() as b:
        go_on = clocks(b)
        outer = nested(b)
        full = Full(b, again=False)
        run = await b.submit(outer)
        driven = asyncio.ensure_future(b.manager.drive(run))
        await full.waits.wait()
        await go_on(run)
        full.room.set()
        assert (await driven).status == "succeeded"


@pytest.mark.parametrize(("again", "first"), [(True, "other"), (False, "one")])
async def test_only_who_was_taken_out_for_others_lends_them_the_turn(bench, again, first):
    async with bench() as b:
        b.agent("one", ONE, caps="kb_read = true")
        b.services.turns.allow(1, None)
        full, ended = Full(b, again=again), []

        async def drive(name):
            assert (await b.run(OPENING.replace("name: one", f"name: {name}"))).status == "succeeded"
            ended.append(name)

        one = asyncio.ensure_future(drive("one"))
        await full.waits.wait()
        other = asyncio.ensure_future(drive("other"))
        if again:
            await other
        else:
            while not b.services.turns.waiting:
                await asyncio.sleep(0.01)
        full.room.set()
        await asyncio.gather(one, other)
        assert ended[0] == first
        assert (b.services.turns.at_work, b.services.turns.waiting) == (0, 0)


async def test_a_run_that_is_cancelled_while_it_waits_for_a_worker_gives_its_turn_back_once(bench):
    async with bench() as b:
        b.agent("one", ONE, caps="kb_read = true")
        full = Full(b, again=True)
        run = await b.submit(OPENING)
        driven = asyncio.ensure_future(b.manager.drive(run))
        await full.waits.wait()
        run.cancel("enough")
        assert (await driven).status == "cancelled"
        assert (b.services.turns.at_work, b.services.turns.waiting) == (0, 0)


class Compiling:
    """The pool, where a guest but the first run's is compiled only when a test says so."""

    def __init__(self, b):
        self.pool, self.run = b.pool, b.pool.run
        self.waits, self.done = asyncio.Event(), asyncio.Event()
        object.__setattr__(b.services, "guests", self)

    async def prepare(self, spec=None):
        self.waits.set()
        await self.done.wait()
        await self.pool.prepare(spec)


async def test_nor_does_the_time_that_a_guest_takes_to_be_compiled_for_an_opening_at_any_depth(bench, clocks):
    async with bench() as b:
        go_on = clocks(b)
        outer = nested(b)
        compiling = Compiling(b)
        run = await b.submit(outer)
        driven = asyncio.ensure_future(b.manager.drive(run))
        await compiling.waits.wait()
        await go_on(run)
        compiling.done.set()
        result = await driven
        assert (result.status, result.reason) == ("succeeded", "")


async def test_nor_does_what_a_nested_opening_waits_for_after_all_have_looked_at_once(bench, clocks):
    """A child that looks and finds that it waits as before says nothing; its parent may not have asked while it looked."""
    async with bench() as b:
        go_on = clocks(b)
        outer = nested(b)
        b.openings["inner"] = b.openings["inner"].replace("timeout_ms", "wait: {for: 2h}, timeout_ms")
        run = await b.submit(outer)
        driven = asyncio.ensure_future(b.manager.drive(run))
        while [len(each.children) for each in run.family()] != [1, 1, 0] or not run.quiet:
            await asyncio.sleep(0.001)
        for each in run.family():
            each.look()  # as a pause and a resumption have it done; the inner ones look last
        for _ in range(100):
            await asyncio.sleep(0)
        await go_on(run)
        assert [list(each.under_way.tasks) for each in run.family()] == [["only"], ["only"], []]
        run.cancel("enough")
        assert (await driven).status == "cancelled"


async def test_nor_does_the_time_until_a_run_has_its_turn_at_any_depth(bench, clocks):
    async with bench() as b:
        go_on = clocks(b)
        outer = nested(b)
        b.services.turns.allow(1, None)
        full = Full(b, again=False)
        other = asyncio.ensure_future(b.run(OPENING))
        await full.waits.wait()
        run = await b.submit(outer)
        driven = asyncio.ensure_future(b.manager.drive(run))
        while not b.services.turns.waiting:
            await asyncio.sleep(0.001)
        await go_on(run)
        full.room.set()
        assert [(await each).status for each in (other, driven)] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("asks", ["", "kb.search('x')"])
async def test_agents_that_call_without_end_keep_no_other_run_waiting(bench, monkeypatch, asks):
    monkeypatch.setattr(turns, "PATIENCE_S", 0.0)
    async with bench() as b:
        b.agent("one", ONE, caps="kb_read = true")
        b.agent("chatty", f"@agent\ndef run(**inputs):\n    while True:\n        emit.log('on')\n        {asks}\n", caps="kb_read = true")
        b.services.turns.allow(1, None, beyond=1)
        run = await b.submit(OPENING.replace("agent:one", "agent:chatty"))
        driven = asyncio.ensure_future(b.manager.drive(run))
        while not any(record["kind"] == "node.log" for record in b.records):
            await asyncio.sleep(0.001)
        assert (await b.run(OPENING)).status == "succeeded"
        assert not driven.done()
        run.cancel("enough")
        assert (await driven).status == "cancelled"
        assert (b.services.turns.at_work, b.services.turns.waiting) == (0, 0)
