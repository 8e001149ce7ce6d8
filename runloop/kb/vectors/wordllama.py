"""A sentence model that comes whole in a wheel (WordLlama, 256 dimensions): meaning, on the processor, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runloop.kb.vectors.port import EmbedderError

DIMENSIONS = 256


class WordLlamaEmbedder:
    """Loads the model on first use, which takes half a second."""

    floor = 0.2
    weight = 1.0
    max_chars = 4000
    batch = 256

    def __init__(self) -> None:
        self._model: Any = None
        from importlib.metadata import PackageNotFoundError, version

        try:
            self.identity = f"wordllama-{version('wordllama')}-{DIMENSIONS}"
        except PackageNotFoundError:
            hint = "pip install 'runloop[semantic]', or set kb.vectors.embedder to hashed"
            raise EmbedderError("wordllama is not installed", code="kb.embedder_missing", hint=hint, retryable=False) from None

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """A vector for each text; an empty text gets zeros."""
        if self._model is None:
            self._model = _load()
        rows = self._model.embed([text[: self.max_chars] or " " for text in texts], norm=False).tolist()
        return [row if text.strip() else [0.0] * DIMENSIONS for text, row in zip(texts, rows, strict=True)]


def _load() -> Any:
    import logging

    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    try:
        import wordllama
    finally:
        root.setLevel(before[0])  # it sets up the program's log when it is imported
        root.handlers[:] = before[1]
    # It looks for its own tokenizer beside its weights only when told that they are the cache; and it never may fetch one.
    return wordllama.WordLlama.load(dim=DIMENSIONS, cache_dir=Path(wordllama.__file__).parent, disable_download=True)
