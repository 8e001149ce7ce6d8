"""model.complete and model.embed: rights first, then the broker; what comes of an answer is told while it comes."""

import asyncio
from dataclasses import dataclass, field

import pytest

from runloop.effects.perform.model import ModelComplete, ModelEmbed
from runloop.effects.types import CallErrorKind
from runloop.models.broker import Broker
from runloop.models.budget import Budget
from runloop.models.errors import ModelError
from runloop.models.settings import ModelSettings, ProviderKind, ProviderSettings
from runloop.models.types import EmbedReply, ModelReply, Usage
from runloop.policy import Capabilities

MODEL = Capabilities(model=True)
TEXT = "This is the model's answer."


@dataclass
class Model:
    error: ModelError | None = None
    asked: list = field(default_factory=list)
    reasoning: str = ""

    def leaves_machine(self, request):
        return True

    async def complete(self, request, budget, remaining_ms=None, heard=None):
        if self.error:
            raise self.error
        self.asked.append((request, budget, remaining_ms))
        return ModelReply("text", "stop", "p", "m", Usage(3, 4, 1_500_000, estimated=True), cached=False, reasoning=self.reasoning)

    async def embed(self, request, budget, remaining_ms=None):
        if self.error:
            raise self.error
        return EmbedReply(((1.0, 2.0),), "p", "m", Usage(3, 0, None, estimated=False))


@dataclass
class Reporter:
    """Keeps what it is told, and says when the first has come."""

    told: list = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def delta(self, ctx, at, text):
        self.told.append((ctx.node, ctx.call, at, text))
        self.came.set()


def make(kind, broker, budget=None, reporter=None):
    """A performer of one of the two calls."""
    own = [] if kind is ModelEmbed else [reporter or Reporter()]
    return kind(broker, lambda _: budget or Budget(), *own)


async def test_a_completion_is_counted_and_shown_as_it_will_be_sent(make_ctx):
    broker, budget = Model(), Budget()
    performer, ctx = make(ModelComplete, broker, budget), make_ctx(MODEL, deadline_ms=1_795_000_002_000)
    prepared = performer.prepare({"prompt": "Write", "system": "Be brief", "context": [1], "stop": ["x"], "max_tokens": 5}, ctx)
    outcome = await performer.perform(prepared, ctx)

    assert (prepared.what, prepared.leaves_machine, prepared.external) == ("Be brief\n\nWrite\n\nContext (JSON):\n[1]", True, False)
    assert outcome.result == {
        "text": "text",
        "tokens_in": 3,
        "tokens_out": 4,
        "usd": 1.5,
        "provider": "p",
        "model": "m",
        "finish_reason": "stop",
        "cached": False,
    }
    assert (outcome.tokens_in, outcome.tokens_out, outcome.usd_micros, outcome.tokens_estimated) == (3, 4, 1_500_000, True)
    request, used, remaining = broker.asked[0]
    assert (used, remaining, request.trace_id) == (budget, 2000, f"trace:{ctx.run_id}")


async def test_each_attempt_of_a_node_asks_under_a_key_of_its_own(make_ctx, crossing):
    broker = Model()
    for attempt in (1, 1, 2):
        await crossing(make(ModelComplete, broker), {"prompt": "p"}, make_ctx(MODEL, attempt=attempt))

    assert [request.idempotency_key for request, _, _ in broker.asked] == ["run/n/1/1", "run/n/1/1", "run/n/1/2"]
    assert [request.anew for request, _, _ in broker.asked] == [False, False, True]


async def test_reasoning_is_in_the_answer_where_there_is_any(make_ctx, crossing):
    outcome = await crossing(make(ModelComplete, Model(reasoning="why")), {"prompt": "p"}, make_ctx(MODEL))

    assert outcome.result["reasoning"] == "why"


async def test_embeddings_are_lists_of_numbers(make_ctx, crossing):
    outcome = await crossing(make(ModelEmbed, Model()), {"texts": ["a"]}, make_ctx(MODEL))

    assert outcome.result == {"vectors": [[1.0, 2.0]], "model": "m", "tokens_in": 3}
    assert (outcome.usd_micros, outcome.usd) == (None, None)


@pytest.mark.parametrize(("kind", "args"), [(ModelComplete, {"prompt": "p"}), (ModelEmbed, {"texts": ["a"]})])
async def test_a_failed_call_tells_what_it_cost_all_the_same(kind, args, make_ctx, refusal):
    usage = Usage(3, 0, 9, estimated=False)
    error = ModelError("unavailable", "model.empty", "nothing", hint="h", retryable=True, usage=usage)
    refused = await refusal(make(kind, Model(error)), args, make_ctx(MODEL))

    assert (refused.kind, refused.code, refused.hint, refused.retryable) == (CallErrorKind.UNAVAILABLE, "model.empty", "h", True)
    assert (refused.spent.tokens_in, refused.spent.usd_micros) == (3, 9)


@pytest.mark.parametrize(("kind", "args"), [(ModelComplete, {"prompt": "p"}), (ModelEmbed, {"texts": ["a"]})])
async def test_models_need_their_right_and_a_configured_provider(kind, args, make_ctx, refusal):
    performer = make(kind, Broker(ModelSettings(), no_secret))

    assert (await refusal(performer, args, make_ctx())).code == "denied.model.use.cap_missing"
    missing = await refusal(performer, args, make_ctx(MODEL))
    assert (missing.kind, missing.code) == (CallErrorKind.UNAVAILABLE, "model.unconfigured")


async def no_secret(_):
    return None


@pytest.fixture
async def streaming(serving):
    """A broker on a server process, and the server."""
    with serving("model_server.py", "--port", "0") as server:
        broker = Broker(ModelSettings(providers=(ProviderSettings("p", ProviderKind.OPENAI_CHAT, server.url),)), no_secret)
        yield broker, server
        await broker.aclose()


async def test_the_text_is_told_while_it_comes_and_at_its_place(streaming, make_ctx, crossing):
    broker, server = streaming
    reporter = Reporter()
    performer = make(ModelComplete, broker, reporter=reporter)
    task = asyncio.create_task(crossing(performer, {"prompt": "p", "model": "p:held"}, make_ctx(MODEL, call=3)))
    async with asyncio.timeout(30):
        await reporter.came.wait()
    early = task.done()
    await asyncio.to_thread(server.control, "/_release", {})
    outcome = await task

    assert (early, outcome.result["text"]) == (False, TEXT)
    for node, call, at, text in reporter.told:
        assert (node, call, TEXT[at : at + len(text)]) == ("n", 3, text)


async def test_what_came_at_once_is_told_while_nothing_more_comes(streaming, make_ctx, crossing):
    broker, server = streaming
    reporter = Reporter()
    task = asyncio.create_task(
        crossing(make(ModelComplete, broker, reporter=reporter), {"prompt": "p", "model": "p:held"}, make_ctx(MODEL))
    )
    async with asyncio.timeout(30):
        while sum(len(text) for *_, text in reporter.told) < len("This is"):
            reporter.came.clear()
            await reporter.came.wait()
    shown = "".join(text for *_, text in reporter.told)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    told = len(reporter.told)

    assert (TEXT.startswith(shown), server.requests()[0]["body"]["stream"]) == (True, True)
    assert len(reporter.told) == told
