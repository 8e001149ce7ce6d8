"""Language models, through the host's broker: provider, keys and budget stay there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runloop_agent._calls import call
from runloop_agent._records import record

__all__ = ["Completion", "Embeddings", "complete", "embed"]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote, and what it cost; in a text it is what was written.

    ``reasoning`` is what it thought before, where the provider tells.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    provider: str = ""
    model: str = ""
    finish_reason: str = ""
    cached: bool = False
    reasoning: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each text, in order."""

    vectors: list[list[float]]
    model: str = ""
    tokens_in: int = 0


def complete(
    prompt: str,
    *,
    system: str | None = None,
    model: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    stop: list[str] | None = None,
    context: Any = None,
) -> Completion:
    """Complete ``prompt``; ``context`` is anything with a JSON form, such as the hits of :func:`runloop_agent.kb.search`."""
    request = {"prompt": prompt, "system": system, "model": model, "max_tokens": max_tokens}
    return record(Completion, call("model.complete", {**request, "temperature": temperature, "stop": stop, "context": context}))


def embed(texts: list[str], *, model: str | None = None) -> Embeddings:
    """Embed each text as a vector."""
    return record(Embeddings, call("model.embed", {"texts": texts, "model": model}))
