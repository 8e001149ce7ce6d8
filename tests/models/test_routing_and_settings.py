"""Which provider a model's name leads to, and settings that are refused because they could not work or would leak."""

import pytest

from runloop.errors import InvalidInput
from runloop.models.errors import ModelError
from runloop.models.settings import (
    ModelSettings,
    PriceSettings,
    ProviderKind,
    ProviderSettings,
    RetrySettings,
    RouteSettings,
    TimeoutSettings,
    check_settings,
    is_loopback,
    matches,
)
from runloop.models.transport import quoted, retry_after_s
from runloop.models.types import ModelRequest

OLLAMA = ProviderSettings("ollama", ProviderKind.OLLAMA, "http://127.0.0.1:11434")


@pytest.mark.parametrize(
    ("pattern", "model", "expected"),
    [("*", "x", True), ("gpt*", "gpt-4", True), ("gpt*", "gp", False), ("gpt", "gpt", True), ("gpt", "gpt-4", False)],
)
def test_a_pattern_is_everything_a_prefix_or_one_name(pattern, model, expected):
    assert matches(pattern, model) is expected


def test_the_first_route_that_matches_wins_and_may_rename_the_model(make_broker):
    routes = (RouteSettings("gpt-4", "openai", "gpt-4-turbo"), RouteSettings("gpt*", "ollama"), RouteSettings("*", "anthropic"))
    broker = make_broker(routes=routes)

    found = [(provider.id, model) for provider, model in map(broker.route, ("gpt-4", "gpt-5", "claude"))]

    assert found == [("openai", "gpt-4-turbo"), ("ollama", "gpt-5"), ("anthropic", "claude")]


def test_a_named_provider_is_taken_whatever_the_routes_say(make_broker):
    broker = make_broker(routes=(RouteSettings("*", "openai"),))

    provider, model = broker.route("ollama:llama3:8b")

    assert (provider.id, model) == ("ollama", "llama3:8b")


def test_a_colon_that_names_no_provider_belongs_to_the_model(make_broker):
    provider, model = make_broker(routes=(RouteSettings("*", "ollama"),)).route("llama3:8b")

    assert (provider.id, model) == ("ollama", "llama3:8b")


def test_a_call_without_a_model_takes_the_default(make_broker):
    assert make_broker(default="anthropic:claude").route(None)[1] == "claude"


def test_a_name_that_leads_nowhere_is_the_callers_error(make_broker):
    with pytest.raises(ModelError) as caught:
        make_broker().route("gpt-4")

    assert (caught.value.code, caught.value.kind) == ("model.no_route", "invalid")
    assert "openai, ollama, anthropic" in caught.value.hint


@pytest.mark.parametrize(
    "settings", [{}, {"providers": (), "default": "gpt-4"}, {"routes": (RouteSettings("*", "local"),), "providers": ()}]
)
async def test_with_no_model_configured_every_call_says_how_to_configure_one(settings, make_broker, unlimited):
    broker = make_broker(**settings)
    for call in (lambda: broker.complete(ModelRequest("Hi"), unlimited), None):
        with pytest.raises(ModelError) as caught:
            await call() if call else broker.leaves_machine(ModelRequest("Hi"))
        assert (caught.value.code, caught.value.kind) == ("model.unconfigured", "unavailable")
        assert "models.broker.providers" in caught.value.hint


async def test_a_provider_of_kind_none_is_no_model(make_broker, unlimited):
    broker = make_broker(providers=(ProviderSettings("off", ProviderKind.NONE),))
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest("Hi", model="off:x"), unlimited)

    assert caught.value.code == "model.unconfigured"


def provider(**over):
    return ModelSettings(providers=(ProviderSettings(**{"id": "p", "kind": ProviderKind.OPENAI_CHAT, "base_url": "https://h", **over}),))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (ModelSettings(providers=(OLLAMA, OLLAMA)), "models.broker.providers[1].id"),
        (provider(base_url=None), "models.broker.providers[0].base_url"),
        (provider(base_url="ftp://h"), "models.broker.providers[0].base_url"),
        (provider(base_url="https://user:pw@h"), "models.broker.providers[0].base_url"),
        (provider(base_url="https://:pw@h"), "models.broker.providers[0].base_url"),
        (provider(base_url="https://h?x=1"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://[::1"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://h:99999"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://h:port"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://h:0"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://a b"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://h\u0085"), "models.broker.providers[0].base_url"),
        (provider(base_url="http://far.example", secret_id="k"), "models.broker.providers[0].base_url"),
        (provider(headers=(("X-A", "b\r\nEvil: 1"),)), "models.broker.providers[0].headers"),
        (provider(headers=(("X A", "b"),)), "models.broker.providers[0].headers"),
        (provider(headers=(("Authorization", "Bearer x"),)), "models.broker.providers[0].headers"),
        (provider(headers=(("Host", "x"),)), "models.broker.providers[0].headers"),
        (provider(num_ctx=8192), "models.broker.providers[0].num_ctx"),
        (ModelSettings(routes=(RouteSettings("*", "ghost"),)), "models.broker.route[0].provider"),
        (ModelSettings(routes=(RouteSettings("a*b", "local"),)), "models.broker.route[0].pattern"),
        (ModelSettings(routes=(RouteSettings("", "none"),)), "models.broker.route[0].pattern"),
        (ModelSettings(prices=(PriceSettings("*", -1, 0),)), "models.broker.prices[0]"),
        (ModelSettings(prices=(PriceSettings("**", 0, 0),)), "models.broker.prices[0].model"),
        (ModelSettings(cache_capacity=-1), "models.broker.cache.capacity"),
        (ModelSettings(retry=RetrySettings(attempts=0)), "models.broker.retry.attempts"),
        (ModelSettings(timeouts=TimeoutSettings(total_ms=0)), "models.broker.timeouts.total_ms"),
    ],
)
def test_settings_that_cannot_work_name_their_key(settings, key):
    with pytest.raises(InvalidInput) as caught:
        check_settings(settings)

    assert (caught.value.code, caught.value.where.key) == ("models.settings", key)
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(),
        ModelSettings(providers=(OLLAMA,)),
        provider(secret_id="k"),
        provider(base_url="http://localhost:1", secret_id="k"),
        provider(base_url="http://lan.example"),
        provider(headers=(("X-Team", "blue"),)),
        ModelSettings(
            cache_ttl_ms=0,
            cache_capacity=0,
            default_tokens=1,
            per_request_tokens_cap=1,
            hard_cap_usd_micros=0,
            max_response_bytes=1,
            timeouts=TimeoutSettings(connect_ms=1, read_ms=1, total_ms=1),
            retry=RetrySettings(attempts=1, base_ms=0, max_ms=0),
        ),
    ],
)
def test_settings_that_can_work_are_accepted(settings):
    assert check_settings(settings) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("a.localhost", True), ("127.8.8.8", True), ("::1", True), ("10.0.0.1", False), ("h", False)],
)
def test_loopback_is_recognised_by_name_and_number(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("12", 12.0),
        (" 3 ", 3.0),
        ("soon", None),
        ("-5", None),
        ("²", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:30 -0000", 0.0),
        ("9" * 400, 999_999_999.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert retry_after_s(value, now_s=100.0) == seconds


def test_a_quotation_is_one_short_clean_line():
    assert quoted(b"a\x1b[31m\r\nb \xff" + b"key=KEY " * 100, "KEY") == ("a [31m b \ufffd" + "key=[secret] " * 100)[:300] + "…"
