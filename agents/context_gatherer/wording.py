"""Words and how they compare, across languages without a dictionary.

Bundles are self-contained, so the agents that compare words each carry this file; `tests/agents` holds the copies equal.
"""

from __future__ import annotations

import re
import unicodedata

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "\u0131": "i"})
_APOSTROPHES = re.compile("(?<=\\w)['\u2018\u2019\u02bc`\u00b4](?=\\w)")
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f"
"""Scripts written without spaces, or with endings glued on: compared by pairs of characters."""
_RUNS = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_ENDINGS = ("ing", "ed", "es", "er", "s", "e")

_STOP = """a about above after again all also am an and any are as at be because been before being both but by can could did do does doing
    down during each for from further get had has have having he her here him his how i if in into is it its just let may me might
    more most must my no nor not now of off on once only or other our out over own please re regarding same shall she should so
    some such than that the their them then there these they this those through to too under until up very was we were what when
    where which while who whom why will with would you your das dem den der des die ein eine einem einen einer eines fur ist mit
    oder sich sind uber und von vom wie wir zu zum zur au aux ce ces dans de du en est et la le les nous pour que qui sur un une
    vous con del el los las para por sobre una uno y"""
_GENERIC = """call concern discuss discussion e email feedback follow followup friday idea info information item mail meeting message monday
    month new news next note open plan point project question quick report result review state status summary thing thought
    thursday today tomorrow topic tuesday update wednesday week work write year"""
STOP = frozenset(_STOP.split())


def fold(text: str) -> str:
    """Case, accents and inner apostrophes removed."""
    plain = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text)).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFC", "".join(char for char in plain if not unicodedata.combining(char)))


def stem(word: str) -> str:
    """A word without its commonest English ending, so that `plans`, `planned` and `planning` meet."""
    if not word.isascii() or not word.isalpha() or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word


def tokens(text: str) -> list[str]:
    """The stems of a text in order, function words left out."""
    found: list[str] = []
    for word in _WORD.findall(fold(text)):
        for run in _RUNS.findall(word):
            if re.match(f"[{_UNSPACED}]", run):
                found += [run[index : index + 2] for index in range(len(run) - 1)] or [run]
            elif run not in STOP:
                found.append(stem(run))
    return found


def terms(text: str) -> tuple[str, ...]:
    """The different stems of a text in the order they first stand there."""
    return tuple(dict.fromkeys(tokens(text)))


GENERIC = frozenset(map(stem, _GENERIC.split()))
"""Stems that many notes share; they count little when judging whether a note is about a topic."""


def weight(term: str) -> float:
    """How much a term says about a topic."""
    return 0.3 if term in GENERIC or (len(term) == 1 and term.isascii()) else 1.0


def overlap(text: str, other: str) -> float:
    """The share of the words of `text`, by weight, that stand in `other` too; 1.0 when `text` has none."""
    wanted, there = terms(text), set(tokens(other))
    total = sum(weight(term) for term in wanted)
    return sum(weight(term) for term in wanted if term in there) / total if total else 1.0


_STOPS = re.compile(r"(?:[.!?\u2026]+[\"'\u2019\u201d)]*|[\u3002\uff01\uff1f]+)(?:[ \t]*\[\d+\])*(?=\s|$|[\u3040-\u9fff])")
_SHORT = re.compile(
    r"(?:^|[\s(\"'\u201c\u2018])(?:\d{1,2}|[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|Nr|No|vs|etc|approx|ca|e\.g|i\.e|z\.B|d\.h|Inc|Ltd|Co)\.$",
    re.IGNORECASE,
)


def sentences(line: str) -> list[str]:
    """The sentences of one line, each with the citations that follow it; abbreviations and dates do not end one."""
    found: list[str] = []
    start = 0
    for stop in _STOPS.finditer(line):
        follows = line[stop.end() :].lstrip()
        if follows and (_SHORT.search(line[start : stop.end()]) or follows[0].islower()):
            continue
        found.append(line[start : stop.end()].strip())
        start = stop.end()
    rest = line[start:].strip()
    return [sentence for sentence in (*found, rest) if sentence]
