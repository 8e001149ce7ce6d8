"""Who may work: limits over all runs and of one, round robin, holding, closing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.runs import turns as module
from runloop.runs.turns import Turns


async def take(turns, run_id, order):
    await turns.take(run_id)
    order.append(run_id)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_run_with_many_nodes_does_not_keep_a_run_with_one_waiting():
    turns, order = Turns(1), []
    await turns.take("busy")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in ("a", "a", "a", "b")]
    await settle()
    for run in ("busy", "a", "b", "a"):
        turns.give_back(run)
        await settle()
    await asyncio.gather(*waiting)
    assert order == ["a", "b", "a", "a"]


async def test_one_run_gets_no_more_than_its_share_while_places_are_free():
    turns = Turns(10, 2)
    assert [turns.try_take("a"), turns.try_take("a"), turns.try_take("a"), turns.try_take("b")] == [True, True, False, True]


async def test_a_limit_that_grows_by_itself_lets_more_begin_when_a_turn_is_given_back():
    room, order = [1], []
    turns = Turns(lambda: room[0])
    await turns.take("a")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in ("b", "c")]
    await settle()
    room[0] = 2
    turns.give_back("a")
    await settle()
    assert (sorted(order), turns.at_work, turns.limit) == (["b", "c"], 2, 2)
    await asyncio.gather(*waiting)


async def test_who_waits_for_an_answer_lends_the_place_and_takes_it_up_at_once():
    turns, order = Turns(1), []
    await turns.take("a")
    waiting = asyncio.create_task(take(turns, "b", order))
    await settle()
    turns.leave("a", outside=True)
    await settle()
    assert (order, turns.at_work, turns.away) == (["b"], 1, 1)
    turns.come_back("a", outside=True)
    assert (turns.at_work, turns.away) == (2, 0)
    await waiting


@pytest.fixture
def hurried(monkeypatch):
    """Whoever waits has waited for long."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


async def test_a_run_of_which_nothing_is_at_work_gets_a_turn_beyond_the_limit_where_others_take_long(hurried):
    turns, order = Turns(1, None, beyond=2), []
    await turns.take("long")
    turns.hold("held")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in ("long", "held", "a", "a", "b", "c")]
    await waiting[2]
    await waiting[4]
    await settle()
    assert (order, turns.at_work, turns.waiting) == (["a", "b"], 3, 4)
    turns.give_back("b")
    await waiting[5]
    assert (order, turns.at_work) == (["a", "b", "c"], 3)
    turns.release("held")
    for run in ("a", "c", "long"):
        turns.give_back(run)
    await settle()
    for run in ("held", "a", "long"):
        turns.give_back(run)
    await asyncio.gather(*waiting)
    assert (sorted(order[3:]), turns.at_work) == (["a", "held", "long"], 0)


async def test_who_has_had_a_turn_beyond_the_limit_and_wants_more_is_behind_those_that_wait(hurried):
    turns, order = Turns(1, None, beyond=1), []
    await turns.take("long")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in ("wide", "wide", "wide", "quick")]
    for run in ("wide", "quick", "wide"):
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await settle()
        assert order[-1] == run
        turns.give_back(run)
    await asyncio.gather(*waiting)
    assert order == ["wide", "quick", "wide", "wide"]


async def test_nobody_gets_a_turn_beyond_the_limit_who_has_not_waited_long_or_when_no_more_are_given(hurried, monkeypatch):
    turns, order, most = Turns(), [], [0]
    turns.allow(1, None, beyond=lambda: most[0])
    await turns.take("long")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in "ab"]
    await settle()
    most[0] = 1
    await waiting[0]
    monkeypatch.setattr(module, "PATIENCE_S", 1000.0)
    most[0] = 2
    await settle()
    assert (order, turns.waiting) == (["a"], 1)
    turns.close()
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    await settle()
    assert (order, turns.waiting) == (["a"], 1)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_held_run_gets_no_turn_until_it_is_released_and_stops_nobody_else():
    turns, order = Turns(2), []
    turns.hold("a")
    waiting = [asyncio.create_task(take(turns, run, order)) for run in ("a", "b")]
    await settle()
    assert order == ["b"]
    turns.release("a")
    await asyncio.gather(*waiting)
    assert order == ["b", "a"]


async def test_closed_turns_go_to_nobody_and_it_is_quiet_when_the_last_one_is_given_back():
    turns = Turns(2)
    await turns.take("a")
    turns.close()
    quiet = asyncio.create_task(turns.quiet())
    await settle()
    assert (turns.try_take("b"), quiet.done()) == (False, False)
    turns.give_back("a")
    await quiet


@pytest.mark.parametrize("granted", [False, True])
async def test_a_wait_that_is_cancelled_takes_nothing(granted):
    turns = Turns(1)
    await turns.take("a")
    waiting = asyncio.create_task(turns.take("b"))
    await settle()
    if granted:
        turns.give_back("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if not granted:
        turns.give_back("a")
    assert (turns.at_work, turns.waiting, turns.try_take("c")) == (0, 0, True)


async def test_a_higher_limit_lets_in_who_waits():
    turns, order = Turns(0), []
    waiting = asyncio.create_task(take(turns, "a", order))
    await settle()
    turns.allow(1, None)
    await waiting
    assert order == ["a"]


@given(st.lists(st.sampled_from("abcde"), max_size=40), st.integers(1, 5), st.one_of(st.none(), st.integers(1, 3)))
def test_whoever_comes_is_served_and_the_limits_hold_at_every_moment(arrivals, limit, per_run):
    async def scenario():
        turns, served, most = Turns(limit, per_run), [], [0]
        mine = dict.fromkeys("abcde", 0)

        async def work(run):
            await turns.take(run)
            mine[run] += 1
            most[0] = max(most[0], turns.at_work)
            assert per_run is None or mine[run] <= per_run
            await asyncio.sleep(0)
            mine[run] -= 1
            served.append(run)
            turns.give_back(run)

        await asyncio.gather(*(work(run) for run in arrivals))
        return turns, served, most[0]

    turns, served, most = asyncio.run(scenario())
    assert (sorted(served), most <= limit, turns.at_work, turns.waiting) == (sorted(arrivals), True, 0, 0)


async def test_nobody_looks_again_and_again_while_all_who_wait_are_held(hurried):
    turns = Turns(1, beyond=1)
    await turns.take("works")
    turns.hold("paused")
    waits = asyncio.create_task(turns.take("paused"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (turns.waiting, turns._looking) == (1, None)
    turns.release("paused")
    await waits
    assert (turns.waiting, turns.at_work) == (0, 2)
