"""An attempt spends within its agent's and its node's limits and within the run's, and both accounts always agree."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.models.budget import Budget
from runloop.models.errors import ModelError
from runloop.models.types import Usage
from runloop.runs.budgets import InnerBudget


def test_what_an_attempt_may_spend_is_the_smaller_of_both():
    run = Budget(100)

    with pytest.raises(ModelError):
        InnerBudget(run, 50, None).reserve(60, 0)
    with pytest.raises(ModelError):
        InnerBudget(run, 500, None).reserve(160, 0)

    assert run.remaining_tokens == 100


def test_two_attempts_share_what_the_run_has_left():
    run = Budget(100)
    first, second = InnerBudget(run, None, None), InnerBudget(run, None, None)

    held = first.reserve(70, 0)
    with pytest.raises(ModelError):
        second.reserve(40, 0)
    first.settle(held, Usage(5, 5, 0, False))

    assert (run.spent_tokens, run.remaining_tokens) == (10, 90)
    assert second.reserve(40, 0).tokens == 40


async def test_a_call_waits_for_what_others_have_set_aside_and_is_refused_at_once_where_that_would_not_help():
    run = Budget(100)
    first, second = InnerBudget(run, None, None), InnerBudget(run, 50, None)
    held = await first.set_aside(70, 0)

    waiting = asyncio.create_task(second.set_aside(40, 0))
    await asyncio.sleep(0)
    with pytest.raises(ModelError, match="60 tokens, 50 of 50"):
        await second.set_aside(60, 0)
    with pytest.raises(ModelError, match="110 tokens, 30 of 100"):
        await first.set_aside(110, 0)
    assert not waiting.done()
    first.settle(held, Usage(30, 20, 0, False))
    assert (await waiting).tokens == 40
    assert (run.spent_tokens, run.remaining_tokens) == (50, 10)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80), st.booleans()), max_size=12), st.integers(0, 200), st.integers(0, 200))
def test_both_accounts_are_booked_alike_whatever_happens(calls, own_limit, run_limit):
    run = Budget(run_limit)
    attempt = InnerBudget(run, own_limit, None)
    for reserved, used, fails in calls:
        try:
            held = attempt.reserve(reserved, 0)
            if fails:
                attempt.release(held)
            else:
                attempt.settle(held, Usage(used, 0, 0, False))
        except ModelError:
            pass
    assert attempt.spent_tokens == run.spent_tokens
    assert (attempt.remaining_tokens, run.remaining_tokens) == (
        max(0, own_limit - attempt.spent_tokens),
        max(0, run_limit - run.spent_tokens),
    )
