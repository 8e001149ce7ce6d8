"""One streamed answer while it comes: bytes in, the text so far out, and at the end the same answer as without a stream."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING, Any

from runloop.dataclass import dataclass
from runloop.models.decode import BrokenStreamError, Decoder, StreamEvent, StreamSizeError
from runloop.models.types import Completion, well_formed
from runloop.models.veil import begun, veil

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

Heard = Callable[[int, str], None]
"""Hears a piece of text and where it begins in the answer, in code points; 0 begins the answer, again after a failed attempt."""

MIN_EVENT_BYTES = 1024 * 1024
_PERMANENT = frozenset(
    {
        "authentication_error", "billing_error", "context_length_exceeded", "insufficient_quota", "invalid_api_key",
        "invalid_request_error", "model_not_found", "not_found_error", "permission_error", "request_too_large",
    }
)  # fmt: skip
PASSING_STATUS = frozenset({408, 409, 425, 429})
_FAILED_FINISH = frozenset({"abort", "error", "insufficient_system_resource"})
"""Words of vLLM, OpenRouter and DeepSeek for an answer that the provider could not finish; its text is no answer."""


class CutStreamError(ValueError):
    """The stream ended before the answer did."""


class StreamFailedError(ValueError):
    """The provider says in its answer that it failed; ``passing`` where the same request may succeed later."""

    def __init__(self, said: str, *, passing: bool) -> None:
        super().__init__(said)
        self.passing = passing


@dataclass(slots=True)
class Growing:
    """Text that comes in pieces. What was cut between two is joined again: a surrogate pair, and the provider's key, to be hidden."""

    key: str | None = None
    parts: list[str] = field(default_factory=list)
    length: int = 0
    """In code points."""
    size: int = 0
    """In bytes of UTF-8."""
    _held: str = ""

    def add(self, piece: str) -> str:
        """Take a piece; what can be shown of it."""
        piece = veil(self._held + piece, self.key)
        high = 1 if piece and "\ud800" <= piece[-1] <= "\udbff" else 0
        whole = len(piece) - (high or begun(piece, self.key))
        piece, self._held = well_formed(piece[:whole]), piece[whole:]
        if piece:
            self.parts.append(piece)
            self.length += len(piece)
            self.size += len(piece.encode())
        return piece

    def whole(self) -> str:
        """All of it."""
        return "".join(self.parts) + well_formed(self._held)


@dataclass(slots=True)
class Partial:
    """What has come of an answer: ``finish`` is the provider's own word for why it stopped, ``done`` that nothing more comes."""

    text: Growing = field(default_factory=Growing)
    reasoning: Growing = field(default_factory=Growing)
    refusal: Growing = field(default_factory=Growing)
    finish: str | None = None
    done: bool = False
    model: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """How a protocol streams: ``fields`` of the body ask for it, ``accept`` is its content type, ``take`` folds one document in.

    ``kinds`` are content types under which servers send it; under those in ``unsure`` they do where it ``begins`` so, after blanks.
    ``end_mark`` is the data of an event that is no document and ends the stream.
    """

    fields: Mapping[str, Any]
    accept: str
    kinds: AbstractSet[str]
    decoder: Callable[[int], Decoder]
    take: Callable[[Partial, Json], None]
    finish: Callable[[Any], str]
    end_mark: str | None = None
    unsure: AbstractSet[str] = frozenset()
    begins: re.Pattern[bytes] = re.compile(b"")


class Reading:
    """Reads one stream. Its texts together have at most ``max_bytes``, and so has one event (1 MiB at least). ``key`` is hidden in them.

    Every method raises :class:`BrokenStreamError`, :class:`StreamSizeError`, :class:`StreamFailedError`, or the protocol's ``ShapeError``.
    """

    def __init__(self, stream: Stream, max_bytes: int, heard: Heard | None = None, key: str | None = None) -> None:
        self._stream, self._max_bytes, self._heard = stream, max_bytes, heard
        self._decoder = stream.decoder(max(max_bytes, MIN_EVENT_BYTES))
        self._partial = Partial(Growing(key), Growing(key), Growing(key))

    @property
    def whole(self) -> bool:
        """Whether the answer is all there, though a count of its tokens may still come."""
        return self._partial.done or self._partial.finish is not None

    def feed(self, data: bytes) -> bool:
        """Take bytes; whether nothing more comes."""
        self._take(self._decoder.feed(data))
        return self._partial.done

    def close(self) -> Completion:
        """The answer. Raises :class:`CutStreamError` where it is not all there."""
        if not self._partial.done:
            with suppress(BrokenStreamError):  # what was cut cannot be read; whether it was needed is seen next
                self._take(self._decoder.rest())
        partial = self._partial
        if not self.whole:
            raise CutStreamError("the stream ended before the answer did")
        reason = self._stream.finish(partial.finish)
        counts = partial.tokens_in, partial.tokens_out
        reasoning, refusal = partial.reasoning.whole(), partial.refusal.whole()
        return Completion(partial.text.whole(), reason, partial.model, *counts, reasoning=reasoning, refusal=refusal)

    def _take(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            if event.data == self._stream.end_mark:
                self._partial.done = True
            elif event.data:
                self._document(event)
            if self._partial.done:
                return

    def _document(self, event: StreamEvent) -> None:
        try:
            document = json.loads(event.data)
        except (ValueError, RecursionError):
            raise BrokenStreamError(f"an event is no JSON: {event.data[:200]}") from None
        if not isinstance(document, dict):
            raise BrokenStreamError(f"an event is not an object: {event.data[:200]}")
        if failure := _failed(document) if event.name == "error" else failure_in(document):
            raise failure
        partial = self._partial
        before, known = partial.text.length, len(partial.text.parts)
        self._stream.take(partial, document)
        if partial.text.size + partial.reasoning.size + partial.refusal.size > self._max_bytes:
            raise StreamSizeError(f"the answer has more than {self._max_bytes} bytes")
        if self._heard is not None and partial.text.length > before:
            self._heard(before, "".join(partial.text.parts[known:]))


def failure_in(document: Json) -> StreamFailedError | None:
    """What a document of an answer, or all of it, says of the provider's failing; None where it says nothing of it."""
    if document.get("error") or document.get("object") == "error":  # the latter is vLLM's
        return _failed(document)
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            if choice.get("error"):
                return _failed(choice)
            if isinstance(reason := choice.get("finish_reason"), str) and reason in _FAILED_FINISH:
                return StreamFailedError(f"it stopped by {reason!r}", passing=True)
    return None


def _failed(document: Json) -> StreamFailedError:
    error = document.get("error") or document
    kinds = (error.get("type"), error.get("code")) if isinstance(error, dict) else ()
    permanent = any((isinstance(kind, str) and kind in _PERMANENT) or _refuses(kind) for kind in kinds)
    return StreamFailedError(json.dumps(error, ensure_ascii=False), passing=not permanent)


def _refuses(code: Any) -> bool:
    status = int(code) if isinstance(code, str) and re.fullmatch("[0-9]{3}", code) else code  # LiteLLM's is a text
    return isinstance(status, int) and 400 <= status < 500 and status not in PASSING_STATUS
