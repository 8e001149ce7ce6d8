from __future__ import annotations

import json
import math
from collections import OrderedDict
from enum import IntEnum

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from runloop.events import NotCanonical, canonical, parse, plain_json
from runloop.events.canonical import MAX_DEPTH, MAX_SAFE_INTEGER

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
@example({"\U0001f600": 1, "\ue000": 2, "a": 3})
@example([1e21, 1e-7, 1.0, -0.0, 5e-324, 1e15, 1e16, 123456789012345680.0, 0.0001, 0.00001])
def test_it_writes_the_same_bytes_as_the_reference_implementation(value):
    assert canonical(value) == rfc8785.dumps(value)


@given(JSON | st.text(max_size=20))
@example({"\ue000": 1, "\U0001f600": 2})
@example({"a": [1.0, 1e-5, 1e16, 2.5, 0.0001], "b": '\x00\x1f\x7f\u2028"\\/'})
@example("\ud800")
def test_plain_text_is_what_the_standard_library_writes_or_is_not_given(value):
    standard = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert plain_json(value) in (None, standard)


def test_plain_text_is_given_for_what_agents_mostly_exchange():
    assert plain_json({"with": {}, "inputs": {"a": [{"text": "é", "n": 1, "ok": None}]}, "run": {"attempt": 1}}) is not None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_as_the_reference_implementation_writes_it(number):
    assert canonical([number]) == rfc8785.dumps([number])


@given(JSON)
@example([9007199254740992.0, {"a": -1e20}, "1234567890123456789", 1e21])
def test_reading_it_back_and_writing_it_again_changes_nothing(value):
    once = canonical(value)
    assert canonical(parse(once)) == once
    assert canonical(parse(once.decode())) == once
    assert parse(once) == value


@given(st.dictionaries(TEXT, st.integers(0, 9), max_size=8), st.randoms())
def test_the_order_in_which_keys_were_inserted_does_not_matter(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


def test_keys_are_ordered_by_their_utf16_code_units():
    assert canonical({"\ue000": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ue000":1}'.encode()


class Colour(IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, "a"), b'[1,"a"]'),
        (OrderedDict(b=1, a=2), b'{"a":2,"b":1}'),
        ({Name("b"): 1, "a": Name("x")}, b'{"a":"x","b":1}'),
        (True, b"true"),
        ("\x00\x08\x1f\x7f\u2028", '"\\u0000\\b\\u001f\x7f\u2028"'.encode()),
        ([], b"[]"),
        ({}, b"{}"),
    ],
)
def test_values_that_are_json_in_another_coat_are_written_as_json(value, expected):
    assert canonical(value) == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (MAX_SAFE_INTEGER + 1, "events.integer_range"),
        ({"deep": [{"er": -MAX_SAFE_INTEGER - 1}]}, "events.integer_range"),
        (math.nan, "events.not_finite"),
        ([math.inf], "events.not_finite"),
        ({"a": -math.inf}, "events.not_finite"),
        ("\ud800", "events.bad_text"),
        ({"\udfff": 1}, "events.bad_text"),
        (b"bytes", "events.not_json"),
        ({1: "one"}, "events.not_json"),
        ({None: "one"}, "events.not_json"),
        ({1, 2}, "events.not_json"),
        (object(), "events.not_json"),
        ([{"a": object()}], "events.not_json"),
    ],
)
def test_what_is_not_json_is_refused_with_its_own_code(value, code):
    with pytest.raises(NotCanonical) as caught:
        canonical(value)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("value", [MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER, 0])
def test_the_largest_exact_integers_are_written(value):
    assert canonical(value) == str(value).encode()


def nested(levels, leaf):
    value = leaf
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("leaf", [1, 1.0], ids=["fast", "reference"])
def test_nesting_is_allowed_up_to_its_limit_and_refused_beyond(leaf):
    assert canonical(nested(MAX_DEPTH, leaf)) == b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH
    with pytest.raises(NotCanonical) as caught:
        canonical(nested(MAX_DEPTH + 2, leaf))
    assert caught.value.code == "events.too_deep"


def test_nesting_of_a_hundred_thousand_levels_is_refused_and_not_a_crash():
    with pytest.raises(NotCanonical) as caught:
        canonical(nested(100_000, {}))
    assert caught.value.code == "events.too_deep"
