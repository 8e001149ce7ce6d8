"""The message without a model: short, polite, the points of the notes as they stand there, each with its source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from claims import count_words
from letter import MAX_TOPIC, Addressee, Source
from plain import shorten
from wording import overlap, sentences, tokens

MAX_POINTS = 5
MAX_POINT_WORDS = 45

_VERB_WORDS = """ask tell please remind invite thank thanks request say can could would will why how what when where who whether if i we
    check confirm"""
_DETERMINER_WORDS = "the a an my your our his her their its this that these those all some any no each every both next last"
_NOUN_WORDS = """agenda agreement audit budget campaign conference contract deadline draft event interview invoice launch meeting migration
    move offer office order plan presentation project proposal release renovation report review roadmap roll-out rollout schedule survey
    timeline trip update visit website workshop"""
_VERBS = frozenset(_VERB_WORDS.split())
_DETERMINERS = frozenset(_DETERMINER_WORDS.split())
_NOUNS = frozenset(_NOUN_WORDS.split())
"""Nouns that take an article; any other topic is named as it was typed."""


@dataclass(frozen=True, slots=True)
class Tone:
    """The fixed sentences of one tone."""

    greeting: str
    nameless: str
    whole_name: bool
    points: str
    question: str
    nothing: str
    closing: str


_NEUTRAL = Tone(
    greeting="Hello",
    nameless="Hello,",
    whole_name=False,
    points="I am writing about {topic}. My notes on this say:",
    question="Does this match your view? If something is missing or has changed, please let me know.",
    nothing="I am writing about {topic}. Could you tell me how things stand on your side, and when we could talk about it?",
    closing="Best regards",
)
_FORMAL = Tone(
    greeting="Dear",
    nameless="Dear Sir or Madam,",
    whole_name=True,
    points="I am writing to you about {topic}. My notes on this say:",
    question="I would be grateful if you could tell me whether this matches your view, and what may have changed since.",
    nothing="I am writing to you about {topic}. I would be grateful if you could tell me how things stand, and when we could discuss it.",
    closing="Yours sincerely",
)
_FRIENDLY = Tone(
    greeting="Hi",
    nameless="Hi,",
    whole_name=False,
    points="A quick note about {topic}. Here is what I have so far:",
    question="Does that match what you have? Happy to talk it through whenever it suits you.",
    nothing="A quick note about {topic}: how do things look on your side, and when would you have a moment to talk about it?",
    closing="Best wishes",
)


def tone_of(name: str) -> Tone:
    """The tone whose word stands in the name; neutral for any other."""
    said = set(re.findall(r"\w+", name.casefold()))
    if said & {"formal", "official", "respectful"}:
        return _FORMAL
    if "neutral" not in said and said & {"friendly", "enthusiastic", "casual", "warm", "informal", "cheerful"}:
        return _FRIENDLY
    return _NEUTRAL


def greeting(addressee: Addressee, tone: Tone) -> str:
    """The first line."""
    if not addressee.name:
        return tone.nameless
    return f"{tone.greeting} {addressee.name if tone.whole_name else addressee.short()},"


def write(topic: str, addressee: Addressee, sources: list[Source], *, tone: str, max_words: int, sender: str = "") -> str:
    """The message without its source list; points are left out, last first, until it keeps to `max_words`."""
    chosen = tone_of(tone)
    points = _points(topic, sources)
    while True:
        text = _assemble(topic, addressee, points, chosen, sender)
        if not points or count_words(text) <= max_words:
            return text
        points = points[:-1]


def _assemble(topic: str, addressee: Addressee, points: list[str], tone: Tone, sender: str) -> str:
    opening = (tone.points if points else tone.nothing).replace("{topic}", mention(topic))
    parts = [greeting(addressee, tone), opening]
    if points:
        parts += ["\n".join(points), tone.question]
    return "\n\n".join([*parts, f"{tone.closing}\n{sender}" if sender else tone.closing])


def mention(topic: str) -> str:
    """The topic inside a sentence: quoted where it is a clause or a question, bare where it reads as a noun."""
    text = shorten(topic.strip(" .:;,"), MAX_TOPIC)
    parts = text.split()
    first, last = (parts[0].casefold().strip("'\u2019"), parts[-1].casefold()) if parts else ("", "")
    clause = len(parts) > 7 or first in _VERBS
    if not clause and not re.search(r"[?!:;,.\u2026\"\u201c\u201d]", text):
        bare = last not in _NOUNS or first in _DETERMINERS or re.search(r"['\u2019]s?$", first)
        return text if bare else f"the {text}"
    return "\u201c" + re.sub('["\u201c\u201d]', "'", text) + "\u201d"


def _points(topic: str, sources: list[Source]) -> list[str]:
    points: list[str] = []
    said: set[tuple[str, ...]] = set()
    for source in sources:
        point = pick(topic, source.excerpt)
        same = tuple(tokens(point))
        if point and same not in said:
            said.add(same)
            points.append(f"- {point} [{source.number}]")
        if len(points) == MAX_POINTS:
            break
    return points


def pick(topic: str, excerpt: str, max_words: int = MAX_POINT_WORDS) -> str:
    """The excerpt, or of a long one the sentences around the one that is most about the topic."""
    if len(excerpt.split()) <= max_words and len(excerpt) <= max_words * 8:
        return _capital(excerpt)
    parts = sentences(excerpt)
    best = max(range(len(parts)), key=lambda index: (overlap(topic, parts[index]), -index))
    taken = parts[best]
    for following in parts[best + 1 :]:
        if len(taken.split()) + len(following.split()) > max_words:
            break
        taken = f"{taken} {following}"
    cut = taken.split()
    return _capital(shorten(taken if len(cut) <= max_words else " ".join(cut[:max_words]) + "\u2026", max_words * 8))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
