"""An attempt spends within its agent's and its node's limits and within the run's, and both accounts always agree."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.models.budget import Budget
from runloop.models.errors import ModelError
from runloop.models.types import Usage
from runloop.runs.budgets import InnerBudget

A = ("agent", "a")


def test_what_an_attempt_may_spend_is_the_smaller_of_both():
    run = Budget(100)

    with pytest.raises(ModelError):
        InnerBudget(run, 50, None, A).reserve(60, 0)
    with pytest.raises(ModelError):
        InnerBudget(run, 500, None, A).reserve(160, 0)

    assert run.remaining_tokens == 100


def test_two_attempts_share_what_the_run_has_left():
    run = Budget(100)
    first, second = InnerBudget(run, None, None, A), InnerBudget(run, None, None, A)

    held = first.reserve(70, 0)
    with pytest.raises(ModelError):
        second.reserve(40, 0)
    first.settle(held, Usage(5, 5, 0, False))

    assert (run.spent_tokens, run.remaining_tokens) == (10, 90)
    assert second.reserve(40, 0).tokens == 40


async def test_a_call_waits_for_what_others_have_set_aside_and_is_refused_at_once_where_that_would_not_help():
    run = Budget(100)
    first, second = InnerBudget(run, None, None, A), InnerBudget(run, 50, None, A)
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


@pytest.mark.parametrize(
    ("whose", "said", "key"),
    [
        (("agent", "asker"), "of the budget of agent asker", "limits.{} in its manifest.toml"),
        (("node", "each"), "of the budget of node each", "its budget_{}"),
        (("opening", "leaf"), "of the budget of opening leaf", "its policy.budget_{}"),
    ],
)
def test_a_refusal_says_whose_budget_it_is_and_where_that_is_set(whose, said, key):
    with pytest.raises(ModelError, match=said) as tokens:
        InnerBudget(Budget(), 10, None, whose).reserve(11, 0)
    with pytest.raises(ModelError, match=said) as money:
        InnerBudget(Budget(), None, 10, whose).reserve(11, 11)
    with pytest.raises(ModelError, match=said.removeprefix("of ")) as unknown:
        InnerBudget(Budget(), None, 10, whose).reserve(11, None)
    budget = InnerBudget(Budget(), 10, None, whose)
    held = budget.reserve(10, 0)
    with pytest.raises(ModelError, match="10 tokens of the budget of") as overrun:
        budget.settle(held, Usage(5, 6, 0, False))
    assert f"raise {key.format('tokens')}, " in tokens.value.hint
    assert f"raise {key.format('usd')}, " in money.value.hint
    assert unknown.value.hint.endswith(f"or remove {key.format('usd')}")
    assert overrun.value.hint.startswith(f"raise {key.format('tokens')}, ")

    inner = InnerBudget(Budget(10, 10), None, None, whose)
    with pytest.raises(ModelError, match="of the run's budget") as outer:
        inner.reserve(11, 0)
    assert "raise policy.budget_tokens of the opening" in outer.value.hint


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 80), st.booleans()), max_size=12), st.integers(0, 200), st.integers(0, 200))
def test_both_accounts_are_booked_alike_whatever_happens(calls, own_limit, run_limit):
    run = Budget(run_limit)
    attempt = InnerBudget(run, own_limit, None, A)
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
