"""Places in TOML: every key and list entry has the line and column at which an editor shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.policy.located import dotted, parse_toml


def places(text: str) -> dict[str, tuple[int, int]]:
    return {dotted(path): place for path, place in parse_toml(text, file="x", code="t").places.items()}


def test_keys_tables_and_list_entries_have_their_places():
    text = '# first\n[a]\nb = 1\n  c.d = "x"\n\n[a.e]\nlist = [ 1,\n   "two", # note ]\n  [3, {k = 4}],\n]\n'
    assert places(text) == {
        "a": (2, 1),
        "a.b": (3, 1),
        "a.c": (4, 3),
        "a.c.d": (4, 3),
        "a.e": (6, 1),
        "a.e.list": (7, 1),
        "a.e.list[0]": (7, 10),
        "a.e.list[1]": (8, 4),
        "a.e.list[2]": (9, 3),
        "a.e.list[2][0]": (9, 4),
        "a.e.list[2][1]": (9, 7),
        "a.e.list[2][1].k": (9, 8),
    }


def test_tables_in_a_list_are_counted():
    assert places("[[t]]\nx = 1\n[[t]]\nx = 2\n[t.u]\ny = 3\n") == {
        "t": (1, 1),
        "t[0]": (1, 1),
        "t[0].x": (2, 1),
        "t[1]": (3, 1),
        "t[1].x": (4, 1),
        "t[1].u": (5, 1),
        "t[1].u.y": (6, 1),
    }


@pytest.mark.parametrize(
    "value",
    [
        '"a # b = [ \\" ] }"',
        "'a # \" ]'",
        '"""one\n# two = \\"""\nkey = 1"""',
        '""""quoted" and more"""""',
        "'''it's\nx = 1'''",
        "''''edge'''''",
        "1979-05-27 07:32:00Z",
        "1979-05-27",
        "[]",
        "{}",
        "{ a = [ '}' ], b.c = \"]\" }",
        "[ # comment ]\n 'x' # more [\n , ]",
        "-1_000.5e+3",
    ],
)
def test_no_value_hides_the_key_after_it(value):
    text = f"first = {value}\nlast = 2\n"
    document = parse_toml(text, file=None, code="t")
    assert document.places["last",] == (text.count("\n"), 1)
    assert document.data["last"] == 2


@pytest.mark.parametrize("key", ['"a.b"', "'a.b'", '"a\\u002eb"'])
def test_a_quoted_key_is_the_key_that_it_spells(key):
    assert parse_toml(f"x . {key} = 1", file=None, code="t").places["x", "a.b"] == (1, 1)


def test_lines_are_counted_alike_with_either_line_ending():
    assert parse_toml("a = 1\r\nb = 2\r\n", file=None, code="t").places["b",] == (2, 1)


def test_the_place_of_what_is_not_written_is_that_of_what_holds_it():
    document = parse_toml("\n[a]\n", file="f.toml", code="t")
    assert str(document.where("a", "missing")) == "f.toml:2:1, key 'a.missing'"
    assert str(document.where("other")) == "f.toml, key 'other'"
    assert str(document.where()) == "f.toml"


@pytest.mark.parametrize(
    ("text", "where"),
    [("a = ", "f:1"), ("a = 1\nb = = 2", "f:2:5"), ("a = 1\na = 2", "f:2"), ("a = [", "f:1"), ("x = 'a\n", "f:2"), ("a = 'x", "f:1")],
)
def test_a_syntax_error_names_its_line(text, where):
    with pytest.raises(InvalidInput) as caught:
        parse_toml(text, file="f", code="t.syntax")
    assert caught.value.code == "t.syntax"
    assert caught.value.message.startswith("not valid TOML: ")
    assert "at line" not in caught.value.message
    assert str(caught.value.where).startswith(where)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "[" * 5000 + "]" * 5000, "a = " + "{b=" * 5000])
def test_deep_nesting_is_refused_and_not_followed(text):
    with pytest.raises(InvalidInput, match="nested too deeply"):
        parse_toml(text, file=None, code="t")


def test_a_file_beyond_its_limit_is_refused_unread():
    with pytest.raises(InvalidInput, match="larger than 10 bytes"):
        parse_toml("a" * 11, file=None, code="t", max_bytes=10)


keys = st.one_of(
    st.text("ab-_1", min_size=1, max_size=3), st.text(min_size=1, max_size=3).map(lambda text: text.replace("\r", "")).filter(bool)
)
scalars = st.one_of(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(max_size=5))
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=6)


def _string(text: str) -> str:
    return '"' + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in text) + '"'


def _write(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return "[\n" + ",\n".join(_write(item) for item in value) + "]"
    return "{" + ", ".join(f"{_string(key)} = {_write(item)}" for key, item in value.items()) + "}"


def _paths(value: object, path: tuple = ()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


@given(st.dictionaries(keys, values, max_size=4))
def test_every_key_and_entry_of_any_document_has_a_place_where_it_stands(data):
    text = "".join(f"{_string(key)} = {_write(value)}\n" for key, value in data.items())
    document = parse_toml(text, file=None, code="t", max_bytes=10**6)
    assert document.data == data
    assert set(document.places) == set(_paths(data))
    lines = text.split("\n")
    for path, (line, column) in document.places.items():
        if isinstance(path[-1], str):
            assert lines[line - 1][column - 1 :].startswith(_string(path[-1]))


@given(st.text("[]{}=.,\"'#a1 \n\\-:", max_size=40))
def test_any_text_is_read_or_refused_with_our_error(text):
    try:
        document = parse_toml(text, file=None, code="t")
    except InvalidInput:
        return
    assert set(document.places) == set(_paths(document.data))


def test_paths_are_written_as_people_write_them():
    assert dotted(("net", "hosts", 1, "x")) == "net.hosts[1].x"
    assert dotted(()) == ""
