"""Turns against a second implementation, which looks through all who wait from the beginning whenever anything has changed."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.runs.turns import Turns

RUNS = st.sampled_from("abcd")
LIMITS = st.none() | st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["take", "take", "take", "give", "leave", "back", "cancel", "hold", "release"]), RUNS),
        st.tuples(st.just("allow"), st.tuples(LIMITS, st.none() | st.integers(1, 2))),
    ),
    max_size=40,
)


class Plain:
    """Who waits stands in a row; a run that got a turn goes behind the others, and so do those that were passed over before it."""

    def __init__(self, limit, per_run):
        self.limit, self.per_run = limit, per_run
        self.working, self.lent, self.waiting = Counter(), Counter(), Counter()
        self.row, self.held, self.order = [], set(), []

    def may(self, run):
        free = self.limit is None or self.working.total() < self.limit
        return free and run not in self.held and (self.per_run is None or self.working[run] < self.per_run)

    def do(self, what, run):
        match what:
            case "take":
                self.waiting[run] += 1
                self.row += [run] if run not in self.row else []
            case "give" | "leave":
                self.working[run] -= 1
                self.lent[run] += what == "leave"
            case "back":
                self.working[run] += 1
                self.lent[run] -= 1
            case "cancel":
                self.leave_row(run)
            case "hold":
                self.held.add(run)
            case "release":
                self.held.discard(run)
            case "allow":
                self.limit, self.per_run = run
        while what not in ("back", "cancel", "hold") and (first := next(filter(self.may, self.row), None)) is not None:
            at = self.row.index(first) + 1
            self.row = self.row[at:] + self.row[:at]
            self.working[first] += 1
            self.order.append(first)
            self.leave_row(first)

    def leave_row(self, run):
        self.waiting[run] -= 1
        if not self.waiting[run]:
            self.row.remove(run)


@given(LIMITS, st.none() | st.integers(1, 2), STEPS)
def test_who_is_next_is_who_would_be_next_if_all_who_wait_were_looked_through(limit, per_run, steps):
    async def scenario():
        turns, plain, order = Turns(limit, per_run), Plain(limit, per_run), []
        waiting = {run: [] for run in "abcd"}

        async def take(run):
            await turns.take(run)
            order.append(run)

        for what, run in steps:
            if (what in ("give", "leave") and not plain.working[run]) or (what == "back" and not plain.lent[run]):
                continue
            if what == "cancel":
                if not plain.waiting[run]:
                    continue
                await cancelled([task for task in waiting[run] if not task.done()][-1])
            elif what == "take":
                waiting[run].append(asyncio.create_task(take(run)))
            elif what == "allow":
                turns.allow(*run)
            else:
                {"give": turns.give_back, "leave": turns.leave, "back": turns.come_back, "hold": turns.hold, "release": turns.release}[
                    what
                ](run)
            plain.do(what, run)
            for _ in range(3):
                await asyncio.sleep(0)
            assert (order, turns.at_work, turns.waiting) == (plain.order, plain.working.total(), plain.waiting.total())
        for tasks in waiting.values():
            for task in tasks:
                await cancelled(task)
        assert turns.waiting == 0

    asyncio.run(scenario())


async def cancelled(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_is_quiet_when_a_stopped_call_comes_back_after_its_node_has_ended():
    turns = Turns(1)
    await turns.take("a")
    turns.leave("a")
    turns.give_back("a")
    quiet = asyncio.create_task(turns.quiet())
    await asyncio.sleep(0)
    assert not quiet.done()
    turns.come_back("a")
    await quiet


@pytest.mark.parametrize("first", ["the wait ends", "the turn is free"])
async def test_a_wait_that_ends_in_the_moment_in_which_a_turn_is_free_takes_none(first):
    turns = Turns(1)
    await turns.take("a")
    waiting = asyncio.create_task(turns.take("b"))
    await asyncio.sleep(0)
    ends = [waiting.cancel, lambda: turns.give_back("a")]
    for end in ends if first == "the wait ends" else reversed(ends):
        end()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (waiting.cancelled(), turns.at_work, turns.waiting, turns.try_take("c")) == (True, 0, 0, True)
