from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.events import INLINE_LIMIT, NewEvent
from runloop.kb.derived import WORD, fold
from runloop.kb.people import _ADDRESS, has_address
from runloop.kb.search.excerpts import EXCERPT_CHARS, excerpt_of, marks_of


def note(text, path="/n/plan.md", line=1, part=0, parts=1, title=None, file_hash="a" * 64):
    payload = {
        "path": path,
        "line": line,
        "end_line": line + text.count("\n"),
        "text": text,
        "file_hash": file_hash,
        "part": part,
        "parts": parts,
    }
    return NewEvent("note.imported", {**payload, **({"title": title} if title else {})}, "user", "user")


@pytest.fixture
def people(kb, contact):
    kb.ledger.append(
        [
            contact(
                "Ada Lovelace", "ada@analytical.example", nicknames=["Countess"], org="Analytical Engines", emails=["ada@home.example"]
            ),
            contact("Grace Hopper", "grace@navy.example", nicknames=["Amazing Grace"]),
            contact("Ada Yonath", "ada.yonath@science.example"),
            contact("Jörg Müller", "joerg@example.de", org="Müller & Söhne"),
        ]
    )
    return kb


ACCENTED = (
    ("άγκυρες λιμανιού, Γιώργος", ("αγκυρες", "ΛΙΜΑΝΙΟΥ", "γιωργος", "ΓΙΩΡΓΟΣ")),
    ("Ещё одна ёлка", ("еще", "елка")),
    ("كِتَابٌ أحمد", ("كتاب", "احمد")),
    ("שָׁלוֹם", ("שלום",)),
    ("Łódź, Straße, Ærø, Đức, Işık, þing", ("lodz", "strasse", "aero", "duc", "isik", "thing")),  # noqa: RUF001
    ("がっこう プール", ("がっこう", "プール")),
    ("한국어", ("한국", "국어")),
)


@pytest.mark.parametrize(("text", "words"), ACCENTED, ids=[words[0] for _, words in ACCENTED])
def test_accents_do_not_matter_in_any_script_that_has_them(kb, text, words):
    kb.ledger.append([note(text), note("か", path="/o.md")])
    for word in (*words, *text.replace(",", "").split()):
        assert (word, [hit.path for hit in kb.search(word, ["notes"])]) == (word, ["/n/plan.md"])


@pytest.mark.parametrize(
    ("name", "typed"), [("Łukasz Wójcik", "lukasz wojcik"), ("Søren Kjær", "Soren Kjaer"), ("\u0130\u015f\u0131k Öz", "isik oz")]
)
def test_a_name_is_found_as_people_without_its_letters_write_it(kb, contact, name, typed):
    kb.ledger.append([contact(name, "somebody@example.com")])
    assert matches(kb, typed) == [(name, "name")]


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("la acequia rota", "acequias"),
        ("испытания насосов", "насосы"),
        ("hydraulik", "hydraulika"),
        ("a boiler", "boilers"),
    ],
)
def test_a_word_with_another_ending_is_found_where_nothing_has_the_word_itself(kb, text, typed):
    kb.ledger.append([note(text), note("boi hydra acero nas", path="/o.md")])
    [hit] = kb.search(typed, ["notes"])
    assert (hit.path, hit.parts["stage"] in {0, 2, 3}) == ("/n/plan.md", True)
    kb.ledger.append([note(f"{typed} it is", path="/exact.md")])
    assert kb.search(typed, ["notes"])[0].path == "/exact.md"
    for nothing in (f'"{typed[:-1]}zz"', f"{typed[:-3]}zzz", typed[:3] + "z"):
        assert kb.search(nothing, ["notes"]) == []


def test_other_endings_are_not_looked_for_where_a_word_begins_as_it_was_typed(kb):
    kb.ledger.append([note("hydraulikas", path="/begins.md"), note("hydraulik", path="/other.md")])
    assert [hit.path for hit in kb.search("hydraulika", ["notes"])] == ["/begins.md"]
    assert [hit.path for hit in kb.search("hydraulike", ["notes"])][:1] == ["/other.md"]


def test_what_has_all_words_is_before_what_has_one_of_them_often(kb):
    kb.ledger.append([note(f"filler number {n} of many", path=f"/{n}.md") for n in range(40)])
    kb.ledger.append([note("quince " * 20, path="/often.md"), note("quince marmalade " + "and more words " * 30, path="/both.md")])
    hits = kb.search("quince marmalade", ["notes"])
    assert [hit.path for hit in hits] == ["/both.md", "/often.md"]
    assert hits[0].parts["bm25"] > 1
    assert 1 > hits[0].score > hits[1].score > 0


def names(hits):
    return [hit.data["name"] for hit in hits]


def matches(kb, query):
    return [(hit.data["name"], hit.data["match"]) for hit in kb.search(query, ["contacts"]) if hit.data["match"] != "text"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ada@analytical.example", [("Ada Lovelace", "email")]),
        ("ADA@HOME.EXAMPLE", [("Ada Lovelace", "email")]),
        ("write to <grace@navy.example>, please", [("Grace Hopper", "email")]),
        ("ada lovelace", [("Ada Lovelace", "name")]),
        ("  Ada   LOVELACE ", [("Ada Lovelace", "name")]),
        ("countess", [("Ada Lovelace", "nickname")]),
        ("amazing grace", [("Grace Hopper", "nickname")]),
        ("Lovelace, Ada", [("Ada Lovelace", "words")]),
        ("ada", [("Ada Lovelace", "words"), ("Ada Yonath", "words")]),
        ("Ada Analytical", [("Ada Lovelace", "words")]),
        ("hop", [("Grace Hopper", "prefix")]),
        ("jorg muller", [("Jörg Müller", "name")]),
        ("JÖRG", [("Jörg Müller", "words")]),
        ("lovelce", [("Ada Lovelace", "fuzzy")]),
        ("Grce Hoper", [("Grace Hopper", "fuzzy")]),
        ("nobody@nowhere.example", []),
        ("Zebedee", []),
        ("", []),
    ],
)
def test_a_person_is_found_by_address_name_nickname_words_or_a_close_spelling(people, query, expected):
    assert sorted(matches(people, query)) == sorted(expected)


@pytest.mark.parametrize("query", ["nobody@analytical.example", "ada@nowhere.example", "Grace Nobody"])
def test_somebody_who_shares_only_some_words_with_the_query_is_not_offered(people, query):
    assert people.search(query, ["contacts"]) == []


@given(st.text("ab@<> .\u00e9"))
def test_an_address_in_a_query_is_what_a_slow_expression_takes_for_one(query):
    assert _ADDRESS.findall(query) == re.findall(r"[^\s@<>]+@[^\s@<>]+", query)


def test_a_query_of_one_endless_word_is_looked_through_once():
    assert not has_address("(" * 1_000_000)


def test_the_stronger_sort_of_match_comes_first(people, contact):
    people.ledger.append([contact("Grace", "g@example.com")])
    found = people.search("grace", ["contacts"])
    assert [(hit.data["name"], hit.data["match"]) for hit in found] == [("Grace", "name"), ("Grace Hopper", "words")]
    assert found[0].score > found[1].score


def test_addresses_are_masked_unless_the_caller_may_see_them(people):
    [masked] = people.search("countess", ["contacts"])
    [raw] = people.search("countess", ["contacts"], raw_contacts=True)
    assert raw.data["email"] == "ada@analytical.example"
    assert raw.data["emails"] == ["ada@analytical.example", "ada@home.example"]
    assert (raw.data["masked"], masked.data["masked"]) == (False, True)
    text = str(masked.to_dict())
    assert not re.search(r"\bada@", text)
    assert masked.data["email"].startswith("a")
    assert masked.data["email"].endswith("@analytical.example")


def test_a_hit_names_the_event_that_says_it(people):
    for hit in people.search("ada", ["contacts"]):
        assert people.ledger.get(hit.event_id).payload["name"] == hit.data["name"]


def test_a_note_is_found_with_its_path_and_the_line_of_the_excerpt(kb):
    filler = "\n".join(f"filler line {number} of words" for number in range(20))
    text = f"{filler}\nThe Q4 launch is on 12 March.\n{filler}"
    kb.ledger.append([note(text, line=100, title="Launch")])
    [hit] = kb.search("Q4 launch")
    assert (hit.domain, hit.title, hit.path, hit.event_id) == ("notes", "Launch", "/n/plan.md", 1)
    assert "The Q4 launch is on 12 March." in hit.excerpt
    assert text.split("\n")[hit.line - 100 :][: hit.excerpt.count("\n") + 1] == hit.excerpt.split("\n")
    assert hit.key == "note:/n/plan.md#0"
    assert kb.get(hit.key)["data"]["text"] == text


def test_a_passage_that_became_a_blob_is_found_and_whole(kb):
    text = "needle " + "x" * INLINE_LIMIT
    kb.ledger.append([note(text)])
    [hit] = kb.search("needle")
    assert hit.data["text"] == text
    assert len(hit.excerpt) <= EXCERPT_CHARS


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("launch plan", ["both", "launch", "plan"]),
        ('"launch plan"', ["both"]),
        ("lau*", ["both", "launch"]),
        ("laun", ["both", "launch"]),
        ("nothing", []),
        ("PLÁN", ["both", "plan"]),
    ],
)
def test_words_phrases_and_prefixes(kb, query, found):
    texts = {"both": "the launch plan", "launch": "launch of it", "plan": "plan of it", "other": "something else"}
    kb.ledger.append([note(text, path=f"/{name}") for name, text in texts.items()])
    hits = kb.search(query, ["notes"])
    assert sorted(hit.path[1:] for hit in hits) == found
    if len(found) == 3:
        assert hits[0].path == "/both"


def test_domains_and_limits_are_kept(people):
    people.ledger.append(
        [note("ada and ada"), NewEvent("artifact.created", {"kind": "ada", "path": "/ada.md", "sha256": "e" * 64}, "user")]
    )
    assert {hit.domain for hit in people.search("ada")} == {"contacts", "notes", "artifacts"}
    assert {hit.domain for hit in people.search("ada", ["notes"])} == {"notes"}
    assert len(people.search("ada", limit=1)) == 1


@pytest.mark.parametrize(("domains", "limit", "code"), [(["dreams"], 5, "kb.unknown_domain"), (None, 0, "kb.bad_limit")])
def test_a_search_that_makes_no_sense_is_refused(kb, domains, limit, code):
    with pytest.raises(InvalidInput) as caught:
        kb.search("x", domains, limit)
    assert caught.value.code == code


TOKENS = [*"\"*():^-+{}' ;\0é@a", "AND", "OR", "NOT", "NEAR", "title:", "a@b", '""']
SYNTAX = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)


@given(SYNTAX | st.text(max_size=20))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_person_types_is_a_valid_query(people, query):
    people.search(query)


def test_a_query_of_very_many_words_is_answered(people):
    people.ledger.append([note("grace")])
    hits = people.search("grace " + " ".join(f"word{number}" for number in range(5000)))
    assert [hit.domain for hit in hits] == ["notes"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=800), st.text("ab c", max_size=5))
def test_an_excerpt_is_an_exact_part_of_the_text_where_it_says(text, query):
    excerpt, offset = excerpt_of(text, query)
    assert len(excerpt) <= EXCERPT_CHARS
    assert excerpt in "\n".join(text.split("\n")[offset:])


def test_keys_that_are_unknown_or_malformed_find_nothing(people):
    for key in (
        "contact:x",
        "note:/nowhere#0",
        "note:",
        "artifact:x",
        "event:99",
        "event:x",
        "event:-1",
        "run:x",
        "",
        "dream:1",
        "nonsense",
    ):
        assert people.get(key) is None, key
        assert people.why(key) == [] if not key.startswith("event:") else True


def test_an_event_is_an_entity_too_and_its_addresses_are_masked(people):
    assert people.get("event:2", raw_contacts=True)["data"]["payload"]["email"] == "grace@navy.example"
    assert "grace@" not in str(people.get("event:2"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("第四季度计划", True),
        ("发布日期", True),
        ("发布日期 预算", True),
        ("计划发布日期", True),  # not one after the other, but each two characters are
        ("12月", True),
        ("日发期布", False),
        ("구매", True),
        ("วันศุกร์", True),
    ],
)
def test_words_are_found_inside_the_text_of_scripts_without_blanks(kb, query, found):
    kb.ledger.append([note("第四季度计划的发布日期是12月1日。\n预算为四万欧元。\n구매계획\nประชุมวันศุกร์หน้า")])
    assert bool(kb.search(query, ["notes"])) == found


def test_the_excerpt_of_a_text_without_blanks_is_where_the_words_are():
    lines = ["一" * EXCERPT_CHARS, "预算为四万欧元。", "二" * EXCERPT_CHARS]
    assert excerpt_of("\n".join(lines), "预算") == ("预算为四万欧元。", 1)
    excerpt, _ = excerpt_of("一" * 2000 + "预算" + "二" * 2000, "预算")
    assert "预算" in excerpt


def test_composed_and_decomposed_text_meet(kb):
    kb.ledger.append([note(unicodedata.normalize("NFD", "구매 계획, Zoë"))])
    assert [len(kb.search(query, ["notes"])) for query in ("계획", "Zoë", "zoe")] == [1, 1, 1]


def test_an_address_in_a_nickname_or_organisation_is_masked_too(kb, contact):
    kb.ledger.append([contact("Ada", "ada@x.example", nicknames=["ada@home.example"], org="Office of ada@home.example")])
    [hit] = kb.search("Ada", ["contacts"])
    assert not re.search(r"\bada@", str(hit.to_dict()))
    [raw] = kb.search("Ada", ["contacts"], raw_contacts=True)
    assert (raw.data["nicknames"], raw.data["org"]) == (["ada@home.example"], "Office of ada@home.example")


@given(st.text("ab éÉß_.計画 \n", max_size=60), st.text("ab éß計", max_size=8))
def test_marks_are_where_the_words_are_whatever_the_letters(text, query):
    wanted = WORD.findall(fold(query))
    marked = [text[start:end] for start, end in marks_of(text, query, most=1000)]
    expected = [
        word for word in WORD.findall(text) if any(fold(word) == each or (len(each) > 2 and fold(word).startswith(each)) for each in wanted)
    ]
    assert marked == expected


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("+4915123456789", ["Maria Lee"]),
        ("0151 23456789", ["Maria Lee"]),
        ("(0151) 234 567-89", ["Maria Lee"]),
        ("0049 151 23456789", ["Maria Lee"]),
        ("030 1234567", ["Carl Orff"]),
        ("+49 (0)30 123-4567", ["Carl Orff"]),
        ("1234567", ["Carl Orff"]),
        ("030 7654321", []),
        ("345678", []),
    ],
)
def test_a_telephone_number_is_found_however_it_is_written(kb, contact, typed, found):
    kb.ledger.append(
        [
            contact("Maria Lee", "maria@acme.example", phones=["+49 (151) 234-567 89"]),
            contact("Carl Orff", "carl@acme.example", phones=["112", "0301234567"]),
            contact("Ada Yonath", "ada@acme.example"),
        ]
    )
    assert [hit.data["name"] for hit in kb.search(typed, ["contacts"]) if hit.data["match"] == "phone"] == found


def test_marks_stand_in_the_excerpt_as_it_is_also_where_lower_case_has_another_length():
    for excerpt, query, marked in (
        ("İİİ Tea", "tea", ["Tea"]),
        ("Über Tee", "uber", ["Über"]),
        ("tea Teapot eat", "tea", ["tea", "Teapot"]),
    ):
        assert [excerpt[start:end] for start, end in marks_of(excerpt, query)] == marked
    assert marks_of("tea tea tea", "tea", most=2) == [[0, 3], [4, 7]]
