"""Every way a provider can fail has its own code, is retried only where that helps, and never shows the key."""

import asyncio
import json
import logging
import socket

import pytest

from runloop.models.errors import ModelError
from runloop.models.settings import RetrySettings, TimeoutSettings
from runloop.models.types import ModelRequest

SECRET = "sk-very-secret-4711"
KINDS = ["openai", "ollama", "anthropic"]


async def failure(broker, budget, model, remaining_ms=None):
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest("Hello", model=model), budget, remaining_ms)
    assert budget.spent_tokens == 0
    assert (budget._held_tokens, budget._held_usd) == (0, 0)
    return caught.value


@pytest.mark.parametrize(
    ("model", "code", "kind", "retryable"),
    [
        ("unauthorized", "model.auth", "unavailable", False),
        ("bad-request", "model.rejected", "invalid", False),
        ("missing", "model.not_found", "unavailable", False),
        ("redirect", "model.redirected", "unavailable", False),
        ("garbage", "model.bad_json", "unavailable", False),
        ("bad-utf8", "model.bad_json", "unavailable", False),
        ("deep", "model.bad_json", "unavailable", False),
        ("html", "model.bad_content_type", "unavailable", False),
        ("not-an-object", "model.bad_shape", "unavailable", False),
        ("wrong-shape", "model.bad_shape", "unavailable", False),
        ("gzip", "model.encoding", "unavailable", False),
        ("always-500", "model.server_error", "unavailable", True),
        ("rate-limited-long", "model.rate_limited", "unavailable", True),
        ("half", "model.truncated", "unavailable", True),
        ("reset", "model.connection_lost", "unavailable", True),
    ],
)
@pytest.mark.parametrize("provider", KINDS)
async def test_each_failure_has_its_code(provider, model, code, kind, retryable, make_broker, unlimited):
    error = await failure(make_broker(), unlimited, f"{provider}:{model}")

    assert (error.code, error.kind, error.retryable) == (code, kind, retryable)


@pytest.mark.parametrize("provider", KINDS)
async def test_an_answer_without_text_is_an_error_that_was_paid_for(provider, make_broker, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker().complete(ModelRequest("Hello", model=f"{provider}:empty"), unlimited)

    assert caught.value.code == "model.empty"
    assert caught.value.usage.tokens == 18
    assert unlimited.spent_tokens == 18


async def test_an_error_inside_a_good_status_is_quoted(make_broker, unlimited):
    error = await failure(make_broker(), unlimited, "openai:error-in-200")

    assert (error.code, error.retryable) == ("model.server_error", True)
    assert "the model is overloaded" in error.message


def saying(status, text, content_type="application/json"):
    """The prompt that makes a provider answer so."""
    return json.dumps({"status": status, "text": text, "type": content_type})


async def refusal(broker, budget, prompt, provider="openai"):
    with pytest.raises(ModelError) as caught:
        await broker.complete(ModelRequest(prompt, model=f"{provider}:told-as"), budget)
    return caught.value


@pytest.mark.parametrize("answer", [(402, "Insufficient Balance"), (429, '{"error": {"code": "insufficient_quota"}}')])
async def test_an_account_without_credit_is_said_to_be_one_and_not_asked_again(answer, make_broker, server, unlimited, naps):
    error = await refusal(make_broker(), unlimited, saying(*answer))

    assert (error.code, error.kind, error.retryable) == ("model.no_credit", "unavailable", False)
    assert (len(server.requests()), naps.taken) == (1, [])


@pytest.mark.parametrize(
    ("status", "code", "requests"), [(520, "model.server_error", 4), (599, "model.server_error", 4), (505, "model.rejected", 1)]
)
async def test_trouble_of_a_server_passes_except_where_its_status_says_that_it_lasts(
    status, code, requests, make_broker, server, unlimited
):
    error = await refusal(make_broker(), unlimited, saying(status, "<html></html>", "text/html"))

    assert (error.code, len(server.requests())) == (code, requests)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "the input length exceeds the context length"),
        (400, "request (302 tokens) exceeds the available context size (256 tokens), try increasing it"),
        (400, "This model's maximum context length is 8192 tokens"),
        (400, "prompt is too long: 215000 tokens > 200000 maximum"),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (200, "The model is loaded with context length of only 4096 tokens, which is not enough"),
        (500, "input (5604 tokens) is too large to process. increase the physical batch size (current batch size: 256)"),
    ],
)
async def test_a_prompt_that_is_longer_than_the_context_is_refused_with_what_makes_it_longer(status, said, make_broker, server, unlimited):
    error = await refusal(make_broker(), unlimited, saying(status, json.dumps({"error": said})), "ollama")

    assert (error.code, error.retryable, "num_ctx" in error.hint) == ("model.rejected", False, True)
    assert len(server.requests()) == 1


async def test_a_refusal_that_speaks_of_an_upstream_is_no_refusal_to_stream(make_broker, server, unlimited):
    await refusal(make_broker(), unlimited, saying(400, '{"error": "upstream: the prompt is too long"}'))

    assert len(server.requests()) == 1


async def test_a_route_that_refused_to_stream_is_asked_to_again_unless_it_then_answered(make_broker, server, unlimited):
    broker = make_broker()
    for _ in range(2):
        await refusal(broker, unlimited, saying(400, '{"error": "stream: the prompt is too long"}'))

    assert [bool(sent["body"].get("stream")) for sent in server.requests()] == [True, False, True, False]


async def test_an_answer_beyond_the_cap_is_given_up(make_broker, unlimited):
    error = await failure(make_broker(max_response_bytes=200_000), unlimited, "ollama:huge")

    assert error.code == "model.too_large"
    assert "200000 bytes" in error.message


@pytest.mark.parametrize("model", ["hang", "drip"])
async def test_a_slow_provider_meets_the_total_time_out(model, make_broker, unlimited):
    error = await failure(make_broker(timeouts=TimeoutSettings(total_ms=150)), unlimited, f"openai:{model}")

    assert (error.code, error.kind) == ("model.timeout", "timeout")
    assert "150 ms" in error.message


async def test_the_callers_deadline_counts_when_it_is_nearer(make_broker, unlimited):
    error = await failure(make_broker(), unlimited, "openai:hang", remaining_ms=120)

    assert error.code == "model.timeout"
    assert "120 ms" in error.message


async def test_silence_between_two_pieces_is_a_time_out_and_tried_again(make_broker, server, unlimited, naps):
    settings = TimeoutSettings(read_ms=60, total_ms=20_000)
    error = await failure(make_broker(timeouts=settings, retry=RetrySettings(attempts=2)), unlimited, "openai:hang")

    assert (error.code, len(server.requests()), len(naps.taken)) == ("model.timeout", 2, 1)


async def test_a_port_where_nobody_listens_is_named(make_broker, unlimited, naps):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        base = f"http://127.0.0.1:{held.getsockname()[1]}"
        error = await failure(make_broker(base=base), unlimited, "ollama:ok")

    assert (error.code, error.retryable, len(naps.taken)) == ("model.connect", True, 3)
    assert base in error.message
    assert "tried 4 times" in error.message


async def test_back_off_doubles_up_to_its_bound(make_broker, unlimited, naps):
    retry = RetrySettings(attempts=5, base_ms=100, max_ms=350)
    await failure(make_broker(retry=retry), unlimited, "openai:always-500")

    assert naps.taken == [0.1, 0.2, 0.35, 0.35]


async def test_retry_after_is_waited_for_and_then_answered(make_broker, server, unlimited, naps):
    reply = await make_broker().complete(ModelRequest("Hello", model="openai:rate-limited"), unlimited)

    assert reply.text == "This is the model's answer."
    assert (naps.taken, len(server.requests())) == ([7.0, 7.0], 3)


async def test_retry_after_as_a_date_is_measured_against_the_clock(make_broker, server, unlimited, naps):
    import time

    settings = TimeoutSettings(total_ms=10_000_000)
    now = time.time()
    await make_broker(wall=now, timeouts=settings).complete(ModelRequest("Hello", model="openai:rate-limited-date"), unlimited)

    assert len(naps.taken) == 1
    assert 3590 <= naps.taken[0] <= 3660


async def test_a_wait_longer_than_the_call_may_take_ends_it_at_once(make_broker, server, unlimited, naps):
    error = await failure(make_broker(), unlimited, "openai:rate-limited-long")

    assert (naps.taken, len(server.requests())) == ([], 1)
    assert "86400 s" in error.hint


async def test_a_wait_that_would_fit_is_not_named_where_nothing_is_tried_again(make_broker, unlimited, naps):
    error = await failure(make_broker(retry=RetrySettings(attempts=1)), unlimited, "openai:rate-limited")

    assert (error.code, naps.taken) == ("model.rate_limited", [])
    assert "asks to wait" not in error.hint


@pytest.mark.parametrize("model", ["flaky-500", "flaky-reset"])
async def test_a_passing_failure_is_tried_again(model, make_broker, server, unlimited):
    reply = await make_broker().complete(ModelRequest("Hello", model=f"anthropic:{model}"), unlimited)

    assert (reply.text, len(server.requests())) == ("This is the model's answer.", 2)
    assert unlimited.spent_tokens == 18


async def test_repeating_can_be_turned_off(make_broker, server, unlimited):
    await failure(make_broker(retry=RetrySettings(attempts=1)), unlimited, "anthropic:always-500")

    assert len(server.requests()) == 1


async def test_what_cannot_get_better_is_not_tried_again(make_broker, server, unlimited, naps):
    await failure(make_broker(), unlimited, "openai:unauthorized")

    assert (len(server.requests()), naps.taken) == (1, [])


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
async def test_a_key_that_the_provider_sends_back_is_not_shown(provider, make_broker, unlimited, caplog):
    caplog.set_level(logging.DEBUG)
    error = await failure(make_broker(), unlimited, f"{provider}:echo-secret")

    shown = f"{error} {error!r} {error.to_dict()} {error.__cause__!r} {error.__context__!r} {caplog.text}"
    assert SECRET not in shown
    assert "[secret]" in error.message
    assert "\x1b" not in error.message
    assert "\n" not in error.message


async def test_a_key_never_stands_in_a_log_line_of_a_good_call(make_broker, unlimited, caplog):
    caplog.set_level(logging.DEBUG)
    await make_broker().complete(ModelRequest("Hello", model="openai:ok"), unlimited)

    assert SECRET not in caplog.text


async def test_a_missing_key_names_the_secret_and_nothing_is_sent(make_broker, server, unlimited):
    error = await failure(make_broker(secret_id="models/other"), unlimited, "openai:ok")

    assert error.code == "model.secret_missing"
    assert "models/other" in error.message
    assert server.requests() == []


@pytest.mark.parametrize("key", ["sk-1\r\nX-Evil: 1", "sk-1 ", " sk-1"])
async def test_a_key_with_a_line_break_or_a_space_too_many_is_refused_without_showing_it(key, make_broker, server, unlimited):
    async def secrets(_):
        return key

    error = await failure(make_broker(secrets=secrets), unlimited, "openai:ok")

    assert error.code == "model.secret_unusable"
    assert "sk-1" not in str(error.to_dict())
    assert server.requests() == []


async def test_cancelling_gives_back_what_was_set_aside(make_broker, unlimited):
    asked = asyncio.Event()

    async def secrets(_):
        asked.set()
        return SECRET

    task = asyncio.create_task(make_broker(secrets=secrets).complete(ModelRequest("Hello", model="openai:hang"), unlimited))
    await asked.wait()
    held = unlimited._held_tokens
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert held > 0
    assert (unlimited._held_tokens, unlimited.spent_tokens) == (0, 0)
