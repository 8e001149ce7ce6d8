"""The providers' wire forms, without I/O: what to post where, and how to read the answer.

Sources: OpenAI chat completions and embeddings, Ollama ``/api/chat`` and ``/api/embed``, Anthropic messages 2023-06-01; spec section 16.
Reasoning: ``reasoning_content`` (DeepSeek, llama.cpp) or ``reasoning`` (OpenRouter, vLLM); ``thinking`` of Ollama and Anthropic; parts of
the content (Mistral).
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runloop.dataclass import dataclass
from runloop.models.decode import NdjsonDecoder, SseDecoder
from runloop.models.reading import Growing, Json, Partial, Stream
from runloop.models.settings import ProviderKind, ProviderSettings
from runloop.models.types import Completion, EmbedRequest, ModelRequest, Vectors, well_formed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANTHROPIC_VERSION = "2023-06-01"
# Newer OpenAI models refuse max_tokens; servers that only speak the protocol often know nothing else.
_OPENAI_HOST = "api.openai.com"
_OPENAI_THOUGHT = ("reasoning_content", "reasoning")

_VERSION = re.compile(r"/v[0-9]+[a-z0-9]*$")

MOST_TOKENS = 10**12
"""A greater count is none: it is estimated then, and sums of such counts stay exact in JSON."""
LONGEST_NAME = 200

_FINISH = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "filtered",
    "refusal": "filtered",
}


class ShapeError(ValueError):
    """The answer is JSON but not the protocol's; the text names the path."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol. Embedding functions are None where the provider has none, ``key_header`` where it takes no idempotency key."""

    auth: Callable[[str], Mapping[str, str]]
    fixed_headers: Mapping[str, str]
    complete_path: str
    complete_body: Callable[[ModelRequest, str, int, ProviderSettings], Json]
    read_completion: Callable[[Json], Completion]
    stream: Stream
    key_header: str | None = None
    embed_path: str = ""
    embed_body: Callable[[EmbedRequest, str], Json] | None = None
    read_vectors: Callable[[Json], Vectors] | None = None


def endpoint(base_url: str, path: str, complete_path: str) -> str:
    """The URL to post to: a base that ends in a version (``…/v1``) gets no other, one that is that of completions is as it is."""
    base = base_url.rstrip("/")
    first, rest = (f"/{part}" for part in path[1:].split("/", 1))
    if not _VERSION.search(first):
        return base.removesuffix(first) + path
    completions = complete_path.removeprefix(first)
    if base.endswith(completions):
        return base.removesuffix(completions) + rest
    return base + (rest if _VERSION.search(base) else path)


def _field(document: Any, *path: str | int, kind: type | tuple[type, ...]) -> Any:
    """The value at a path. Raises :class:`ShapeError` that names the path."""
    value, walked = document, "$"
    for step in path:
        walked += f"[{step}]" if isinstance(step, int) else f".{step}"
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise ShapeError(f"{walked} is missing") from None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ShapeError(f"{walked} is {type(value).__name__}")
    return value


def _count(document: Json, *path: str) -> int | None:
    try:
        value = _field(document, *path, kind=int)
    except ShapeError:
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def _named(document: Json) -> str:
    name = document.get("model")
    return well_formed(name)[:LONGEST_NAME] if isinstance(name, str) else ""


def _finish(reason: Any) -> str:
    return _FINISH.get(reason, "other") if isinstance(reason, str) else "unknown"


def _grow(into: Growing, document: Any, *names: str) -> None:
    """Add the first of these fields that holds text; absent and null are no text. Raises :class:`ShapeError`."""
    for name in names:
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise ShapeError(f"{name} is {type(value).__name__}")
        if value:
            into.add(value)
            return


def _thought(document: Json, *names: str) -> str:
    """What the first of these fields says beside the answer; nothing where none is text."""
    return next((well_formed(value) for name in names if isinstance(value := document.get(name), str) and value), "")


def _vector(value: Any, path: str) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else None
    if not numbers or not all(
        isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) <= sys.float_info.max for item in numbers
    ):
        raise ShapeError(f"{path} is not a vector of numbers")
    return tuple(float(item) for item in numbers)


def _bearer(secret: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _messages(request: ModelRequest) -> list[Json]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": request.text}]


def _openai_body(request: ModelRequest, model: str, max_tokens: int, provider: ProviderSettings) -> Json:
    limit = "max_completion_tokens" if urlsplit(provider.base_url or "").hostname == _OPENAI_HOST else "max_tokens"
    body: Json = {"model": model, "messages": _messages(request), limit: max_tokens, "stream": False}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    return body


def _openai_tokens(document: Json) -> tuple[int | None, int | None]:
    """Tokens in and out. Reasoning is part of the latter, unless the provider's total says that it counts it beside them."""
    tokens_in, tokens_out, total = (_count(document, "usage", f"{name}_tokens") for name in ("prompt", "completion", "total"))
    thought = _count(document, "usage", "completion_tokens_details", "reasoning_tokens")
    if thought and tokens_in is not None and tokens_out is not None and total is not None and total >= tokens_in + tokens_out + thought:
        tokens_out += thought
    return tokens_in, tokens_out


def _openai_choice(document: Json) -> int | None:
    """Where the answer stands among the choices: the one of index 0, or the one that has none; None where neither is there."""
    choices = _field(document, "choices", kind=list)
    return next((number for number, choice in enumerate(choices) if not isinstance(choice, dict) or choice.get("index", 0) == 0), None)


def _in_one_piece(message: Json) -> Json:
    """A message or a piece of one, its content as one text where it comes in parts, and what was thought apart from it."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": _parts(content, "text"), "reasoning_content": _parts(content, "thinking")}


def _parts(content: list[Any], kind: str) -> str:
    """The texts of the parts of one kind; those of a thought may be in parts themselves. Raises :class:`ShapeError`."""
    found = []
    for number in range(len(content)):
        if _field(content, number, "type", kind=str) == kind:
            value = _field(content, number, kind, kind=(str, list))
            found.append(value if isinstance(value, str) else _parts(value, "text"))
    return "".join(found)


def _openai_completion(document: Json) -> Completion:
    number = _openai_choice(document) or 0
    message = _in_one_piece(_field(document, "choices", number, "message", kind=dict))
    content = _field(message, "content", kind=(str, type(None)))
    reason = _field(document, "choices", number, kind=dict).get("finish_reason")
    tokens, thought, refusal = _openai_tokens(document), _thought(message, *_OPENAI_THOUGHT), _thought(message, "refusal")
    return Completion(well_formed(content or ""), _finish(reason), _named(document), *tokens, reasoning=thought, refusal=refusal)


def _openai_piece(partial: Partial, document: Json) -> None:
    partial.model = _named(document) or partial.model
    if isinstance(document.get("usage"), dict):
        partial.tokens_in, partial.tokens_out = _openai_tokens(document)
    if not document.get("choices"):
        return  # the count of the tokens, or a filter's verdict, comes alone
    if (number := _openai_choice(document)) is None:
        return  # a piece of another answer
    choice = _field(document, "choices", number, kind=dict)
    if (delta := choice.get("delta")) is not None:
        delta = _in_one_piece(_field(choice, "delta", kind=dict))
        _grow(partial.reasoning, delta, *_OPENAI_THOUGHT)
        _grow(partial.text, delta, "content")
        _grow(partial.refusal, delta, "refusal")
    partial.finish = choice.get("finish_reason") or partial.finish


def _openai_embed(request: EmbedRequest, model: str) -> Json:
    return {"model": model, "input": list(request.texts), "encoding_format": "float"}


def _openai_vectors(document: Json) -> Vectors:
    rows = _field(document, "data", kind=list)
    ordered: list[tuple[float, ...] | None] = [None] * len(rows)
    for number in range(len(rows)):
        index = _field(rows, number, "index", kind=int)
        if not 0 <= index < len(rows) or ordered[index] is not None:
            raise ShapeError(f"$.data[{number}].index is {index}")
        ordered[index] = _vector(_field(rows, number, "embedding", kind=list), f"$.data[{number}].embedding")
    return Vectors(tuple(row for row in ordered if row is not None), _named(document), _count(document, "usage", "prompt_tokens"))


def _ollama_body(request: ModelRequest, model: str, max_tokens: int, provider: ProviderSettings) -> Json:
    options: Json = {"num_predict": max_tokens}
    if provider.num_ctx is not None:
        options["num_ctx"] = provider.num_ctx
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.stop:
        options["stop"] = list(request.stop)
    # Without truncate, a prompt that is longer than the model's context is cut and nobody told; versions before 0.12.6 do not know it.
    return {"model": model, "messages": _messages(request), "stream": False, "truncate": False, "options": options}


def _ollama_completion(document: Json) -> Completion:
    text = _field(document, "message", "content", kind=str)
    if document.get("done") is not True:
        raise ShapeError("$.done is not true: the answer is not complete")
    tokens = _count(document, "prompt_eval_count"), _count(document, "eval_count")
    reason, thought = _finish(document.get("done_reason", "stop")), _thought(document["message"], "thinking")
    return Completion(well_formed(text), reason, _named(document), *tokens, reasoning=thought)


def _ollama_piece(partial: Partial, document: Json) -> None:
    message = _field(document, "message", kind=dict)
    partial.model = _named(document) or partial.model
    _grow(partial.reasoning, message, "thinking")
    _grow(partial.text, message, "content")
    if document.get("done") is True:
        partial.done, partial.finish = True, document.get("done_reason", "stop")
        partial.tokens_in, partial.tokens_out = _count(document, "prompt_eval_count"), _count(document, "eval_count")


def _ollama_embed(request: EmbedRequest, model: str) -> Json:
    return {"model": model, "input": list(request.texts)}


def _ollama_vectors(document: Json) -> Vectors:
    rows = _field(document, "embeddings", kind=list)
    vectors = tuple(_vector(row, f"$.embeddings[{number}]") for number, row in enumerate(rows))
    return Vectors(vectors, _named(document), _count(document, "prompt_eval_count"))


def _anthropic_body(request: ModelRequest, model: str, max_tokens: int, provider: ProviderSettings) -> Json:  # noqa: ARG001 - the table's form
    body: Json = {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": request.text}]}
    if request.system:
        body["system"] = request.system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    return body


def _anthropic_completion(document: Json) -> Completion:
    blocks = _field(document, "content", kind=list)
    found: dict[str, list[str]] = {"text": [], "thinking": []}
    for number, block in enumerate(blocks):
        if isinstance(block, dict) and (kind := block.get("type")) in found:
            found[kind].append(_field(blocks, number, kind, kind=str))
    tokens = _anthropic_tokens_in(document), _count(document, "usage", "output_tokens")
    text, thought = (well_formed("".join(parts)) for parts in found.values())
    refusal = _thought(_refusal(document), "explanation")
    return Completion(text, _finish(document.get("stop_reason")), _named(document), *tokens, reasoning=thought, refusal=refusal)


def _refusal(document: Json) -> Json:
    """What Anthropic says of a refusal beside its reason for stopping."""
    details = document.get("stop_details")
    return details if isinstance(details, dict) else {}


def _anthropic_tokens_in(document: Json) -> int | None:
    """Tokens of the prompt, those included that were written to a cache or read from one: they are counted beside the others."""
    tokens = _count(document, "usage", "input_tokens")
    if tokens is None:
        return None
    return tokens + sum(_count(document, "usage", f"cache_{name}_input_tokens") or 0 for name in ("creation", "read"))


def _anthropic_piece(partial: Partial, document: Json) -> None:
    match document.get("type"):
        case "message_start":
            message = _field(document, "message", kind=dict)
            partial.model = _named(message)
            _anthropic_tokens(partial, message)
        case "content_block_start" | "content_block_delta" as kind:
            block = _field(document, "content_block" if kind.endswith("start") else "delta", kind=dict)
            if block.get("type") in {"text", "text_delta"}:
                _grow(partial.text, block, "text")
            elif block.get("type") in {"thinking", "thinking_delta"}:
                _grow(partial.reasoning, block, "thinking")
        case "message_delta":
            delta = _field(document, "delta", kind=dict)
            partial.finish = delta.get("stop_reason") or partial.finish
            _grow(partial.refusal, _refusal(delta), "explanation")
            _anthropic_tokens(partial, document)
        case "message_stop":
            partial.done = True
        case _:
            pass  # a ping, the end of a block, and whatever later versions add


def _anthropic_tokens(partial: Partial, document: Json) -> None:
    """Counts so far: a later one holds all that came before it."""
    tokens_in, tokens_out = _anthropic_tokens_in(document), _count(document, "usage", "output_tokens")
    partial.tokens_in = partial.tokens_in if tokens_in is None else tokens_in
    partial.tokens_out = partial.tokens_out if tokens_out is None else tokens_out


_SSE, _NDJSON = "text/event-stream", "application/x-ndjson"
_SSE_BEGINS = re.compile(rb"(\xef\xbb\xbf\s*)?(data|event|id|retry)?:")
_UNSAID = {"text/plain", "application/octet-stream", ""}
_NOT_SURELY_SSE = {*_UNSAID, "application/json"}
_STREAM = {"stream": True}
_WITH_COUNT = {**_STREAM, "stream_options": {"include_usage": True}}
_KEY_HEADER = "Idempotency-Key"

DIALECTS: Mapping[ProviderKind, Dialect] = {
    ProviderKind.OPENAI_CHAT: Dialect(
        _bearer,
        {},
        "/v1/chat/completions",
        _openai_body,
        _openai_completion,
        Stream(_WITH_COUNT, _SSE, {_SSE}, SseDecoder, _openai_piece, _finish, "[DONE]", _NOT_SURELY_SSE, _SSE_BEGINS),
        _KEY_HEADER,
        "/v1/embeddings",
        _openai_embed,
        _openai_vectors,
    ),
    ProviderKind.OLLAMA: Dialect(
        _bearer,
        {},
        "/api/chat",
        _ollama_body,
        _ollama_completion,
        Stream(_STREAM, _NDJSON, {_NDJSON, "application/ndjson", "application/jsonl", *_UNSAID}, NdjsonDecoder, _ollama_piece, _finish),
        None,
        "/api/embed",
        _ollama_embed,
        _ollama_vectors,
    ),
    ProviderKind.ANTHROPIC: Dialect(
        lambda secret: {"x-api-key": secret},
        {"anthropic-version": ANTHROPIC_VERSION},
        "/v1/messages",
        _anthropic_body,
        _anthropic_completion,
        Stream(_STREAM, _SSE, {_SSE}, SseDecoder, _anthropic_piece, _finish, None, _NOT_SURELY_SSE, _SSE_BEGINS),
        _KEY_HEADER,
    ),
}
