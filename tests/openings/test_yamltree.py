"""Places are those of the real nodes, and no document makes the reader work without bound. Both parsers of the YAML library are tried."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings import examine, yamltree
from runloop.openings.errors import OpeningError, Report
from runloop.openings.yamltree import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Fields, Items, Scalar, compose

PARSERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])


@pytest.fixture(params=PARSERS, ids=lambda loader: loader.__name__)
def parser(request, monkeypatch):
    monkeypatch.setattr(yamltree, "LOADER", request.param)


@pytest.fixture
def refused(parser):
    """What the reader says to a document that it does not read to the end."""

    def read(text):
        with pytest.raises(OpeningError) as caught:
            compose(text, Report())
        problem = caught.value.problems[-1]
        return problem.where.line, problem.where.column, problem.message

    return read


@pytest.fixture
def reported(parser):
    """What the reader reports of a document that it does read."""

    def read(text):
        report = Report()
        compose(text, report)
        return [(problem.where.line, problem.where.column, problem.message) for problem in report.problems]

    return read


def leaves(tree, found=None):
    found = [] if found is None else found
    if isinstance(tree, Scalar):
        found.append((tree.value, tuple(tree.at)))
    for child in (
        tree.items if isinstance(tree, Items) else [entry.value for entry in tree.entries.values()] if isinstance(tree, Fields) else []
    ):
        leaves(child, found)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  - x\n  -   y\n", [(1, (1, 4)), ("x", (3, 5)), ("y", (4, 7))]),
        ("größe: ü\nb: {ключ: значение}\n", [("ü", (1, 8)), ("значение", (2, 11))]),
        ("'😀😀': {b: 1}", [(1, (1, 11))]),
        ("a: 1\r\nb: 2\r\n", [(1, (1, 4)), (2, (2, 4))]),
        ("a: 1\rb: 2\r", [(1, (1, 4)), (2, (2, 4))]),
        ("\ufeffa: 1\n", [(1, (1, 4))]),
        ('a: "x\n  y"\nb: |\n  text\nc: 3', [("x y", (1, 4)), ("text\n", (3, 4)), (3, (5, 4))]),
        ("# comment\n\n---\na: 1\n...\n", [(1, (4, 4))]),
        ("a: \"line\u2028separator\"\nb: 2\n", [("line\u2028separator", (1, 4)), (2, (2, 4))]),
    ],
    ids=["plain", "letters", "emoji", "crlf", "cr", "bom", "many-lines", "document", "line-separator"],
)  # fmt: skip
def test_a_value_stands_where_an_editor_shows_it(parser, text, expected):
    assert [(value, place) for value, place in leaves(compose(text, Report()))] == expected


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="the library's Python parser takes no tab between a key and its value")
def test_a_tab_is_one_column():
    assert leaves(compose("a:\t1\nb: {c:\t2}\n", Report())) == [(1, (1, 4)), (2, (2, 8))]


def test_an_empty_document_is_null(parser):
    assert compose("", Report()) == Scalar(None, (1, 1))
    assert compose("# nothing\n", Report()) == Scalar(None, (1, 1))


def test_a_quoted_scalar_is_text_and_a_plain_one_is_typed(parser):
    assert [value for value, _ in leaves(compose("[1, '1', \"true\", true, yes, ! 5, !!str 5, !!int 5]", Report()))] == [
        1, "1", "true", True, "yes", "5", "5", 5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: [1, 2\nb: 3", (2, 2)), ("a: 'x", (1, 6)), ("a: b: c", (1, 5)), ("\tkey: 1", (1, 1)), ("a: @x", (1, 4)), ("a: %x", (1, 4))],
)
def test_a_syntax_error_has_its_place(refused, text, place):
    assert refused(text)[:2] == place


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1", "indent with spaces, not tabs"),
        ("a:\n  b: 1\n\tc: 2", "indent with spaces, not tabs"),
        ("a: @x", "text that begins with '@' stands in quotes"),
        ("a: `x`", "text that begins with '`' stands in quotes"),
        ("a: [%x]", "text that begins with '%' stands in quotes"),
        ("a: {b: |\n  x}", "text that begins with '|' stands in quotes"),
        ("a: mail: daily", "text that holds ': ' stands in quotes; else look at the indentation, there and on the line before"),
        ("- id: a\n   use: b", "text that holds ': ' stands in quotes; else look at the indentation, there and on the line before"),
        ("a: {b: Note: this}", "text that holds ': ' stands in quotes; else a bracket is not closed, there or on the line before"),
        ("a:\xa01\nb:\n- 2", "line 1 has another space at column 3 than the space bar makes (U+00A0): type it anew"),
        ("a:\n \u2003b: 1\n  c: 2", "line 2 has another space at column 2 than the space bar makes (U+2003): type it anew"),
        ("a: two\xa0words\nb: [1", "look there and on the line before: a bracket or quote not closed, or another indentation"),
        ("a: [1, 2\nb: 3", "look there and on the line before: a bracket or quote not closed, or another indentation"),
        ("a: 'x", "look there and on the line before: a bracket or quote not closed, or another indentation"),
    ],
)
def test_the_hint_of_a_syntax_error_fits_what_stands_there(parser, text, hint):
    with pytest.raises(OpeningError) as caught:
        compose(text, Report())
    assert caught.value.hint == hint


@pytest.mark.parametrize(("text", "place"), [("a: \x00", (1, 4)), ("a: 1\nbü: \x1b[0m", (2, 5)), ("a: '\ud800'", (1, 5))])
def test_characters_that_are_no_text_are_refused(refused, text, place):
    line, column, message = refused(text)
    assert (line, column) == place
    assert message.endswith("is not allowed in YAML")


def test_a_second_document_is_refused(refused):
    assert refused("a: 1\n---\nb: 2\n") == (2, 1, "a file holds one opening; a second YAML document starts here")


def test_an_alias_stands_for_its_value_and_keeps_the_place_of_the_anchor(parser):
    assert leaves(compose("a: &x [1]\nb: *x\n", Report())) == [(1, (1, 8)), (1, (1, 8))]


def test_an_anchor_may_be_set_again(parser):
    assert [value for value, _ in leaves(compose("[&x 1, *x, &x 2, *x]", Report()))] == [1, 1, 2, 2]


def test_an_alias_without_anchor_is_refused(refused):
    assert refused("a: *nowhere") == (1, 4, "alias '*nowhere' names no anchor")


def test_an_alias_inside_its_own_value_is_refused(refused):
    assert refused("a: &x [1, {b: *x}]") == (1, 15, "alias '*x' stands inside the value that it names")


def test_an_alias_bomb_is_refused_before_it_expands(refused):
    levels = "\n".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30))

    assert refused(f"a0: &a0 [x]\n{levels}")[2] == f"an opening holds at most {MAX_VALUES} values, aliases expanded"


def test_a_bomb_of_long_texts_is_refused(refused):
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100)}]"

    assert refused(text)[2] == "an opening holds at most 4194304 characters, aliases expanded"


def test_too_many_values_are_refused(parser):
    with pytest.raises(OpeningError, match="an opening holds at most 100000 values, aliases expanded"):
        compose("[" + "1," * (MAX_VALUES + 1) + "]", Report())


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_deep_nesting_is_refused_without_deep_recursion(parser, opening):
    with pytest.raises(OpeningError, match=f"values are nested more than {MAX_DEPTH} levels deep"):
        compose(opening * 400, Report())


def test_the_deepest_value_allowed_is_read(parser):
    assert leaves(compose("[" * MAX_DEPTH + "7" + "]" * MAX_DEPTH, Report())) == [(7, (1, MAX_DEPTH + 1))]


def test_depth_counts_through_aliases(refused):
    half = "[" * 20 + "1" + "]" * 20

    assert refused(f"a: &a {half}\nb: {'[' * 20}*a{']' * 20}")[2] == f"values are nested more than {MAX_DEPTH} levels deep"


def test_a_duplicate_key_is_reported_at_the_second(reported):
    assert reported("a: 1\nb: {c: 1, c: 2}\n'a': 3\n") == [(2, 11, "duplicate key 'c'"), (3, 1, "duplicate key 'a'")]


def test_the_first_of_two_equal_keys_stays(parser):
    tree = compose("a: 1\na: 2", Report())
    assert leaves(tree) == [(1, (1, 4))]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !secret x", (1, 4, "tag '!secret' is not allowed; values are JSON values")),
        ("a: !!python/object:os.system {}", (1, 4, "tag '!!python/object:os.system' is not allowed; values are JSON values")),
        ("a: !!set {x}", (1, 4, "tag '!!set' is not allowed; values are JSON values")),
        ("a: !!binary aGk=", (1, 4, "tag '!!binary' is not allowed; values are JSON values")),
        ("a: !<tag:example.com,2000:x> 1", (1, 4, "tag 'tag:example.com,2000:x' is not allowed; values are JSON values")),
        ("x: {k: 1}\na: {<<: {k: 1}}", (2, 5, "merge keys ('<<') are not part of the language")),
    ],
)
def test_tags_and_merge_keys_are_reported(reported, text, problem):
    assert reported(text) == [problem]


def test_core_tags_on_collections_and_a_quoted_merge_key_are_fine(reported):
    assert reported("a: !!map {b: !!seq [1]}\nc: {'<<': 1}\nd: ! {x: 1}") == []


def test_numbers_without_a_json_value_carry_their_fault(parser):
    tree = compose("[.inf, !!int x]", Report())
    assert isinstance(tree, Items)
    assert [item.fault for item in tree.items if isinstance(item, Scalar)] == [
        "JSON has no value .inf; quote it if it is text",
        "'x' is not of type int",
    ]


def test_keys_that_are_no_strings_are_kept_apart(parser):
    tree = compose("1: a\ntrue: b\nnull: c\n[x]: d\nyes: e\n", Report())
    assert isinstance(tree, Fields)
    assert (list(tree.entries), [tuple(place) for place in tree.odd_keys]) == (["yes"], [(1, 1), (2, 1), (3, 1), (4, 1)])


def test_half_a_surrogate_pair_in_an_escape_has_no_value(monkeypatch):
    monkeypatch.setattr(yamltree, "LOADER", yaml.SafeLoader)
    tree = compose('"\\ud800"', Report())
    assert isinstance(tree, Scalar)
    assert tree.fault == "text holds half of a surrogate pair"


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_document_that_is_too_long_is_refused_by_its_bytes(found, as_bytes):
    text = "ü" * (MAX_BYTES // 2 + 1)

    assert found(text.encode() if as_bytes else text) == [(1, 1, f"an opening is at most {MAX_BYTES} bytes long")]


def test_bytes_that_are_not_utf_8_have_a_place(found):
    assert found("a: 1\r\nbü: ".encode() + b"\xff") == [(2, 5, "byte 0xff is not UTF-8")]


def test_bytes_and_text_read_the_same(base):
    assert examine(base.encode()) == examine(base)


@given(st.text(st.sampled_from("ab1:- \n\t{}[],&*!'\"|>#%@`?~.<é\r\u2028\ufeff\x85"), max_size=60))
def test_any_text_is_read_or_refused_with_a_place_inside_it(text):
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in examine(text).problems:
        assert problem.where.line is not None
        assert problem.where.column is not None
        assert 1 <= problem.where.line <= len(lines)
        assert 1 <= problem.where.column <= len(lines[problem.where.line - 1]) + 1


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    assert examine(data).problems
