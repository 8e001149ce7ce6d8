"""The words of a line, as requests are compared: folded, without endings, without those that say nothing."""

from __future__ import annotations

import re
import unicodedata

from runloop.dataclass import dataclass

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "es", "ed", "s", "e")
_LEAST = 3  # letters that stay of a word

# Words that stand in every request and tell none from another.
_EMPTY = frozenset(
    """a about an and are as at be by can could do does for from give has have how i if in is it its just let me my now of off on one or
    our out over please shall should so some that the their them then there this those to up us want was we were what when where which
    who will with would you your""".split()
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line: as written, what it is compared by, and where it stands."""

    text: str
    stem: str
    start: int
    end: int


def words(line: str) -> list[Word]:
    """Every word of a line, in order; an apostrophe or a hyphen inside a word belongs to it."""
    return [Word(found[0], stem(found[0]), found.start(), found.end()) for found in _WORD.finditer(line)]


def telling(line: str) -> list[str]:
    """The stems of the words that may tell one request from another."""
    return [word.stem for word in words(line) if not is_empty(word.text)]


def is_empty(text: str) -> bool:
    """Whether the word stands in every request and tells none from another."""
    return fold(text) in _EMPTY


def fold(text: str) -> str:
    """Lower case, without accents, hyphens and apostrophes: `E-Mail` and `email` are one word."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if char.isalnum() and not unicodedata.combining(char))


def stem(text: str) -> str:
    """The folded word without the commonest English endings; it need not be a word any more."""
    folded = fold(text)
    for ending in _ENDINGS:
        if folded.endswith(ending) and len(folded) - len(ending) >= _LEAST and not folded.endswith("ss"):
            return folded[: -len(ending)]
    return folded
