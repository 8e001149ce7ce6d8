"""The settings of the model broker: providers, routes, budgets, time-outs, prices."""

from __future__ import annotations

from runloop.config.kinds import Field, Integer, ListOf, MapOf, Number, Record, Streaming, Text
from runloop.config.registry import Key
from runloop.config.routes import PATTERN, Routes

BROKER = "the model broker"

PROVIDER_KINDS = ("http_openai_chat", "http_ollama", "http_anthropic", "none")
_UNSERVED = {
    "local": "There is no echo provider: use `none`, or http_ollama for models on this machine.",
    "http": "Use http_openai_chat, which most servers speak.",
    "http_gemini": "Use http_openai_chat with the provider's OpenAI-compatible address.",
}

_TEXT = Text()
_TIME = Integer(1, 3_600_000)

_PROVIDER = Record(
    "a provider",
    {
        "id": Field(_TEXT, required=True),
        "kind": Field(Text(PROVIDER_KINDS, unserved=_UNSERVED), required=True),
        "base_url": Field(Text(pattern=r"https?://[^\s/]+.*", wanted="a URL that starts with http:// or https://")),
        "secret_id": Field(_TEXT),
        "headers": Field(MapOf(Text(blank=True)), default={}, secret=True),
        "num_ctx": Field(Integer(1, 100_000_000)),
    },
)
_PRICE = Record(
    "a price",
    {
        "model": Field(Text(pattern=PATTERN, wanted="a model name, prefix* or *"), required=True),
        "provider": Field(_TEXT),
        "input": Field(Number(), required=True),
        "output": Field(Number(), required=True),
    },
)

MODELS: tuple[Key, ...] = (
    Key(
        "models.default",
        _TEXT,
        "none",
        "Model for a call that names none, as `provider:model` or a name that a route matches; `none` is no model.",
        effect=BROKER,
        aliases=("RUNLOOP_MODELS_DEFAULT",),
        reload=True,
    ),
    Key("models.embed_default", _TEXT, None, "Model for embeddings that name none.", effect=BROKER, nullable=True, reload=True),
    Key(
        "models.broker.providers",
        ListOf(_PROVIDER, by="id"),
        [],
        "Where models are. Entries of several layers are joined; the upper layer's entry replaces one of the same `id`.",
        effect=BROKER,
        merge_by="id",
        reload=True,
    ),
    Key(
        "models.broker.route",
        Routes(),
        [],
        "Which provider serves which model: the first entry whose pattern matches (`name`, `prefix*`, `*`); after them, `provider:model`.",
        effect=BROKER,
        deprecated=("models.broker.routing",),
        reload=True,
    ),
    Key("models.broker.cache.ttl_ms", Integer(), "600000", "How long an answer may be used again; 0 is never.", effect=BROKER, reload=True),
    Key("models.broker.cache.capacity", Integer(0, 1_000_000), "1024", "How many answers are kept.", effect=BROKER),
    Key(
        "models.broker.budgets.default_tokens",
        Integer(1),
        "8000",
        "Tokens of a run whose opening sets none.",
        effect=BROKER,
        reload=True,
        limit="policy.max_tokens",
    ),
    Key(
        "models.broker.budgets.per_request_tokens_cap",
        Integer(1),
        "2000",
        "Most tokens of one answer.",
        effect=BROKER,
        reload=True,
        limit="policy.max_tokens",
    ),
    Key(
        "models.broker.budgets.hard_cap_usd",
        Number(),
        None,
        "Most money that one run may cost.",
        effect=BROKER,
        nullable=True,
        reload=True,
        limit="policy.max_usd",
    ),
    Key("models.broker.timeouts.connect_ms", _TIME, "10000", "Time to reach a provider.", effect=BROKER, reload=True),
    Key("models.broker.timeouts.read_ms", _TIME, "120000", "Longest silence between two pieces of an answer.", effect=BROKER, reload=True),
    Key("models.broker.timeouts.total_ms", _TIME, "300000", "Time of a whole call with its retries.", effect=BROKER, reload=True),
    Key("models.broker.retry.attempts", Integer(1, 20), "4", "Attempts on 429, 5xx and lost connections.", effect=BROKER, reload=True),
    Key("models.broker.retry.base_ms", Integer(0, 600_000), "500", "First wait between attempts.", effect=BROKER, reload=True),
    Key("models.broker.retry.max_ms", Integer(0, 600_000), "20000", "Longest wait between attempts.", effect=BROKER, reload=True),
    Key("models.broker.max_response_bytes", Integer(1024, 2**31), "8388608", "Largest answer that is read.", effect=BROKER, reload=True),
    Key("models.broker.max_calls", Integer(1, 100_000), "32", "Most calls under way over all runs.", effect=BROKER, reload=True),
    Key("models.broker.max_calls_per_run", Integer(1, 100_000), "8", "Most calls of one run under way.", effect=BROKER, reload=True),
    Key(
        "models.broker.stream",
        Streaming(),
        "auto",
        "`auto` shows answers while they come, from providers that can; `off` asks for whole answers.",
        effect=BROKER,
        deprecated=("models.broker.streaming",),
        reload=True,
    ),
    Key(
        "models.broker.prices",
        ListOf(_PRICE),
        [],
        "What models cost, in USD per million tokens: the first entry that fits. A model without one has no known cost.",
        effect=BROKER,
        reload=True,
    ),
)
