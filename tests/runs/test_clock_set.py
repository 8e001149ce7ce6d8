"""The clock is set, or the machine sleeps, while a run is under way: no time-out notices, also where the run is taken up again."""

import asyncio
import time

import pytest

from runloop.runs import run as run_module

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


async def test_a_clock_that_runs_as_it_should_is_on_no_record(bench, desk):
    async with bench(desk(True)) as b:
        b.agent("mails", MAILS, caps="model = true\nmail = true")
        await b.run(OPENING)
        assert "run.clock_set" not in b.kinds()
