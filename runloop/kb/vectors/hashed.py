"""An embedder that needs no model: words and the pieces that they consist of, hashed into 384 numbers (feature hashing).

Weinberger et al., ICML 2009; pieces of words as in fastText (Bojanowski et al., TACL 2017). It finds other forms of a word, compounds and
typing errors, across all scripts. It knows nothing of meaning: for that, choose a model. The same text gives the same numbers everywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

from runloop.kb.derived import WORD, fold

DIMENSIONS = 384
PIECES = (3, 4, 5)  # letters of a piece of a word, its ends included
_WORD_WEIGHT = 0.3
_PIECES_WEIGHT = 1.0  # of all pieces of a word together
_FULL = 8  # letters from which a word counts in full; short ones are mostly grammar
_KNOWN_WORDS = 20_000


class HashedEmbedder:
    """See the module; has no state."""

    identity = "hashed-3"
    floor = 0.18
    weight = 0.5
    max_chars = 20_000
    batch = 256

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """A vector for each text; one without words gets zeros."""
        return [_vector(text[: self.max_chars]) for text in texts]


def _vector(text: str) -> list[float]:
    values = [0.0] * DIMENSIONS
    for word, count in Counter(WORD.findall(fold(text))).items():
        weight = 1 + math.log(count)
        for place, value in _features(word):
            values[place] += weight * value
    return values


@lru_cache(_KNOWN_WORDS)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """Where a word goes and how much."""
    weight = min(1.0, len(word) / _FULL) ** 2 if word.isascii() else 1.0
    marked = f"^{word}$"
    pieces = [marked[at : at + size] for size in PIECES for at in range(len(marked) - size + 1)]
    features = [_place(f"w:{word}", weight * _WORD_WEIGHT)]
    if pieces:
        share = weight * _PIECES_WEIGHT / math.sqrt(len(pieces))
        features += [_place(piece, share) for piece in pieces]
    return tuple(features)


def _place(feature: str, weight: float) -> tuple[int, float]:
    hashed = crc32(feature.encode())
    return hashed % DIMENSIONS, weight if hashed & 0x8000_0000 else -weight
