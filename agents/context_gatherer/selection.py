"""Choose the passages that are about a topic: few, short, different, each with its source. Plain data in and out."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from disclosure import confidential, gives_orders, secrets_in
from passages import MAX_CHARS, Passage, passages
from wording import terms, tokens, weight

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADING_WEIGHT = 0.8
"""What a term counts that stands in a heading, title or file name and not in the passage."""
FIGURE_BONUS = 0.1
"""What a date, sum or count adds: of two passages on a topic, the one with a figure says more."""
RELATIVE_FLOOR = 0.55
"""Passages below this share of the best score are left out: half-related notes do not belong in a message."""
MAX_EXCERPT = MAX_CHARS
"""Characters of one excerpt."""
MIN_WORDS = 3


@dataclass(frozen=True, slots=True)
class Note:
    """A text with its source; `origins` says from which line on which event holds it, None for a file read from its directory."""

    path: str
    title: str
    text: str
    origins: tuple[tuple[int, int | None], ...] = ((1, None),)

    def event_at(self, line: int) -> int | None:
        """The event that holds this line."""
        return next((event_id for first, event_id in reversed(self.origins) if first <= line), None)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a note that are about the topic; `score` is 0 to 1."""

    event_id: int | None
    path: str
    line: int
    title: str
    excerpt: str
    score: float


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen, and how many passages were kept back for which reason."""

    excerpts: tuple[Excerpt, ...]
    withheld: dict[str, int]


def select(wanted: Wanted, notes: Iterable[Note], *, limit: int = 6, per_note: int = 4, max_chars: int = 2400) -> Selection:
    """The passages that are about what is wanted, best note first, each note's in its order."""
    chosen: list[Excerpt] = []
    withheld: dict[str, int] = {}
    seen: set[tuple[str, ...]] = set()
    taken: dict[str, int] = {}
    size = 0
    for score, note, passage in _ranked(wanted, notes):
        reason = keep_back(passage)
        text = shorten(passage.text, MAX_EXCERPT)
        same = tuple(tokens(text))
        if same in seen:
            continue
        if reason:
            withheld[reason] = withheld.get(reason, 0) + 1
        elif taken.get(note.path, 0) < per_note and size + len(text) <= max_chars and len(chosen) < limit:
            taken[note.path] = taken.get(note.path, 0) + 1
            size += len(text)
            chosen.append(Excerpt(note.event_at(passage.line), note.path, passage.line, note.title, text, round(score, 3)))
        seen.add(same)
    places = list(taken)
    chosen.sort(key=lambda excerpt: (places.index(excerpt.path), excerpt.line))
    return Selection(tuple(chosen), withheld)


def keep_back(passage: Passage) -> str:
    """Why a passage must not go into a message; empty when it may. What its paragraph says of itself holds for each part."""
    return _keep_back(passage.whole or passage.text, passage.headings)


@functools.lru_cache(maxsize=64)
def _keep_back(text: str, headings: tuple[str, ...]) -> str:
    if secrets_in(text):
        return "secret"
    if confidential(" ".join((text, *headings))):
        return "confidential"
    return "instructions" if gives_orders(text) else ""


def _ranked(wanted: Wanted, notes: Iterable[Note]) -> list[tuple[float, Note, Passage]]:
    """The passages above the floor, best first, else in the order of their notes."""
    scored: list[tuple[float, Note, Passage]] = []
    for note in notes:
        found = passages(note.text)
        headings = {heading for passage in found for heading in passage.headings}
        title = "" if note.title in headings else note.title
        scored += [(wanted.score(note, passage, title), note, passage) for passage in found]
    best = max((row[0] for row in scored), default=0.0)
    return sorted((row for row in scored if row[0] > 0 and row[0] >= best * RELATIVE_FLOOR), key=lambda row: -row[0])


@dataclass(frozen=True, slots=True)
class Wanted:
    """The terms of a topic with their weights, and how many telling ones a passage must have."""

    weights: dict[str, float]
    need: int

    @classmethod
    def of(cls, topic: str, name: str = "") -> Wanted:
        """The terms of `topic`; when all are generic they count as telling after all.

        The recipient's `name` is generic: that a note mentions them does not make it relevant.
        """
        weights = {term: weight(term) for term in terms(topic)}
        for term in terms(name):
            if term in weights:
                weights[term] = min(weights[term], 0.3)
        if weights and max(weights.values()) < 1:
            weights = dict.fromkeys(weights, 1.0)
        telling = sum(1 for value in weights.values() if value == 1)
        return cls(weights, min(telling, 1 if telling < 2 else 2 if telling < 6 else 3))

    def covers(self, title: str, path: str) -> bool:
        """Whether a note is about the topic as a whole, by its title and file name."""
        return self.need > 0 and self._telling(set(tokens(f"{title} {_stem_of(path)}"))) >= self.need

    def score(self, note: Note, passage: Passage, title: str) -> float:
        """How much of the topic the passage covers, from 0 to 1; 0 when it lacks the telling terms or only leads to what follows.

        `title` is the note's where it stands for the whole note, and empty where it is a heading of some passages.
        """
        own = tokens(passage.text)
        if (len(own) < MIN_WORDS and len(passage.text) < 20) or passage.text.endswith(":"):
            return 0.0
        inside, above = set(own), set(tokens(" ".join((title, _stem_of(note.path), *passage.headings))))
        if not self.weights or self._telling(inside | above) < self.need:
            return 0.0
        got = sum(value * (1.0 if term in inside else HEADING_WEIGHT if term in above else 0.0) for term, value in self.weights.items())
        figures = FIGURE_BONUS if re.search(r"\d", passage.text) else 0.0
        return min(1.0, got / sum(self.weights.values()) + figures)

    def _telling(self, words: set[str]) -> int:
        return sum(1 for term, value in self.weights.items() if value == 1 and term in words)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut after a sentence where one ends late enough, else after a word."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s)|[\u3002\uff01\uff1f]", head)]
    if ends and ends[-1] > limit // 2:
        return head[: ends[-1]]
    space = head.rfind(" ")
    return head[: space if space > limit // 2 else len(head)].rstrip(" ,;:") + "\u2026"


def _stem_of(path: str) -> str:
    return re.sub(r"\.\w+$", "", path.rsplit("/", 1)[-1])
