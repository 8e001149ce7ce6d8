"""Settings of the model broker as plain values; the configuration package maps its ``models.*`` keys to these (spec 2.2).

Times are milliseconds, money is integer micro-dollars.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from runloop.dataclass import dataclass
from runloop.errors import InvalidInput, Where

NO_MODEL = "none"
# Upstream's echo providers (spec 2.2, 16): a route may still name them, and then no model is configured.
_NO_PROVIDER = frozenset({NO_MODEL, "local", "null"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 token
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "proxy-authorization", "cookie"})
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"})


class ProviderKind(StrEnum):
    """The protocols that the broker speaks; ``none`` answers every call with how to configure one."""

    OPENAI_CHAT = "http_openai_chat"
    OLLAMA = "http_ollama"
    ANTHROPIC = "http_anthropic"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider. ``secret_id`` names the key in the secret store; the key itself is never a setting.

    ``num_ctx``, for Ollama, is how many tokens of prompt and answer its models are to have room for; None leaves it to the server.
    """

    id: str
    kind: ProviderKind
    base_url: str | None = None
    secret_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    num_ctx: int | None = None


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """``pattern`` is ``*``, ``prefix*`` or a model's exact name; ``target_model`` replaces the name that the provider gets."""

    pattern: str
    provider: str
    target_model: str | None = None


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """What a model costs: micro-dollars per million tokens. ``model`` is a pattern like a route's, ``provider`` None means any."""

    model: str
    micros_in_per_million: int
    micros_out_per_million: int
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often and how long to wait on 429, 5xx and connection errors; ``Retry-After`` wins over the back-off."""

    attempts: int = 4
    base_ms: int = 500
    max_ms: int = 20_000


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """``total_ms`` bounds the whole call with its retries, ``read_ms`` the silence between two pieces of an answer."""

    connect_ms: int = 10_000
    read_ms: int = 120_000
    total_ms: int = 300_000


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Everything the broker is told. Without providers every call is refused with a hint. ``stream`` lets answers come in pieces."""

    default: str = NO_MODEL
    embed_default: str | None = None
    providers: tuple[ProviderSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    prices: tuple[PriceSettings, ...] = ()
    cache_ttl_ms: int = 600_000
    cache_capacity: int = 1024
    default_tokens: int = 8000
    per_request_tokens_cap: int = 2000
    hard_cap_usd_micros: int | None = None
    max_response_bytes: int = 8 * 1024 * 1024
    stream: bool = True
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def matches(pattern: str, model: str) -> bool:
    """Whether a route or price pattern covers a model's name; spec section 16."""
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == model


def check_settings(settings: ModelSettings) -> None:
    """Refuse settings that could not work or would send a key in the clear.

    Raises:
        InvalidInput: with the configuration key and what to change.

    """
    seen: set[str] = set()
    for number, provider in enumerate(settings.providers):
        key = f"models.broker.providers[{number}]"
        if provider.id in seen:
            raise _wrong(f"the provider id {provider.id!r} is used twice", f"{key}.id", "give each provider its own id")
        seen.add(provider.id)
        _check_provider(provider, key)
    for number, route in enumerate(settings.routes):
        key = f"models.broker.route[{number}]"
        if route.provider not in seen and route.provider not in _NO_PROVIDER:
            known = ", ".join(sorted(seen)) or "none is configured"
            raise _wrong(f"the route refers to an unknown provider {route.provider!r}", f"{key}.provider", f"providers: {known}")
        _check_pattern(route.pattern, f"{key}.pattern")
    for number, price in enumerate(settings.prices):
        key = f"models.broker.prices[{number}]"
        _check_pattern(price.model, f"{key}.model")
        if price.micros_in_per_million < 0 or price.micros_out_per_million < 0:
            raise _wrong("a price is negative", key, "give US dollars per million tokens")
    _check_numbers(settings)


_BASE_FORM = "use https://host[:port][/path]"


def _check_provider(provider: ProviderSettings, key: str) -> None:
    if provider.kind is ProviderKind.NONE:
        return
    if not provider.base_url:
        raise _wrong(f"the provider {provider.id!r} has no base_url", f"{key}.base_url", "for example http://127.0.0.1:11434 for Ollama")
    parts = _parts(provider.base_url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _wrong(f"{provider.base_url!r} is not a base URL", f"{key}.base_url", _BASE_FORM)
    if parts.query or parts.fragment:  # not repeated: some put a key there
        raise _wrong("a base URL has neither '?' nor '#'", f"{key}.base_url", _BASE_FORM)
    if parts.username or parts.password:
        raise _wrong("the base URL holds a user name or password", f"{key}.base_url", "put the key into the secret store and set secret_id")
    if parts.scheme == "http" and provider.secret_id and not is_loopback(parts.hostname):
        raise _wrong(f"{provider.base_url} would carry the key unencrypted", f"{key}.base_url", "use https")
    if provider.num_ctx is not None and provider.kind is not ProviderKind.OLLAMA:
        hint = "leave it out: other servers are told the length of the context where they are started"
        raise _wrong(f"num_ctx is for http_ollama, and {provider.id!r} is {provider.kind}", f"{key}.num_ctx", hint)
    for name, value in provider.headers:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise _wrong(f"{name!r} is not a header that can be sent", f"{key}.headers", "use printable ASCII on one line")
        if name.lower() in _SECRET_HEADERS:
            raise _wrong(f"the header {name} would hold a secret", f"{key}.headers", "put the key into the secret store and set secret_id")
        if name.lower() in _OURS:
            raise _wrong(f"the header {name} is set by the broker", f"{key}.headers", "leave it out")


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL; None where it has none, or a port that there cannot be."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts


def _check_pattern(pattern: str, key: str) -> None:
    if not pattern or "*" in pattern[:-1]:
        raise _wrong(f"{pattern!r} is not a pattern", key, "use *, prefix* or a model's exact name")


def _check_numbers(settings: ModelSettings) -> None:
    at_least = (
        ("models.broker.cache.ttl_ms", settings.cache_ttl_ms, 0),
        ("models.broker.cache.capacity", settings.cache_capacity, 0),
        ("models.broker.budgets.default_tokens", settings.default_tokens, 1),
        ("models.broker.budgets.per_request_tokens_cap", settings.per_request_tokens_cap, 1),
        ("models.broker.budgets.hard_cap_usd", settings.hard_cap_usd_micros or 0, 0),
        ("models.broker.max_response_bytes", settings.max_response_bytes, 1),
        ("models.broker.timeouts.connect_ms", settings.timeouts.connect_ms, 1),
        ("models.broker.timeouts.read_ms", settings.timeouts.read_ms, 1),
        ("models.broker.timeouts.total_ms", settings.timeouts.total_ms, 1),
        ("models.broker.retry.attempts", settings.retry.attempts, 1),
        ("models.broker.retry.base_ms", settings.retry.base_ms, 0),
        ("models.broker.retry.max_ms", settings.retry.max_ms, 0),
    )
    for key, value, low in at_least:
        if value < low:
            raise _wrong(f"{key} is {value}", key, f"use {low} or more")


def _wrong(message: str, key: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="models.settings", where=Where(key=key), hint=hint)
