"""What each provider is sent and how its answer is read, against a server process that speaks the three protocols."""

import pytest

from runloop.models.dialects import DIALECTS, endpoint
from runloop.models.errors import ModelError
from runloop.models.settings import ModelSettings, ProviderKind, ProviderSettings
from runloop.models.types import EmbedRequest, ModelReply, ModelRequest, Usage

KINDS = ["openai", "ollama", "anthropic"]
SECRET = "sk-very-secret-4711"


@pytest.mark.parametrize("provider", KINDS)
async def test_a_prompt_is_completed_and_counted(provider, make_broker, unlimited):
    reply = await make_broker().complete(ModelRequest("Hello", model=f"{provider}:ok"), unlimited)

    assert reply == ModelReply("This is the model's answer.", "stop", provider, "ok", Usage(11, 7, None, estimated=False))
    assert unlimited.spent_tokens == 18


async def test_openai_gets_messages_parameters_and_a_bearer_key(make_broker, server, unlimited):
    request = ModelRequest(
        "Write",
        system="Be brief",
        model="openai:ok",
        max_tokens=50,
        temperature=0.5,
        stop=("END",),
        context={"notes": ["ä"]},
        trace_id="trace:t",
        idempotency_key="run/node/1",
    )
    await make_broker().complete(request, unlimited)

    sent = server.requests()[0]
    assert sent["path"] == "/v1/chat/completions"
    assert sent["body"] == {
        "model": "ok",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": 'Write\n\nContext (JSON):\n{"notes": ["ä"]}'},
        ],
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "stop": ["END"],
    }
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["idempotency-key"] == "run/node/1"
    assert headers["x-runloop-trace-id"] == "trace:t"


async def test_ollama_gets_its_options_and_is_told_to_stream(make_broker, server, unlimited):
    request = ModelRequest("Write", system="Be brief", model="ollama:ok", max_tokens=50, temperature=0, stop=("END",))
    await make_broker().complete(request, unlimited)

    sent = server.requests()[0]
    assert sent["path"] == "/api/chat"
    assert sent["body"] == {
        "model": "ok",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Write"}],
        "stream": True,
        "truncate": False,
        "options": {"num_predict": 50, "temperature": 0, "stop": ["END"]},
    }


async def test_ollama_is_told_how_long_the_context_is_to_be(make_broker, server, unlimited):
    provider = ProviderSettings("ollama", ProviderKind.OLLAMA, server.url, num_ctx=16_384)
    await make_broker(providers=(provider,)).complete(ModelRequest("Hi", model="ollama:ok", max_tokens=5), unlimited)

    assert server.requests()[0]["body"]["options"] == {"num_predict": 5, "num_ctx": 16_384}


async def test_anthropic_gets_its_headers_and_the_system_text_beside_the_messages(make_broker, server, unlimited):
    request = ModelRequest("Write", system="Be brief", model="anthropic:ok", max_tokens=50, temperature=1.0, stop=("END",))
    await make_broker().complete(request, unlimited)

    sent = server.requests()[0]
    assert sent["path"] == "/v1/messages"
    assert sent["body"] == {
        "model": "ok",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Write"}],
        "stream": True,
        "system": "Be brief",
        "temperature": 1.0,
        "stop_sequences": ["END"],
    }
    headers = {name.lower(): value for name, value in sent["headers"].items()}
    assert (headers["x-api-key"], headers["anthropic-version"]) == (SECRET, "2023-06-01")
    assert "authorization" not in headers


async def test_without_a_secret_id_no_key_is_sent(make_broker, server, unlimited):
    await make_broker(secret_id=None).complete(ModelRequest("Hi", model="ollama:ok"), unlimited)

    assert "Authorization" not in server.requests()[0]["headers"]


async def test_static_headers_are_sent(make_broker, server, unlimited):
    await make_broker(provider={"headers": (("X-Team", "blue"),)}).complete(ModelRequest("Hi", model="openai:ok"), unlimited)

    assert server.requests()[0]["headers"]["X-Team"] == "blue"


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/", "/v1/chat/completions"])
async def test_a_base_url_may_name_the_version_or_not(suffix, make_broker, server, unlimited):
    await make_broker(base=server.url + suffix).complete(ModelRequest("Hi", model="openai:ok"), unlimited)

    assert server.requests()[0]["path"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("kind", "base", "completions", "embeddings"),
    [
        (ProviderKind.OPENAI_CHAT, "https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions", "https://h/api/paas/v4/embeddings"),
        (ProviderKind.OPENAI_CHAT, "https://h/v1beta/", "https://h/v1beta/chat/completions", "https://h/v1beta/embeddings"),
        (
            ProviderKind.OPENAI_CHAT,
            "https://h/v1beta/openai/chat/completions",
            "https://h/v1beta/openai/chat/completions",
            "https://h/v1beta/openai/embeddings",
        ),
        (ProviderKind.OPENAI_CHAT, "https://h/openai", "https://h/openai/v1/chat/completions", "https://h/openai/v1/embeddings"),
        (ProviderKind.OPENAI_CHAT, "https://h/vv1", "https://h/vv1/v1/chat/completions", "https://h/vv1/v1/embeddings"),
        (ProviderKind.ANTHROPIC, "https://h/v1/messages", "https://h/v1/messages", None),
        (ProviderKind.OLLAMA, "http://[::1]:11434/api/", "http://[::1]:11434/api/chat", "http://[::1]:11434/api/embed"),
        (ProviderKind.OLLAMA, "https://h/v1", "https://h/v1/api/chat", "https://h/v1/api/embed"),
    ],
)
def test_a_base_url_may_name_another_version_or_the_whole_address(kind, base, completions, embeddings):
    dialect = DIALECTS[kind]

    assert endpoint(base, dialect.complete_path, dialect.complete_path) == completions
    assert embeddings is None or endpoint(base, dialect.embed_path, dialect.complete_path) == embeddings


@pytest.mark.parametrize("stream", [True, False])
async def test_a_provider_that_wants_the_newer_name_of_the_limit_gets_it_from_then_on(stream, make_broker, server, unlimited, naps):
    broker = make_broker(cache_capacity=0, stream=stream)
    replies = [await broker.complete(ModelRequest("Hi", model="openai:new-limit", max_tokens=9), unlimited) for _ in range(2)]

    assert [reply.text for reply in replies] == ["This is the model's answer."] * 2
    assert [(sent["body"].get("max_tokens"), sent["body"].get("max_completion_tokens")) for sent in server.requests()] == [
        (9, None),
        (None, 9),
        (None, 9),
    ]
    assert naps.taken == []


@pytest.mark.parametrize(
    "refusal",
    [
        "`temperature` is deprecated for this model.",
        "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value is supported.",
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0.3. Only temperature=1 is supported.",
        "litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=o1.",
        "`temperature` may only be set to 1 when thinking is enabled.",
    ],
)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_model_that_takes_no_temperature_is_asked_without_one_from_then_on(provider, refusal, make_broker, server, unlimited, naps):
    broker = make_broker(cache_capacity=0)
    request = ModelRequest(refusal, model=f"{provider}:no-temperature", temperature=0.3)
    replies = [await broker.complete(request, unlimited) for _ in range(2)]

    assert [reply.text for reply in replies] == ["This is the model's answer."] * 2
    assert [sent["body"].get("temperature") for sent in server.requests()] == [0.3, None, None]
    assert (all(sent["body"]["stream"] for sent in server.requests()), naps.taken) == (True, [])


@pytest.mark.parametrize(
    "refusal", ["temperature: range: 0..1", "temperature must be between 0 and 1", "Unsupported model. See temperature"]
)
async def test_a_temperature_out_of_range_is_refused_and_not_left_out(refusal, make_broker, server, unlimited):
    with pytest.raises(ModelError, match="temperature"):
        await make_broker().complete(ModelRequest(refusal, model="anthropic:no-temperature", temperature=1.5), unlimited)

    assert len(server.requests()) == 1


async def test_a_provider_that_takes_neither_is_told_once_of_each(make_broker, server, unlimited):
    with pytest.raises(ModelError, match="max_completion_tokens"):
        await make_broker().complete(ModelRequest("Hi", model="openai:no-limit", max_tokens=9), unlimited)

    assert [
        (bool(sent["body"].get("stream")), sorted(key for key in sent["body"] if key.startswith("max"))) for sent in server.requests()
    ] == [(True, ["max_tokens"]), (False, ["max_tokens"]), (False, ["max_completion_tokens"])]


@pytest.mark.parametrize("provider", KINDS)
async def test_a_cut_answer_says_so(provider, make_broker, unlimited):
    reply = await make_broker().complete(ModelRequest("Hi", model=f"{provider}:length"), unlimited)

    assert (reply.text, reply.finish_reason) == ("cut", "length")


@pytest.mark.parametrize("provider", KINDS)
async def test_tokens_that_the_provider_does_not_count_are_estimated_and_say_so(provider, make_broker, unlimited):
    reply = await make_broker().complete(ModelRequest("12345", system="678", model=f"{provider}:no-usage"), unlimited)

    assert reply.usage == Usage(2, 4, None, estimated=True)


@pytest.mark.parametrize("provider", ["openai", "ollama"])
@pytest.mark.parametrize("model", ["ok", "unordered-vectors"])
async def test_texts_become_vectors_in_their_order(provider, model, make_broker, server, unlimited):
    reply = await make_broker().embed(EmbedRequest(("a", "bbb"), f"{provider}:{model}"), unlimited)

    assert [vector[0] for vector in reply.vectors] == [1.0, 3.0]
    assert (reply.provider, reply.model, reply.usage) == (provider, model, Usage(5, 0, None, estimated=False))
    assert server.requests()[0]["body"]["input"] == ["a", "bbb"]


@pytest.mark.parametrize("model", ["ragged-vectors", "few-vectors", "nan-vectors", "wrong-shape"])
@pytest.mark.parametrize("provider", ["openai", "ollama"])
async def test_vectors_that_cannot_be_used_are_refused(provider, model, make_broker, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker().embed(EmbedRequest(("a", "bbb"), f"{provider}:{model}"), unlimited)

    assert caught.value.code == "model.bad_shape"
    assert unlimited.spent_tokens == 0


async def test_a_provider_without_embeddings_says_so(make_broker, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker().embed(EmbedRequest(("a",), "anthropic:ok"), unlimited)

    assert (caught.value.code, caught.value.kind) == ("model.no_embeddings", "unavailable")


async def test_without_an_embedding_model_the_key_to_set_is_named(make_broker, unlimited):
    with pytest.raises(ModelError) as caught:
        await make_broker().embed(EmbedRequest(("a",)), unlimited)

    assert (caught.value.code, caught.value.where.key) == ("model.unconfigured", "models.embed_default")


async def test_the_configured_embedding_model_is_used(make_broker, unlimited):
    reply = await make_broker(embed_default="ollama:ok").embed(EmbedRequest(("a",)), unlimited)

    assert reply.model == "ok"


def test_openai_itself_is_given_the_newer_name_of_the_limit():
    body = DIALECTS[ProviderKind.OPENAI_CHAT].complete_body(
        ModelRequest("Hi"), "gpt", 9, ProviderSettings("p", ProviderKind.OPENAI_CHAT, "https://api.openai.com/v1")
    )

    assert body == {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 9, "stream": False}


async def test_where_a_request_goes_is_known_before_it_is_made(make_broker):
    far = (ProviderSettings("far", ProviderKind.OLLAMA, "https://models.example.org"),)

    assert make_broker().leaves_machine(ModelRequest("Hi", model="ollama:ok")) is False
    assert make_broker(providers=far).leaves_machine(ModelRequest("Hi", model="far:ok")) is True
    assert make_broker(providers=far).leaves_machine(EmbedRequest(("Hi",), "far:ok")) is True


def test_the_defaults_hold_no_provider():
    assert (ModelSettings().default, ModelSettings().providers) == ("none", ())
