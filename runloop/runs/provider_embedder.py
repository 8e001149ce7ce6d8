"""Vectors of documents from a provider of models, through the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runloop.dataclass import dataclass
from runloop.models.broker import Broker
from runloop.models.budget import Budget
from runloop.models.types import EmbedRequest

if TYPE_CHECKING:
    from runloop.effects.perform.secrets import SecretStore
    from runloop.models.settings import ModelSettings


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
        broker = Broker(self.settings, self.store.get)
        try:
            reply = await broker.embed(EmbedRequest(texts, self.model), Budget())
        finally:
            await broker.aclose()
        return list(reply.vectors)
