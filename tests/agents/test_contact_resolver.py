from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from runloop_agent import Cancelled, Denied, Unavailable
from runloop_agent.testing import answering

PEOPLE = [
    {"name": "John Smith", "email": "john.smith@acme.example", "org": "Acme", "nicknames": ["Jonny"]},
    {"name": "John Miller", "email": "j.miller@northwind.example"},
    {"name": "Maria Lee", "email": "maria@acme.example"},
    {"name": "Evil\x1b[31m\nName", "email": "evil@x.example"},
]
NOBODY = Unavailable("nobody is there to answer the question")


@pytest.fixture
def resolver(load: Any) -> ModuleType:
    return load("contact_resolver")


def hits(people: list[dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A search that finds who has a word that begins with one of the query's."""

    def search(request: dict[str, Any]) -> dict[str, Any]:
        assert request["domains"] == ["contacts"]
        asked = request["query"].casefold().split()
        found = [
            {"domain": "contacts", "key": f"contact:{index}", "title": person["name"], "event_id": index + 10, "data": person}
            for index, person in enumerate(people)
            if any(
                word in f"{person['name']} {person.get('email', '')} {' '.join(person.get('nicknames', []))}".casefold() for word in asked
            )
        ]
        return {"hits": found}

    return search


def resolve(
    resolver: ModuleType, query: str, answer: Any = NOBODY, people: list[dict[str, Any]] = PEOPLE
) -> tuple[dict[str, Any], list[Any]]:
    with answering({"kb.search": hits(people), "ask.person": answer}) as calls:
        return resolver.run(query=query)["out"], calls


def choose(number: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda request: {"answer": request["options"][number], "by": "operator"}


def test_one_match_is_taken_with_what_is_known_and_how_it_was_found(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "jonny")
    assert out == {
        "contact_id": "contact:0",
        "name": "John Smith",
        "email": "john.smith@acme.example",
        "org": "Acme",
        "confidence": 0.95,
        "matched_by": "nickname",
        "last_event_id": 10,
    }
    assert [name for name, _ in calls] == ["kb.search", "emit.log"]


def test_an_organisation_that_is_not_known_is_not_in_the_answer(resolver: ModuleType) -> None:
    assert "org" not in resolve(resolver, "Maria Lee")[0]


def test_several_matches_are_asked_for_and_the_answer_is_taken(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "John", choose(1))
    assert (out["email"], out["confidence"], out["matched_by"]) == ("john.smith@acme.example", 1.0, "first name, chosen by a person")
    asked = dict(calls)["ask.person"]
    assert asked["options"] == ["John Miller <j.miller@northwind.example>", "John Smith, Acme <john.smith@acme.example>", "none of these"]


def test_several_matches_without_a_person_are_an_error_with_the_candidates(resolver: ModuleType) -> None:
    with pytest.raises(LookupError) as failed:
        resolve(resolver, "John")
    assert str(failed.value) == (
        "'John' fits 2 contacts, and nobody could be asked; write the whole name or address of one: "
        "John Miller <j.miller@northwind.example>; John Smith, Acme <john.smith@acme.example>"
    )


def test_none_of_the_matches_is_an_error(resolver: ModuleType) -> None:
    with pytest.raises(LookupError, match="none of these was meant"):
        resolve(resolver, "John", choose(-1))


def test_a_misspelt_whole_name_is_taken_and_said_in_the_log(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "Jhon Smith")
    assert (out["email"], out["matched_by"]) == ("john.smith@acme.example", "similar spelling")
    assert [request["level"] for name, request in calls if name == "emit.log"] == ["warn", "info"]


def test_a_misspelt_single_word_is_asked_for(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "Mario", choose(0))
    assert (out["name"], dict(calls)["ask.person"]["question"]) == ("Maria Lee", "There is no contact 'Mario'. Do you mean one of these?")
    with pytest.raises(LookupError, match=r"there is no contact 'Mario'.*Maria Lee <maria@acme\.example>"):
        resolve(resolver, "Mario")


def test_an_address_that_nobody_can_be_asked_about_is_an_error_that_says_where_somebody_can(resolver: ModuleType) -> None:
    with pytest.raises(LookupError) as failed:
        resolve(resolver, "q@far.example")
    assert str(failed.value) == (
        "q@far.example is in none of your contacts, and nobody could be asked whether to write to it; "
        "run it at a terminal, or on the daemon and answer `rlp inbox`; or import a contact with that address"
    )


def test_an_unknown_name_is_an_error_that_says_how_to_import(resolver: ModuleType) -> None:
    with pytest.raises(LookupError, match=r"there is no contact 'Xavier Quill'; import contacts with `rlp kb import contacts FILE`"):
        resolve(resolver, "Xavier Quill", choose(0))


@pytest.mark.parametrize("several", ["Maria Lee and John Smith", "Maria & Xavier", "Maria Lee und Xavier"])
def test_who_names_several_people_is_told_to_ask_for_each(resolver: ModuleType, several: str) -> None:
    with pytest.raises(LookupError, match="one person is looked for at a time: ask once for each; else import contacts"):
        resolve(resolver, several)


def test_no_contacts_at_all_is_the_same_error(resolver: ModuleType) -> None:
    with pytest.raises(LookupError, match="there is no contact 'John'; import contacts"):
        resolve(resolver, "John", people=[])


def test_an_unknown_address_is_used_only_when_a_person_says_so_and_gets_no_name(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "new@person.example", choose(0))
    assert out == {
        "contact_id": None,
        "name": "",
        "email": "new@person.example",
        "confidence": 0.5,
        "matched_by": "address as given, approved by a person",
        "last_event_id": None,
    }
    assert dict(calls)["ask.person"]["options"] == ["use new@person.example as given", "stop"]


def test_the_name_given_with_an_unknown_address_is_kept(resolver: ModuleType) -> None:
    assert resolve(resolver, "New Person <new@person.example>", choose(0))[0]["name"] == "New Person"


@pytest.mark.parametrize("answer", [NOBODY, Denied("asking is not granted"), choose(-1)])
def test_an_unknown_address_is_not_used_without_a_yes(resolver: ModuleType, answer: Any) -> None:
    with pytest.raises(LookupError, match=r"new@person\.example is in none of your contacts"):
        resolve(resolver, "new@person.example", answer)


def test_an_address_with_a_slip_offers_the_contact_it_resembles(resolver: ModuleType) -> None:
    out, calls = resolve(resolver, "maria@acmee.example", choose(1))
    assert (out["contact_id"], out["email"]) == ("contact:2", "maria@acme.example")
    assert dict(calls)["ask.person"]["options"][1] == "Maria Lee <maria@acme.example>"


def test_a_contact_without_an_address_is_an_error(resolver: ModuleType) -> None:
    with pytest.raises(LookupError, match="Ann Lee has no e-mail address in your contacts"):
        resolve(resolver, "Ann Lee", people=[{"name": "Ann Lee", "email": ""}])


def test_control_characters_of_a_contact_reach_nobody(resolver: ModuleType) -> None:
    assert resolve(resolver, "evil@x.example")[0]["name"] == "Evil [31m Name"


def test_an_address_in_place_of_a_name_is_no_name(resolver: ModuleType) -> None:
    people = [{"name": "ann@x.example", "email": "ann@x.example"}]
    assert resolve(resolver, "ann@x.example", people=people)[0]["name"] == ""


def test_a_masked_address_is_never_written_to(resolver: ModuleType) -> None:
    with pytest.raises(PermissionError, match="masked by policy; grant this agent contacts_raw"):
        resolve(resolver, "Ann Lee", people=[{"name": "Ann Lee", "email": "ax7d2kq@x.example", "masked": True}])


@pytest.mark.parametrize("query", ["", "  \n"])
def test_an_empty_query_says_what_to_give(resolver: ModuleType, query: str) -> None:
    with pytest.raises(ValueError, match="give `query`, a name or an e-mail address"):
        resolve(resolver, query)


def test_a_stop_of_the_run_is_not_taken_for_an_answer(resolver: ModuleType) -> None:
    with pytest.raises(Cancelled):
        resolve(resolver, "John", Cancelled("the run is being stopped"))


def test_what_is_not_granted_is_told_and_not_hidden(resolver: ModuleType) -> None:
    with answering({"kb.search": Denied("contacts is not granted")}), pytest.raises(Denied):
        resolver.run(query="john")
