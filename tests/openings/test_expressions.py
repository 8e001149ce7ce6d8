"""Guards and success expressions: spec 8.2, 9.1 and the comparisons of 26.5."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings.expressions import (
    Condition,
    Expression,
    ExpressionError,
    PortRef,
    parse_expression,
    parse_guarded,
    parse_literal,
    parse_ref,
    satisfies,
)

U64_MAX, I64_MAX = 2**64 - 1, 2**63 - 1


@pytest.mark.parametrize(
    ("value", "op", "literal", "expected"),
    [
        (U64_MAX, ">", -1, True),
        (U64_MAX, "<", I64_MAX, False),
        (U64_MAX - 1, "==", U64_MAX, False),
        ("lion", ">", "hawk", True),
        ("lion", "<", "zebra", True),
        ("a", "==", "a", True),
        (True, "==", True, True),
        (True, "!=", True, False),
        (True, ">", False, False),
        (True, "==", 1, False),
        (1, "==", True, False),
        (1, "!=", True, False),
        ("1", "==", 1, False),
        (1, "==", "1", False),
        (None, "!=", 1, False),
        ([1], "==", 1, False),
        ({}, "==", "x", False),
        (0.1 + 0.2, "==", 0.3, True),
        (0.1 + 0.2, ">", 0.3, False),
        (0.1 + 0.2, ">=", 0.3, True),
        (0.1 + 0.2, "!=", 0.3, False),
        (1, "==", 1.0, True),
        (2, ">", 1.5, True),
        (math.inf, "==", math.inf, True),
        (1.0, "<", math.inf, True),
        (math.nan, "==", math.nan, False),
        (1.0, "==", math.nan, False),
        (1.0, "!=", math.nan, True),
        (1.0, "<", math.nan, False),
        (math.nan, ">=", 1, False),
        (10**400, ">", 1.5, True),
        (-(10**400), "<", 1.5, True),
    ],
)
def test_a_comparison_follows_the_types(value, op, literal, expected):
    assert satisfies(value, op, literal) is expected


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("true", True),
        (" false ", False),
        ("12", 12),
        ("+5", 5),
        ("-7", -7),
        ("18446744073709551615", U64_MAX),
        ("1e5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        ('"text"', "text"),
        ('""', ""),
        ('"a "quoted" b"', 'a "quoted" b'),
        ('" >= "', " >= "),
    ],
)
def test_a_literal_is_a_boolean_a_number_or_quoted_text(text, literal):
    assert (parse_literal(text), type(parse_literal(text))) == (literal, type(literal))


def test_nan_is_a_literal():
    assert math.isnan(float(parse_literal("NaN")))


@pytest.mark.parametrize("text", ["yes", "", "'x'", '"', "1_000", "٣", "0x10", "True", "1 2", "--1", ".", "e5", "nul"])
def test_a_bare_word_is_no_literal(text):
    with pytest.raises(ExpressionError, match="unsupported literal value; use booleans, numbers, or quoted strings"):
        parse_literal(text)


def test_the_hint_for_a_bare_word_shows_the_quotes():
    with pytest.raises(ExpressionError) as caught:
        parse_literal("yes")
    assert caught.value.hint == 'write "yes" in double quotes if it is text'


def test_the_hint_for_a_text_in_single_quotes_has_double_ones():
    with pytest.raises(ExpressionError) as caught:
        parse_literal("'yes'")
    assert caught.value.hint == 'write "yes" in double quotes if it is text'


@pytest.mark.parametrize("text", ["order.out == 1", "vendor-x.out == 1", "or.out == 1", "and.or > 1", "a.or == 1", "for.and == true"])
def test_a_name_that_holds_and_or_or_joins_nothing(text):
    assert str(parse_expression(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out", "port reference must be of the form '<node>.<port>'"),
        ("", "port reference must be of the form '<node>.<port>'"),
        (".out", "node and port identifiers must be non-empty"),
        ("a.", "node and port identifiers must be non-empty"),
        ("a b.out", "'a b' is not an identifier; use letters, digits, '-' or '_'"),
        ("a.out.more", "'out.more' is not an identifier; use letters, digits, '-' or '_'"),
        (f"a.{'x' * 65}", f"'{'x' * 65}' is not an identifier; use letters, digits, '-' or '_'"),
    ],
)
def test_a_reference_names_a_node_and_a_port(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse_ref(text)
    assert str(caught.value) == message


def test_names_may_be_in_any_script():
    assert parse_ref(" prüfung.größe ") == PortRef("prüfung", "größe")


def test_a_single_equals_sign_is_explained():
    with pytest.raises(ExpressionError) as caught:
        parse_guarded("a.ok = true")
    assert caught.value.hint == "compare with '==', not '='"


def test_the_first_operator_splits_so_that_text_may_hold_operators():
    assert parse_guarded('a.out == "x>=y"') == (PortRef("a", "out"), Condition("==", "x>=y"))


def test_an_edge_without_operator_has_no_guard():
    assert parse_guarded("a.out") == (PortRef("a", "out"), None)


@pytest.mark.parametrize("op", [">", ">=", "<", "<="])
def test_ordering_booleans_never_holds_and_is_refused(op):
    with pytest.raises(ExpressionError, match=f"'{op}' cannot compare booleans, so it never holds"):
        parse_guarded(f"a.ok {op} true")


def test_exists_asks_for_any_value():
    expression = parse_expression(" exists( a.out ) ")

    assert expression == Expression(PortRef("a", "out"), None)
    assert [expression.holds(outputs) for outputs in ({"a": {"out": [None]}}, {"a": {"out": []}}, {"a": {}}, {})] == [
        True,
        False,
        False,
        False,
    ]


def test_any_value_on_the_port_is_enough():
    condition = Condition("==", True)

    assert [condition.holds(values) for values in ([False, True], [False], [], None)] == [True, False, False, False]


@pytest.mark.parametrize("text", ["a.out", "exists(a.out", "(a.out)"])
def test_a_success_expression_compares(text):
    with pytest.raises(ExpressionError, match="comparison expression must include an operator"):
        parse_expression(text)


@pytest.mark.parametrize("text", ["exists(a.out)", "a.n >= 3", 'a.s != "x"', "a.f < 1.5", "a.ok == true", "a.ok == false"])
def test_an_expression_reads_as_it_was_written(text):
    assert str(parse_expression(text)) == text


NUMBERS = st.integers(-(2**63), U64_MAX) | st.floats()
LITERALS = st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)


@given(LITERALS, LITERALS)
def test_the_operators_agree_with_each_other(value, literal):
    less, equal, greater = (satisfies(value, op, literal) for op in ("<", "==", ">"))

    assert less + equal + greater <= 1
    if not (isinstance(value, bool) or isinstance(literal, bool)):
        assert satisfies(value, "<=", literal) == (less or equal)
        assert satisfies(value, ">=", literal) == (greater or equal)
    if satisfies(value, "!=", literal):
        assert not equal


@given(LITERALS.filter(lambda literal: not (isinstance(literal, float) and math.isnan(literal))))
def test_every_literal_that_is_shown_reads_back(literal):
    shown = str(Condition("==", literal))

    assert parse_literal(shown.removeprefix("== ")) == literal


@given(st.text(max_size=40))
def test_any_text_parses_or_says_why(text):
    for parse in (parse_ref, parse_guarded, parse_expression, parse_literal):
        with suppress(ExpressionError):
            parse(text)
