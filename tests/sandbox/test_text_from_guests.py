"""JSON and text from guests, before anything of ours parses or shows them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli.output import clean
from runloop.sandbox.jsontext import MAX_DEPTH, BadJson, check
from runloop.sandbox.said import Said

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_values_that_everyone_can_carry_are_accepted_unchanged(value, ascii_only):
    assert check(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_parses_or_is_refused_and_never_anything_else(text):
    try:
        value = check(text)
    except BadJson:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"), ("{", "not valid JSON"), ("NaN", "NaN"), ("-Infinity", "Infinity"), ("1e999", "too large"), ("9007199254740992", "2^53"),
        ("[-9007199254740992]", "2^53"), ("1" * 5000, "not valid JSON"), ('"\\ud800"', "surrogate"), ('{"\\udfff": 1}', "surrogate"), ('{"a": 1} x', "not valid"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deeper"), ("[" * 10**6, "deeper"), ('{"a":' * 10**5, "deeper"), ('[{"b": 1, "a": 1, "a": 2}]', "the key 'a' stands twice"),
    ],
)  # fmt: skip
def test_what_a_later_layer_would_choke_on_is_refused_with_the_reason(text, said):
    with pytest.raises(BadJson, match=said.replace("^", r"\^")):
        check(text)


def test_the_deepest_value_that_is_allowed_passes_and_brackets_in_strings_do_not_count():
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(check(deep), separators=(",", ":")) == deep
    assert check(json.dumps('[{"' * 100)) == '[{"' * 100
    assert check('["\\\\", "' + "[" * 100 + '"]') == ["\\", "[" * 100]


@given(st.text())
def test_nothing_that_moves_a_terminal_survives_neutralising(text):
    shown = clean(text)
    assert all(letter in "\t\n" or letter.isprintable() or not _control(letter) for letter in shown)
    assert clean(shown) == shown


def _control(letter: str) -> bool:
    return (
        ord(letter) < 32
        or 127 <= ord(letter) < 160
        or letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\ufeff"
    )


def test_ordinary_text_is_left_alone():
    text = "Grüße,\n\tEnde – 日本語 \U0001f600 'quoted' \\x1b as typed"
    assert clean(text) == text


@pytest.mark.parametrize("character", ["a", "ü", "€", "🦊"])
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("step", [1, 5000, 30_000])
def test_a_long_line_is_cut_between_two_characters(character, before, step):
    lines = []
    said = Said(lambda level, line: lines.append((level, line)))
    line = "b" * before + character * 12_000
    data = line.encode() + b"\nnext"
    for at in range(0, len(data), step):
        said.write("info", data[at : at + step])
    said.finish()
    assert lines[-1] == ("info", "next")
    assert "".join(text for _, text in lines[:-1]) == line
    assert all(8189 <= len(text.encode()) <= 8192 for _, text in lines[:-2])


def test_a_long_line_of_bytes_that_are_no_text_is_cut_all_the_same():
    lines = []
    Said(lambda _level, line: lines.append(line)).write("info", b"\x80" * 8200 + b"\n")
    assert [len(line) for line in lines] == [8192, 8]
