"""Which opening a request means, why, and when nobody can tell."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.router.requests.matching import Candidate, meant
from runloop.router.requests.misspelled import corrected


def candidate(name, goals=(), examples=(), **params):
    return Candidate(name, tuple(goals), tuple((each, tuple(re.split(r"\{(\w+)\}", each))) for each in examples), params)


MAIL = candidate(
    "compose_email",
    ["Write a short e-mail to a person."],
    ["write an e-mail to {recipient} about {topic}", "tell {recipient} about {topic}", "mail {recipient} on {topic} in {count} words"],
    recipient="john",
    topic="tea",
    count=100,
)
BACKUP = candidate("backup_photos", ["Copy photos to a disk."], ["back up my photos to {where}"], where="/mnt")
REPORT = candidate("weekly_report", ["Summarise the week's commits."])
ALL = (MAIL, BACKUP, REPORT)


@pytest.mark.parametrize(
    ("line", "name", "params"),
    [
        ("write an e-mail to Maria about the plan", "compose_email", {"recipient": "Maria", "topic": "the plan"}),
        ("Write an email to Maria about the plan please", "compose_email", {"recipient": "Maria", "topic": "the plan"}),
        ("mail Bob on lunch in 50 words", "compose_email", {"recipient": "Bob", "topic": "lunch", "count": 50}),
        ("mail Bob on lunch in few words", "compose_email", {"recipient": "Bob", "topic": "lunch"}),
        ("back up my photos to /mnt/usb", "backup_photos", {"where": "/mnt/usb"}),
        ("summarise this week's commits", "weekly_report", {}),
        ("weekly_report", "weekly_report", {}),
        ("compose_email recipient=Maria topic='a b'", "compose_email", {"recipient": "Maria", "topic": "a b"}),
        ("backup_photos back up my photos to /x where=/y", "backup_photos", {"where": "/y"}),
    ],
)
def test_a_request_finds_its_opening_and_its_parameters(line, name, params):
    found = meant(line, ALL)

    assert (found.outcome, found.matches[0].name) == ("one", name)
    assert {each.name: each.value for each in found.matches[0].params} == params


@pytest.mark.parametrize(
    "line",
    [
        "what failed yesterday?",
        "explain the difference between TCP and UDP",
        "write a poem",
        "tell me about the weather",
        "don't write an e-mail to Maria about the plan",
        "Please do not mail Bob on lunch in 50 words",
        "never tell Bob about the plan",
        "",
        "?!",
        "the of a",
    ],
)
def test_what_fits_nothing_is_said_to_fit_nothing(line):
    assert meant(line, ALL).outcome == "none"


@pytest.mark.parametrize(
    ("question", "request_"),
    [
        ("did I tell Bob about the plan", "do tell Bob about the plan"),
        ("have I told Bob about the plan, or do we tell Bob about the plan", "could you tell Bob about the plan?"),
        ("When did we tell Bob about the plan?", "when you can, tell Bob about the plan"),
        ("who can tell Bob about the plan", "tell Bob about the plan"),
        ("which agents tell Bob about the plan", "please tell Bob about the plan"),
        ("how many times did I tell Bob about the plan", "how about you tell Bob about the plan"),
        ("what tells Bob about the plan", "what about this: tell Bob about the plan"),
    ],
)
def test_a_question_of_what_is_or_was_is_no_request_to_do_it(question, request_):
    assert (meant(question, ALL).outcome, meant(request_, ALL).outcome) == ("none", "one")
    assert meant(question, ALL).matches[0].name == "compose_email"


def test_a_question_finds_an_opening_that_is_for_questions():
    asked = candidate("weather", [], ["what is the weather in {city}", "how is it in {city}"], city="Rome")
    found = meant("what is the weather in Oslo", (*ALL, asked))
    assert (found.outcome, found.matches[0].params[0].value) == ("one", "Oslo")


def test_two_openings_that_fit_equally_well_are_left_to_somebody_else():
    one, two = candidate("one", ["Water the plants."]), candidate("two", ["Water the plants."])

    found = meant("water the plants", (two, one, REPORT))

    assert (found.outcome, [each.name for each in found.near]) == ("close", ["one", "two"])
    assert "one and two" in found.reason


def test_a_match_says_which_words_speak_for_it():
    match = meant("summarise the commits of Maria", ALL).matches[0]

    assert {word for word, _ in match.terms} == {"summaris", "commit"}
    assert match.to_dict()["terms"][0].keys() == {"word", "weight"}


def test_a_word_that_many_openings_have_says_less():
    many = [candidate(f"plant_{number}", [f"Paint wall {chr(97 + number)}"]) for number in range(5)]

    terms = dict(meant("paint wall b", many).matches[0].terms)

    assert terms["b"] > terms["paint"]


def test_no_openings_are_no_match():
    assert (meant("anything", ()).outcome, meant("anything", ()).near) == ("none", ())


@given(st.text(max_size=200), st.permutations(ALL))
def test_any_line_gives_the_same_answer_every_time_whatever_the_order(line, order):
    assert meant(line, order) == meant(line, ALL)
    assert all(0 <= match.score <= 1 for match in meant(line, ALL).matches)


def test_a_very_long_line_is_a_text_and_no_request():
    found = meant("write an e-mail to Maria about the plan " * 200_000, ALL)

    assert (found.outcome, found.reason) == ("none", "the line is longer than 4000 characters")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_examples_that_fit_the_one_that_explains_more_is_taken(order):
    texts = ["mail {who}", "mail {who} about {topic}"]
    opening = candidate("mail", (), [texts[number] for number in order], who="x", topic="y")

    assert meant("mail Bob about tea", (opening,)).matches[0].example == texts[1]


LETTER = candidate(
    "letter",
    ["Write an e-mail."],
    ["e-mail {who} about {what}", "write an e-mail to {who} about {what}", "mail {who} about {what} by {when}"],
    who="john",
    what="tea",
    when="now",
)


@pytest.mark.parametrize(
    ("line", "params", "missing"),
    [
        ("wrtie an e-mail to Maria about tea", {"who": "Maria", "what": "tea"}, ()),
        ("wrtie a mail to Maria about tea", {"who": "Maria", "what": "tea"}, ()),
        ("an e-mail to Maria about tea", {"who": "Maria", "what": "tea"}, ()),
        ("write an e-mail to Maria about", {"who": "Maria"}, ("what",)),
        ("write an e-mail to Maria", {"who": "Maria"}, ("what",)),
        ("write an e-mail to Maria what=tea", {"who": "Maria", "what": "tea"}, ()),
        ("write an e-mail to about tea", {}, ("who", "what")),
        ("write an e-mail", {}, ("who", "what")),
        ("letter", {}, ()),
        ("letter who=Bob", {"who": "Bob"}, ()),
        ("letter Bob", {}, ("who", "what")),
    ],
)
def test_what_every_example_says_and_the_line_does_not_is_missing_and_words_before_a_slot_are_no_value(line, params, missing):
    match = meant(line, (LETTER, BACKUP, REPORT)).matches[0]

    assert (match.name, {each.name: each.value for each in match.params}, match.missing) == ("letter", params, missing)


def test_an_opening_that_can_be_asked_for_without_values_misses_none():
    assert [meant(line, ALL).matches[0].missing for line in ("summarise the commits", "weekly_report")] == [(), ()]


@pytest.mark.parametrize(
    ("line", "params", "slips"),
    [
        ("wriet an emial to Ada about the plan", {"recipient": "Ada", "topic": "the plan"}, "wriet as write, emial as e-mail"),
        ("mial Bob on lunch in 50 words", {"recipient": "Bob", "topic": "lunch", "count": 50}, "mial as mail"),
        ("writ an e-mail to Ada about emial", {"recipient": "Ada", "topic": "emial"}, ""),
    ],
)
def test_a_request_with_slips_in_its_first_words_is_read_as_it_was_meant_and_says_so(line, params, slips):
    found = meant(line, ALL)

    assert (found.outcome, found.matches[0].name) == ("one", "compose_email")
    assert {each.name: each.value for each in found.matches[0].params} == params
    assert found.reason == "compose_email fits best" + (f", with {slips}" if slips else "")


@pytest.mark.parametrize(
    "line",
    [
        "wriet a poem",
        "maul Bob on lunch",  # four letters: another word as likely as a slip
        "Teil Maria about photos and so forth",
        "don't wriet an emial to Maria about the plan",
        "tlel photso about phtoos",  # of what the words are about nobody knows how it is spelled
    ],
)
def test_what_may_be_another_word_is_not_read_as_one_of_an_example(line):
    assert meant(line, ALL).outcome == "none"


def test_the_slips_that_are_read_are_one_letter_or_two_that_changed_places():
    known = ["message", "mail", "note"]
    said = ["mesage", "messsage", "massage", "emssage", "message", "mesasgee", "amil", "mali", "mai", "malt", "MAIL", "ontes", "Messagf"]
    assert {each: corrected(each, known)[0] for each in said if corrected(each, known)[1]} == {
        "mesage": "message", "messsage": "message", "massage": "message", "emssage": "message", "amil": "mail", "mali": "mail",
        "Messagf": "message",
    }  # fmt: skip


def test_what_follows_the_name_of_an_opening_that_takes_one_thing_is_that_thing():
    clean, count, plain = candidate("clean", file="x.csv"), candidate("count", n=3), candidate("plain")
    lines = ("clean data 1.csv", "count many", "plain text", "compose_email now")
    found = [meant(line, (clean, count, plain, MAIL)).matches[0] for line in lines]
    of = {each.name: {param.name: (param.value, param.by) for param in each.params} for each in found}
    assert of == {"clean": {"file": ("data 1.csv", "clean {file}")}, "count": {}, "plain": {}, "compose_email": {}}
    assert not meant("clean", (clean,)).matches[0].params
    assert meant("clean file=y.csv", (clean,)).matches[0].params[0].value == "y.csv"
