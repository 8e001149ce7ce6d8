"""JSON Schemas are applied in time that grows with the value alone, and mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runloop.schemas import errors, faults, foreign_refs


def messages(schema, value):
    return [error.message for error in errors(schema, value)]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 100_000 + "!"),
        ("^(a|a)*$", "a" * 100_000 + "!"),
        ("^(a|ab|b)*$", "ab" * 50_000 + "!"),
        (r"\s+$", " " * 100_000 + "!"),
        (".*.*.*x", "a" * 100_000),
    ],
)
def test_no_pattern_takes_for_ever_on_text_that_nearly_matches(pattern, text):
    for schema, value in (
        ({"pattern": pattern}, text),
        ({"patternProperties": {pattern: False}, "additionalProperties": False}, {text: 1}),
    ):
        assert len(messages(schema, value)) == 1


def doubling(keyword, count, first=None):
    """A schema in which each part refers to the next one twice, the ``first`` one to the others."""
    parts = {str(at): {keyword: [{"$ref": f"#/$defs/{at + 1}"}, {"$ref": f"#/$defs/{at + 1}"}]} for at in range(count)}
    return {**(first or {"$ref": "#/$defs/0"}), "$defs": {**parts, str(count): {"type": "object"}}}


def broad(keyword):
    return {keyword: [{"type": "array", "minItems": least} for least in range(10_000, 30_000)]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        *((doubling(keyword, 40), {}) for keyword in ("allOf", "oneOf")),
        (doubling("anyOf", 40), ""),
        ({"unevaluatedProperties": False, **doubling("allOf", 40)}, {"a": 1}),
        (doubling("allOf", 40, {"not": {"not": {"$ref": "#/$defs/0"}}}), {}),
        (doubling("allOf", 40, {"contains": {"$ref": "#/$defs/0"}}), [{}]),
        ({"items": broad("anyOf")}, [[]] * 10_000),
        (broad("anyOf"), ["x" * 1_000_000]),
        ({"allOf": [{"pattern": f"{number}"} for number in range(10_000)]}, "a" * 1_000_000),
        ({"patternProperties": {f"{number}": {} for number in range(10_000)}}, dict.fromkeys(map(str, range(10_000)))),
        (
            {"patternProperties": {f"{number}x": {} for number in range(10_000)}, "additionalProperties": False},
            dict.fromkeys(map(str, range(10_000))),
        ),
    ],
    ids=range(11),
)
def test_what_takes_for_ever_ends_after_so_many_steps(schema, value, monkeypatch):
    monkeypatch.setattr("runloop.schemas.MOST_STEPS", 100_000)
    with pytest.raises(ValueError, match="checking takes more than 100,000 steps"):
        messages(schema, value)


def test_a_large_value_is_checked_to_its_end():
    people = [{"name": f"Ada {number}", "email": f"ada{number}@example.org", "age": number % 90} for number in range(40_000)]
    person = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "email": {"pattern": "@"}, "age": {"minimum": 0}},
    }

    assert messages({"items": {"$ref": "#/$defs/person"}, "$defs": {"person": person}}, people) == []
    assert len(messages({"items": {"$ref": "#/$defs/person"}, "$defs": {"person": person}}, [*people, {}])) == 1


def test_two_values_that_are_checked_in_turns_are_counted_apart(monkeypatch):
    monkeypatch.setattr("runloop.schemas.MOST_STEPS", 2000)
    one, other = (errors({"items": {"type": "string"}}, [1] * 50) for _ in range(2))

    assert len([*zip(one, other, strict=True)]) == 50


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"])
def test_a_part_that_names_its_dialect_is_checked_by_the_same_rules(dialect):
    part = {"$schema": dialect, "pattern": "^(a+)+$"}
    for schema in ({"properties": {"text": part}}, {"properties": {"text": {"not": {"not": part}}}}, {"additionalProperties": part}):
        assert len(messages(schema, {"text": "a" * 100_000 + "!"})) == 1


def test_a_schema_of_very_many_parts_is_refused_before_each_is_looked_at():
    many = {"anyOf": [{"type": "string"}] * 1_000_000}

    assert [*faults(many)] == [("a schema has at most 10,000 parts; say once under $defs what is there more often", ())]
    assert [*faults({"anyOf": [{"minLength": least} for least in range(500)]})] == []


def test_what_must_not_be_there_twice_is_looked_up():
    many = [{"email": f"{number}@example.org"} for number in range(100_000)]

    assert messages({"uniqueItems": True}, many) == []
    assert len(messages({"uniqueItems": True}, [*many, {"email": "0@example.org"}])) == 1


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (r"^\u00e4+$", "ää", "a"),
        (r"^\ud83d\ude00$", "😀", "😁"),
        (r"^\\u00e4$", r"\u00e4", "ä"),
        (r"^\p{L}+$", "Zoë", "Zo3"),
        ("^a/b$", "a/b", "a-b"),
        (r"^[\w.-]+@example\.org$", "a.b-c@example.org", "a@example!org"),
        ("b", "abc", "ac"),
        ("^a$", "a", "a\n"),
        ("^.$", "\ud800", "\n"),
    ],
)
def test_patterns_mean_what_json_schema_says(pattern, matching, other):
    assert list(faults({"pattern": pattern})) == []
    assert (messages({"pattern": pattern}, matching), len(messages({"pattern": pattern}, other))) == ([], 1)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(a", "missing ): (a"),
        (
            "(?=a)b",
            "invalid perl operator: (?=; patterns know no look-around and no back-references (RE2), so that they cannot take for ever",
        ),
        (
            r"(a)\1",
            r"invalid escape sequence: \1; patterns know no look-around and no back-references (RE2), so that they cannot take for ever",
        ),
        (r"a\Z", r"invalid escape sequence: \Z"),
        ("a{1001}", "invalid repetition size: {1001}; at most 1000, lengths are for minLength and maxLength"),
        ("((a{1,100}){1,100}){1,100}", "invalid repetition size: {1,100}; at most 1000, lengths are for minLength and maxLength"),
        (r"(\pL{1,999}|b)*", "pattern too large - compile failed"),
        ("\ud800", "it is no well-formed Unicode"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_named_with_its_place(pattern, says):
    schema = {"$defs": {"a": {"anyOf": [True, {"pattern": pattern}]}, "b": {"patternProperties": {"ok": {}, pattern: {}}}}}

    found = list(faults(schema))
    assert [path for _, path in found] == [("$defs", "a", "anyOf", 1, "pattern"), ("$defs", "b", "patternProperties")]
    assert {message for message, _ in found} == {f"pattern {pattern!r}: {says}"}


def test_what_stands_where_a_pattern_may_be_but_is_data_is_none():
    schema = {"properties": {"pattern": {"type": "string"}}, "enum": [{"pattern": "(a"}], "default": {"pattern": "(a"}}

    assert list(faults(schema)) == []


def test_names_that_people_choose_are_no_keywords():
    schema = {
        "properties": {"patternProperties": True, "unevaluatedProperties": {}, "default": {"pattern": "(a"}, "$ref": {"type": "string"}}
    }

    assert list(faults(schema)) == [("pattern '(a': missing ): (a", ("properties", "default", "pattern"))]
    assert list(faults({**schema["properties"]["$ref"], "$defs": {"const": {"patternProperties": {"a": {}}}}})) == []
    assert list(foreign_refs({"properties": {"default": {"$ref": "b.json"}}})) == [("b.json", ("properties", "default", "$ref"))]


def test_patterns_for_names_do_not_go_with_what_looks_at_every_name_again():
    schema = {"unevaluatedProperties": False, "allOf": [{"patternProperties": {"a": {}}}]}

    assert list(faults(schema)) == [("unevaluatedProperties does not go with patternProperties; use additionalProperties", ())]


def test_references_that_lead_out_are_found_where_they_are_references():
    schema = {"$ref": "#/a", "items": [{"$ref": "b.json"}], "anyOf": [{"$dynamicRef": "c.json"}], "const": {"$ref": "d.json"}}

    assert list(foreign_refs(schema)) == [("b.json", ("items", 0, "$ref")), ("c.json", ("anyOf", 0, "$dynamicRef"))]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4),
    max_leaves=12,
)
schemas = st.fixed_dictionaries(
    {},
    optional={
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["^a", "b$", "^(a|b)*$", "aa"]),
        "properties": st.dictionaries(st.text("ab", max_size=2), st.just({"type": "integer"}), max_size=2),
        "patternProperties": st.dictionaries(
            st.sampled_from(["^a", "b$", "^$"]), st.sampled_from([{"type": "string"}, True, False]), max_size=2
        ),
        "additionalProperties": st.sampled_from([True, False, {"type": "integer"}]),
    },
)


@given(schemas, values)
def test_they_hold_where_the_library_says_that_they_hold(schema, value):
    def places(found):
        return sorted((str(list(error.absolute_path)), str(list(error.absolute_schema_path))) for error in found)

    assert places(errors(schema, value)) == places(Draft202012Validator(schema).iter_errors(value))
