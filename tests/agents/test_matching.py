from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

PEOPLE = [
    ("John Smith", "john.smith@acme.example", "Acme", ("Jonny",)),
    ("John Miller", "j.miller@northwind.example", "Northwind Logistics", ()),
    ("Maria Lee", "MARIA.LEE@ACME.EXAMPLE", "Acme", ()),
    ("María José García", "mjgarcia@libreria.example", "Librería del Sur", ()),
    ("Zoë Müller", "zoe.mueller@klima.example", "", ()),
    ("Siobhán O\u2019Brien", "siobhan@harbour.example", "Harbour Legal", ("Shiv", "Vonnie")),
    ("田中 太郎", "taro@tanaka.example", "", ()),
    ("J", "j@one.example", "", ()),
    ("Anna Kowalska", "anna.kowalska@acme.example", "Acme", ()),
    ("Anna Schmidt", "anna@berlin.example", "Berlin Spaces", ()),
    ("Łukasz Żak", "lukasz@zak.example", "", ()),
    ("Martina Novak", "martina@novak.example", "", ()),
]


@pytest.fixture
def matching(load: Any) -> ModuleType:
    return load("contact_resolver", "matching")


def people(matching: ModuleType) -> list[Any]:
    return [
        matching.Person(f"k{index}", name, email, org, nicknames, (email, f"home{index}@x.example"), index + 1)
        for index, (name, email, org, nicknames) in enumerate(PEOPLE)
    ]


def resolve(matching: ModuleType, text: str) -> list[tuple[str, str]]:
    return [(match.person.name, match.matched_by) for match in matching.rivals(matching.rank(matching.parse_query(text), people(matching)))]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("john.smith@acme.example", [("John Smith", "e-mail address")]),
        ("JOHN.SMITH@ACME.EXAMPLE", [("John Smith", "e-mail address")]),
        ("maria.lee@acme.example", [("Maria Lee", "e-mail address")]),
        ("Somebody Else <john.smith@acme.example>", [("John Smith", "e-mail address")]),
        ("john smith", [("John Smith", "name")]),
        ("Smith, John", [("John Smith", "name in another order")]),
        ("jonny", [("John Smith", "nickname")]),
        ("Shiv", [("Siobhán O\u2019Brien", "nickname")]),
        ("o'brien", [("Siobhán O\u2019Brien", "last name")]),
        ("OBrien", [("Siobhán O\u2019Brien", "last name")]),
        ("maria jose garcia", [("María José García", "name")]),
        ("zoe muller", [("Zoë Müller", "name")]),
        ("Zoe Mueller", [("Zoë Müller", "similar spelling")]),
        ("lukasz", [("Łukasz Żak", "first name")]),
        ("田中", [("田中 太郎", "part of the name")]),
        ("田中 太郎", [("田中 太郎", "name")]),
        ("j", [("J", "name")]),
        ("J. Miller", [("John Miller", "name with initials")]),
        ("Anna at Acme", [("Anna Kowalska", "name and organisation")]),
        ("anna (berlin spaces)", [("Anna Schmidt", "name and organisation")]),
        ("mjgarcia", [("María José García", "part of the address before the @")]),
        ("Jhon Smith", [("John Smith", "similar spelling")]),
        ("john", [("John Miller", "first name"), ("John Smith", "first name")]),
        ("anna", [("Anna Kowalska", "first name"), ("Anna Schmidt", "first name")]),
        ("xavier", []),
        ("!!!", []),
        ("jo", []),
    ],
)
def test_a_query_means_these_people(matching: ModuleType, query: str, expected: list[tuple[str, str]]) -> None:
    assert resolve(matching, query) == expected


@pytest.mark.parametrize(
    ("query", "sure"), [("Jhon Smith", True), ("Martin", False), ("Mario", False), ("Anna Schmitt", True), ("Jhon", False)]
)
def test_a_misspelt_single_word_is_never_sure(matching: ModuleType, query: str, sure: bool) -> None:
    best = matching.rank(matching.parse_query(query), people(matching))[0]
    assert (best.matched_by, best.confidence >= matching.SURE) == ("similar spelling", sure)


@pytest.mark.parametrize(
    ("query", "confidence"), [("Jhon Smith", 0.84), ("Mario", 0.64), ("J. Miller", 0.82), ("anna", 0.85), ("mjgarcia", 0.8)]
)
def test_confidences_are_on_the_side_of_the_line_that_they_should_be(matching: ModuleType, query: str, confidence: float) -> None:
    assert (matching.SURE, matching.rank(matching.parse_query(query), people(matching))[0].confidence) == (0.8, confidence)


def test_a_second_address_of_a_person_is_the_one_that_is_used(matching: ModuleType) -> None:
    match = matching.rank(matching.parse_query("HOME2@x.example"), people(matching))[0]
    assert (match.person.name, match.person.email) == ("Maria Lee", "home2@x.example")


def test_two_entries_with_one_address_are_one_person(matching: ModuleType) -> None:
    twice = [matching.Person(key, "Ann Lee", address) for key, address in (("a", "ann@x.example"), ("b", "ANN@X.example"))]
    assert [match.person.key for match in matching.rank(matching.parse_query("ann lee"), twice)] == ["a"]


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("Ann Lee <ann@x.example>", "ann@x.example", "Ann Lee"),
        ('"Lee, Ann" <ann@x.example>', "ann@x.example", "Lee, Ann"),
        ("ann@x.example (Ann)", "ann@x.example", "Ann"),
        ("mailto:ann@x.example", "ann@x.example", ""),
        ("Ann\x1b[31m\nLee", "", "Ann [31m Lee"),
        ("Anna @Acme", "", "Anna @Acme"),
    ],
)
def test_a_query_is_taken_apart(matching: ModuleType, text: str, address: str, name: str) -> None:
    query = matching.parse_query(text)
    assert (query.address, query.name) == (address, name)


def test_close_misses_name_those_who_resemble(matching: ModuleType) -> None:
    names = [person.name for person in matching.close_misses(matching.parse_query("Jon Smyth"), people(matching))]
    assert names[0] == "John Smith"


@given(text=st.text(max_size=60), names=st.lists(st.text(max_size=30), max_size=6))
def test_any_text_is_ranked_with_confidences_in_order(text: str, names: list[str]) -> None:
    matching = _matching()
    found = matching.rank(matching.parse_query(text), [matching.Person(str(index), name, "") for index, name in enumerate(names)])
    confidences = [match.confidence for match in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 < confidence <= 1 for confidence in confidences)


@given(name=st.from_regex(r"[A-Za-z]{2,10}( [A-Za-z]{2,10}){0,2}", fullmatch=True))
def test_everybody_is_found_by_their_own_name(name: str) -> None:
    matching = _matching()
    (match,) = matching.rank(matching.parse_query(name.upper()), [matching.Person("k", name, "a@x.example")])
    assert (match.matched_by, match.confidence) == ("name", 0.98)


_loaded: list[ModuleType] = []


@pytest.fixture(autouse=True)
def _keep(matching: ModuleType) -> None:
    """Properties run many examples in one test, where a fixture per example is not possible."""
    _loaded[:] = [matching]


def _matching() -> Any:
    return _loaded[0]
