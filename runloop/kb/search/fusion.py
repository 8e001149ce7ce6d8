"""Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): several rankings become one, by places and not by scores.

Scores of BM25 and distances of vectors have no common measure; places have. A document gets ``weight / (k + place)`` from each ranking
that has it, places counted from 1. Ties go to the document that is better in the first ranking that tells the two apart, then to the
one with the lower name, so that the same rankings always give the same order.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from runloop.dataclass import dataclass

K = 60  # of the paper: how little the first places count more than the next

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Fused(Generic[T]):
    """One document: its sum, and its place (from 1) in each ranking that has it."""

    item: T
    score: float
    places: Mapping[str, int]


def fuse(rankings: Mapping[str, Sequence[T]], weights: Mapping[str, float], *, k: int = K) -> list[Fused[T]]:
    """The best first; ``weights`` has one for each ranking."""
    places: dict[T, dict[str, int]] = {}
    for name, ranking in rankings.items():
        for place, item in enumerate(dict.fromkeys(ranking), 1):
            places.setdefault(item, {})[name] = place
    names = list(rankings)
    fused = [
        Fused(item, round(sum(weights[name] / (k + place) for name, place in found.items()), 9), found) for item, found in places.items()
    ]
    last = max((len(ranking) for ranking in rankings.values()), default=0) + 1
    return sorted(fused, key=lambda each: (-each.score, *(each.places.get(name, last) for name in names), str(each.item)))
