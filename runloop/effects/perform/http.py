"""``http.fetch``: one request to an allowed host, at an address that was checked, with every redirect checked again."""

from __future__ import annotations

import asyncio
import base64
import codecs
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from runloop import __version__
from runloop.authorities import AUTHORITY_HINT, authorities, of_tls
from runloop.dataclass import dataclass
from runloop.effects.perform.http_request import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT_MS, HttpRequest, build, redirected
from runloop.effects.perform.names import NameService
from runloop.effects.perform.secrets import SecretHandles, echoes, hide, substitute, without
from runloop.effects.types import CallContext, CallError, CallErrorKind, EffectClass, Outcome, Prepared, require
from runloop.policy.net import embedded_ipv4

if TYPE_CHECKING:
    import ssl

    import httpx2

Resolver = Callable[[str, int], Awaitable[list[str]]]

MOST_REDIRECTS = 5
MOST_ADDRESSES = 3
CONNECT_TIMEOUT_S = 10.0
_OF_WHAT_IS_LEFT = 0.9
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "utf-7"})
"""Codecs of Python that are no character sets of texts; to decode a megabyte of the second takes half a minute."""
_WIDEST = 4
"""Bytes of a character in the widest encoding."""
# Link-local addresses name this machine's own network and a cloud's metadata service: no policy file opens them.
_LINK_LOCAL = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"), ip_network("fd00:ec2::/32"))


@dataclass(frozen=True, slots=True)
class _Received:
    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool
    location: str | None


class HttpFetch:
    """Fetches. ``tls`` replaces the certificate authorities of the system and the environment."""

    def __init__(self, handles: SecretHandles, *, resolver: Resolver | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._handles, self._resolver, self._tls = handles, resolver or NameService(), tls

    def prepare(self, args: Mapping[str, Any], ctx: CallContext) -> Prepared:
        """Check host, headers and secrets; the content is the whole request."""
        request = build(args, ctx, self._handles)
        data = {
            "request": request,
            "timeout_ms": args.get("timeout_ms", DEFAULT_TIMEOUT_MS),
            "max_bytes": args.get("max_bytes", DEFAULT_MAX_BYTES),
        }
        shown, to = request.shown(ctx.guest_run_id), (f"{request.method} {request.target.scheme}://{request.authority}",)
        if request.is_read:
            return Prepared("http.fetch", EffectClass.READ, shown, to, data=data)
        return Prepared("http.send", EffectClass.EXTERNAL, shown, to, external=True, leaves_machine=True, data=data)

    async def perform(self, prepared: Prepared, ctx: CallContext) -> Outcome:
        """Send, and follow redirects of reads."""
        data = prepared.data
        request: HttpRequest = data["request"]
        limit_ms = data["timeout_ms"] if ctx.remaining_ms is None else min(data["timeout_ms"], ctx.remaining_ms)
        labels: set[str] = set()
        try:
            async with asyncio.timeout(limit_ms / 1000) as until:
                return await self._follow(request, data["max_bytes"], ctx, labels, until)
        except TimeoutError:
            raise _too_late(request, limit_ms, frozenset(labels)) from None

    async def _follow(self, request: HttpRequest, max_bytes: int, ctx: CallContext, labels: set[str], until: asyncio.Timeout) -> Outcome:
        """``labels`` are of the servers that may have said something, if only by how they broke off."""
        values: dict[str, str] = {}
        try:
            for _ in range(MOST_REDIRECTS + 1):
                values |= await self._handles.values(request.secrets, ctx)
                addresses = await self._addresses(request, ctx)
                received = await self._send(addresses, request, values, max_bytes, labels, until)
                if received.location is None or not request.is_read:
                    return Outcome(_result(request, received), taint=frozenset(labels))
                request = redirected(request, received.location, ctx, self._handles)
            raise _unavailable("http.redirects", f"more than {MOST_REDIRECTS} redirects", "the server sends the request in circles")
        except CallError as error:
            error.taint |= labels
            raise

    async def _addresses(self, request: HttpRequest, ctx: CallContext) -> list[str]:
        target = request.target
        try:
            addresses = await self._resolver(target.host, target.port)
        except OSError as error:
            message = f"cannot resolve {target.host}: {error.strerror or error}"
            raise _unavailable("http.resolve", message, "check the name and the network") from error
        if not addresses:
            raise _unavailable("http.resolve", f"{target.host} has no address", "check the name")
        for address in addresses:  # one bad address refuses all: a name that mixes them is not to be trusted with a choice
            require(ctx.caps.check_address(target.host, address))
            if _is_link_local(address):
                raise CallError(
                    CallErrorKind.DENIED,
                    f"{target.host} ({address}) is a link-local address",
                    code="http.link_local",
                    hint="these name the machine's own network and cloud metadata; they are never fetched",
                )
        return addresses[:MOST_ADDRESSES]

    async def _send(
        self,
        addresses: Sequence[str],
        request: HttpRequest,
        values: Mapping[str, str],
        max_bytes: int,
        labels: set[str],
        until: asyncio.Timeout,
    ) -> _Received:
        import httpx2

        silent = labels.copy()
        labels.add(f"net:{request.target.host}")
        for number, address in enumerate(addresses, start=1):
            try:
                return await self._send_to(address, request, values, max_bytes, until, len(addresses) - number + 1)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if of_tls(error):
                    silent = labels.copy()
                if number == len(addresses):
                    labels.intersection_update(silent)  # where nobody was there, nobody has said anything
                    message = (
                        f"cannot connect to {request.target.host} ({address}), port {request.target.port}: {hide(str(error), values)[:200]}"
                    )
                    hint = AUTHORITY_HINT if of_tls(error, certificate=True) else "is the server up, and its certificate valid?"
                    raise _unavailable("http.connect", message, hint, retryable=True) from None
            except httpx2.HTTPError as error:
                raise CallError(
                    CallErrorKind.UNAVAILABLE,
                    f"{request.target.host} {_how_it_broke(error)}",
                    code="http.broken_off",
                    hint="the request may have been carried out" if not request.is_read else "try again later",
                    retryable=request.is_read,
                    outcome_unknown=not request.is_read,
                ) from None
        raise AssertionError("unreachable: there is at least one address")

    async def _send_to(
        self,
        address: str,
        request: HttpRequest,
        values: Mapping[str, str],
        max_bytes: int,
        until: asyncio.Timeout,
        addresses: int,
    ) -> _Received:
        import httpx2

        host = f"[{address}]" if ":" in address else address
        # The connection goes to the address that was checked; the name stays in Host and in the certificate check. A client of
        # its own, because a pool would hand one name's connection to another name at the same address.
        url = f"{request.target.scheme}://{host}:{request.target.port}{request.path}"
        headers = {"User-Agent": f"runloop/{__version__}", **{name: _filled(value, values) for name, value in request.headers}}
        headers |= {"Host": request.authority, "Accept-Encoding": "identity"}
        content = None if request.body is None else substitute(request.body, values).encode()
        verify = authorities() if self._tls is None else self._tls
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False, verify=verify) as client,
            client.stream(
                request.method,
                url,
                headers=headers,
                content=content,
                timeout=httpx2.Timeout(None, connect=_share_s(until, addresses)),  # the whole call has its own time-out
                extensions={"sni_hostname": request.target.host},
            ) as response,
        ):
            return await _receive(response, request, values, max_bytes)


def _too_late(request: HttpRequest, limit_ms: int, labels: frozenset[str]) -> CallError:
    """Without labels nobody was found yet to whom it could be sent."""
    host = request.target.host
    if not labels:
        message = f"cannot resolve {host} within {limit_ms} ms"
        return CallError(CallErrorKind.TIMEOUT, message, code="http.resolve", hint="check the name and the network", retryable=True)
    return CallError(
        CallErrorKind.TIMEOUT,
        f"{host} did not answer completely within {limit_ms} ms",
        code="http.timeout",
        hint="raise timeout_ms, or ask for less",
        retryable=request.is_read,
        outcome_unknown=not request.is_read,
        taint=labels,
    )


def _share_s(until: asyncio.Timeout, addresses: int) -> float:
    """How long one address may take to connect: it leaves time for the others, and to say that nobody was there."""
    left_s = (until.when() or 0.0) - asyncio.get_running_loop().time()
    return max(0.0, min(CONNECT_TIMEOUT_S, _OF_WHAT_IS_LEFT * left_s / addresses))


def _how_it_broke(error: httpx2.HTTPError) -> str:
    """What went wrong, in words of ours: the library's own quote the server, whom nobody has vouched for."""
    import httpx2

    if not isinstance(error, httpx2.RemoteProtocolError):
        return f"broke off: {type(error).__name__}"
    said = str(error)
    if "message body" in said or "chunked" in said:
        return "broke off in the middle of its answer"
    if "without sending a response" in said:
        return "broke off before it answered"
    return "broke off, or answered something that is not HTTP/1.1"


async def _receive(response: httpx2.Response, request: HttpRequest, values: Mapping[str, str], max_bytes: int) -> _Received:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in {"", "identity"} and request.method != "HEAD":
        # A few compressed bytes can become gigabytes before a cap on the result sees them.
        raise CallError(
            CallErrorKind.UNAVAILABLE,
            f"{request.target.host} sent a compressed answer unasked",
            code="http.encoding",
            hint="ask the server for an uncompressed form",
            outcome_unknown=not request.is_read,
        )
    location = response.headers.get("location") if response.status_code in _REDIRECTS else None
    forms = echoes(values)
    headers = {name.lower(): without(value, forms) for name, value in response.headers.items()}
    enough = max_bytes + _WIDEST * max((len(form) for form, _ in forms), default=0)
    received = bytearray()
    if location is None or not request.is_read:
        async for part in response.aiter_raw(65_536):
            received += part
            if len(received) > enough:
                break
    if "set-cookie" in headers:  # the one header whose values hold commas and may not be joined by them (RFC 9110 5.3): lines
        headers["set-cookie"] = without("\n".join(response.headers.get_list("set-cookie")), forms)
    truncated = len(received) > max_bytes
    secrets = _encoded(forms, _charset(headers), bytes(received[:4]))
    return _Received(response.status_code, headers, _cut(bytes(received), max_bytes, secrets), truncated, location and headers["location"])


def _is_link_local(address: str) -> bool:
    """Whether an address is link-local, or stands for one that is."""
    ip = ip_address(address)
    embedded = embedded_ipv4(ip) if isinstance(ip, IPv6Address) else None
    return any(each in network for each in (ip, embedded) if each is not None for network in _LINK_LOCAL)


def _encoded(forms: Sequence[tuple[str, str]], charset: str, beginning: bytes) -> dict[bytes, bytes]:
    """What secrets look like in a body that begins so, as bytes, and their handles; the longest first."""
    if charset in {"utf-16", "utf-32"}:
        charset += "-be" if beginning.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else "-le"
    found: dict[bytes, bytes] = {}
    for form, handle in forms:
        for codec in ("utf-8", charset):
            with suppress(UnicodeError, LookupError):  # not every codec is one of texts
                found[form.encode(codec)] = handle.encode(codec)
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def _cut(received: bytes, max_bytes: int, secrets: Mapping[bytes, bytes]) -> bytes:
    """At most ``max_bytes``, with every secret that was sent back as its handle.

    A cut never goes through a secret: a guest that chooses the cut could otherwise read it letter by letter.
    """
    cut = min(max_bytes, len(received))
    for value in secrets:
        straddling = received.find(value, max(0, cut - len(value) + 1), cut + len(value) - 1)
        if straddling != -1 and straddling < cut:
            cut = straddling
    kept = received[:cut]
    for value, handle in secrets.items():
        kept = kept.replace(value, handle)
    return kept


def _filled(value: str, values: Mapping[str, str]) -> str:
    filled = substitute(value, values)
    if not (filled.isascii() and filled.replace("\t", " ").isprintable() and filled == filled.strip()):
        raise _unavailable("http.secret_unusable", "a secret holds characters that no header can carry", "store the secret again")
    return filled


def _result(request: HttpRequest, received: _Received) -> dict[str, Any]:
    text = _text(received)
    body = base64.b64encode(received.body).decode() if text is None else text
    return {
        "status": received.status,
        "headers": received.headers,
        "body": body,
        "encoding": "base64" if text is None else "text",
        "url": request.url,
        "truncated": received.truncated,
    }


def _codec(charset: str) -> str:
    try:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ""


def _charset(headers: Mapping[str, str]) -> str:
    """The codec of the declared character set, UTF-8 where none is; empty where it is none of texts."""
    charset = "utf-8"
    for parameter in headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset":
            charset = value.strip("\"' ")[:40]
    found = _codec(charset)
    return "" if found in _NO_CHARSETS else found


def _text(received: _Received) -> str | None:
    """The body as text under its declared character set, without a byte-order mark; None where it is not text."""
    charset = _charset(received.headers)
    if not charset:
        return None
    for cut in range(4 if received.truncated else 1):  # a cap may have split a character
        try:
            text = received.body[: len(received.body) - cut].decode(charset)
            text.encode()  # some give halves of characters
        except (UnicodeError, LookupError, ValueError):
            continue
        return text.removeprefix("\ufeff") if "\0" not in text else None
    return None


def _unavailable(code: str, message: str, hint: str, *, retryable: bool = False) -> CallError:
    return CallError(CallErrorKind.UNAVAILABLE, message, code=code, hint=hint, retryable=retryable)
