"""Guests that take long have every place: those that do not are tried beside them, and the others wait for their turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest
from tests_sandbox_helpers import Host, python_spec

from runloop.sandbox import GuestError, WorkerPool

LOOP = "def run():\n    while True: pass"
ONE = "def run(): return 1"
WORKS = "from runloop_agent import kb\ndef run():\n    for _ in range(20_000_000): pass\n    kb.get('done')\n    return 2"
SAYS = "from runloop_agent import kb\ndef run():\n    kb.get('here')\n    while True: pass"


async def until(condition):
    """Yield until something the loop does has happened; pytest's own limit is the end."""
    while not condition():
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def hogged(cache_dir, *, workers=1, threads=1):
    """A pool all whose places are taken by guests in endless loops, and their tasks."""
    async with WorkerPool(cache_dir, workers=workers, threads=threads) as pool:
        hogs = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(workers * threads)]
        await until(lambda: pool.live == len(hogs))
        yield pool, hogs
        for hog in hogs:
            hog.cancel()


CHATTY = "from runloop_agent import emit\ndef run():\n    while True: emit.log('on')"


class Line:
    """Remembers who waited for a place: whether it had been tried."""

    def __init__(self):
        self.entered, self.left = [], 0

    @contextlib.contextmanager
    def __call__(self, again):
        self.entered.append(again)
        try:
            yield
        finally:
            self.left += 1


async def test_quick_guests_end_beside_others_that_never_do(cache_dir):
    async with hogged(cache_dir, workers=2, threads=2) as (pool, hogs):
        ended = await asyncio.gather(*(pool.run(python_spec(ONE), Host()) for _ in range(20)))
        assert {done.result_json for done in ended} == {"1"}
        assert not any(hog.done() for hog in hogs)


async def test_quick_guests_end_beside_many_that_call_without_end(cache_dir):
    async with WorkerPool(cache_dir, workers=1, threads=2) as pool:
        hosts = [Host() for _ in range(60)]
        hogs = [asyncio.create_task(pool.run(python_spec(CHATTY), host)) for host in hosts]
        async with asyncio.timeout(60):
            ended = await asyncio.gather(*(pool.run(python_spec(ONE), Host()) for _ in range(5)))
            await until(lambda: all(host.calls for host in hosts))
        assert {done.result_json for done in ended} == {"1"}
        assert not any(hog.done() for hog in hogs)
        for hog in hogs:
            hog.cancel()


async def test_one_that_takes_long_itself_begins_again_in_its_turn_as_if_it_had_not_been_there(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        host, line = Host(), Line()
        task = asyncio.create_task(pool.run(python_spec(WORKS), host, (), line))
        await until(lambda: line.entered[-1:] == [True])
        assert (pool.live, host.calls) == (1, [])
        assert (await pool.run(python_spec(ONE), Host())).result_json == "1"  # nobody waits for it
        assert not task.done()
        hog.cancel()
        assert (await task).result_json == "2"
        assert [name for name, _ in host.calls] == ["kb.get"]
        assert line.left == len(line.entered)


async def test_those_that_were_tried_begin_in_the_order_in_which_they_came(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        ended = []

        async def works(number):
            line = lines[number]
            await pool.run(python_spec(WORKS), Host(), (), line)
            ended.append(number)

        lines = [Line() for _ in range(3)]
        tasks = []
        for number, line in enumerate(lines):
            tasks.append(asyncio.create_task(works(number)))
            await until(lambda line=line: line.entered[-1:] == [True])
        hog.cancel()
        await asyncio.gather(*tasks)
        assert ended == [0, 1, 2]


async def test_one_that_was_heard_of_stays_and_the_next_is_tried(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        host, line = Host(), Line()
        task = asyncio.create_task(pool.run(python_spec(SAYS), host, (), line))
        await until(lambda: host.calls)
        assert (await pool.run(python_spec(ONE), Host())).result_json == "1"
        assert (pool.live, line.entered[-1], hog.done(), task.done()) == (2, False, False, False)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.live == 1


async def test_one_on_trial_can_be_stopped_and_what_waits_for_a_place_too(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        lines = [Line() for _ in range(3)]
        tasks = [asyncio.create_task(pool.run(python_spec(LOOP), Host(), (), line)) for line in lines]
        await until(lambda: pool.live == 2)  # one is tried
        for task in tasks:
            task.cancel()
        assert await asyncio.gather(*tasks, return_exceptions=True)
        assert (pool.live, hog.done()) == (1, False)
        assert all(line.left == len(line.entered) for line in lines)
        assert (await pool.run(python_spec(ONE), Host())).result_json == "1"


async def test_the_trial_of_one_that_was_stopped_just_when_it_got_it_goes_to_the_next(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        task = asyncio.create_task(pool.run(python_spec(ONE), Host()))
        await until(lambda: pool.in_line)
        while pool.in_line:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(30):
            assert (await pool.run(python_spec(ONE), Host())).result_json == "1"
        assert not hog.done()


async def test_a_worker_that_dies_takes_the_one_on_trial_with_it_and_nothing_that_waits(cache_dir):
    async with hogged(cache_dir) as (pool, [hog]):
        tried = asyncio.create_task(pool.run(python_spec(SAYS), host := Host()))
        await until(lambda: host.calls)
        waiting = asyncio.create_task(pool.run(python_spec(WORKS), Host(), (), line := Line()))
        await until(lambda: line.entered[-1:] == [True])
        os.kill(pool.pids[0], signal.SIGKILL)
        for lost in (hog, tried):
            with pytest.raises(GuestError) as failed:
                await lost
            assert (failed.value.code, failed.value.retryable) == ("worker.crashed", True)
        assert (await waiting).result_json == "2"


async def test_there_are_turns_for_those_that_are_to_be_tried(cache_dir):
    async with hogged(cache_dir, workers=2, threads=1) as (pool, _):
        tasks = [asyncio.create_task(pool.run(python_spec(LOOP), Host())) for _ in range(4)]
        await until(lambda: pool.places == 2 * (1 + 1))  # stuck: what runs, and one on trial, in each worker
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
