"""A request whose first words are misspelled, as it was meant: each word that is one slip away from one word of the examples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runloop.router.requests.words import fold, is_empty, words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runloop.router.requests.words import Word

_FIRST = 4
"""Words of the line that are looked at: what follows says what it is about, and may be any name."""
_SHORTEST = 4
_ANY_SLIP = 5
"""Letters from which a letter more, less or other is a slip; in shorter words only two that changed places are."""


def corrected(line: str, known: Iterable[str]) -> tuple[str, dict[str, str]]:
    """The line with the words that it was meant to begin with, and which word stands for which; ``known`` are words of examples."""
    meant = {fold(word): word for word in known if len(fold(word)) >= _SHORTEST}
    stems = {word.stem for text in meant.values() for word in words(text)}
    read: dict[str, str] = {}
    for number, word in enumerate(words(line)[:_FIRST]):
        if word.stem in stems or is_empty(word.text) or not _may_be_slip(word, number):
            continue
        near = {meant[each] for each in meant if _one_slip(fold(word.text), each)}
        if len(near) == 1:
            read[word.text] = near.pop()
    for said, wanted in read.items():
        line = re.sub(rf"(?<!\w){re.escape(said)}(?!\w)", wanted, line, count=1)
    return line, read


def _may_be_slip(word: Word, number: int) -> bool:
    """A name is written with a capital; where the line begins, every word is."""
    return word.text.isalpha() and len(word.text) >= _SHORTEST and (number == 0 or word.text.islower())


def _one_slip(said: str, meant: str) -> bool:
    """Whether one letter is more, less or other, or two neighbours changed places."""
    if abs(len(said) - len(meant)) > 1 or said == meant:
        return False
    at = next((place for place, (one, other) in enumerate(zip(said, meant, strict=False)) if one != other), min(len(said), len(meant)))
    rest, wanted = said[at:], meant[at:]
    if rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:] and len(rest) > 1:
        return True
    long_enough = min(len(said), len(meant)) >= _ANY_SLIP
    return long_enough and (rest[1:] == wanted[1:] or rest[1:] == wanted or rest == wanted[1:])
