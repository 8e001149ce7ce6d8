"""A question to a model and its answer, free of any provider's form."""

from __future__ import annotations

import json
from typing import Any

from runloop.dataclass import dataclass

BYTES_PER_TOKEN = 4  # the estimate of spec section 16: ceil(len / 4) of the UTF-8 form


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """``context`` is JSON that is put below the prompt; ``idempotency_key`` goes to providers that take one.

    ``anew``: an answer that was kept does not do.
    """

    prompt: str
    system: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    context: Any = None
    trace_id: str | None = None
    idempotency_key: str | None = None
    anew: bool = False

    @property
    def text(self) -> str:
        """What the user's message holds: the prompt, and below it the context as JSON."""
        if self.context is None:
            return self.prompt
        return f"{self.prompt}\n\nContext (JSON):\n{json.dumps(self.context, ensure_ascii=False, sort_keys=True)}"


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to turn into vectors."""

    texts: tuple[str, ...]
    model: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one call. ``usd_micros`` None means that the price is not known; estimates say that they are."""

    tokens_in: int
    tokens_out: int
    usd_micros: int | None
    estimated: bool

    @property
    def tokens(self) -> int:
        """Both directions together, as budgets count."""
        return self.tokens_in + self.tokens_out


@dataclass(frozen=True, slots=True)
class Completion:
    """A provider's answer before it is counted; tokens are None where the provider did not say.

    ``reasoning`` is what the model thought before it answered, where the provider tells; ``tokens_out`` counts it too.
    ``refusal`` is what it says instead of an answer.
    """

    text: str
    finish_reason: str
    model: str
    tokens_in: int | None
    tokens_out: int | None
    reasoning: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Vectors:
    """A provider's embeddings, one vector a text, in the order asked."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    tokens_in: int | None


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A counted answer."""

    text: str
    finish_reason: str
    provider: str
    model: str
    usage: Usage
    cached: bool = False
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class EmbedReply:
    """Counted embeddings."""

    vectors: tuple[tuple[float, ...], ...]
    provider: str
    model: str
    usage: Usage


def estimate_tokens(*texts: str | None) -> int:
    """Tokens of the texts together, estimated from their UTF-8 length and rounded up."""
    size = sum(len(text.encode()) for text in texts if text)
    return -(-size // BYTES_PER_TOKEN)


def well_formed(text: str) -> str:
    """The text with halves of surrogate pairs joined, and those that have no other half replaced: JSON can hold what UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
