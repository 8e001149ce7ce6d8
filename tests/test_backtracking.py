"""Patterns that repeat a repeat are found, and those that people write for names, numbers and hosts are not taken for such."""

import pytest

from runloop.backtracking import explodes, exploding_patterns, said_of


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$", "(a*)*", "(?:[a-z]+)*!", r"^(\w+\s?)*$", r"^(\s*\w+)*$", "(x|a+)*", "((a+))+", "(?P<n>a+?)+?", "(a{1,2})*", "(a+b?)*",
        "([^,]+,?)*", r"(\d{1,3}(,\d{3})*)+", "b(?=(a+)+c)", "(?>(a+)+)", "(?:(a+)+)++", "(c)?(?(1)(a+)+|b)", "(.*)*", "(a+){2,30}",
        "(a+(b|c*))*",
    ],
)  # fmt: skip
def test_a_repeat_of_a_repeat_is_found(pattern):
    assert explodes(pattern)
    assert repr(pattern[:80]) in said_of(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "", "a+", "^[a-z]+(-[a-z]+)*$", r"^([a-z0-9]+\.)+[a-z]{2,}$", "^([A-Z][a-z]*)+$", r"^(\w+\b)*$", r"^\d{3}(-?\d{3})*$", "(a|b)*",
        "(a++)+", "(?>a+)+", "(a?)+", "(a{3})+", "(a+){2,3}", r"(\.[a-z]+)*", "[unclosed", "(a+)(?(1)b)", "(?=a+)*b", "^([^,]+,)*[^,]*$",
    ],
)  # fmt: skip
def test_other_patterns_are_not(pattern):
    assert not explodes(pattern)


def test_the_patterns_of_a_schema_are_found_wherever_they_stand():
    schema = {
        "properties": {
            "pattern": {"pattern": "(a+)+"},
            "b": {"anyOf": [True, {"patternProperties": {"(b+)+": {}, "c+": {"pattern": "d+"}}}]},
        },
        "enum": [{"pattern": "(e+)+"}],
    }

    assert list(exploding_patterns(schema)) == [
        ("(a+)+", ("properties", "pattern", "pattern")),
        ("(b+)+", ("properties", "b", "anyOf", 1, "patternProperties")),
    ]
