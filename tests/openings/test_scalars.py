"""Plain YAML scalars mean what JSON would read, and text otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings.scalars import UnsupportedScalarError, plain, tagged


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2.5e-3", -0.0025),
        ("1e5", 1e5),
    ],
)
def test_json_values_and_what_yaml_1_2_adds_are_typed(text, value):
    assert (plain(text), type(plain(text))) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "Yes", "y", "12:30:00", "190:20:30", "2026-01-01", "1_000", "007", "01234", "-01", "0b101", "01.5", "tRUE",
     "1.2.3", ".", "+", "e5", "0x", "0o8", "NaN", "inf", "١٢"],
)  # fmt: skip
def test_the_surprises_of_yaml_1_1_are_text(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".inf", "JSON has no value .inf; quote it if it is text"),
        ("-.INF", "JSON has no value -.INF; quote it if it is text"),
        (".nan", "JSON has no value .nan; quote it if it is text"),
        ("1e999", "number 1e999 is too large; quote it if it is text"),
        ("18446744073709551616", "number 18446744073709551616 is out of range (-2^63 to 2^64-1); quote it if it is text"),
        ("-9223372036854775809", "number -9223372036854775809 is out of range (-2^63 to 2^64-1); quote it if it is text"),
        ("9" * 5000, f"number {'9' * 39}… is out of range (-2^63 to 2^64-1); quote it if it is text"),
        ("0x" + "f" * 17, f"number {'f' * 17} is out of range (-2^63 to 2^64-1); quote it if it is text"),
    ],
)
def test_numbers_that_json_or_a_run_cannot_carry_are_refused(text, message):
    with pytest.raises(UnsupportedScalarError) as caught:
        plain(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [("str", "5", "5"), ("int", "5", 5), ("float", "5", 5.0), ("float", "1.5", 1.5), ("bool", "true", True), ("null", "", None)],
)
def test_core_tags_choose_the_type(tag, text, value):
    assert (tagged(tag, text), type(tagged(tag, text))) == (value, type(value))


@pytest.mark.parametrize(("tag", "text"), [("int", "x"), ("int", "true"), ("int", "1.5"), ("bool", "yes"), ("null", "0"), ("float", "a")])
def test_a_tag_that_does_not_fit_is_refused(tag, text):
    with pytest.raises(UnsupportedScalarError, match=f"'{text}' is not of type {tag}"):
        tagged(tag, text)


@given(st.text(max_size=50))
def test_any_text_is_a_json_value_or_refused(text):
    try:
        value = plain(text)
    except UnsupportedScalarError:
        return
    assert value is None or isinstance(value, (bool, int, float, str))
