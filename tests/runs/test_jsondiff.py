"""Where two JSON values differ: nothing for equal ones, and otherwise places that really hold those values."""

import re

from hypothesis import given
from hypothesis import strategies as st

from runloop.events import canonical
from runloop.runs.jsondiff import MISSING, Difference, differences, first_difference, shown

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, width=16) | st.text("ab. ", max_size=3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab. ", max_size=2), inner, max_size=3))
STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\[\"([^\"]*)\"\]")


def at(value, path):
    """What stands at a path, MISSING where nothing does."""
    for name, index, quoted in STEP.findall(path.removeprefix("$")):
        key = int(index) if index else name or quoted
        try:
            value = value[key]
        except (KeyError, IndexError):
            return MISSING
    return value


@given(VALUES, VALUES)
def test_values_are_equal_exactly_where_no_difference_is_found(one, other):
    assert (canonical(one) == canonical(other)) == (first_difference(one, other) is None)


@given(VALUES, VALUES)
def test_every_place_holds_the_two_values_that_are_said_to_stand_there(one, other):
    for each in differences(one, other):
        assert (at(one, each.path), at(other, each.path)) == (each.expected, each.actual)


@given(VALUES, VALUES)
def test_the_other_way_round_gives_the_same_places(one, other):
    assert {each.path for each in differences(one, other)} == {each.path for each in differences(other, one)}


def test_true_is_not_one_and_a_whole_fraction_is():
    assert first_difference({"a": [True]}, {"a": [1]}) == Difference("$.a[0]", True, 1)
    assert first_difference({"a": [0]}, {"a": [False]}) == Difference("$.a[0]", 0, False)
    assert first_difference([1], [1.0]) is None


def test_what_is_of_another_shape_differs_as_a_whole():
    for one, other in (([1], {"0": 1}), ({}, []), ([1], 1), ({"a": 1}, "a"), ([], None), ({}, False)):
        assert list(differences(one, other)) == [Difference("$", one, other)]
        assert list(differences(other, one)) == [Difference("$", other, one)]


def test_a_text_of_the_length_that_is_shown_is_shown_whole():
    assert shown(Difference("$", "a" * 8, "a" * 9), limit=10) == ('"aaaaaaaa"', '"aaaaaaaa…')


def test_a_missing_side_is_named_in_the_json_form():
    found = list(differences({"a b": 1, "c": []}, {"c": [None]}))
    assert found == [Difference('$["a b"]', 1, MISSING), Difference("$.c[0]", MISSING, None)]
    assert [each.to_dict() for each in found] == [
        {"path": '$["a b"]', "expected": 1, "actual": None, "missing": "actual"},
        {"path": "$.c[0]", "expected": None, "actual": None, "missing": "expected"},
    ]


def test_of_two_long_texts_the_part_is_shown_where_they_first_differ():
    one, other = shown(Difference("$", "a" * 500 + "one" + "b" * 500, "a" * 500 + "two" + "b" * 500), limit=60)
    assert ("one" in one, "two" in other, len(one) <= 60, len(other) <= 60) == (True, True, True, True)
    assert shown(Difference("$", "short", MISSING)) == ('"short"', "nothing")
