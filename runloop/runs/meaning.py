"""What makes the vectors of documents, as the settings say (``kb.vectors.*``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runloop.errors import InvalidInput, Where
from runloop.kb.vectors import Embedder, HashedEmbedder, Meaning

if TYPE_CHECKING:
    from runloop.config import Settings

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
    from runloop.models.broker import Broker
    from runloop.models.settings import ProviderKind
    from runloop.runs.model_settings import model_settings
    from runloop.runs.places import secret_store
    from runloop.runs.provider_embedder import ProviderEmbedder

    models, store = model_settings(settings), secret_store(settings)
    provider, model = Broker(models, store.get).route_embedding(name)
    if provider.kind == ProviderKind.NONE:
        hint = "use hashed, wordllama, off, or provider:model with a provider of models.broker.providers"
        raise InvalidInput(f"{name!r} names no embedder", code="kb.unknown_embedder", where=Where(key="kb.vectors.embedder"), hint=hint)
    return ProviderEmbedder(models, store, f"{provider.id}:{model}")
