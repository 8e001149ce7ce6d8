"""What ``http.fetch`` will send, checked and written out before anything leaves: method, address, headers, body, secrets by name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from runloop.dataclass import dataclass
from runloop.effects.catalogue import READ_METHODS
from runloop.effects.perform.secrets import HANDLE, SecretHandles, handle_of
from runloop.effects.types import CallContext, CallError, CallErrorKind, invalid, require
from runloop.policy.net import DEFAULT_PORTS, Target, parse_target

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT_MS = 30_000
DEFAULT_MAX_BYTES = 1 << 20
LONGEST_URL = 8192

_AFTER_HOST = re.compile(r"[^:]*://[^/?#]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 token
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# What frames or routes the message is ours to say; a guest that could say it could hide a second request in the first.
_DENIED = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "accept-encoding",
        "proxy-authorization", "proxy-authenticate", "proxy-connection", "http2-settings", "forwarded", "x-forwarded-for",
        "x-forwarded-host", "x-forwarded-proto", "x-real-ip",
    }
)  # fmt: skip
_SAME_ORIGIN_ONLY = frozenset({"authorization", "cookie", "x-api-key", "api-key"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, with its URL as :func:`_canonical` writes it.

    ``secrets`` are the names of those whose handles stand in the headers or the body.
    """

    method: str
    url: str
    target: Target
    headers: tuple[tuple[str, str], ...]
    body: str | None
    secrets: tuple[str, ...]

    @property
    def is_read(self) -> bool:
        """Whether it asks only."""
        return self.method in READ_METHODS

    @property
    def path(self) -> str:
        """Path and query as they go on the request line, but for the escapes of what is not ASCII."""
        return self.url[len(_origin(self.target)) :]

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        return _authority(self.target)

    def shown(self, run_id: str) -> str:
        """The request as a person approves it: complete, with each secret under its name."""
        lines = [f"{self.method} {self.url}", *(f"{name}: {value}" for name, value in self.headers)]
        text = "\n".join(lines) + (f"\n\n{self.body}" if self.body else "")
        for name in self.secrets:
            text = text.replace(handle_of(run_id, name), f"[secret {name}]")
        return text


def build(args: Mapping[str, Any], ctx: CallContext, handles: SecretHandles) -> HttpRequest:
    """The request of a call. Raises :class:`CallError` for a host, header, body or secret that may not be."""
    url, method = args["url"].partition("#")[0], args.get("method", "GET")
    require(ctx.caps.check_net(url))
    if HANDLE.search(url):
        raise invalid(
            "a secret's handle stands in the URL",
            key="url",
            hint="put it into a header or the body: URLs end up in logs",
            code="http.secret_in_url",
        )
    body = args.get("body")
    if body is not None and method in READ_METHODS:
        raise invalid(f"a {method} has no body", key="body", hint="leave the body out, or use another method", code="http.body")
    headers = tuple((name, _header(name, value)) for name, value in args.get("headers", {}).items())
    text = "\n".join([*(value for _, value in headers), body or ""])
    names = tuple(handles.names_in(text, ctx))
    target = parse_target(url)
    for name in names:
        handles.check_host(name, target)
    return HttpRequest(method, _canonical(url, target), target, headers, body, names)


def redirected(request: HttpRequest, location: str, ctx: CallContext, handles: SecretHandles) -> HttpRequest:
    """The request that follows a redirect of a read: judged like a first one, without credentials at another origin."""
    try:
        url = urljoin(request.url, location.strip()).partition("#")[0].replace(" ", "%20")  # as browsers do
    except ValueError:
        url = location  # which names no host, and is refused for it
    if len(url) > LONGEST_URL:
        raise CallError(
            CallErrorKind.UNAVAILABLE,
            f"{request.target.host} redirects to an address of more than {LONGEST_URL} characters",
            code="http.redirect_too_long",
            hint="the server is at fault",
        )
    if HANDLE.search(url):
        message = f"{request.target.host} redirects to an address with a secret in it, which it was sent"
        raise invalid(message, key="url", hint="the server is at fault: addresses end up in logs", code="http.secret_in_url")
    if denial := ctx.caps.check_net(url):
        message = f"{request.target.host} redirects: {denial.message}"
        raise CallError(CallErrorKind.DENIED, message, code=denial.code, hint=denial.hint, denial=denial)
    target = parse_target(url)
    if target == request.target:
        return replace(request, url=_canonical(url, target))
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in _SAME_ORIGIN_ONLY and not HANDLE.search(value))
    text = "\n".join(value for _, value in headers)
    return replace(request, url=_canonical(url, target), target=target, headers=headers, secrets=tuple(handles.names_in(text, ctx)))


def _authority(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == DEFAULT_PORTS[target.scheme] else f"{host}:{target.port}"


def _origin(target: Target) -> str:
    return f"{target.scheme}://{_authority(target)}"


def _canonical(url: str, target: Target) -> str:
    """The URL that is shown, recorded and fetched: the host that is asked, in ASCII, the path without ``.`` and ``..`` (RFC 3986 5.2.4).

    Otherwise a person would approve another path than the one that goes out, or a host that looks like another.
    """
    path, _, query = _AFTER_HOST.sub("", url, count=1).partition("?")
    kept: list[str] = []
    for part in (parts := path.split("/")[1:]):
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts and parts[-1] in {".", ".."}:
        kept.append("")
    return f"{_origin(target)}/{'/'.join(kept)}" + (f"?{query}" if query else "")


def _header(name: str, value: str) -> str:
    """The value as it goes out: white space around it is no part of it (RFC 9110 5.5)."""
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise invalid(
            f"{name[:80]!r} is not a header that can be sent", key=f"headers.{name[:80]}", hint="use printable ASCII", code="http.header"
        )
    if name.lower() in _DENIED:
        raise invalid(f"the header {name} is the host's to set", key=f"headers.{name}", hint="leave it out", code="http.header_denied")
    return value.strip(" \t")
