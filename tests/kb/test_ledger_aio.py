from __future__ import annotations

import asyncio

import pytest

from runloop.events import InvalidEvent, NewEvent
from runloop.kb import AsyncLedger, Ledger
from runloop.kb.errors import KeyConflict, LedgerClosed


async def test_an_append_is_durable_when_its_future_is_done(ledger, contact):
    stored = await AsyncLedger(ledger).append([contact(), contact()])
    assert ledger.read() == stored


async def test_calls_are_stored_in_their_order_even_when_nobody_awaits_yet(ledger, contact):
    aio = AsyncLedger(ledger)
    futures = [aio.append([contact(f"N{number}")]) for number in range(200)]
    results = await asyncio.gather(*futures)
    assert [events[0].id for events in results] == list(range(1, 201))
    assert [event.payload["name"] for event in ledger.read()] == [f"N{number}" for number in range(200)]


async def test_a_commit_wakes_the_loop_once_however_many_tasks_wait(ledger, contact, monkeypatch):
    aio = AsyncLedger(ledger)
    loop = asyncio.get_running_loop()
    wakes = []
    original = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: (wakes.append(args), original(*args))[1])
    await asyncio.gather(*(aio.append([contact()]) for _ in range(500)))
    assert sum(len(args[1]) for args in wakes) == 500
    assert len(wakes) < 100


async def test_what_nobody_waits_for_gathers_and_comes_before_what_is_urgent(ledger, contact, monkeypatch):
    commits = []
    append = ledger._writer._store.append
    monkeypatch.setattr(ledger._writer._store, "append", lambda batch: (commits.append(len(batch)), append(batch))[1])
    aio = AsyncLedger(ledger)
    late = []
    for number in range(3):
        late.append(aio.append([contact(f"N{number}")], urgent=False))
        await asyncio.sleep(0)
    await aio.append([contact("urgent")])
    assert (all(each.done() for each in late), commits) == (True, [4])
    assert [event.payload["name"] for event in ledger.read()] == ["N0", "N1", "N2", "urgent"]

    alone = aio.append([contact("alone")], urgent=False)
    async with asyncio.timeout(5):
        await alone
    assert commits == [4, 1]


async def test_what_gathers_when_the_ledger_is_closed_is_stored(tmp_path, contact):
    with Ledger.open(tmp_path / "e.sqlite") as ledger:
        aio = AsyncLedger(ledger)
        aio.append([contact("late")], urgent=False)
        aio.hand_over()
    with Ledger.open(tmp_path / "e.sqlite") as again:
        assert [event.payload["name"] for event in again.read()] == ["late"]


async def test_an_invalid_event_raises_at_the_call(ledger):
    with pytest.raises(InvalidEvent):
        AsyncLedger(ledger).append([NewEvent("contact.upserted", {}, "user")])


async def test_an_error_of_the_writer_reaches_the_task(ledger, contact):
    aio = AsyncLedger(ledger)
    await aio.append([contact(key="k")])
    with pytest.raises(KeyConflict):
        await aio.append([contact("Other", key="k")])


async def test_a_task_that_stops_waiting_does_not_disturb_the_others(ledger, contact):
    aio = AsyncLedger(ledger)
    waiting = aio.append([contact("cancelled")])
    waiting.cancel()
    await aio.append([contact("next")])
    assert [event.payload["name"] for event in ledger.read()] == ["cancelled", "next"]


def test_a_loop_that_was_closed_does_not_stop_the_writer(ledger, contact):
    async def leave():
        aio = AsyncLedger(ledger)
        for _ in range(50):
            aio.append([contact()])

    asyncio.run(leave())
    assert ledger.append([contact()])[0].id == 51


async def test_appends_of_one_turn_are_handed_over_together_when_it_ends(ledger, contact, monkeypatch):
    put_all, seen = ledger.put_all, []
    monkeypatch.setattr(ledger, "put_all", lambda submissions: (seen.append(len(submissions)), put_all(submissions))[1])
    aio = AsyncLedger(ledger)
    futures = [aio.append([contact()]) for _ in range(3)]
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [3]
    await asyncio.gather(*futures)


async def test_what_a_closed_ledger_does_not_take_any_more_is_the_error_of_its_task(ledger, contact):
    aio = AsyncLedger(ledger)
    waiting = [aio.append([contact()]) for _ in range(2)]
    ledger.close()
    for each in waiting:
        with pytest.raises(LedgerClosed):
            await each
