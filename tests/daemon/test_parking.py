"""Runs that are not in memory: their times come once and in order, and runs are found by as much of their id as names one."""

import asyncio
from types import SimpleNamespace

import pytest

from runloop.daemon import parking as module
from runloop.daemon import roster as roster_module
from runloop.daemon.backlog import READY, Backlog
from runloop.daemon.hosted import Stub
from runloop.daemon.parking import Parking
from runloop.daemon.roster import Roster
from runloop.errors import InvalidInput
from runloop.events import RunIdentity

HOUR_MS = 3_600_000


def stub(run_id, until_ms=None):
    return Stub(RunIdentity(run_id, f"trace:{run_id}", "o", "o"), "a time", 0, until_ms)


class Clock:
    """Stands until it is moved; runs whose time comes are taken out, as the daemon does."""

    def __init__(self):
        self.now_ms, self.due, self.boot_ms = 1 * HOUR_MS, [], 7 * HOUR_MS
        self.parking = Parking(lambda: self.now_ms, self.come, lambda: self.boot_ms)

    def come(self, run_id):
        self.due.append(run_id)
        self.parking.take(run_id)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_S", 0.001)
    return Clock()


async def passed(clock, *run_ids):
    """These runs' time has come."""
    async with asyncio.timeout(20):
        while len(clock.due) < len(run_ids):
            await asyncio.sleep(0.001)
    assert clock.due == list(run_ids)


async def test_the_times_of_parked_runs_come_in_their_order_also_where_the_clock_is_set(clock):
    for run_id, until_ms in (("late", 9 * HOUR_MS), ("never", None), ("first", 2 * HOUR_MS), ("second", 2 * HOUR_MS + 1)):
        clock.parking.put(stub(run_id, until_ms))
    clock.now_ms = 3 * HOUR_MS
    await passed(clock, "first", "second")
    clock.now_ms = 9 * HOUR_MS
    await passed(clock, "first", "second", "late")
    assert list(clock.parking.stubs) == ["never"]


async def test_a_run_that_was_taken_up_or_waits_for_another_time_by_now_is_not_woken_by_the_old_one(clock):
    for run_id in ("gone", "again"):
        clock.parking.put(stub(run_id, 2 * HOUR_MS))
        clock.parking.take(run_id)
    clock.parking.put(stub("again", 5 * HOUR_MS))
    clock.parking.put(stub("here", 3 * HOUR_MS))
    clock.now_ms = 4 * HOUR_MS
    await passed(clock, "here")
    clock.now_ms = 5 * HOUR_MS
    await passed(clock, "here", "again")


async def test_the_nearest_time_is_looked_for_and_not_the_last_one():
    clock = Clock()
    for run_id, until_ms in (("late", 9 * HOUR_MS), ("now", clock.now_ms)):
        clock.parking.put(stub(run_id, until_ms))
    await passed(clock, "now")
    clock.parking.close()


async def test_where_the_clock_was_set_back_a_run_is_woken_once_so_much_time_has_passed(clock):
    for run_id, until_ms in (("late", 9 * HOUR_MS), ("first", 2 * HOUR_MS)):
        clock.parking.put(stub(run_id, until_ms))
    clock.now_ms, clock.boot_ms = 0, 8 * HOUR_MS
    await passed(clock, "first")
    clock.boot_ms = 15 * HOUR_MS
    await passed(clock, "first", "late")
    clock.now_ms = 10 * HOUR_MS
    clock.parking.put(stub("last", 10 * HOUR_MS))
    await passed(clock, "first", "late", "last")


async def test_once_it_is_closed_no_time_comes(clock):
    clock.parking.put(stub("a", 2 * HOUR_MS))
    clock.parking.close()
    clock.now_ms = 3 * HOUR_MS
    await asyncio.sleep(0.05)
    assert (clock.due, list(clock.parking.stubs)) == ([], ["a"])


def roster(*run_ids):
    made = Roster(None, Parking(lambda: 0, None))
    made.hosted = {run_id: SimpleNamespace(run=SimpleNamespace(run_id=run_id)) for run_id in run_ids}
    return made


def test_a_run_in_memory_is_found_by_its_id_its_trace_and_what_begins_no_other():
    runs = roster("abcd1", "abcd2", "abce1")
    found = [each and each.run.run_id for each in map(runs.find, ("abcd1", " TRACE:ABCD2 ".lower(), "ABCE", "abc", "x" * 5, ""))]
    assert found == ["abcd1", "abcd2", "abce1", None, None, None]
    with pytest.raises(InvalidInput) as caught:
        runs.find("abcd")
    assert caught.value.code == "run.ambiguous"


async def test_a_run_is_this_daemons_wherever_it_stands_and_its_state_is_told(monkeypatch):
    monkeypatch.setattr(roster_module, "_REMEMBERED", 1)
    runs = roster()
    runs.kb = SimpleNamespace(run=lambda run_id: {"status": "failed" if run_id == "older" else "running"})
    runs.queue.behind["behind"] = Stub(stub("behind").identity, "", 0, None, queued=True)
    runs.returning["returning"] = stub("returning")
    runs.parking.stubs["parked"] = Stub(stub("parked").identity, "", 0, None, paused=True)
    runs.left["left"] = stub("left"), InvalidInput("x")
    for run_id in ("older", "ended"):
        runs.end(run_id, "succeeded")
    everywhere = ("behind", "returning", "parked", "left", "ended", "older", "nowhere")
    assert [runs.has(run_id) for run_id in everywhere] == [True, True, True, True, False, False, False]
    states = [await runs.state_of(run_id) for run_id in everywhere]
    assert states == ["queued", "waiting", "paused", "unfinished", "succeeded", "failed", "unfinished"]
    assert runs.ids() == ["behind", "returning", "parked"]
    assert [each["run_id"] for each in runs.listing()] == ["behind", "parked", "returning"]


def test_queued_runs_are_left_to_the_ledger_beyond_a_number_and_wanted_back_in_their_order_before_they_are_few():
    backlog = Backlog()
    backlog.ready.extend(range(READY - 1))
    assert (backlog.full, backlog.wanted) == (False, None)
    backlog.ready.append(READY)
    assert (backlog.full, len(backlog)) == (True, READY)
    backlog.behind |= {"a": stub("a"), "b": stub("b")}
    while len(backlog.ready) > READY // 2:
        backlog.ready.popleft()
    assert (backlog.full, backlog.wanted) == (True, None)
    backlog.ready.popleft()
    assert (backlog.wanted, len(backlog)) == ("a", READY // 2 + 1)
