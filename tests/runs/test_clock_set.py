"""The clock is set, or the machine sleeps, while a run is under way: no time-out notices, also where the run is taken up again."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from runloop.openings import parse_opening
from runloop.runs import run as run_module
from runloop.runs.results import RunHalted
from runloop.runs.services import RunRules
from runloop.runs.submission import Submission

MAILS = """@agent
def run():
    said = model.complete('a').text
    mail.send([{'email': 'a@example.org'}], subject='s', text=said)
    return {'out': 1}
"""
OPENING = """version: 0
name: one
nodes: [{id: only, use: "agent:mails"}]
edges: []
policy: {timeout_ms: 60000}
"""
HOURS_MS = 7_200_000


def set_while_the_model_works(b, by_ms):
    """The agent of the opening, during whose model call somebody sets the clock."""
    ahead_ms = 0
    object.__setattr__(b.services, "clock_ms", lambda: time.time_ns() // 1_000_000 + ahead_ms)
    b.agent("mails", MAILS, caps="model = true\nmail = true")
    model = b.services.performers["model.complete"]
    perform = model.perform

    async def sets(prepared, ctx):
        nonlocal ahead_ms
        ahead_ms = by_ms
        return await perform(prepared, ctx)

    model.perform = sets


@pytest.mark.parametrize("by_ms", [HOURS_MS, -HOURS_MS])
async def test_a_clock_that_was_set_counts_against_no_time_out_even_when_the_run_is_taken_up_again(bench, desk, by_ms):
    asked = desk(True)
    async with bench(asked) as b:
        set_while_the_model_works(b, by_ms)
        run = await b.submit(OPENING)
        await b.left_while_asked(run, asked)

        result = await b.manager.drive(await b.manager.recover(run.run_id))

        assert (result.status, result.reason) == ("succeeded", "")
        kinds = b.kinds()
        assert kinds.count("run.clock_set") == 1
        bear_the_new = [abs(record["ts_ms"] - b.records[0]["ts_ms"]) > HOURS_MS // 2 for record in b.records]
        assert kinds.index("run.clock_set") == bear_the_new.index(True)  # before anything else that bears the new time
        [said] = b.metas("run.clock_set")
        assert abs(said["by_ms"] - by_ms) < 1000


async def test_a_wait_ends_at_its_time_also_where_the_machine_sleeps_past_it(bench, monkeypatch):
    looked = asyncio.Event()
    monkeypatch.setattr(run_module, "_LOOK_S", 0.001)
    async with bench() as b:
        ahead_ms = 0

        def clock_ms():
            looked.set()
            return time.time_ns() // 1_000_000 + ahead_ms

        object.__setattr__(b.services, "clock_ms", clock_ms)
        object.__setattr__(b.services, "boot_ms", lambda: time.monotonic_ns() // 1_000_000 + ahead_ms)
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        run = await b.submit('version: 0\nname: o\nnodes: [{id: only, use: "agent:one", wait: {for: 1h}}]\nedges: []\n')
        driving = asyncio.create_task(b.manager.drive(run))
        while "run.started" not in b.kinds():
            looked.clear()
            await asyncio.wait_for(looked.wait(), 20)
        ahead_ms = HOURS_MS

        assert (await asyncio.wait_for(driving, 20)).status == "succeeded"


@pytest.mark.parametrize("by_ms", [HOURS_MS, -HOURS_MS])
async def test_how_long_a_run_took_does_not_change_with_a_clock_that_is_set(bench, desk, by_ms):
    async with bench(desk(True)) as b:
        object.__setattr__(b.services, "boot_ms", lambda: 90_000 + time.monotonic_ns() // 1_000_000)
        set_while_the_model_works(b, by_ms)
        began = time.monotonic_ns()
        await b.run(OPENING)
        at_most_ms = (time.monotonic_ns() - began) // 1_000_000 + 2

        took = [meta["ms"] for kind in ("effect.completed", "node.finished", "run.finished") for meta in b.metas(kind)]
        assert len(took) == 4
        assert all(0 <= ms <= at_most_ms for ms in took), took
        assert [meta["by_ms"] // HOURS_MS for meta in b.metas("run.clock_set")] != []


@pytest.mark.parametrize("looks", [0, 1, 2], ids="before look {}".format)
@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("by_ms", [HOURS_MS, -HOURS_MS])
async def test_nor_where_it_is_set_while_a_run_is_taken_up_that_was_left_for_long(bench, desk, by_ms, claimed, looks):
    async with bench(desk(True)) as b:
        ahead_ms, left = 0, None

        def clock_ms():
            nonlocal ahead_ms, left
            if left is not None:
                ahead_ms, left = (ahead_ms + by_ms, None) if left == 0 else (ahead_ms, left - 1)
            return time.time_ns() // 1_000_000 + ahead_ms

        object.__setattr__(b.services, "clock_ms", clock_ms)
        b.agent("mails", MAILS, caps="model = true\nmail = true")
        run = await b.submit(OPENING)
        await b.left_at_the_model(run)
        ahead_ms = 2 * HOURS_MS  # so long nobody had it
        if claimed:
            object.__setattr__(b.services, "owner", "1" * 32)
        run = await b.manager.recover(run.run_id, subscribers=(b.records.append,))
        left = looks
        await b.left_at_the_model(run)

        result = await b.manager.drive(await b.manager.recover(run.run_id))

        assert (result.status, result.reason) == ("succeeded", "")
        assert b.kinds().count("run.clock_set") == (1 if claimed or looks else 0)


SLEEPS = "@agent\ndef run():\n    timer.sleep(600)\n    return {'out': 1}\n"


@asynccontextmanager
async def sleeping(bench, by_ms=0):
    """A bench; what moves its clocks (that which can be set, and the other one); what drives a run until it is parked.

    That gives the seconds that are left; while the run sleeps the first time the clock is set by ``by_ms``.
    """
    wall_ms = boot_ms = 0
    async with bench(rules=RunRules(park_after_ms=300, evict_after_ms=0)) as b:
        object.__setattr__(b.services, "clock_ms", lambda: time.time_ns() // 1_000_000 + wall_ms)
        object.__setattr__(b.services, "boot_ms", lambda: time.monotonic_ns() // 1_000_000 + boot_ms)
        b.agent("one", SLEEPS, caps="time = true")

        def move(by_wall_ms, by_boot_ms):
            nonlocal wall_ms, boot_ms
            wall_ms, boot_ms = wall_ms + by_wall_ms, boot_ms + by_boot_ms

        async def parked(run):
            driving = asyncio.create_task(b.manager.drive(run))
            while "effect.requested" not in b.kinds():
                await asyncio.sleep(0.001)
            move(by_ms if b.kinds().count("run.waiting") == 0 else 0, 0)
            with pytest.raises(RunHalted):
                await asyncio.wait_for(driving, 60)
            return (run.parked.until_ms - b.services.clock_ms()) // 1000

        yield b, move, parked


def opening():
    return parse_opening('version: 0\nname: o\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n')


@pytest.mark.parametrize("by_ms", [HOURS_MS, -HOURS_MS])
async def test_a_sleep_that_is_parked_has_left_what_it_had_where_the_clock_is_set(bench, by_ms):
    async with sleeping(bench) as (b, move, parked):
        run = await b.manager.submit(Submission(opening(), parks=lambda _: None), (b.records.append,))
        assert 590 < await parked(run) <= 600
        move(by_ms + 300_000, 300_000)
        run = await b.manager.recover(run.run_id, parks=lambda _: None, subscribers=(b.records.append,))
        assert 290 < await parked(run) <= 300
        [said] = b.metas("run.clock_set")
        assert abs(said["set_ms"] - by_ms) < 1000
        b.services.ahead_ms.clear()  # as another process would take it up
        assert 290 < await parked(await b.manager.recover(run.run_id, parks=lambda _: None)) <= 300


@pytest.mark.parametrize("by_ms", [HOURS_MS, -HOURS_MS])
async def test_nor_does_one_that_is_set_just_before_it_is_parked_change_that(bench, by_ms):
    async with sleeping(bench, by_ms) as (b, _move, parked):
        run = await b.manager.submit(Submission(opening(), parks=lambda _: None), (b.records.append,))
        assert 590 < await parked(run) <= 600
        assert [abs(said["set_ms"] - by_ms) < 1000 for said in b.metas("run.clock_set")] == [True]


async def test_it_is_told_apart_from_a_stop_also_in_a_run_that_another_process_began(bench):
    async with sleeping(bench) as (b, move, parked):
        run = await b.manager.submit(Submission(opening(), parks=lambda _: None), (b.records.append,))
        await parked(run)
        object.__setattr__(b.services, "owner", "1" * 32)
        b.services.ahead_ms.clear()
        run = await b.manager.recover(run.run_id, parks=lambda _: None, subscribers=(b.records.append,))
        move(-HOURS_MS, 0)
        assert 590 < await parked(run) <= 600
        assert [abs(said["set_ms"] + HOURS_MS) < 1000 for said in b.metas("run.clock_set")] == [True]


async def test_time_in_which_the_machine_sleeps_counts_for_a_sleep(bench):
    async with sleeping(bench) as (b, move, parked):
        run = await b.manager.submit(Submission(opening(), parks=lambda _: None), (b.records.append,))
        await parked(run)
        move(500_000, 500_000)
        assert 90 < await parked(await b.manager.recover(run.run_id, parks=lambda _: None)) <= 100
        assert b.metas("run.clock_set") == []


async def test_a_clock_that_runs_as_it_should_is_on_no_record(bench, desk):
    async with bench(desk(True)) as b:
        b.agent("mails", MAILS, caps="model = true\nmail = true")
        await b.run(OPENING)
        assert "run.clock_set" not in b.kinds()
