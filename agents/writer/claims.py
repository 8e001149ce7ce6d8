"""How a message cites, and whether what it states stands in the sources it cites.

Bundles are self-contained, so the agents that write and judge messages each carry this file; `tests/agents` holds the copies equal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wording import fold, overlap, sentences, terms, weight

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES_HEADING = "Sources:"
SUPPORTED = 0.5
"""The least share of a sentence's words that its cited sources must hold."""

_CITATION = re.compile(r"\[(\d{1,3})\]")
_BULLET = re.compile(r"\s*[-*\u2022]\s+")
_FIGURE = re.compile(r"(?<![^\W_])\d+(?:[.,:]\d+)*")
_STATEMENT = re.compile(r"[.!\u2026][\"'\u2019\u201d)]*$")
_LATIN = re.compile("[^\\W\\d_a-z]")
_SPOKEN_TO = """hello hi hey dear hallo liebe lieber hola bonjour ciao
    i im id ill ive me my mine you your yours youre youll please thank thanks hope looking wish best regards welcome sorry
    ich mich mir mein meine du dich dir dein deine sie ihnen ihr ihre ihren bitte danke gerne je moi mon ma mes tu vous votre vos merci
    yo mi usted ustedes te le su sus por gracias io ti lei tua tuo suo sua grazie jij u uw jouw mij graag eu voce seu obrigado"""
_PERSONAL = frozenset(_SPOKEN_TO.split())
"""Words of a sentence in which the sender speaks to the reader; any other statement is one about the world."""
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+|\b(?:https?://|www\.)[^\s<>()\[\]\"']+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """What must stand on a source by itself: a bullet, or a sentence of a paragraph."""

    text: str
    bullet: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one sentence: `check` is citation, support or address; `number` the citation meant, if one is."""

    check: str
    problem: str
    unit: str
    number: int | None = None


def text_of(body: str) -> str:
    """The message without its source list."""
    lines = body.split("\n")
    heads = [index for index, line in enumerate(lines) if line.strip() == SOURCES_HEADING]
    return "\n".join(lines[: heads[-1]] if heads else lines).rstrip()


def cited(text: str) -> list[int]:
    """The numbers that a text cites, each once, in order."""
    return list(dict.fromkeys(int(number) for number in _CITATION.findall(text)))


def renumber(text: str, numbers: Mapping[int, int]) -> str:
    """The text with its citations replaced; those without a new number stay."""
    return _CITATION.sub(lambda found: f"[{numbers.get(int(found.group(1)), int(found.group(1)))}]", text)


def count_words(text: str) -> int:
    """Words of a message; citations and bullets are none."""
    return len([word for word in _CITATION.sub(" ", text).split() if any(char.isalnum() for char in word)])


def units(text: str) -> list[Unit]:
    """The units of a message in order."""
    return [unit for line in text.split("\n") for unit in line_units(line)]


def line_units(line: str) -> list[Unit]:
    """The units of one line."""
    return [Unit(line.strip(), bullet=True)] if _BULLET.match(line) else [Unit(sentence) for sentence in sentences(line)]


def addresses(text: str) -> list[str]:
    """The e-mail and web addresses in a text."""
    return [found.rstrip(".,;:!?") for found in _ADDRESS.findall(text)]


def faults(unit: Unit, sources: Mapping[int, str], known: str) -> list[Fault]:
    """What is wrong with one unit; `sources` are texts by number, `known` is what needs no source: topic, names, the contact's address."""
    numbers = cited(unit.text)
    said = " ".join(_CITATION.sub("", _BULLET.sub("", unit.text, count=1) if unit.bullet else unit.text).split())
    found = [Fault("citation", f"[{number}] is no source", unit.text, number) for number in numbers if number not in sources]
    given = fold(f"{known} {' '.join(sources.values())}")
    found += [
        Fault("address", f"the address {address} is in no source", unit.text) for address in addresses(said) if fold(address) not in given
    ]
    if found:
        return found
    basis = " ".join(sources[number] for number in numbers)
    strange = [figure for figure in _FIGURE.findall(said) if figure not in _FIGURE.findall(f"{basis} {known}")]
    if not numbers:
        if strange or (unit.bullet and sources):
            return [Fault("citation", f"it states {strange[0]} without a source" if strange else "this point cites no source", unit.text)]
        return [Fault("citation", "it states this without a source", unit.text)] if _states(said, known) else []
    if strange:
        return [Fault("support", f"{strange[0]} is not in {_named(numbers)}", unit.text, numbers[0])]
    if overlap(said, f"{basis} {known}") < SUPPORTED or overlap(said, basis) == 0:
        return [Fault("support", f"{_named(numbers)} does not say this", unit.text, numbers[0])]
    return []


def _states(said: str, known: str) -> bool:
    """Whether a sentence says something of the world that is not known; told only of Latin script, where the words can be told apart."""
    words = fold(said).replace(".", " ").split()
    if not _STATEMENT.search(said) or len(words) < 3 or _LATIN.search(fold(said)):
        return False
    if any(word.strip(',;:!()"') in _PERSONAL for word in words):
        return False
    given = set(terms(known))
    return any(weight(term) == 1 and term not in given for term in terms(said))


def _named(numbers: list[int]) -> str:
    return " or ".join(f"[{number}]" for number in numbers)
