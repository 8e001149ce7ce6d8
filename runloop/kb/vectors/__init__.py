"""Vectors of documents, in a file of their own that can be thrown away: made in the background, never while an event is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.kb.vectors.asking import by_meaning
    from runloop.kb.vectors.catchup import Progress, catch_up
    from runloop.kb.vectors.hashed import HashedEmbedder
    from runloop.kb.vectors.port import Embedder, EmbedderError, Meaning, VectorIndex, unit
    from runloop.kb.vectors.store import Status, VectorStore

_HOMES = {
    "Embedder": "port",
    "EmbedderError": "port",
    "HashedEmbedder": "hashed",
    "Meaning": "port",
    "Progress": "catchup",
    "Status": "store",
    "VectorIndex": "port",
    "VectorStore": "store",
    "by_meaning": "asking",
    "catch_up": "catchup",
    "unit": "port",
}

__all__ = [
    "Embedder",
    "EmbedderError",
    "HashedEmbedder",
    "Meaning",
    "Progress",
    "Status",
    "VectorIndex",
    "VectorStore",
    "by_meaning",
    "catch_up",
    "unit",
]

__getattr__ = importing(__name__, _HOMES)
