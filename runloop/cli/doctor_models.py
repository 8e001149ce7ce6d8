"""Whether the providers of models can be reached, the way on which the broker goes to them, and whether a call finds one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runloop.cli.link import waited

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runloop.config import Settings

_CONNECT_S = 3.0


def unreachable(provider: Mapping[str, Any]) -> str | None:
    """What of a provider cannot be reached; None where it can."""
    name, base = provider["id"], provider["base_url"] or ""
    try:
        host, port = _place(base)
        proxy = _proxy(base)
        via, via_port = (host, port) if proxy is None else _place(proxy)
    except ValueError as error:
        return f"{name} ({error})"
    if proxy is not None and urlsplit(proxy).scheme not in {"http", "https"}:
        return f"{name} (the proxy that the environment names speaks no HTTP)"
    if host is None or waited(_connects(via or "", via_port)):
        return None
    return f"{name} ({host}:{port})" if proxy is None else f"{name} ({host}:{port}, through the proxy {via}:{via_port} of the environment)"


def without_default(settings: Settings) -> tuple[str, str] | None:
    """Why a call that names no model gets none though there is a provider, and what to do; None where it gets one."""
    from runloop.models.broker import Broker
    from runloop.models.errors import ModelError
    from runloop.models.settings import ProviderKind
    from runloop.runs.model_settings import model_settings

    async def no_secret(_name: str) -> None:
        return None

    try:
        provider, _ = Broker(model_settings(settings), no_secret).route(None)
    except ModelError as error:
        return error.message, error.hint
    if provider.kind is not ProviderKind.NONE:
        return None
    first = settings.get("models.broker.providers")[0]["id"]
    return "models.default is none, so calls that name no model get none", f"set models.default to {first}:MODEL"


def _place(url: str) -> tuple[str | None, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def _proxy(base: str) -> str | None:
    """The proxy that the environment names for an address; None where there is none for it."""
    from urllib.request import getproxies, proxy_bypass

    from runloop.models.settings import is_loopback

    parts = urlsplit(base)
    host, proxies = parts.hostname or "", getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


async def _connects(host: str, port: int) -> bool:
    import asyncio

    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
