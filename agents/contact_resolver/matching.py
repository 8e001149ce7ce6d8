"""Rank people against what was typed: plain data in, matches out, no hostcall."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

SURE = 0.8
"""From this confidence on a single match is taken without a question."""
SAME_RANK = 0.05
"""Matches closer than this to the best one compete with it."""
FUZZY_WORD = 0.7
"""Least likeness of each word; `jhon`/`john` is 0.75, `tom`/`tim` 0.67."""

_ADDRESS = re.compile(r"[^\s<>()\"',;:@]+@[^\s<>()\"',;:@]+")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "\u0131": "i"})
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc`\u00b4]")
_FILLERS = frozenset({"at", "from", "of", "in", "the", "bei", "von"})


@dataclass(frozen=True, slots=True)
class Person:
    """One contact: `email` is the preferred of all `emails`, `event_id` last wrote it, `masked` says that policy hides addresses."""

    key: str
    name: str
    email: str = ""
    org: str = ""
    nicknames: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    event_id: int | None = None
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A person with how sure the match is (0 to 1) and what it rests on."""

    person: Person
    confidence: float
    matched_by: str


@dataclass(frozen=True, slots=True)
class Query:
    """What was typed, taken apart: an address where there is one, and the rest as a name."""

    text: str
    address: str
    name: str


def fold(text: str) -> str:
    """Case, accents and apostrophes removed, so that `O’Brien` meets `obrien` and `Zoë` meets `ZOE`."""
    plain = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text)).casefold().translate(_LETTERS)
    return "".join(char for char in plain if not unicodedata.combining(char))


def words(text: str) -> tuple[str, ...]:
    """The folded words of a name, in order."""
    return tuple(re.findall(r"[^\W_]+", fold(text)))


def clean(text: str) -> str:
    """One line without control characters or doubled spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def parse_query(text: str) -> Query:
    """Split `Ann Lee <ann@example.org>` or a bare address into its parts."""
    line = clean(text).removeprefix("mailto:")
    found = _ADDRESS.search(line)
    if found is None:
        return Query(line, "", line)
    name = clean(re.sub(r"[<>()\"]", " ", line[: found.start()] + " " + line[found.end() :])).strip(" ,;:")
    return Query(line, found.group().strip("."), name)


def rank(query: Query, people: list[Person]) -> list[Match]:
    """Every person that the query may mean, best first; one entry for each address."""
    best: dict[str, Match] = {}
    for person in people:
        match = match_person(query, person)
        if match is None:
            continue
        identity = person.email.casefold() or person.key
        if identity not in best or match.confidence > best[identity].confidence:
            best[identity] = match
    return sorted(best.values(), key=lambda match: (-match.confidence, fold(match.person.name), match.person.email, match.person.key))


def rivals(matches: list[Match]) -> list[Match]:
    """The best match and those that compete with it."""
    if not matches:
        return []
    return [match for match in matches if match.confidence >= matches[0].confidence - SAME_RANK]


def match_person(query: Query, person: Person) -> Match | None:
    """How the query fits one person, or None."""
    if query.address:
        own = next((email for email in (person.email, *person.emails) if email.casefold() == query.address.casefold()), "")
        return Match(replace(person, email=own), 1.0, "e-mail address") if own else None
    asked, name = words(query.name), words(person.name)
    if not asked:
        return None
    if asked == name:
        return Match(person, 0.98, "name")
    if any(asked == words(nickname) for nickname in person.nicknames):
        return Match(person, 0.95, "nickname")
    if sorted(asked) == sorted(name):
        return Match(person, 0.94, "name in another order")
    return _partial(asked, name, person) or _fuzzy(asked, name, person)


def _partial(asked: tuple[str, ...], name: tuple[str, ...], person: Person) -> Match | None:
    """Some words of the name, with the organisation or a nickname to help, initials, or the part of the address before the @."""
    known = set(name)
    for nickname in person.nicknames:
        known.update(words(nickname))
    essential = tuple(word for word in asked if word not in _FILLERS or word in known)
    if essential and set(essential) <= known:
        return Match(person, 0.86 if len(essential) > 1 else 0.85, _which_part(essential, name))
    organisation = set(words(person.org))
    if known & set(essential) and set(essential) <= known | organisation:
        return Match(person, 0.9, "name and organisation")
    if len(asked) > 1 and _initials(asked, name):
        return Match(person, 0.82, "name with initials")
    if len(asked) == 1 and "@" in person.email and asked == words(person.email.partition("@")[0]):
        return Match(person, 0.8, "part of the address before the @")
    return None


def _which_part(asked: tuple[str, ...], name: tuple[str, ...]) -> str:
    """Which part it is, where the script tells: others put the family name first."""
    if len(asked) == 1 and len(name) > 1 and all(part.isascii() for part in name):
        if asked[0] == name[0]:
            return "first name"
        if asked[0] == name[-1]:
            return "last name"
    return "part of the name"


def _initials(asked: tuple[str, ...], name: tuple[str, ...]) -> bool:
    """`j smith` fits `john smith`: the same number of words, each equal or its first letter, one of them whole."""
    if len(asked) != len(name) or not any(left == right for left, right in zip(asked, name, strict=True)):
        return False
    return all(left == right or (len(left) == 1 and right.startswith(left)) for left, right in zip(asked, name, strict=True))


def _fuzzy(asked: tuple[str, ...], name: tuple[str, ...], person: Person) -> Match | None:
    """Misspelt words; only a name of several words can reach SURE, since `maria` and `mario` differ by one letter too."""
    forms = [name, *(words(nickname) for nickname in person.nicknames)]
    likeness = max((_likeness(asked, form) for form in forms if form), default=0.0)
    if likeness < FUZZY_WORD:
        return None
    sure = len(asked) > 1 and likeness >= SURE
    confidence = min(0.84, likeness) if sure else min(SURE - 0.01, likeness * 0.8)
    return Match(person, round(confidence, 2), "similar spelling")


def _likeness(asked: tuple[str, ...], name: tuple[str, ...]) -> float:
    """Mean likeness of the words asked for, each to its own word of the name; 0 when one of them fits none."""
    left, total = list(name), 0.0
    for word in asked:
        scored = [(SequenceMatcher(None, word, other, autojunk=False).ratio(), -index) for index, other in enumerate(left)]
        ratio, index = max(scored, default=(0.0, 0))
        if ratio < FUZZY_WORD or (len(word) < 3 and ratio < 1):
            return 0.0
        total += ratio
        del left[-index]
    return total / len(asked)


def close_misses(query: Query, people: list[Person], limit: int = 3) -> list[Person]:
    """People whose name or address resembles the query, for an error that helps."""
    wanted = fold(query.address or query.name)
    scored = []
    for person in people:
        forms = (
            [fold(email) for email in (person.email, *person.emails)]
            if query.address
            else [fold(person.name), *words(person.name), *map(fold, person.nicknames)]
        )
        likeness = max((SequenceMatcher(None, wanted, form, autojunk=False).ratio() for form in forms if form), default=0.0)
        if likeness >= (0.8 if query.address else 0.6):
            scored.append((-likeness, fold(person.name), person))
    return [person for _, _, person in sorted(scored, key=lambda row: row[:2])[:limit]]


def label(person: Person) -> str:
    """How a person stands in a question or an error: name, organisation, address."""
    organisation = f", {clean(person.org)}" if person.org else ""
    address = f" <{person.email}>" if person.email else " (no e-mail address)"
    return f"{clean(person.name)}{organisation}{address}"
