"""Somebody sets the clock while a run is under way: time-outs do not notice, records do."""

import asyncio
import signal
import threading
import time
from dataclasses import replace

import pytest

from runloop.runs import clock
from runloop.runs.clock import Steady

ASKS = "@agent\ndef run():\n    model.complete('one')\n    return {'out': model.complete('two').text}\n"
ONE = 'version: 0\nname: one\npolicy: {timeout_ms: 60000}\nnodes: [{id: only, use: "agent:one", timeout_ms: 60000}]\nedges: []\n'
DAY_MS = 86_400_000


@pytest.mark.parametrize("by_ms", [DAY_MS, -DAY_MS])
async def test_a_clock_that_is_set_by_a_day_ends_no_time_and_gives_none(bench, by_ms):
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        ahead_ms = 0
        b.manager.services = replace(b.services, clock_ms=lambda: time.time_ns() // 1_000_000 + ahead_ms)
        b.model.gate, b.model.gate_at, b.model.hold_seen = asyncio.Event(), 1, asyncio.Event()
        left = []
        perform = b.model.perform

        async def look(prepared, ctx):
            left.append(ctx.remaining_ms)
            return await perform(prepared, ctx)

        b.model.perform = look
        run = await b.submit(ONE)
        driving = asyncio.create_task(b.manager.drive(run))
        await b.model.hold_seen.wait()
        ahead_ms = by_ms
        b.model.gate.set()

        assert (await driving).status == "succeeded"
        assert 0 < left[1] <= left[0] <= 60_000
        asked = [event.ts_ms for event in b.ledger.read_run(run.run_id) if event.kind == "effect.requested"]
        assert abs(asked[1] - asked[0] - by_ms) < DAY_MS // 2


async def test_a_process_that_was_stopped_hears_of_it_when_it_goes_on_and_leaves_that_time_out():
    now_ms = 0
    steady = Steady(lambda: now_ms / 1000)
    before = signal.getsignal(signal.SIGCONT)
    with steady.follows():
        now_ms = 500
        assert steady.ms() == 500
        now_ms += DAY_MS
        signal.raise_signal(signal.SIGCONT)
        assert steady.ms() == 500
        now_ms += 300
        assert steady.ms() == 800
    assert signal.getsignal(signal.SIGCONT) is before


async def test_what_was_frozen_hears_of_nothing_and_leaves_out_what_is_too_long_for_one_that_looks():
    now_s = 0.0
    steady = Steady(lambda: now_s)
    now_s += 60
    assert steady.s() == 60
    with steady.follows():
        now_s += clock.STOOD_STILL_S - 0.5
        assert steady.s() == 64.5
        now_s += 3600
        assert steady.s() == 64.5
        now_s += 1
        assert steady.ms() == 65_500
    now_s += 60
    assert steady.s() == 125.5


async def test_what_is_timed_by_the_loop_has_as_much_time_left_after_a_stop_as_before():
    stopped_s = 0.0
    steady = Steady(lambda: time.monotonic() + stopped_s)
    loop = asyncio.get_running_loop()
    with steady.follows():
        began_s = loop.time()
        answer = loop.create_future()
        loop.call_later(0, lambda: loop.call_soon(answer.set_result, "here"))
        async with asyncio.timeout(3600):
            stopped_s = 86_400
            signal.raise_signal(signal.SIGCONT)
            assert await answer == "here"
        assert loop.time() - began_s < 3600
    assert loop.time() - began_s < 3600


async def test_a_clock_is_looked_at_now_and_then_so_that_little_before_a_stop_is_left_out_with_it(monkeypatch):
    monkeypatch.setattr(clock, "_LOOK_S", 0)
    now_ms = 0
    looks = asyncio.Event()

    def moving():
        nonlocal now_ms
        now_ms += 100
        if now_ms >= 1000:
            looks.set()
        return now_ms / 1000

    steady = Steady(moving)
    with steady.follows():
        await asyncio.wait_for(looks.wait(), 20)
        looked_ms = now_ms
        signal.raise_signal(signal.SIGCONT)
        assert steady.ms() == looked_ms < now_ms


def test_what_is_no_main_thread_gets_no_signals():
    found = []

    def elsewhere():
        async def follow():
            with Steady().follows():
                found.append(signal.getsignal(signal.SIGCONT))

        asyncio.run(follow())

    before = signal.getsignal(signal.SIGCONT)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [before]


async def test_a_run_that_was_stopped_with_its_process_has_as_much_time_left_as_before(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        passed_ms = 0
        steady = Steady(lambda: time.monotonic() + passed_ms / 1000)
        clocks = {"clock_ms": lambda: time.time_ns() // 1_000_000 + passed_ms, "steady_ms": steady.ms}
        b.manager.services = replace(b.services, **clocks)
        b.model.gate, b.model.gate_at, b.model.hold_seen = asyncio.Event(), 1, asyncio.Event()
        with steady.follows():
            run = await b.submit(ONE)
            driving = asyncio.create_task(b.manager.drive(run))
            await b.model.hold_seen.wait()
            passed_ms = DAY_MS
            signal.raise_signal(signal.SIGCONT)
            b.model.gate.set()

            assert (await driving).status == "succeeded"
        assert [abs(meta["by_ms"] - DAY_MS) < 10_000 for meta in b.metas("run.clock_set")] == [True]
