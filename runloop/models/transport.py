"""Posting JSON to a provider: time-outs, retries, size caps, and one stable code for each way it can go wrong.

The key never appears in what is raised: bodies that are quoted have it taken out.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from runloop.authorities import AUTHORITY_HINT, of_tls
from runloop.dataclass import dataclass
from runloop.models.decode import BrokenStreamError, StreamSizeError
from runloop.models.dialects import ShapeError
from runloop.models.errors import Kind, ModelError
from runloop.models.reading import PASSING_STATUS, CutStreamError, Heard, Reading, Stream, StreamFailedError, failure_in
from runloop.models.settings import ModelSettings, is_loopback
from runloop.models.types import Completion, well_formed
from runloop.models.veil import without_key
from runloop.models.way import make_client, named, unusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import httpx2

Form = Literal["whole", "new limit", "no temperature"]
"""Other forms of a request: without a stream; with the limit of tokens under its newer name; without what newer models take no more."""

QUOTED_CHARACTERS = 300
_OLD_LIMIT, _NEW_LIMIT = "max_tokens", "max_completion_tokens"
_LASTING_STATUS = frozenset({501, 505})
"""Of the statuses from 500 on those that do not pass; 52x are Cloudflare's, 529 is Anthropic's «overloaded»."""
_NO_STREAM_STATUS = frozenset({400, 403, 404, 405, 406, 415, 422, 501})
"""With one of these, and with the word in its answer, a provider refuses to stream and not the request."""
_STREAM_WORD = re.compile(rb"\bstream", re.IGNORECASE)  # not «upstream», of which proxies speak
_NO_TEMPERATURE = re.compile(
    rb"temperature\W{1,4}(is (deprecated|not supported)|does not support|may only be set)"
    rb"|(unsupported|n[o']t support)[^.]{0,40}temperature",
    re.IGNORECASE,
)
"""With these words of Anthropic, OpenAI and LiteLLM a model takes no temperature, whichever; not those about one out of its range."""
_NO_CREDIT = re.compile(rb"insufficient_(quota|balance|credits)|billing_not_active")
_NO_ROOM = re.compile(
    rb"context (length|size|window)|maximum context|prompt is too long|too large to process|maximum number of tokens", re.IGNORECASE
)
"""With these words a provider refuses a prompt that is longer than the model's context; llama.cpp those to embed with status 500."""
_BEGINNING = 8
"""Bytes that are enough to tell a stream from a document."""
_MOST_BLANKS = 65_536
_WIRE_FACTOR = 64
"""How many times the size of the largest answer a stream may have on the wire, where each token comes in a document of its own."""
_ADDRESS_HINT = "is base_url the address of the API?"
_PLAIN_HINT = "the provider, or a proxy before it, compresses without being asked: turn that off there"
_STREAM_HINT = "is base_url the address of the API? `models.broker.stream: off` asks for whole answers"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Time and chance, so that a test can do without both. ``sleep`` takes seconds, ``jitter`` gives 0 to 1."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Post:
    """One call: ``provider`` names it in errors, ``secret`` is taken out of everything quoted.

    With ``stream`` the answer may come in pieces, of which ``heard`` is told.
    """

    provider: str
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    secret: str | None
    stream: Stream | None = None
    heard: Heard | None = None

    @property
    def route(self) -> tuple[str, str]:
        """What takes requests of one form: the provider and its model."""
        return self.provider, str(self.body.get("model"))

    @property
    def local(self) -> bool:
        """Whether it goes to this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


class _Retry(Exception):  # noqa: N818 - a signal inside this module, never raised out of it
    def __init__(self, error: ModelError, after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.after_s = error, after_s


class _OtherForm(Exception):  # noqa: N818 - a signal inside this module, never raised out of it
    """The provider refuses the form of the request and may take another."""

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.form = form


def quoted(said: bytes | str, secret: str | None) -> str:
    """A piece of a provider's answer that is fit to show: one line, no control characters, no key."""
    text = without_key(said.decode("utf-8", "replace") if isinstance(said, bytes) else well_formed(said), secret)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text[:QUOTED_CHARACTERS] + ("…" if len(text) > QUOTED_CHARACTERS else "")


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date (RFC 9110 10.2.3); None when absent or unreadable."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter of years that no calendar has
        return None
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now_s)


class Transport:
    """Keeps the connections to providers. Close it with ``aclose``."""

    def __init__(self, settings: ModelSettings, hooks: Hooks | None = None) -> None:
        self._settings, self._hooks = settings, hooks or Hooks()
        self._clients: dict[bool, httpx2.AsyncClient] = {}
        self._forms: dict[tuple[str, str], frozenset[Form]] = {}
        """What routes take that refused the usual form."""

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def post(self, post: Post, remaining_ms: int | None = None) -> dict[str, Any]:
        """The answer to a request without a stream; as :meth:`ask`."""
        answer = await self.ask(post, remaining_ms)
        assert isinstance(answer, dict)  # noqa: S101 - anything else comes from a stream
        return answer

    async def ask(self, post: Post, remaining_ms: int | None = None) -> dict[str, Any] | Completion:
        """The answer as a JSON object, or put together from a stream, within the total time-out and ``remaining_ms``.

        Raises:
            ModelError: see docs/models.md for the codes.

        """
        own_ms = self._settings.timeouts.total_ms
        total_s = (own_ms if remaining_ms is None else min(own_ms, remaining_ms)) / 1000
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(total_s):
                return await self._with_retries(post, started + total_s)
        except TimeoutError:
            raise ModelError(
                "timeout",
                "model.timeout",
                f"{post.provider} did not answer within {round(total_s * 1000)} ms",
                hint="raise models.broker.timeouts.total_ms or the node's timeout_ms, or use a faster model",
                retryable=True,
            ) from None

    async def _with_retries(self, post: Post, deadline: float) -> dict[str, Any] | Completion:
        retry = self._settings.retry
        for attempt in range(1, retry.attempts + 1):
            try:
                return await self._adapted(post)
            except _Retry as failed:
                back_off_ms = min(retry.max_ms, retry.base_ms * 2 ** (attempt - 1)) * (0.5 + self._hooks.jitter() / 2)
                delay_s = back_off_ms / 1000 if failed.after_s is None else failed.after_s
                too_long = asyncio.get_running_loop().time() + delay_s >= deadline
                if attempt == retry.attempts or too_long:
                    raise self._given_up(failed, attempt, delay_s if too_long else None) from None
                await self._hooks.sleep(delay_s)
        raise AssertionError("unreachable: attempts is at least 1")

    def _given_up(self, failed: _Retry, attempts: int, too_long_s: float | None) -> ModelError:
        error = failed.error
        tried = f" (tried {attempts} times)" if attempts > 1 else ""
        hint = error.hint
        if too_long_s is not None and failed.after_s is not None:
            hint = f"the provider asks to wait {too_long_s:.0f} s, longer than this call may take; {hint}".rstrip("; ")
        return ModelError(error.kind, error.code, error.message + tried, hint=hint, retryable=True)

    def _client(self, post: Post) -> httpx2.AsyncClient:
        if (client := self._clients.get(post.local)) is None:
            client = self._clients[post.local] = make_client(self._settings.timeouts, post.provider, local=post.local)
        return client

    async def _adapted(self, post: Post) -> dict[str, Any] | Completion:
        """One try, in the form that the route takes; a form that led to an answer is kept for it."""
        form = self._forms.get(post.route, frozenset())
        while True:
            try:
                answer = await self._once(post, form)
            except _OtherForm as other:  # one that was asked in is not raised again, so this ends
                form |= {other.form}
                continue
            if form:
                self._forms[post.route] = form
            return answer

    async def _once(self, post: Post, form: frozenset[Form]) -> dict[str, Any] | Completion:
        import httpx2

        client = self._client(post)
        stream = None if "whole" in form else post.stream
        body = _in_form(post.body, form, stream)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        accept = f"{stream.accept}, application/json" if stream else "application/json"
        headers = {**post.headers, "Content-Type": "application/json", "Accept": accept, "Accept-Encoding": "identity"}
        status = None
        try:
            async with client.stream("POST", post.url, content=content, headers=headers) as response:
                status = response.status_code
                pieces, begun = self._pieces(response, post), b""
                if stream and 200 <= status < 300:
                    streams = (kind := _content_type(response)) in stream.kinds
                    if kind in stream.unsure:
                        begun = await _beginning(pieces)
                        streams = stream.begins.match(begun.lstrip()) is not None
                    if streams:
                        reading = Reading(stream, self._settings.max_response_bytes, post.heard, post.secret)
                        return await self._follow(begun, pieces, post, reading)
                answer = await self._read(begun, pieces, post)
                if (other := _other_form(status, answer, body, stream)) is not None:
                    raise _OtherForm(other)
                return self._judge(response, answer, post)
        except httpx2.TimeoutException as error:
            what = "did not accept a connection" if isinstance(error, httpx2.ConnectTimeout) else "stopped answering"
            hint = "is the provider running and reachable?"
            raise _Retry(self._error("timeout", "model.timeout", f"{post.provider} {what} in time", hint, retryable=True)) from None
        except httpx2.ConnectError as error:
            message = f"cannot connect to {post.provider} at {origin(post.url)}: {quoted(str(error), post.secret)}"
            hint = AUTHORITY_HINT if of_tls(error, certificate=True) else "is the provider running, and base_url right?"
            if not post.local and (names := named()):
                hint += f" The environment ({', '.join(names)}) says how to get there: is that right?"
            raise _Retry(self._error("unavailable", "model.connect", message, hint, retryable=True)) from None
        except httpx2.ProxyError as error:
            raise unusable(post.provider, f"is refused: {quoted(str(error), post.secret)}") from None
        except httpx2.HTTPError as error:
            code, what = (
                ("model.truncated", "ended in the middle of its answer") if status is not None else ("model.connection_lost", "hung up")
            )
            message = f"{post.provider} {what}: {quoted(str(error), post.secret) or type(error).__name__}"
            raise _Retry(self._error("unavailable", code, message, "look at the provider's own log", retryable=True)) from None

    async def _read(self, begun: bytes, pieces: AsyncIterator[bytes], post: Post) -> bytes:
        parts, size = [begun], len(begun)
        async for part in pieces:
            parts.append(part)
            size += len(part)
            if size > self._settings.max_response_bytes:
                raise self._too_large(post)
        return b"".join(parts)

    async def _pieces(self, response: httpx2.Response, post: Post) -> AsyncIterator[bytes]:
        """What comes, as it comes."""
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in {"", "identity"}:
            # A few compressed bytes can become gigabytes before a cap on the result sees them.
            raise self._error(
                "unavailable", "model.encoding", f"{post.provider} sent a compressed answer ({encoding[:40]!r}) unasked", _PLAIN_HINT
            )
        async for part in response.aiter_raw():  # with a size it would wait until so much has come
            yield part

    def _too_large(self, post: Post, factor: int = 1) -> ModelError:
        hint = "raise models.broker.max_response_bytes, or lower max_tokens"
        limit = self._settings.max_response_bytes * factor
        return self._error("unavailable", "model.too_large", f"{post.provider} sent more than {limit} bytes", hint)

    async def _follow(self, begun: bytes, pieces: AsyncIterator[bytes], post: Post, reading: Reading) -> Completion:
        """The answer of a stream. What breaks it after its last word of text does no harm."""
        import httpx2

        try:
            try:
                size = len(begun)
                whole = reading.feed(begun)
                while not whole and (part := await anext(pieces, None)) is not None:
                    size += len(part)
                    if size > self._settings.max_response_bytes * _WIRE_FACTOR:
                        raise self._too_large(post, _WIRE_FACTOR)
                    whole = reading.feed(part)
            except httpx2.HTTPError:
                if not reading.whole:
                    raise
            return reading.close()
        except (CutStreamError, StreamSizeError, StreamFailedError, BrokenStreamError, ShapeError) as error:
            broken = self._broken(error, post)
        raise broken  # out of the block above, since what was caught there may hold the key

    def _broken(self, error: ValueError, post: Post) -> ModelError | _Retry:
        """What a stream that gave no answer is to the caller."""
        said = quoted(str(error), post.secret)
        match error:
            case CutStreamError():
                message = f"{post.provider} ended in the middle of its answer: {said}"
                return _Retry(self._error("unavailable", "model.truncated", message, "look at the provider's own log", retryable=True))
            case StreamSizeError():
                return self._too_large(post)
            case StreamFailedError(passing=True) if not _NO_ROOM.search(said.encode()):
                message = f"{post.provider} failed in its answer: {said}"
                hint = "the provider has trouble; try again later"
                return _Retry(self._error("unavailable", "model.server_error", message, hint, retryable=True))
            case StreamFailedError():
                message = f"{post.provider} refused in its answer: {said}"
                return self._rejected(message, said.encode())
            case BrokenStreamError():
                return self._error("unavailable", "model.bad_json", f"{post.provider} sent a broken stream: {said}", _STREAM_HINT)
        return self._error("unavailable", "model.bad_shape", f"{post.provider} streamed another form: {said}", _STREAM_HINT)

    def _judge(self, response: httpx2.Response, body: bytes, post: Post) -> dict[str, Any]:
        status = response.status_code
        if not 200 <= status < 300:
            raise self._refused(status, response.headers, body, post)
        try:
            document = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError):
            kind = _content_type(response)
            if kind and kind != "application/json" and not kind.endswith("+json"):
                message = f"{post.provider} answered with {quoted(kind, None)} instead of JSON: {quoted(body, post.secret)}"
                raise self._error("unavailable", "model.bad_content_type", message, _ADDRESS_HINT) from None
            message = f"{post.provider} answered with broken JSON: {quoted(body, post.secret)}"
            raise self._error("unavailable", "model.bad_json", message, _ADDRESS_HINT) from None
        if not isinstance(document, dict):
            raise self._error(
                "unavailable",
                "model.bad_shape",
                f"{post.provider} answered with JSON that is not an object: {quoted(body, post.secret)}",
                _ADDRESS_HINT,
            )
        if failure := failure_in(document):  # some servers answer 200 and put the error into the body
            raise self._broken(failure, post)
        return document

    def _refused(self, status: int, headers: Mapping[str, str], body: bytes, post: Post) -> ModelError | _Retry:
        said = quoted(body, post.secret)
        message = f"{post.provider} answered {status}" + (f": {said}" if said else "")
        if status == 402 or (status == 429 and _NO_CREDIT.search(body)):
            hint = "the account has nothing left to pay with: top it up at the provider, or use another"
            return ModelError("unavailable", "model.no_credit", message, hint=hint)
        if status == 500 and _NO_ROOM.search(body):
            return self._rejected(message, body)
        if status in PASSING_STATUS or (status >= 500 and status not in _LASTING_STATUS):
            code = "model.rate_limited" if status == 429 else "model.server_error"
            hint = "the provider limits its use; wait, or use another" if status == 429 else "the provider has trouble; try again later"
            after = retry_after_s(headers.get("retry-after"), self._hooks.wall())
            return _Retry(self._error("unavailable", code, message, hint, retryable=True), after)
        if status in {401, 403}:
            return self._error("unavailable", "model.auth", message, "check the provider's secret_id and the key stored under it")
        if 300 <= status < 400:
            message = f"{post.provider} redirects to {quoted(headers.get('location', ''), post.secret) or 'nowhere'}"
            return self._error("unavailable", "model.redirected", message, "set base_url to the final address")
        if status == 404:
            return self._error("unavailable", "model.not_found", message, "check the model's name and base_url")
        return self._rejected(message, body)

    def _rejected(self, message: str, said: bytes) -> ModelError:
        hint = "the provider does not accept this request; its answer says why"
        if _NO_ROOM.search(said):
            hint = "shorten the prompt, or give the model a longer context: num_ctx of an Ollama provider, else where its server is started"
        return self._error("invalid", "model.rejected", message, hint)

    @staticmethod
    def _error(kind: Kind, code: str, message: str, hint: str, *, retryable: bool = False) -> ModelError:
        return ModelError(kind, code, message, hint=hint, retryable=retryable)


def _in_form(body: Mapping[str, Any], form: frozenset[Form], stream: Stream | None) -> dict[str, Any]:
    """The body as it is posted in that form."""
    body = {**body, **stream.fields} if stream else {**body}
    if "new limit" in form:
        body[_NEW_LIMIT] = body.pop(_OLD_LIMIT)
    if "no temperature" in form:
        body.pop("temperature", None)
    return body


def _other_form(status: int, answer: bytes, body: Mapping[str, Any], stream: Stream | None) -> Form | None:
    """The form in which a provider that refuses this one may take the request."""
    if status == 400 and "temperature" in body and _NO_TEMPERATURE.search(answer):
        return "no temperature"
    if stream and status in _NO_STREAM_STATUS and _STREAM_WORD.search(answer):
        return "whole"
    if status == 400 and _OLD_LIMIT in body and _NEW_LIMIT.encode() in answer:
        return "new limit"
    return None


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """As much of what comes as tells what it is."""
    begun = b""
    while len(begun.lstrip()) < _BEGINNING and len(begun) < _MOST_BLANKS and (part := await anext(pieces, None)) is not None:
        begun += part
    return begun


def _content_type(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).split(";")[0].strip().lower()


def origin(url: str) -> str:
    """Scheme, host and port of a URL, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
