"""Budgets are asked before a call and booked after it; answers are used again only where nothing could differ."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.models.budget import RUN, Budget, cost_micros, dollars, price_of
from runloop.models.cache import ReplyCache, cache_key
from runloop.models.errors import ModelError
from runloop.models.settings import PriceSettings, ProviderKind, ProviderSettings, RetrySettings
from runloop.models.types import EmbedRequest, ModelReply, ModelRequest, Usage, estimate_tokens

PRICE = PriceSettings("*", 3_000_000, 15_000_000)


async def test_a_call_that_does_not_fit_is_refused_before_it_is_made(make_broker, server):
    with pytest.raises(ModelError) as caught:
        await make_broker().complete(ModelRequest("Hello", model="openai:ok"), Budget(tokens=1))

    assert (caught.value.code, caught.value.kind) == ("model.budget_tokens", "budget")
    assert server.requests() == []


async def test_the_cost_is_counted_in_micro_dollars(make_broker):
    budget = Budget(usd_micros=1_000_000)
    reply = await make_broker(prices=(PRICE,)).complete(ModelRequest("Hello", model="openai:ok"), budget)

    assert reply.usage.usd_micros == 11 * 3 + 7 * 15
    assert budget.spent_usd_micros == 138


async def test_an_unknown_price_is_none_and_never_zero(make_broker, unlimited):
    prices = (PriceSettings("other", 1, 1), PriceSettings("*", 1, 1, provider="ollama"))
    reply = await make_broker(prices=prices).complete(ModelRequest("Hello", model="openai:ok"), unlimited)

    assert reply.usage.usd_micros is None


async def test_with_a_cap_in_dollars_a_model_of_unknown_price_is_not_asked(make_broker, server):
    with pytest.raises(ModelError) as caught:
        await make_broker().complete(ModelRequest("Hello", model="openai:ok"), Budget(usd_micros=5_000_000))

    assert caught.value.code == "model.price_unknown"
    assert server.requests() == []


async def test_a_call_that_could_cost_more_than_is_left_is_not_made(make_broker, server):
    with pytest.raises(ModelError) as caught:
        await make_broker(prices=(PRICE,)).complete(ModelRequest("Hello", model="openai:ok", max_tokens=100), Budget(usd_micros=1_505))

    assert caught.value.code == "model.budget_usd"  # 2 tokens in at 3 and 100 out at 15 are 1,506
    assert "$0.001506" in caught.value.message
    assert server.requests() == []


async def test_the_same_call_fits_when_exactly_enough_is_left(make_broker):
    budget = Budget(usd_micros=1_506)
    reply = await make_broker(prices=(PRICE,)).complete(ModelRequest("Hello", model="openai:ok", max_tokens=100), budget)

    assert reply.usage.usd_micros == 138


async def test_a_provider_that_uses_more_than_asked_is_an_overrun_that_is_booked(make_broker):
    for budget, key in ((Budget(tokens=5_000), "budget_tokens"), (Budget(usd_micros=5_000_000), "budget_usd")):
        with pytest.raises(ModelError) as caught:
            await make_broker(prices=(PRICE,)).complete(ModelRequest("Hello", model="openai:huge-usage", max_tokens=100), budget)

        assert (caught.value.code, caught.value.usage.tokens_out) == ("model.budget_overrun", 900_000)
        assert (budget.spent_tokens, budget.spent_usd_micros) == (900_011, 13_500_033)
        assert {budget.remaining_tokens, budget.remaining_usd_micros} == {0, None}
        assert key in caught.value.hint


async def test_a_request_above_the_cap_of_one_request_is_refused(make_broker, server, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker(per_request_tokens_cap=100).complete(ModelRequest("x" * 401, model="openai:ok"), unlimited)
    with pytest.raises(ModelError):
        await make_broker(per_request_tokens_cap=100).complete(ModelRequest("x" * 40, model="openai:ok", max_tokens=91), unlimited)

    assert caught.value.code == "model.request_cap"
    assert server.requests() == []


async def test_without_max_tokens_the_answer_may_use_what_the_cap_leaves(make_broker, server, unlimited):
    await make_broker(per_request_tokens_cap=100).complete(ModelRequest("x" * 40, model="openai:ok"), unlimited)

    assert server.requests()[0]["body"]["max_tokens"] == 90


@pytest.mark.parametrize(
    ("budget", "first", "second"),
    [
        ({"tokens": 4_000}, 3_990, 3_972),  # the first one's prompt is 10 tokens by estimate; 11 and 7 by the provider's count
        ({"usd_micros": 15_030}, 1_000, 990),  # 30 for the prompt, 138 spent
        ({"tokens": 100_000}, 9_990, 9_990),
    ],
)
async def test_without_max_tokens_the_answer_may_use_what_the_budget_leaves(make_broker, server, budget, first, second):
    broker, budget = make_broker(per_request_tokens_cap=10_000, prices=(PRICE,)), Budget(**budget)
    await broker.complete(ModelRequest("x" * 40, model="openai:ok"), budget)
    await broker.complete(ModelRequest("y" * 40, model="openai:ok"), budget)

    assert [each["body"]["max_tokens"] for each in server.requests()] == [first, second]


async def test_without_max_tokens_calls_at_once_are_made_one_after_the_other(make_broker, server):
    broker, budget = make_broker(per_request_tokens_cap=10_000), Budget(tokens=4_000)
    requests = [ModelRequest(f"Hello {number}", model="openai:ok") for number in range(3)]
    await asyncio.gather(*(broker.complete(request, budget) for request in requests))

    assert [each["body"]["max_tokens"] for each in server.requests()] == [3_998, 3_980, 3_962]


@pytest.mark.parametrize("limit", [{"tokens": 509}, {"usd_micros": 7_529}])
async def test_without_max_tokens_a_call_is_not_made_where_too_little_is_left_for_an_answer(make_broker, server, limit):
    broker = make_broker(per_request_tokens_cap=10_000, prices=(PRICE,))
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest("x" * 40, model="openai:ok"), Budget(**limit))

    assert (caught.value.kind, server.requests()) == ("budget", [])
    await broker.complete(ModelRequest("x" * 40, model="openai:ok"), Budget(**{key: value + 1 for key, value in limit.items()}))
    assert server.requests()[0]["body"]["max_tokens"] == 500


@pytest.mark.parametrize(
    ("budget", "ends"),
    [
        ({"tokens": 110}, ["ModelError", "ModelReply"]),
        ({"tokens": 150}, ["ModelReply", "ModelReply"]),
        ({"usd_micros": 1_600}, ["ModelError", "ModelReply"]),
        ({"usd_micros": 2_000}, ["ModelReply", "ModelReply"]),
    ],
)
async def test_two_calls_at_once_cannot_both_spend_the_rest_and_the_second_waits_for_what_the_first_leaves(
    make_broker, server, budget, ends
):
    broker, budget = make_broker(prices=(PRICE,)), Budget(**budget)
    requests = [ModelRequest(f"Hello {number}", model="openai:ok", max_tokens=100) for number in range(2)]
    results = await asyncio.gather(*(broker.complete(request, budget) for request in requests), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ends
    assert len(server.requests()) == ends.count("ModelReply")


@pytest.mark.parametrize("limit", [{"tokens": 10}, {"usd_micros": 10}])
async def test_what_is_given_back_goes_to_who_still_waits_for_all_of_it(limit):
    budget = Budget(**limit)
    held = budget.reserve(10, 10)
    gone, waits = (asyncio.ensure_future(budget.set_aside(10, 10)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    budget.release(held)
    assert await waits == held


async def test_embeddings_are_counted_too(make_broker):
    budget = Budget(tokens=1)
    with pytest.raises(ModelError) as caught:
        await make_broker().embed(EmbedRequest(("a" * 100,), "openai:ok"), budget)

    assert caught.value.code == "model.budget_tokens"


def test_a_run_without_a_budget_of_its_own_gets_the_configured_one(make_broker):
    broker = make_broker(default_tokens=77, hard_cap_usd_micros=500)

    assert (broker.run_budget().tokens, broker.run_budget().usd_micros) == (77, 500)
    assert (broker.run_budget(5, 900).tokens, broker.run_budget(5, 900).usd_micros) == (5, 500)
    assert broker.run_budget(5, 100).usd_micros == 100
    with pytest.raises(ModelError) as defaulted:
        broker.run_budget().reserve(78, 0)
    assert "models.broker.budgets.default_tokens" in defaulted.value.hint
    with pytest.raises(ModelError) as capped:
        broker.run_budget(5, 900).reserve(5, 501)
    assert "raise the setting models.broker.budgets.hard_cap_usd" in capped.value.hint


def test_a_limit_that_is_lower_takes_the_place_of_the_budgets_and_is_named_where_it_refuses():
    budget = Budget(100, 100)
    budget.narrow(200, None, tokens_key="t", usd_key="u")
    assert (budget.tokens, budget.usd_micros, budget.holder) == (100, 100, RUN)
    budget.narrow(None, 50, tokens_key="t", usd_key="u")
    with pytest.raises(ModelError) as caught:
        budget.reserve(1, 51)
    assert (caught.value.hint.startswith("raise u, or give the call a smaller max_tokens"), budget.tokens) == (True, 100)
    unbounded = Budget()
    unbounded.narrow(7, None, tokens_key="t", usd_key="u")
    assert (unbounded.tokens, unbounded.holder.tokens_key, unbounded.holder.usd_key) == (7, "t", RUN.usd_key)


async def test_the_second_same_call_is_answered_from_the_cache_and_costs_nothing(make_broker, server):
    broker, budget = make_broker(prices=(PRICE,)), Budget(tokens=10_000, usd_micros=1_000_000)
    first = await broker.complete(ModelRequest("Hello", model="openai:ok"), budget)
    second = await broker.complete(ModelRequest("Hello", model="openai:ok"), budget)

    assert (first.cached, second.cached, second.text) == (False, True, first.text)
    assert second.usage == Usage(11, 7, 0, estimated=False)
    assert len(server.requests()) == 1
    assert budget.spent_usd_micros == 138


async def test_who_wants_an_answer_of_its_own_gets_no_kept_one_and_leaves_its_own(make_broker, server, unlimited):
    broker = make_broker()
    server.control("/_script", {"replies": ["first", "second"]})
    said = [await broker.complete(ModelRequest("Hello", model="openai:ok", anew=anew), unlimited) for anew in (False, True, False)]

    assert [(each.text, each.cached) for each in said] == [("first", False), ("second", False), ("second", True)]


async def test_the_budget_holds_for_cached_answers_too(make_broker):
    broker = make_broker()
    await broker.complete(ModelRequest("Hello", model="openai:ok"), Budget())
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest("Hello", model="openai:ok"), Budget(tokens=17))

    assert caught.value.code == "model.budget_tokens"


async def test_a_cached_answer_grows_old(make_broker, server, unlimited):
    clock = [0.0]
    broker = make_broker(now=lambda: clock[0], cache_ttl_ms=1000)
    for moment in (0.0, 0.999, 1.0):
        clock[0] = moment
        await broker.complete(ModelRequest("Hello", model="openai:ok"), unlimited)

    assert len(server.requests()) == 2


@pytest.mark.parametrize("off", [{"cache_ttl_ms": 0}, {"cache_capacity": 0}])
async def test_the_cache_can_be_turned_off(off, make_broker, server, unlimited):
    broker = make_broker(**off)
    for _ in range(2):
        await broker.complete(ModelRequest("Hello", model="openai:ok"), unlimited)

    assert len(server.requests()) == 2


async def test_a_failure_is_not_kept(make_broker, server, unlimited):
    broker = make_broker(retry=RetrySettings(attempts=1))
    with pytest.raises(ModelError):
        await broker.complete(ModelRequest("Hello", model="openai:flaky-500"), unlimited)
    reply = await broker.complete(ModelRequest("Hello", model="openai:flaky-500"), unlimited)

    assert reply.cached is False


def reply(text):
    return ModelReply(text, "stop", "p", "m", Usage(1, 1, None, estimated=False))


def test_the_least_recently_used_answer_makes_room():
    cache = ReplyCache(2, 1000, now=lambda: 0.0)
    cache.put("a", reply("A"))
    cache.put("b", reply("B"))
    cache.get("a")
    cache.put("c", reply("C"))

    assert [cache.get(key) for key in "abc"] == [reply("A"), None, reply("C")]
    assert len(cache) == 2


FIELDS = st.fixed_dictionaries(
    {
        "prompt": st.text(max_size=5),
        "system": st.none() | st.text(max_size=5),
        "context": st.none() | st.lists(st.text(max_size=2), max_size=2),
        "temperature": st.none() | st.floats(0, 2),
        "stop": st.lists(st.text(max_size=2), max_size=2).map(tuple),
    }
)


AT = ProviderSettings("p", ProviderKind.OLLAMA, "http://h")


@given(FIELDS, FIELDS, st.text(max_size=3), st.text(max_size=3))
def test_two_requests_share_a_cache_key_only_when_they_are_the_same(one, other, model_one, model_other):
    keys = [cache_key(AT, model, ModelRequest(**fields), 10) for fields, model in ((one, model_one), (other, model_other))]

    assert (keys[0] == keys[1]) == ((one, model_one) == (other, model_other))


@pytest.mark.parametrize(
    "over",
    [{"prompt": "x"}, {"system": "x"}, {"context": ["x"]}, {"temperature": 0.5}, {"stop": ("x",)}],
    ids=lambda over: next(iter(over)),
)
def test_each_field_alone_makes_another_cache_key(over):
    base = {"prompt": "p", "system": "s", "context": ["c"], "temperature": 1.0, "stop": ("t",)}

    assert cache_key(AT, "m", ModelRequest(**{**base, **over}), 9) != cache_key(AT, "m", ModelRequest(**base), 9)


def test_words_cannot_move_from_one_field_to_the_next():
    assert cache_key(AT, "m", ModelRequest("ab", system="c"), 1) != cache_key(AT, "m", ModelRequest("a", system="bc"), 1)
    asked = cache_key(AT, "m", ModelRequest("a"), 1)
    assert asked != cache_key(AT, "m", ModelRequest("a"), 2)
    for other in ({"id": "q"}, {"base_url": "http://o"}, {"num_ctx": 9}):
        assert asked != cache_key(replace(AT, **other), "m", ModelRequest("a"), 1)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.sampled_from(["fails", "ends", "goes on"])), max_size=30),
    st.integers(0, 300),
)
def test_a_budget_never_goes_below_what_is_spent_and_set_aside(calls, limit):
    budget = Budget(limit, 2 * limit)
    under_way = 0
    for asked, used, becomes in calls:
        try:
            held = budget.reserve(asked, 2 * asked)
        except ModelError:
            assert asked > budget.remaining_tokens
            continue
        if becomes == "fails":
            budget.release(held)
        elif becomes == "ends":
            budget.settle(held, Usage(min(used, asked), 0, 2 * min(used, asked), estimated=False))
        else:
            under_way += asked

    assert budget.spent_tokens + under_way <= limit
    assert budget.remaining_tokens == limit - budget.spent_tokens - under_way
    assert budget.remaining_usd_micros == 2 * budget.remaining_tokens


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_is_rounded_up_and_never_lost(tokens_in, tokens_out):
    price = PriceSettings("*", 1, 3)

    cost = cost_micros(price, tokens_in, tokens_out)

    assert (cost - 1) * 1_000_000 < tokens_in + 3 * tokens_out <= cost * 1_000_000


def test_the_first_price_that_fits_counts():
    prices = (PriceSettings("gpt-4*", 1, 1), PriceSettings("gpt*", 2, 2, provider="openai"), PriceSettings("gpt*", 3, 3))

    found = [price_of(prices, "openai", model) for model in ("gpt-4o", "gpt-5", "claude")]

    assert found == [prices[0], prices[1], None]
    assert price_of(prices, "other", "gpt-5") == prices[2]


def test_money_is_shown_exactly():
    assert [dollars(value) for value in (0, 1, 1_500_000, 12_000_001)] == ["$0.000000", "$0.000001", "$1.500000", "$12.000001"]


def test_tokens_are_estimated_from_utf8_length_and_rounded_up():
    assert [estimate_tokens("", None), estimate_tokens("a"), estimate_tokens("abcd", "e"), estimate_tokens("日本")] == [0, 1, 2, 2]
