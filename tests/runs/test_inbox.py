"""What happened to a run waits for its plan in order, and a run that only waits for its turn holds next to nothing."""

import asyncio
import tracemalloc

from runloop.runs.inbox import Inbox

ONE = 'version: 0\nname: one\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n'
RUNS = 100


async def test_everything_that_is_there_is_taken_at_once_and_in_order():
    inbox = Inbox()
    for number in range(3):
        inbox.put(number)
    assert (inbox.first(), await inbox.take(), inbox.empty()) == (0, [1, 2], True)


async def test_what_comes_first_is_before_all_that_is_there():
    inbox = Inbox()
    inbox.put("the last answer")
    inbox.put("the cancellation", first=True)
    assert await inbox.take() == ["the cancellation", "the last answer"]


async def test_who_waits_gets_what_comes_and_what_comes_with_it():
    inbox = Inbox()
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.put("a")
    inbox.put("b")
    assert await taking == ["a", "b"]


async def test_nothing_is_lost_with_a_reader_that_gives_up():
    inbox = Inbox()
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    inbox.put("kept")
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert await inbox.take() == ["kept"]


async def test_a_run_that_waits_for_its_turn_has_no_plan_and_no_queues_yet(bench):
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        runs = [await b.submit(ONE)]
        tracemalloc.start()
        try:
            runs += [await b.submit(ONE) for _ in range(RUNS)]
            taken = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        parts = [tracemalloc.Filter(inclusive=True, filename_pattern=f"*/{name}") for name in ("openings/machine.py", "asyncio/queues.py")]
        assert sum(each.size for each in taken.filter_traces(parts).statistics("filename")) == 0


async def test_who_waits_for_a_time_gets_nothing_when_it_is_over():
    assert await Inbox().take(0) == []


async def test_a_timer_set_for_an_earlier_time_ends_no_later_wait():
    inbox = Inbox()
    early = asyncio.create_task(inbox.take(0.01))
    await asyncio.sleep(0)
    inbox.put("a")
    assert await early == ["a"]
    late = asyncio.create_task(inbox.take(3600))
    while inbox._alarm is None or inbox._alarm.when() < asyncio.get_running_loop().time() + 60:
        await asyncio.sleep(0.001)
    assert not late.done()
    inbox.put("b")
    assert await late == ["b"]
    inbox.close()
