"""Workers that were started before there was a pool."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest
from tests_sandbox_helpers import Host, python_spec

from runloop.errors import Unavailable
from runloop.sandbox import WorkerPool, starting
from runloop.sandbox import pool as pool_module
from runloop.sandbox.starting import ahead_of, started_ahead
from runloop.tasks import end_tasks


async def test_a_pool_takes_the_workers_that_run_already(cache_dir):
    with started_ahead(cache_dir, 2) as started:
        pids = {each.process.pid for each in started}
        async with WorkerPool(cache_dir, workers=2, started=started) as pool:
            assert started == []
            assert pids == set(pool.pids)
            result = await pool.run(python_spec("def run():\n    return 7"), Host())
            assert result.result_json == "7"


async def test_a_pool_starts_what_is_missing(cache_dir):
    with started_ahead(cache_dir, 1) as started:
        first = started[0].process.pid
        async with WorkerPool(cache_dir, workers=2, started=started) as pool:
            assert len(pool.pids) == 2
            assert first in pool.pids


def test_workers_that_nobody_took_are_ended(cache_dir):
    with started_ahead(cache_dir, 2) as started:
        processes, files = [each.process for each in started], [each.errors for each in started]
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


async def test_a_worker_that_died_before_the_pool_came_is_an_error_with_a_name(cache_dir):
    with started_ahead(cache_dir, 1) as started:
        started[0].process.kill()
        started[0].process.wait()
        with pytest.raises(Unavailable) as caught:
            await WorkerPool(cache_dir, workers=1, started=started).start()
    assert (caught.value.code, bool(caught.value.hint)) == ("worker.start", True)


def test_without_a_cache_nothing_starts_ahead_because_a_worker_could_not_read_what_comes_later(tmp_path):
    with started_ahead(tmp_path / "none", 2) as started:
        assert started == []


@pytest.mark.parametrize(("workers", "cores", "ahead"), [(2, 2, 1), (4, 4, 3), (1, 4, 1), (8, 4, 3), (1, 1, 1), (2, 1, 1)])
def test_one_core_is_left_to_the_process_that_starts_them(workers, cores, ahead):
    assert ahead == ahead_of(workers, cores)


async def test_a_pool_that_is_closed_before_it_was_started_leaves_no_process(cache_dir):
    started = []
    pool = WorkerPool(cache_dir, workers=2, started=started)
    pool.launch()
    processes = [each.process for each in started]
    await pool.close()
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2
    assert started == []


@pytest.mark.parametrize("turns", range(6))
async def test_a_pool_whose_start_is_given_up_leaves_no_process(cache_dir, turns):
    started = []
    pool = WorkerPool(cache_dir, workers=1, started=started)
    pool.launch()
    processes, files = [each.process for each in started], [each.errors for each in started]
    starting = asyncio.create_task(pool.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await end_tasks(starting)
    await pool.close()
    assert [process.returncode for process in processes] == [-signal.SIGKILL]
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


async def lose(pool):
    """Kill the only worker; its process id."""
    pid = pool.pids[0]
    os.kill(pid, signal.SIGKILL)
    while pid in pool.pids:
        await asyncio.sleep(0.005)
    return pid


async def test_who_waits_for_a_worker_hears_nothing_of_a_few_starts_that_failed_each_time(cache_dir, monkeypatch):
    real, to_fail = pool_module.start_worker, []

    def start(*arguments):
        if to_fail:
            raise to_fail.pop()
        return real(*arguments)

    monkeypatch.setattr(pool_module, "_MOST_BETWEEN_STARTS_S", 0.01)
    async with WorkerPool(cache_dir, workers=1) as pool:
        monkeypatch.setattr(pool_module, "start_worker", start)
        for _ in range(2):
            to_fail += [BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * 4
            await lose(pool)
            assert (await pool.run(python_spec("def run(): return 1"), Host())).result_json == "1"
            assert to_fail == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "system.exhausted"),
        (OSError(errno.ENOENT, "No such file or directory"), "worker.start"),
        (Unavailable("not in time", code="worker.slow", hint="wait"), "worker.slow"),
    ],
)
async def test_who_waits_is_told_what_keeps_workers_from_starting(cache_dir, monkeypatch, error, code):
    def start(*_arguments):
        raise error

    monkeypatch.setattr(pool_module, "_MOST_BETWEEN_STARTS_S", 0.01)
    async with WorkerPool(cache_dir, workers=1) as pool:
        monkeypatch.setattr(pool_module, "start_worker", start)
        await lose(pool)
        with pytest.raises(Unavailable) as told:
            await pool.run(python_spec("def run(): return 1"), Host())
        assert told.value.code == code


async def test_where_workers_die_too_often_none_is_started_and_who_wants_one_is_told(cache_dir):
    async with WorkerPool(cache_dir, workers=1, restarts_per_minute=1) as pool:
        heard = []
        pool.watchers.append(lambda pid, _cause: heard.append(pid))
        first = await lose(pool)
        while not pool.pids:
            await asyncio.sleep(0.005)
        second = await lose(pool)
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as told:
            await pool.run(python_spec("def run(): return 1"), Host())
        assert (told.value.code, heard, pool.health["lost_total"], pool.health["suspended"]) == ("pool.restarts", [first, second], 2, True)


async def test_workers_that_die_while_they_start_count_as_well(cache_dir, monkeypatch):
    real, begun = pool_module.start_worker, []

    def start(*arguments):
        begun.append(real(*arguments))
        begun[-1].process.kill()
        return begun[-1]

    monkeypatch.setattr(pool_module, "_MOST_BETWEEN_STARTS_S", 0.01)
    async with WorkerPool(cache_dir, workers=1, restarts_per_minute=3) as pool:
        monkeypatch.setattr(pool_module, "start_worker", start)
        await lose(pool)
        waits = asyncio.create_task(pool.run(python_spec("def run(): return 1"), Host()))
        while not pool.health["suspended"] and len(begun) < 10:
            await asyncio.sleep(0.005)
        for asking in (waits, pool.run(python_spec("def run(): return 1"), Host())):
            with pytest.raises(Unavailable) as told:
                await asking
            assert (told.value.code, "could not start" in told.value.message) == ("pool.restarts", True)
        assert (len(begun), pool.health["lost_last_minute"]) == (3, 4)


def test_a_worker_that_cannot_be_started_leaves_no_file_open(tmp_path, monkeypatch):
    def none_left(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(starting.subprocess, "Popen", none_left)
    before = {each.name for each in Path("/proc/self/fd").iterdir()}
    with pytest.raises(BlockingIOError):
        starting.start_worker(tmp_path)
    assert {each.name for each in Path("/proc/self/fd").iterdir()} == before
