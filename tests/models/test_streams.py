"""Answers that come in pieces from a server process: the same answers, heard while they come, and every way to break off."""

import asyncio
import json

import pytest

from runloop.models.budget import Budget
from runloop.models.errors import ModelError
from runloop.models.settings import PriceSettings, RetrySettings, TimeoutSettings
from runloop.models.types import ModelReply, ModelRequest, Usage

KINDS = ["openai", "ollama", "anthropic"]
SECRET = "sk-very-secret-4711"
TEXT = "This is the model's answer."
GOOD = Usage(11, 7, None, estimated=False)


class Ear:
    """Hears pieces, and waits for the first."""

    def __init__(self):
        self.pieces = []
        self.came = asyncio.Event()

    def __call__(self, at, text):
        self.pieces.append((at, text))
        self.came.set()

    async def first(self):
        """Return when something was heard."""
        async with asyncio.timeout(30):
            await self.came.wait()

    @property
    def text(self):
        """What stands there once all was heard."""
        found = ""
        for at, piece in self.pieces:
            found = found[:at] + piece
        return found


@pytest.fixture
def ear():
    return Ear()


async def ask(broker, model, budget, **options):
    return await broker.complete(ModelRequest("Hello", model=model, idempotency_key="run/node/1/1"), budget, **options)


async def failure(broker, model, budget):
    with pytest.raises(ModelError) as caught:
        await ask(broker, model, budget)
    assert (budget.spent_tokens, budget._held_tokens) == (0, 0)
    return caught.value


@pytest.mark.parametrize("provider", KINDS)
async def test_an_answer_is_heard_while_it_comes(provider, make_broker, server, unlimited, ear):
    reply = await ask(make_broker(), f"{provider}:ok", unlimited, heard=ear)

    assert reply == ModelReply(TEXT, "stop", provider, "ok", GOOD)
    assert (ear.text, len(ear.pieces)) == (TEXT, 5)
    assert server.requests()[0]["body"]["stream"] is True


@pytest.mark.parametrize("provider", KINDS)
async def test_a_piece_is_heard_before_the_next_one_is_there(provider, make_broker, server, unlimited, ear):
    task = asyncio.create_task(ask(make_broker(), f"{provider}:held", unlimited, heard=ear))
    await ear.first()
    early = (task.done(), TEXT.startswith(ear.text), ear.text != TEXT)
    await asyncio.to_thread(server.control, "/_release", {})

    assert early == (False, True, True)
    assert (await task).text == ear.text == TEXT


@pytest.mark.parametrize("provider", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_reasoning_is_kept_beside_the_answer(provider, stream, make_broker, unlimited, ear):
    reply = await ask(make_broker(stream=stream), f"{provider}:thinking", unlimited, heard=ear)

    assert reply == ModelReply(TEXT, "stop", provider, "thinking", GOOD, reasoning="First this, then that.")
    assert ear.text == (TEXT if stream else "")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_tokens_of_reasoning_that_are_counted_apart_are_paid_for(stream, make_broker):
    budget = Budget(tokens=1_000, usd_micros=1_000_000)
    broker = make_broker(stream=stream, prices=(PriceSettings("*", 1_000_000, 1_000_000),))
    reply = await broker.complete(ModelRequest("Hello", model="openai:thinking-beside", max_tokens=100), budget)

    assert reply.usage == Usage(11, 27, 38, estimated=False)
    assert (budget.spent_tokens, budget.spent_usd_micros) == (38, 38)


@pytest.mark.parametrize("provider", KINDS)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_halves_of_characters_are_joined_or_replaced(provider, stream, make_broker, unlimited, ear):
    reply = await ask(make_broker(stream=stream), f"{provider}:surrogates", unlimited, heard=ear)

    assert reply.text == "a\U0001f600b\ufffd c\ufffd"
    assert ear.text in {"", reply.text, reply.text[:-1]}


async def test_a_stream_without_a_count_is_estimated(make_broker, unlimited):
    reply = await ask(make_broker(), "openai:no-usage-in-stream", unlimited)

    assert reply.usage == Usage(2, 4, None, estimated=True)


@pytest.mark.parametrize("provider", KINDS)
async def test_streaming_can_be_turned_off(provider, make_broker, server, unlimited, ear):
    reply = await ask(make_broker(stream=False), f"{provider}:ok", unlimited, heard=ear)

    assert (reply.text, ear.pieces) == (TEXT, [])
    assert server.requests()[0]["body"].get("stream", False) is False


@pytest.mark.parametrize("provider", KINDS)
async def test_a_route_that_cannot_stream_is_asked_for_whole_answers_from_then_on(provider, make_broker, server, unlimited, naps):
    broker = make_broker(cache_capacity=0)
    replies = [await ask(broker, f"{provider}:no-stream", unlimited) for _ in range(2)]
    await ask(broker, f"{provider}:ok", unlimited)

    assert [reply.text for reply in replies] == [TEXT, TEXT]
    assert [bool(sent["body"].get("stream")) for sent in server.requests()] == [True, False, False, True]
    assert naps.taken == []


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}', "whole"),
        ('\n\n: busy\n\ndata: {"choices": [{"delta": {"content": "streamed"}, "finish_reason": "stop"}]}\n\n', "streamed"),
        ('\ufeffdata:{"choices": [{"delta": {"content": "streamed"}, "finish_reason": "stop"}]}\n\n', "streamed"),
    ],
    ids=["whole", "streamed", "streamed-after-a-mark"],
)
async def test_an_answer_without_a_type_that_tells_is_known_by_how_it_begins(content_type, text, answer, make_broker, server, unlimited):
    prompt = json.dumps({"status": 200, "type": content_type, "text": text})
    reply = await make_broker(per_request_tokens_cap=100_000).complete(ModelRequest(prompt, model="openai:told-as"), unlimited)

    assert (reply.text, len(server.requests())) == (answer, 1)


@pytest.mark.parametrize("text", ["please log in", "", "\n" * 70_000], ids=["words", "nothing", "blanks"])
async def test_a_text_that_is_no_stream_is_not_asked_for_again(text, make_broker, server, unlimited):
    prompt = json.dumps({"status": 200, "type": "text/plain", "text": text})
    with pytest.raises(ModelError) as caught:
        await make_broker(per_request_tokens_cap=100_000).complete(ModelRequest(prompt, model="openai:told-as"), unlimited)

    assert (caught.value.code, len(server.requests())) == ("model.bad_content_type", 1)


@pytest.mark.parametrize("provider", KINDS)
async def test_a_provider_that_answers_whole_all_the_same_is_understood(provider, make_broker, server, unlimited):
    reply = await ask(make_broker(), f"{provider}:whole", unlimited)

    assert (reply.text, reply.usage, len(server.requests())) == (TEXT, GOOD, 1)


@pytest.mark.parametrize("provider", KINDS)
@pytest.mark.parametrize("model", ["cut-once", "stream-error"])
async def test_a_stream_that_breaks_off_is_asked_for_again_under_the_same_key_and_counted_once(
    provider, model, make_broker, server, unlimited, ear, naps
):
    reply = await ask(make_broker(), f"{provider}:{model}", unlimited, heard=ear)

    assert (ear.text, reply.usage) == (reply.text, GOOD)
    assert [at for at, _ in ear.pieces].count(0) == 2
    assert (unlimited.spent_tokens, len(naps.taken)) == (18, 1)
    keys = [sent["headers"].get("Idempotency-Key") for sent in server.requests()]
    assert keys == ([None] if provider == "ollama" else ["run/node/1/1"]) * 2


@pytest.mark.parametrize("provider", KINDS)
async def test_a_cut_after_the_last_word_does_no_harm(provider, make_broker, server, unlimited):
    reply = await ask(make_broker(), f"{provider}:cut-after-the-end", unlimited)

    assert (reply.text, len(server.requests())) == (TEXT, 1)


@pytest.mark.parametrize("provider", KINDS)
async def test_the_mark_of_the_end_is_the_end_also_where_the_connection_stays_open(provider, make_broker, unlimited):
    reply = await ask(make_broker(), f"{provider}:open-end", unlimited)

    assert (reply.text, reply.usage) == (TEXT, GOOD)


@pytest.mark.parametrize(
    ("model", "code", "kind", "retryable", "requests"),
    [
        ("cut", "model.truncated", "unavailable", True, 2),
        ("silent", "model.timeout", "timeout", True, 2),
        ("stream-refusal", "model.rejected", "invalid", False, 1),
        ("broken-event", "model.bad_json", "unavailable", False, 1),
        ("wrong-event", "model.bad_shape", "unavailable", False, 1),
    ],
)
@pytest.mark.parametrize("provider", KINDS)
async def test_each_way_to_break_has_its_code(provider, model, code, kind, retryable, requests, make_broker, server, unlimited):
    timeouts = TimeoutSettings(read_ms=150) if model == "silent" else TimeoutSettings()  # a busy machine is not as quick
    broker = make_broker(retry=RetrySettings(attempts=2), timeouts=timeouts)
    error = await failure(broker, f"{provider}:{model}", unlimited)

    assert (error.code, error.kind, error.retryable) == (code, kind, retryable)
    assert len(server.requests()) == requests


@pytest.mark.parametrize("provider", KINDS)
@pytest.mark.parametrize("model", ["huge-event", "huge-stream"])
async def test_a_stream_without_bounds_is_cut_off(provider, model, make_broker, unlimited):
    error = await failure(make_broker(max_response_bytes=2_000_000), f"{provider}:{model}", unlimited)

    assert (error.code, "2000000 bytes" in error.message) == ("model.too_large", True)


async def test_signs_of_life_without_a_word_meet_the_total_time_out(make_broker, unlimited):
    error = await failure(make_broker(timeouts=TimeoutSettings(total_ms=200)), "openai:busy", unlimited)

    assert error.code == "model.timeout"


@pytest.mark.parametrize("provider", KINDS)
async def test_a_key_that_comes_back_in_a_stream_is_not_shown(provider, make_broker, unlimited):
    error = await failure(make_broker(), f"{provider}:stream-refusal", unlimited)

    assert "[secret]" in error.message
    assert SECRET not in f"{error} {error.to_dict()} {error.__cause__!r} {error.__context__!r}"


async def test_a_cached_answer_has_its_reasoning_and_is_not_heard_again(make_broker, server, unlimited):
    broker, ears = make_broker(), [Ear(), Ear()]
    replies = [await ask(broker, "openai:thinking", unlimited, heard=ear) for ear in ears]

    assert [reply.reasoning for reply in replies] == ["First this, then that."] * 2
    assert (replies[1].cached, ears[1].pieces, len(server.requests())) == (True, [], 1)


async def test_a_call_that_is_stopped_in_the_middle_of_its_stream_gives_back_what_was_set_aside(make_broker, unlimited, ear):
    task = asyncio.create_task(ask(make_broker(), "anthropic:held", unlimited, heard=ear))
    await ear.first()
    held = unlimited._held_tokens
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert held > 0
    assert (unlimited._held_tokens, unlimited.spent_tokens) == (0, 0)
