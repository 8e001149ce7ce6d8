"""Tasks are waited for and ended without a word in the log, and without anything that only the collector would find."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from runloop.tasks import end_tasks, shielded


class Held:
    """What a task has in hand."""


async def for_ever():
    await asyncio.wait({asyncio.get_running_loop().create_future()})


async def failing(begun, going):
    begun.set()
    await going.wait()
    raise ValueError("late")


@pytest.fixture
async def complaints():
    """What the loop complains of."""
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    return heard


async def test_ended_tasks_are_over_however_they_end():
    stubborn = asyncio.Event()

    async def clears_up():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            stubborn.set()

    async def fails():
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise ValueError from None

    tasks = [asyncio.create_task(work) for work in (for_ever(), clears_up(), fails(), asyncio.sleep(0, "done"))]
    await asyncio.sleep(0.01)
    await end_tasks(*tasks)
    assert (stubborn.is_set(), [task.done() for task in tasks], tasks[3].result()) == (True, [True] * 4, "done")
    await end_tasks()


async def test_what_an_ended_task_had_in_hand_is_gone_without_the_collector():
    there = []

    async def holding():
        held = Held()
        there.append(weakref.ref(held))
        await for_ever()

    gc.collect()
    gc.disable()
    try:
        task = asyncio.create_task(holding())
        await asyncio.sleep(0)
        await end_tasks(task)
        del task
        await asyncio.sleep(0)
        assert there[0]() is None
    finally:
        gc.enable()


async def test_work_goes_on_where_the_waiting_for_it_is_cancelled():
    going = asyncio.Event()

    async def work():
        await going.wait()
        return "done"

    task = asyncio.create_task(work())
    waiting = asyncio.create_task(shielded(task))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    going.set()
    assert (await shielded(task), await shielded(asyncio.sleep(0, 1))) == ("done", 1)


async def test_work_that_fails_tells_who_waits_and_the_log_of_nothing(complaints):
    begun, going = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(failing(begun, going))
    left, stays = asyncio.create_task(shielded(task)), asyncio.create_task(shielded(task))
    await begun.wait()
    left.cancel()
    going.set()
    with pytest.raises(ValueError, match="late"):
        await stays
    assert left.cancelled()
    del task, left, stays
    gc.collect()
    assert complaints == []


async def test_work_that_fails_when_nobody_waits_any_more_tells_the_log_of_nothing(complaints):
    begun, going = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(failing(begun, going))
    left = asyncio.create_task(shielded(task))
    await begun.wait()
    await end_tasks(left)
    going.set()
    await asyncio.wait({task})
    del task, left
    gc.collect()
    assert complaints == []


async def test_who_waits_for_cancelled_work_is_cancelled(complaints):
    task = asyncio.create_task(for_ever())
    waiting = asyncio.create_task(shielded(task))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert complaints == []
