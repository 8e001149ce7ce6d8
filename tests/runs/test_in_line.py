"""A guest for which no worker has a place: its node's time stands still, and who was taken out for others lends them the turn."""

from __future__ import annotations

import asyncio

import pytest

ONE = "@agent\ndef run(**inputs):\n    kb.search('x')\n    return {'out': 1}\n"
OPENING = 'version: 0\nname: one\nnodes: [{id: only, use: "agent:one", timeout_ms: 400}]\nedges: []\n'


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
async def test_what_waits_for_a_worker_does_not_use_up_its_time(bench, again):
    async with bench() as b:
        b.agent("one", ONE, caps="kb_read = true")
        left = []
        search = b.services.performers["kb.search"]
        prepare = search.prepare
        search.prepare = lambda args, ctx: (left.append(ctx.deadline_ms - ctx.now_ms), prepare(args, ctx))[1]
        full = Full(b, again=again)
        driven = asyncio.ensure_future(b.run(OPENING))
        await full.waits.wait()
        await asyncio.sleep(0.9)
        full.room.set()
        assert (await driven).status == "succeeded"
        assert 0 < left[0] <= 400  # what it asks for has that time as well


async def test_nor_does_it_use_up_the_time_of_a_nested_opening_at_any_depth(bench):
    async with bench() as b:
        b.agent("one", ONE, caps="kb_read = true")
        b.openings["inner"] = OPENING.replace("name: one", "name: inner")
        b.openings["middle"] = OPENING.replace("name: one", "name: middle").replace("agent:one", "opening:inner")
        full = Full(b, again=False)
        driven = asyncio.ensure_future(b.run(OPENING.replace("agent:one", "opening:middle")))
        await full.waits.wait()
        await asyncio.sleep(0.9)
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
