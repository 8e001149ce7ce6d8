"""The broker: route a request, count it against the budget, ask the provider or the cache, and count again."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from runloop.models.budget import Budget, Holder, Reservation, cost_micros, price_of
from runloop.models.cache import ReplyCache, cache_key
from runloop.models.dialects import DIALECTS, Dialect, ShapeError, endpoint
from runloop.models.errors import ModelError
from runloop.models.reading import Heard
from runloop.models.settings import (
    NO_MODEL,
    ModelSettings,
    PriceSettings,
    ProviderKind,
    ProviderSettings,
    check_settings,
    is_loopback,
    matches,
)
from runloop.models.transport import Hooks, Post, Transport, quoted
from runloop.models.types import Completion, EmbedReply, EmbedRequest, ModelReply, ModelRequest, Usage, estimate_tokens
from runloop.models.veil import veiled

SecretResolver = Callable[[str], Awaitable[str | None]]

CONFIGURE_HINT = (
    "configure one in config.yaml under models.broker.providers, for example"
    " {id: ollama, kind: http_ollama, base_url: http://127.0.0.1:11434}, and set models.default to ollama:<model>; see docs/models.md"
)
LEAST_ANSWER = 500
"""Tokens of an answer below which a call that names no limit is not made, where the budgets leave less than a request may use."""
T = TypeVar("T")
_NONE = ProviderSettings(NO_MODEL, ProviderKind.NONE)


_DEFAULTED = Holder(tokens_key="policy.budget_tokens of the opening (without it, models.broker.budgets.default_tokens holds)")


class Broker:
    """Completes prompts and embeds texts through the configured providers; holds the connections and the cache.

    ``secrets`` gives a key by its ``secret_id``, or None; it is asked only while the header is being built.
    """

    def __init__(
        self, settings: ModelSettings, secrets: SecretResolver, *, hooks: Hooks | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        check_settings(settings)
        self._settings, self._secrets = settings, secrets
        self._providers = {provider.id: provider for provider in settings.providers}
        self._transport = Transport(settings, hooks)
        self._cache = ReplyCache(settings.cache_capacity, settings.cache_ttl_ms, now)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def run_budget(self, tokens: int | None = None, usd_micros: int | None = None) -> Budget:
        """A run's budget: what the opening gives, else ``default_tokens``; money never above the hard cap."""
        budget = Budget(self._settings.default_tokens, usd_micros, holder=_DEFAULTED) if tokens is None else Budget(tokens, usd_micros)
        budget.narrow(usd_micros=self._settings.hard_cap_usd_micros, usd_key="the setting models.broker.budgets.hard_cap_usd")
        return budget

    def route(self, model: str | None) -> tuple[ProviderSettings, str]:
        """The provider and the model's name there: ``provider:model`` for a configured provider, else the first route that matches.

        Raises:
            ModelError: ``unavailable`` when nothing is configured, ``invalid`` when nothing fits the name.

        """
        return self._resolve(model or self._settings.default)

    def route_embedding(self, model: str | None) -> tuple[ProviderSettings, str]:
        """The provider and the model's name there, for embeddings; errors as :meth:`route`."""
        wanted = model or self._settings.embed_default
        if wanted is None:
            hint = "set models.embed_default to provider:model, or name a model in the call"
            raise ModelError("unavailable", "model.unconfigured", "no embedding model is configured", hint=hint, key="models.embed_default")
        return self._resolve(wanted)

    def leaves_machine(self, request: ModelRequest | EmbedRequest) -> bool:
        """Whether the request goes to another host; errors as :meth:`route`, and ``unavailable`` where no model is configured."""
        provider, _ = self.route(request.model) if isinstance(request, ModelRequest) else self.route_embedding(request.model)
        self._dialect(provider)
        return not is_loopback(_host(provider))

    async def complete(
        self, request: ModelRequest, budget: Budget, remaining_ms: int | None = None, heard: Heard | None = None
    ) -> ModelReply:
        """An answer, counted once, whatever it took to get it. ``remaining_ms`` bounds the call beside the configured time-outs.

        ``heard`` is told the text while it comes; what is told from 0 on again takes the place of all before.

        Raises:
            ModelError: see docs/models.md for the codes.

        """
        provider, model = self.route(request.model)
        estimate = estimate_tokens(request.system, request.text)
        max_tokens = self._max_tokens(request, estimate)
        key = cache_key(provider, model, request, max_tokens)
        cached = None if request.anew else self._cache.get(key)
        price = price_of(self._settings.prices, provider.id, model)
        if cached is not None:
            reply = replace(cached, cached=True, usage=replace(cached.usage, usd_micros=0))
            budget.settle(await budget.set_aside(reply.usage.tokens, 0), reply.usage)
            return reply
        held, given = await _hold(budget, request, estimate, max_tokens, price)
        try:
            dialect = self._dialect(provider)
            body = dialect.complete_body(request, model, given, provider)
            headers = {dialect.key_header: request.idempotency_key} if dialect.key_header and request.idempotency_key else {}
            post = await self._make_post(provider, dialect.complete_path, body, extra=headers, trace_id=request.trace_id)
            if self._settings.stream:
                post = replace(post, stream=dialect.stream, heard=heard)
            came = await self._transport.ask(post, remaining_ms)
            answer = came if isinstance(came, Completion) else self._read(provider, dialect.read_completion, came)
            answer = veiled(answer, post.secret)
        except BaseException:
            budget.release(held)
            raise
        written = estimate_tokens(answer.text, answer.reasoning)
        tokens_in, tokens_out = answer.tokens_in or estimate, answer.tokens_out or written  # 0 of something is no count
        estimated = not answer.tokens_in or answer.tokens_out is None or (not answer.tokens_out and written > 0)
        usage = Usage(tokens_in, tokens_out, cost_micros(price, tokens_in, tokens_out), estimated)
        reply = ModelReply(answer.text, answer.finish_reason, provider.id, answer.model or model, usage, reasoning=answer.reasoning)
        budget.settle(held, usage)
        if not answer.text:
            raise _empty(provider, answer, usage)
        if given == max_tokens or answer.finish_reason == "stop":
            self._cache.put(key, reply)
        return reply

    async def embed(self, request: EmbedRequest, budget: Budget, remaining_ms: int | None = None) -> EmbedReply:
        """Vectors for the texts, in their order, counted.

        Raises:
            ModelError: see docs/models.md for the codes.

        """
        provider, model = self.route_embedding(request.model)
        dialect = self._dialect(provider)
        if dialect.embed_body is None or dialect.read_vectors is None:
            hint = "use an OpenAI-compatible provider or Ollama for embeddings"
            raise ModelError("unavailable", "model.no_embeddings", f"{provider.id} ({provider.kind}) has no embeddings", hint=hint)
        estimate = estimate_tokens(*request.texts)
        price = price_of(self._settings.prices, provider.id, model)
        held = await budget.set_aside(estimate, cost_micros(price, estimate, 0))
        try:
            body = dialect.embed_body(request, model)
            post = await self._make_post(provider, dialect.embed_path, body, extra={}, trace_id=request.trace_id)
            answer = self._read(provider, dialect.read_vectors, await self._transport.post(post, remaining_ms))
            answer = veiled(answer, post.secret)
            self._check_vectors(provider, answer.vectors, len(request.texts))
        except BaseException:
            budget.release(held)
            raise
        tokens_in = answer.tokens_in or estimate
        usage = Usage(tokens_in, 0, cost_micros(price, tokens_in, 0), not answer.tokens_in)
        budget.settle(held, usage)
        return EmbedReply(answer.vectors, provider.id, answer.model or model, usage)

    def _resolve(self, wanted: str) -> tuple[ProviderSettings, str]:
        if wanted == NO_MODEL:
            return _NONE, NO_MODEL
        name, colon, model = wanted.partition(":")
        if colon and model and name in self._providers:
            return self._providers[name], model
        for route in self._settings.routes:
            if matches(route.pattern, wanted):
                return self._providers.get(route.provider, _NONE), route.target_model or wanted
        if not self._providers:
            return _NONE, NO_MODEL
        hint = f"add a route for it, or write provider:model with one of: {', '.join(self._providers)}"
        raise ModelError("invalid", "model.no_route", f"no provider is configured for the model {wanted!r}", hint=hint, key="model")

    def _max_tokens(self, request: ModelRequest, estimate: int) -> int:
        cap = self._settings.per_request_tokens_cap
        if estimate + (request.max_tokens or 1) > cap:
            wanted = f"{estimate} for the prompt (estimated) and {request.max_tokens or 1} for the answer"
            raise ModelError(
                "budget",
                "model.request_cap",
                f"the request needs {wanted}, more than the {cap} tokens that one request may use",
                hint="shorten the prompt, give a smaller max_tokens, or raise models.broker.budgets.per_request_tokens_cap",
            )
        return request.max_tokens or cap - estimate

    def _dialect(self, provider: ProviderSettings) -> Dialect:
        dialect = DIALECTS.get(provider.kind)
        if dialect is None:
            raise ModelError("unavailable", "model.unconfigured", "no model is configured", hint=CONFIGURE_HINT, key="models.default")
        return dialect

    async def _make_post(
        self, provider: ProviderSettings, path: str, body: dict[str, Any], *, extra: dict[str, str], trace_id: str | None
    ) -> Post:
        dialect = self._dialect(provider)
        headers = {**dialect.fixed_headers, **dict(provider.headers), **extra}
        if trace_id:
            headers["X-Runloop-Trace-Id"] = trace_id
        secret = await self._secret(provider)
        if secret is not None:
            headers.update(dialect.auth(secret))
        return Post(provider.id, endpoint(provider.base_url or "", path, dialect.complete_path), headers, body, secret)

    async def _secret(self, provider: ProviderSettings) -> str | None:
        if provider.secret_id is None:
            return None
        secret = await self._secrets(provider.secret_id)
        if not secret:
            hint = f"store it: `rlp secrets set {provider.secret_id}`, or set the environment variable that docs/secrets.md names"
            raise ModelError(
                "unavailable", "model.secret_missing", f"the secret {provider.secret_id} of {provider.id} is not there", hint=hint
            )
        if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
            hint = "store the key again; a line break or a space too many came with it"
            raise ModelError(
                "unavailable", "model.secret_unusable", f"the secret {provider.secret_id} cannot be put into a header", hint=hint
            )
        return secret

    @staticmethod
    def _read(provider: ProviderSettings, read: Callable[[dict[str, Any]], T], document: dict[str, Any]) -> T:
        try:
            return read(document)
        except ShapeError as error:
            hint = "is base_url the address of the API, and kind the protocol that it speaks?"
            raise ModelError("unavailable", "model.bad_shape", f"{provider.id} answered in another form: {error}", hint=hint) from None

    @staticmethod
    def _check_vectors(provider: ProviderSettings, vectors: tuple[tuple[float, ...], ...], asked: int) -> None:
        if len(vectors) != asked or len({len(vector) for vector in vectors}) != 1:
            message = f"{provider.id} answered with {len(vectors)} vectors for {asked} texts, or with vectors of different lengths"
            raise ModelError("unavailable", "model.bad_shape", message)


async def _hold(budget: Budget, request: ModelRequest, estimate: int, most: int, price: PriceSettings | None) -> tuple[Reservation, int]:
    """Set aside what the call may use; also the tokens of its answer: where it names no limit, what the budgets leave of ``most``."""

    def is_too_much(tokens: int) -> bool:
        return not budget.fits_alone(estimate + tokens, cost_micros(price, estimate, tokens))

    least = most if request.max_tokens is not None else min(LEAST_ANSWER, most)
    while True:
        given = least + bisect_left(range(least + 1, most + 1), True, key=is_too_much)
        try:
            return await budget.set_aside(estimate + given, cost_micros(price, estimate, given)), given
        except ModelError:
            if given == least:
                raise  # else others have used some of it meanwhile


def _host(provider: ProviderSettings) -> str:
    return (urlsplit(provider.base_url).hostname if provider.base_url else None) or "localhost"


def _empty(provider: ProviderSettings, answer: Completion, usage: Usage) -> ModelError:
    hint = {
        "length": "raise max_tokens: the model used them all before it wrote text",
        "filtered": "the provider's filter stopped the answer",
    }.get(answer.finish_reason, "ask in other words, or another model; the provider's own log may say why")
    said = f"{provider.id} answered with no text ({answer.finish_reason})"
    if answer.refusal:
        said, hint = f"the model of {provider.id} refuses: {quoted(answer.refusal, None)}", "ask in other words, or another model"
    return ModelError("unavailable", "model.empty", said, hint=hint, usage=usage)
