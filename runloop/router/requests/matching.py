"""Which opening a request means: TF-IDF over names, goals and examples, and examples laid beside the line. Explained, never guessed."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeAlias

from runloop.dataclass import dataclass
from runloop.router.requests.filling import Aligned, Filled, align, named_values, typed
from runloop.router.requests.misspelled import corrected
from runloop.router.requests.words import telling, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MATCHES = 0.55
"""A score from which an opening is meant."""
MARGIN = 0.08
"""How far the best must be ahead of the second; else a person (or, where it is switched on, a model) chooses."""
_NAMED = 1.0  # the score of an opening whose name is the first word
_WHOLE = 0.2  # the part of a score that says how much of the example was said; the rest says how much of the line it explains
_BEGUN = 2
"""Telling words of an example that a line must have to be that example without its end; `tell me what failed` is none."""
MAX_LINE = 4000
"""Characters of a request; what is longer is a text to work on, not a request."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An opening as requests see it; each example is its text and its pieces (words, slot, words, …)."""

    name: str
    goals: tuple[str, ...] = ()
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """How well an opening fits: a score of 0 to 1, the words that speak for it with their weights, and its parameters."""

    name: str
    score: float
    terms: tuple[tuple[str, float], ...]
    example: str | None
    params: tuple[Filled, ...]
    missing: tuple[str, ...] = ()
    """Slots of every example, hence what such a request has to say, that found nothing in the line; none where only the name was said."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "opening": self.name,
            "score": self.score,
            "terms": [{"word": word, "weight": weight} for word, weight in self.terms],
            "example": self.example,
            "params": {each.name: {"value": each.value, "text": each.text, "by": each.by} for each in self.params},
            "missing": list(self.missing),
        }


@dataclass(frozen=True, slots=True)
class Meant:
    """What a request means: ``outcome`` is ``one`` (the first match), ``close`` (one of ``near``) or ``none``."""

    outcome: str
    matches: tuple[Match, ...]
    reason: str

    @property
    def near(self) -> tuple[Match, ...]:
        """The matches among which somebody has to choose."""
        best = self.matches[0].score if self.matches else 0.0
        return tuple(each for each in self.matches if each.score >= MATCHES and best - each.score < MARGIN)


_NOT = re.compile(r"\W*(please\W+)?(do\s+not|don['\u2019]?t|never)\b", re.IGNORECASE)
_WHETHER = (
    r"(?:(?:did|was|were|does|has|had)\b"
    r"|(?:do|have|am|is|are)\W+(?:i|we|you|they|he|she|it|there|any(?:body|one)|some(?:body|one))\b)"
)
_QUESTION = re.compile(
    rf"\W*(?:who(?:se|m)?\b|which\b|what\b(?!\W+(?:about|if)\b)|how\W+(?:many|much|often|long)\b|(?:(?:when|where|how|why)\W+)?{_WHETHER})",
    re.IGNORECASE,
)
_Best: TypeAlias = "tuple[Aligned, float] | None"


def meant(line: str, candidates: Sequence[Candidate]) -> Meant:
    """The openings that fit a request, best first, and whether one of them is meant. Deterministic; ties go by name.

    Where none is, the first words may be misspelled.
    """
    found = _meant(line, candidates)
    if found.outcome != "none" or len(line) > MAX_LINE:
        return found
    spelled, read = corrected(line, (word.text for each in candidates for text in _spoken(each) for word in words(text)))
    better = _meant(spelled, candidates) if read else found
    if better.outcome == "none" or any(_holds(each.text, wanted) for each in better.matches[0].params for wanted in read.values()):
        return found
    slips = ", ".join(f"{said} as {wanted}" for said, wanted in read.items())
    return Meant(better.outcome, better.matches, f"{better.reason}, with {slips}")


def _holds(text: str, word: str) -> bool:
    """Whether the word is in what is given to the opening: what a person wrote there stays as it is."""
    return word in text.split()


def _meant(line: str, candidates: Sequence[Candidate]) -> Meant:
    if len(line) > MAX_LINE:
        return Meant("none", (), f"the line is longer than {MAX_LINE} characters")
    known = [frozenset[str]().union(*map(telling, _texts(each))) for each in candidates]
    weights = _weights(known)
    matches = sorted(
        (_match(line, each, own, weights) for each, own in zip(candidates, known, strict=True)),
        key=lambda match: (-match.score, match.name),
    )
    if _NOT.match(line):
        return Meant("none", tuple(matches), "the line says what not to do")
    if not matches or matches[0].score < MATCHES:
        reason = "there are no openings" if not matches else f"no opening reaches {MATCHES}; the nearest is {matches[0].name}"
        return Meant("none", tuple(matches), reason)
    if _QUESTION.match(line) and not _begins_so(line, next(each for each in candidates if each.name == matches[0].name)):
        return Meant("none", tuple(matches), f"the line is a question, and {matches[0].name} is for none that begins so")
    found = Meant("one", tuple(matches), f"{matches[0].name} fits best")
    if len(found.near) > 1:
        return Meant("close", found.matches, f"{' and '.join(each.name for each in found.near)} are too close to tell apart")
    return found


def _begins_so(line: str, candidate: Candidate) -> bool:
    """Whether an example begins with the line's first word."""
    first = words(line)[0].stem
    return any(word.stem == first for text, _ in candidate.examples for word in words(text)[:1])


def _weights(known: Sequence[frozenset[str]]) -> dict[str, float]:
    """How much each word tells, by the words of each opening: less, the more openings have it."""
    having = Counter(word for own in known for word in own)
    return {word: math.log(1 + (1 + len(known)) / count) for word, count in having.items()}


def _texts(candidate: Candidate) -> list[str]:
    return [candidate.name.replace("_", " "), *candidate.goals, *_spoken(candidate)]


def _spoken(candidate: Candidate) -> list[str]:
    """The words of its examples, without the slots."""
    return [" ".join(pieces[::2]) for _, pieces in candidate.examples]


def _match(line: str, candidate: Candidate, known: frozenset[str], weights: Mapping[str, float]) -> Match:
    rest, named = named_values(line, candidate.params)
    said = telling(rest)
    first = rest.split(maxsplit=1)[0] if rest.split() else ""
    best = _best_example(rest, frozenset(said), candidate, weights) or _best_beginning(rest, said, candidate, weights)
    params: dict[str, Filled] = {}
    if best is None:
        terms = _shared(said, known, weights)
        score = min(1.0, sum(weight for _, weight in terms) / _all(said, weights))
        example = None
    else:
        laid, whole = best
        params = {
            name: Filled(name, value[0], text, laid.example)
            for name, text in laid.slots.items()
            if (value := typed(text, candidate.params.get(name))) is not None
        }
        outside = _outside(said, laid)
        terms = _shared(outside, known, weights)
        share = sum(weight for _, weight in terms) / _all(outside, weights)
        score = min(1.0, (1 - _WHOLE) * share + _WHOLE * whole)
        example = laid.example
    if first == candidate.name:
        score = _NAMED
        params |= {} if params else _only_param(rest, candidate)
    params.update(named)
    missing = () if rest == candidate.name else tuple(name for name in _always(candidate) if name not in params)
    return Match(
        candidate.name, round(score, 4), terms, example, tuple(params[name] for name in candidate.params if name in params), missing
    )


def _only_param(line: str, candidate: Candidate) -> dict[str, Filled]:
    """What follows the name of an opening that takes one thing is that thing."""
    value = line[len(candidate.name) :].strip()
    if len(candidate.params) != 1 or not value:
        return {}
    [(name, default)] = candidate.params.items()
    given = typed(value, default)
    return {} if given is None else {name: Filled(name, given[0], value, f"{candidate.name} {{{name}}}")}


def _always(candidate: Candidate) -> list[str]:
    """The parameters that every example has a slot for."""
    slots = [frozenset(pieces[1::2]) for _, pieces in candidate.examples]
    return [name for name in candidate.params if slots and all(name in each for each in slots)]


def _best_example(line: str, said: frozenset[str], candidate: Candidate, weights: Mapping[str, float]) -> _Best:
    """The example that explains most of the line: all its slots filled, most of its words there, most of the line's own words its."""
    return _best(line, said, candidate, weights, candidate.examples)


def _best_beginning(line: str, said: Sequence[str], candidate: Candidate, weights: Mapping[str, float]) -> _Best:
    """The same for a line that ends before the example does: some of the last slots are not there, and more than one telling word is."""
    beginnings = [
        (text, (*pieces[: 2 * slots], ends))
        for text, pieces in candidate.examples
        for slots in range(len(pieces) // 2 - 1, 0, -1)
        for ends in dict.fromkeys((pieces[2 * slots], ""))
    ]
    best = _best(line, frozenset(said), candidate, weights, beginnings)
    if best is None or len({*_outside(said, best[0])} & {*telling(best[0].example)}) < _BEGUN:
        return None
    openers = frozenset[str]().union(*_before_slots(candidate).values())
    return None if any(words(value)[0].stem in openers for value in best[0].slots.values() if words(value)) else best


def _best(
    line: str, said: frozenset[str], candidate: Candidate, weights: Mapping[str, float], examples: Sequence[tuple[str, tuple[str, ...]]]
) -> _Best:
    """Of examples that fit, the one that explains most, with no value that begins with what stands before its slot in another example.

    Beside it how much was said of the one of which most was.
    """
    before = _before_slots(candidate)
    best: tuple[int, float, int, Aligned] | None = None
    whole = 0.0
    for number, (text, pieces) in enumerate(examples):
        laid = align(line, pieces, text)
        if laid is None or not laid.found:
            continue
        whole = max(whole, laid.found / laid.of)
        taken = sum(words(value)[0].stem in before[name] for name, value in laid.slots.items() if words(value))
        own = sum(weights.get(word, 0.0) for word in telling(" ".join(pieces[::2])) if word in said)
        value = (-taken, own + laid.found / laid.of + 0.5 * len(laid.slots), -number, laid)
        if best is None or value[:3] > best[:3]:
            best = value
    return None if best is None else (best[3], whole)


def _before_slots(candidate: Candidate) -> dict[str, set[str]]:
    """The words that stand right before each slot, in any example."""
    before: dict[str, set[str]] = {}
    for _, pieces in candidate.examples:
        for literal, name in zip(pieces[::2], pieces[1::2], strict=False):
            before.setdefault(name, set()).update(word.stem for word in words(literal)[-1:])
    return before


def _outside(said: Sequence[str], laid: Aligned) -> list[str]:
    """The words of the line that did not fall into a slot."""
    inside = Counter(word for text in laid.slots.values() for word in telling(text))
    outside = []
    for word in said:
        if inside[word] > 0:
            inside[word] -= 1
        else:
            outside.append(word)
    return outside


def _shared(said: Sequence[str], known: frozenset[str], weights: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple((word, round(weights[word], 4)) for word in dict.fromkeys(said) if word in known)


def _all(said: Sequence[str], weights: Mapping[str, float]) -> float:
    """The weight of all that was said; a word that no opening has counts like one that a single opening has."""
    unknown = max(weights.values(), default=1.0)
    return sum(weights.get(word, unknown) for word in dict.fromkeys(said)) or unknown
