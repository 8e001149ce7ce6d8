"""The way to the providers: HTTP clients, and what the environment says of proxies and certificates."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runloop.authorities import authorities
from runloop.models.errors import ModelError

if TYPE_CHECKING:
    import httpx2

    from runloop.models.settings import TimeoutSettings

_NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_HINT = "correct it where the daemon is started, or name the provider's host in NO_PROXY; a proxy is http://[user:password@]host:port"


def make_client(limits: TimeoutSettings, provider: str, *, local: bool) -> httpx2.AsyncClient:
    """A client for hosts of this machine, or for others: a proxy from the environment is never for a model here.

    Raises:
        ModelError: ``unavailable`` where the environment names what cannot be used.

    """
    import httpx2

    timeout = httpx2.Timeout(limits.read_ms / 1000, connect=limits.connect_ms / 1000, pool=limits.total_ms / 1000)
    try:
        verify = authorities() if local else True
        return httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=not local, verify=verify)
    except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
        # Its text may hold the proxy's password; what kind of a thing is wrong is enough beside the names.
        what = "needs SOCKS, which is not there" if isinstance(error, ImportError) else _kind(error)
        raise unusable(provider, what) from None


def unusable(provider: str, what: str) -> ModelError:
    """The way that the environment names does not lead to the provider."""
    message = f"the way to {provider} that the environment names ({', '.join(named()) or 'none'}) {what}"
    return ModelError("unavailable", "model.way", message, hint=_HINT)


def named() -> list[str]:
    """The variables of the environment that are set, in capitals or not, and say how to reach other hosts; without their values."""
    return [name for each in _NAMES for name in (each, each.lower()) if os.environ.get(name)]


def _kind(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be used: {error.strerror or 'its certificates cannot be read'}"
    return "cannot be used: it is no address of a proxy"
