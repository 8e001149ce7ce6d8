"""What makes the vectors of documents, as the settings say (``kb.vectors.*``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runloop.errors import InvalidInput, Where
from runloop.kb.vectors import Embedder, HashedEmbedder, Meaning
from runloop.models.budget import Budget
from runloop.models.settings import ModelSettings, ProviderKind
from runloop.models.types import EmbedRequest

if TYPE_CHECKING:
    from runloop.config import Settings
    from runloop.effects.perform.secrets import SecretStore

OFF = "off"


def meaning(settings: Settings) -> Meaning | None:
    """The embedder of the settings and the kinds of documents that it is for; None where there is to be none.

    Raises:
        RunloopError: where it is not installed, or names no provider.

    """
    name = settings.get("kb.vectors.embedder")
    if name == OFF:
        return None
    made = Meaning(_embedder(name, settings), tuple(settings.get("kb.vectors.kinds")))
    floor = settings.get("kb.vectors.floor")
    return made if floor is None else replace(made, floor=floor)


def _embedder(name: str, settings: Settings) -> Embedder:
    if name == "hashed":
        return HashedEmbedder()
    if name == "wordllama":
        from runloop.kb.vectors.wordllama import WordLlamaEmbedder

        return WordLlamaEmbedder()
    from runloop.effects.perform.secrets import secret_store
    from runloop.models.broker import Broker
    from runloop.runs.model_settings import model_settings

    models, store = model_settings(settings), secret_store(settings.get("security.secrets.provider"))
    provider, model = Broker(models, store.get).route_embedding(name)
    if provider.kind == ProviderKind.NONE:
        hint = "use hashed, wordllama, off, or provider:model with a provider of models.broker.providers"
        raise InvalidInput(f"{name!r} names no embedder", code="kb.unknown_embedder", where=Where(key="kb.vectors.embedder"), hint=hint)
    return ProviderEmbedder(models, store, f"{provider.id}:{model}")


@dataclass(frozen=True, slots=True)
class ProviderEmbedder:
    """Vectors from a provider: an OpenAI-compatible ``/v1/embeddings`` or Ollama's ``/api/embed``, through the model broker.

    Not to be called from an event loop. What goes there is the text of documents, as it stands.
    """

    settings: ModelSettings
    store: SecretStore
    model: str
    floor: float = 0.3
    weight: float = 1.0
    max_chars: int = 4000
    batch: int = 32

    @property
    def identity(self) -> str:
        """The provider and its model."""
        return self.model

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """A vector for each text. Raises ModelError."""
        return asyncio.run(self._embed(tuple(text[: self.max_chars].strip() or "-" for text in texts)))  # providers refuse an empty text

    async def _embed(self, texts: tuple[str, ...]) -> list[Sequence[float]]:
        from runloop.models.broker import Broker

        broker = Broker(self.settings, self.store.get)
        try:
            reply = await broker.embed(EmbedRequest(texts, self.model), Budget())
        finally:
            await broker.aclose()
        return list(reply.vectors)
