"""What makes vectors, and what finds the nearest ones: two ports, each with several adapters that pass the same tests."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Protocol

from runloop.dataclass import dataclass
from runloop.errors import Unavailable


class EmbedderError(Unavailable):
    """Texts could not be turned into vectors; nothing is lost, and searching by words goes on."""

    code = "kb.embedder"
    retryable = True


class Embedder(Protocol):
    """Turns texts into vectors of one length. The same text gives the same vector as long as ``identity`` is the same."""

    @property
    def identity(self) -> str:
        """What the vectors depend on: kind, model, version. Vectors of different identities cannot be compared."""

    @property
    def floor(self) -> float:
        """The cosine likeness below which two texts have nothing to do with each other."""

    @property
    def weight(self) -> float:
        """What a place among the nearest counts beside one in the text (``fusion``)."""

    @property
    def max_chars(self) -> int:
        """How much of a text counts; the rest would be cut by the model."""

    @property
    def batch(self) -> int:
        """How many texts to give at a time."""

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """A vector for each text. Raises RunloopError."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What makes the vectors, and of which domains; ``floor`` in place of the embedder's own."""

    embedder: Embedder
    domains: tuple[str, ...]
    floor: float | None = None


class VectorIndex(Protocol):
    """Unit vectors by number, in the file of the connection that it was made for. The caller holds the transaction."""

    name: str

    def create(self, dimensions: int) -> None:
        """Make the empty index."""

    def drop(self) -> None:
        """Remove it, if it is there."""

    def put(self, items: Sequence[tuple[int, bytes]]) -> None:
        """Add vectors (float32, little-endian, of length 1), in place of earlier ones of the same number."""

    def remove(self, numbers: Sequence[int]) -> None:
        """Take vectors out, if they are there, so that nothing of them stays in the file."""

    def nearest(self, vector: bytes, count: int, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """At most ``count`` numbers with their cosine likeness, the nearest first, ties by number; only those ``among``, if given."""


def unit(vector: Sequence[float]) -> bytes:
    """The vector brought to length 1, as float32; a vector of zeros, which is near to nothing, stays one.

    Raises:
        EmbedderError: ``kb.bad_vector`` for numbers that are not finite.

    """
    length = math.sqrt(math.fsum(value * value for value in vector))
    if not math.isfinite(length):
        raise EmbedderError("a vector has numbers that are not finite", code="kb.bad_vector", hint="use another embedding model")
    packed = array("f", [value / length for value in vector] if length else vector)
    if packed.itemsize != 4:
        raise EmbedderError("this machine has no 4-byte floats", code="kb.bad_vector", hint="set kb.vectors.embedder to off")
    return packed.tobytes()
