"""From a query to the people who may be meant: which searches to make, and what their hits say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from matching import SURE, Match, Person, Query, rank, words

LIMIT = 50

Search = Callable[[str], Iterable[Any]]
"""Hits of a search among the contacts, each with key, title, event_id and data."""


def find(query: Query, search: Search) -> tuple[list[Match], list[Person]]:
    """The matches, and everybody who was looked at; wider searches are made only while nothing certain is found."""
    people: dict[str, Person] = {}
    matches: list[Match] = []
    asked: set[str] = set()
    for terms in searches(query):
        for term in terms:
            if term not in asked:
                asked.add(term)
                people.update((person.key, person) for person in map(person_of, search(term)) if person is not None)
        matches = rank(query, list(people.values()))
        if matches and matches[0].confidence >= SURE:
            break
    return matches, list(people.values())


def searches(query: Query) -> list[list[str]]:
    """What to search for, a round at a time: the words as typed, then how they begin, for misspelt ones."""
    if query.address:
        local = query.address.partition("@")[0]
        return [[query.address], [local, *([query.name] if query.name else [])]]
    typed = re.findall(r"[^\W_]+", query.name)
    folded = words(query.name)
    beginnings = [word[:length] for length in (3, 2, 1) for word in folded if len(word) > length]
    return [[query.name], list(dict.fromkeys((*typed, *folded))), list(dict.fromkeys(beginnings))]


def person_of(hit: Any) -> Person | None:
    """The person of a hit; None for one without a name and an address."""
    data = hit.data or {}
    name, email = _text(data.get("name")) or _text(hit.title), _text(data.get("email"))
    if not name and not email:
        return None
    return Person(
        key=hit.key,
        name=name or email,
        email=email,
        org=_text(data.get("org")),
        nicknames=_texts(data.get("nicknames")),
        emails=_texts(data.get("emails")),
        event_id=hit.event_id,
        masked=data.get("masked") is True,
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list | tuple) else ()


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
