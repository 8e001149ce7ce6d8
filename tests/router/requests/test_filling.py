"""What stands in the place of a slot, and as which kind of value."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.router.requests.filling import align, named_values, typed
from runloop.router.requests.words import stem, telling


def pieces(example):
    return tuple(re.split(r"\{(\w+)\}", example))


def slots(line, example):
    laid = align(line, pieces(example), example)
    return None if laid is None else dict(laid.slots)


@pytest.mark.parametrize(
    ("line", "example", "expected"),
    [
        ("write to Maria Lee about the Q4 plan", "write to {who} about {topic}", {"who": "Maria Lee", "topic": "the Q4 plan"}),
        ("Please WRITE To maria About tea.", "write to {who} about {topic}", {"who": "maria", "topic": "tea"}),
        ("write to maria about tea, please", "write to {who} about {topic}", {"who": "maria", "topic": "tea"}),
        ('write to "Lee, Maria" about “the plan”', "write to {who} about {topic}", {"who": "Lee, Maria", "topic": "the plan"}),
        ("write to a.b@x.org about x", "write to {who} about {topic}", {"who": "a.b@x.org", "topic": "x"}),
        ("mail it to bob@x.org", "mail it to {who}", {"who": "bob@x.org"}),
        ("back up ~/photos/2026 to /mnt/disk", "back up {what} to {where}", {"what": "~/photos/2026", "where": "/mnt/disk"}),
        ("tea for two", "{what} for {who}", {"what": "tea", "who": "two"}),
        ("how is tea made", "how is {what} made", {"what": "tea"}),
        ("write about tea to Maria", "write to {who} about {topic}", None),
        ("write to Maria", "write to {who} about {topic}", None),
        ("write to about tea", "write to {who} about {topic}", None),
        ("tell me about tea", "tell {who} about {topic}", None),
        ("tell me all about tea", "tell {who} about {topic}", None),
        ("Tell us everything you know about tea", "tell {who} about {topic}", None),
        ("tell me and Bob about tea", "tell {who} about {topic}", {"who": "me and Bob", "topic": "tea"}),
        ("", "write to {who}", None),
        ("", "{who} please", None),
        ("write to !!! about tea", "write to {who} about {topic}", None),
        ("what is the time", "what is the time", {}),
    ],
)
def test_a_slot_takes_what_stands_between_the_words_around_it(line, example, expected):
    assert slots(line, example) == expected


def test_the_words_of_an_example_that_the_line_has_are_counted():
    assert (align("send a short mail to Bob", pieces("send mail to {who}"), "").found, align("x", pieces("mail it"), "").found) == (3, 0)


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("tea", "x", ("tea",)),
        ("tea", None, ("tea",)),
        ("yes", False, (True,)),
        ("off", True, (False,)),
        ("perhaps", True, None),
        ("3", 1, (3,)),
        ("about 3.5 litres", 1.0, (3.5,)),
        ("-2", 1, (-2,)),
        ("3 or 4", 1, None),
        ("three", 1, None),
        ("a, b and c", [], (["a", "b", "c"],)),
        ("1, 2", [0], ([1, 2],)),
        ("1, two", [0], None),
        ('["a"]', ["x"], (["a"],)),
        ("[broken", ["x"], None),
        (" , ", ["x"], None),
        ('{"a": 1}', {}, ({"a": 1},)),
        ("[1]", {}, None),
        ("[" * 100_000, {}, None),
    ],
)
def test_a_text_becomes_a_value_of_the_default_s_type_or_none(text, default, expected):
    assert typed(text, default) == expected


@pytest.mark.parametrize(
    ("line", "rest", "values"),
    [
        ("run it topic=tea", "run it", {"topic": "tea"}),
        ("run it topic='the Q4 plan' now", "run it now", {"topic": "the Q4 plan"}),
        ('topic="a b" count=3', "", {"topic": "a b", "count": 3}),
        ("other=tea", "other=tea", {}),
        ("topic=a topic=b", "topic=b", {"topic": "a"}),
        ("count=many", "count=many", {}),
        ("a=b=c", "a=b=c", {}),
    ],
)
def test_named_values_are_taken_out_of_the_line(line, rest, values):
    left, found = named_values(line, {"topic": "x", "count": 1})

    assert (left, {name: each.value for name, each in found.items()}) == (rest, values)


WORDS = st.text(string.ascii_lowercase, min_size=4, max_size=10).filter(lambda word: telling(word) and stem(word) == word)


@given(st.lists(WORDS, min_size=4, max_size=4, unique_by=stem), st.text(max_size=40))
def test_whatever_stands_in_a_slot_comes_back_when_it_holds_none_of_the_example_s_words(words, noise):
    first, between, one, two = words
    line = f"{first} {one} {between} {two}"

    assert slots(line, f"{first} {{a}} {between} {{b}}") == {"a": one, "b": two}
    align(noise, pieces(f"{first} {{a}} {between} {{b}}"), "")  # whatever is typed is laid beside it or not
