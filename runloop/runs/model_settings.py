"""From configuration keys (``models.*``) to the broker's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.models.settings import (
    ModelSettings,
    PriceSettings,
    ProviderKind,
    ProviderSettings,
    RetrySettings,
    RouteSettings,
    TimeoutSettings,
)

if TYPE_CHECKING:
    from runloop.config import Settings

_MICROS = 1_000_000


def model_settings(settings: Settings) -> ModelSettings:
    """The broker's settings; dollars become micro-dollars, rounded half to even."""
    broker = "models.broker"
    cap = settings.get(f"{broker}.budgets.hard_cap_usd")
    return ModelSettings(
        default=settings.get("models.default"),
        embed_default=settings.get("models.embed_default"),
        providers=tuple(
            ProviderSettings(
                id=entry["id"],
                kind=ProviderKind(entry["kind"]),
                base_url=entry.get("base_url"),
                secret_id=entry.get("secret_id"),
                headers=tuple((entry.get("headers") or {}).items()),
                num_ctx=entry.get("num_ctx"),
            )
            for entry in settings.get(f"{broker}.providers")
        ),
        routes=tuple(
            RouteSettings(entry["pattern"], entry["provider"], entry.get("target_model")) for entry in settings.get(f"{broker}.route")
        ),
        prices=tuple(
            PriceSettings(entry["model"], round(entry["input"] * _MICROS), round(entry["output"] * _MICROS), entry.get("provider"))
            for entry in settings.get(f"{broker}.prices")
        ),
        cache_ttl_ms=settings.get(f"{broker}.cache.ttl_ms"),
        cache_capacity=settings.get(f"{broker}.cache.capacity"),
        default_tokens=settings.get(f"{broker}.budgets.default_tokens"),
        per_request_tokens_cap=settings.get(f"{broker}.budgets.per_request_tokens_cap"),
        hard_cap_usd_micros=None if cap is None else round(cap * _MICROS),
        max_response_bytes=settings.get(f"{broker}.max_response_bytes"),
        stream=settings.get(f"{broker}.stream") == "auto",
        timeouts=TimeoutSettings(*(settings.get(f"{broker}.timeouts.{name}_ms") for name in ("connect", "read", "total"))),
        retry=RetrySettings(*(settings.get(f"{broker}.retry.{name}") for name in ("attempts", "base_ms", "max_ms"))),
    )
