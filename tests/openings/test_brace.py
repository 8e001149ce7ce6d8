"""The brace form: the same opening as its YAML, problems at their places in the brace text, hostile text refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings import examine, parse_opening
from runloop.openings.brace_tokens import is_brace, tokenize
from runloop.openings.errors import Report
from runloop.openings.yamltree import MAX_BYTES

YAML = """\
version: 0
name: compose note
goals: [Write a note, 'say "hi"']
params: {recipient: john, limits: [1, -2.5, null, true, 1e3], "a key": {deep: {er: x}}}
policy: {budget_tokens: 8000, confirm_external: false, approve_in_advance: [mail.outbox]}
nodes:
  - id: contacts
    use: agent:contact_resolver@nightly
    with: {query: "{{params.recipient}}", for: 2d, text: "line\\nβ😀"}
    retry: {max_attempts: 2, backoff_ms: 500}
    schema_hints: {with: {query: {required: true}}}
  - {id: größe, use: "opening:other"}
  - {id: 1-2, use: "agent:b", tags: [007, "007"]}
edges:
  - {from: contacts.out, to: größe.recipients}
  - {from: contacts.ok == true, to: 1-2.x}
  - {from: 'größe.verdict != "good or \\n so"', to: 1-2.in}
  - {from: größe.n >= -1.5e3, to: 1-2.-n-}
success:
  all_of: [exists(größe.out), 'contacts.verdict == "a \\"b\\""']
artifacts: {save: [größe.out]}
"""

BRACE = """\
# what it is for
opening "compose note" {  # the name
  goals: ["Write a note", "say \\"hi\\""]
  params: {
    recipient: john   # a line break separates
    limits: [1, -2.5, null,
             true, 1e3]
    "a key": {deep: {er: x}},
  }
  policy: {budget_tokens: 8000, confirm_external: false, approve_in_advance: [mail.outbox]}
  nodes:
    contacts := agent("contact_resolver@nightly", query={{ params.recipient }}, for=2d, text="line\\n\\u03b2\\ud83d\\ude00") {
      retry: {max_attempts: 2, backoff_ms: 500}
      schema_hints: {with: {query: {required: true}}}
    }
    größe := opening(other)
    1-2 := agent("b") {tags: [007, "007"]}
  edges:
    contacts.out -> größe.recipients
    contacts.ok==true->1-2.x
    größe.verdict != "good or \\\\n so" -> 1-2.in
    größe.n >= -1.5e3 -> 1-2.-n-
  success: {all_of: [exists(größe.out), contacts.verdict == "a \\\\\\"b\\\\\\""]}
  artifacts: {save: [größe.out]}
}
"""


def test_the_brace_form_and_its_yaml_are_one_opening_with_two_digests():
    brace, yaml = parse_opening(BRACE), parse_opening(YAML)

    assert replace(brace, digest="") == replace(yaml, digest="")
    assert brace.digest != yaml.digest
    assert brace.source == BRACE


def test_the_example_of_the_specification_is_an_opening():
    text = 'opening "x" { goals: ["…"] nodes: a := agent("b", k=v) b := agent("c") edges: a.out -> b.in }'

    opening = parse_opening(text)

    assert (opening.name, opening.version, opening.goals) == ("x", 0, ("…",))
    assert [(node.id, node.use, node.with_args) for node in opening.nodes] == [("a", "agent:b", {"k": "v"}), ("b", "agent:c", {})]
    assert [str(edge) for edge in opening.edges] == ["a.out -> b.in"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("opening x {}", True),
        ("\ufeff# a\r\n\t# b\n opening\n{", True),
        ('opening"x"{', True),
        ("opening: x", False),
        ("opening : x", False),
        ("openings: x", False),
        ("opening-x: y", False),
        ("version: 0\nname: opening", False),
        ("", False),
    ],
)
def test_the_first_word_tells_the_form(text, expected):
    assert is_brace(text) is expected


def test_a_file_named_opening_is_read_as_the_brace_form_whatever_it_holds(found):
    assert found("version: 0\n", file="a.opening") == [(1, 1, "expected the word opening, found 'version'")]
    assert found("version: 0\n", file="a.yaml")[0][2].startswith("missing required field")


WHOLE = 'opening x { nodes: a := agent("b") {} edges: }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opening ‸{", "expected the opening's name, found '{'"),
        ('opening "x" ‸nodes: {}', "expected '{', found 'nodes'"),
        ("opening x {‸", "expected a key or '}', found the end of the file"),
        ("opening x { ‸{{a}}: 1 }", "expected a key or '}', found '{'"),
        ("opening x { name ‸= 1 }", "expected ':', found '='"),
        ("opening x {} ‸opening", "expected the end of the file, found 'opening'"),
        ("opening x { params: ‸) }", "expected a value, found ')'"),
        ("opening x { params: {a: 1 ‸b: 2} }", "expected ',', a line break or '}', found 'b'"),
        ("opening x { params: {a: ‸, b: 2} }", "expected a value, found ','"),
        ("opening x { goals: [a ‸b] }", "expected ',', a line break or ']', found 'b'"),
        ("opening x { goals: [a,‸", "expected a value, found the end of the file"),
        ("opening x { nodes: a ‸= agent(b) }", "expected ':=', found '='"),
        ('opening x { nodes: ‸"a" := agent(b) }', "expected a word, found 'a'"),
        ("opening x { nodes: a := agent‸:b }", "expected '(', found ':'"),
        ("opening x { nodes: a := ‸(b) }", "expected a word, found '('"),
        ("opening x { nodes: a := agent(‸) }", "expected the name of the agent, found ')'"),
        ("opening x { nodes: a := agent(b, k‸: 1) }", "expected '=', found ':'"),
        ("opening x { nodes: a := agent(b ‸k=1) }", "expected ',', a line break or ')', found 'k'"),
        ("opening x { edges: a.out ‸to b.in }", "expected '->', found 'to'"),
        ("opening x { edges: a.out -> ‸} }", "expected a port, found '}'"),
        ("opening x { edges: a.ok == ‸-> b.in }", "expected true, false, a number or text in quotes, found '->'"),
        ("opening x { success: {any_of: [exists(‸)]} }", "expected a word, found ')'"),
        ("opening x { success: {any_of: [exists(a.b‸]} }", "expected ')', found ']'"),
        ('opening x { name: ‸"a\n" }', "this text has no closing quote on its line"),
        ('opening x { goals: ["a‸\\q"] }', "unknown escape \\q"),
        ('opening x { goals: ["a‸\\u12"] }', "unknown escape \\u"),
        ('opening x { goals: ["a‸\\ud83d"] }', "half of a surrogate pair: \\ud83d"),
        ("opening x { goals: [‸'a'] }", 'unexpected character "\'"'),
        ("opening x { goals: [a‸\x00] }", "character U+0000 is not allowed"),
        ("opening x { name ‸" + "w" * 41 + "}", "expected ':', found '" + "w" * 39 + "…'"),
    ],
)
def test_a_syntax_error_is_told_at_its_token(marked, text, message):
    places, found, messages = marked(text)

    assert (found, messages) == (places, [message])


def test_checks_name_the_places_of_the_brace_text(marked):
    places, found, messages = marked("""\
opening x {
  version: ‸1
  ‸name: y
  goals: [‸3]
  ‸polizy: {}
  nodes:
    a := ‸tool("b")
    ‸a := agent("b", q=‸{{params.none}}, r=‸.inf) {
      ‸use: "agent:c"
      ‸timout_ms: 5
      retry: {jitter: ‸1.5, ‸jitter: 1}
    }
  edges:
    ‸a.out -> a.in
    a.out -> ‸z.in
}
""")

    assert found == places
    assert "unknown use prefix 'tool'" in messages
    assert "duplicate key 'name'" in messages


def test_an_opening_may_say_its_version_and_no_other(found):
    assert found(WHOLE.replace("nodes", "version: 0 nodes")) == []
    assert found(WHOLE.replace("nodes", "version: 1 nodes")) == [(1, 22, "unsupported DSL version 1; expected 0")]


def test_nodes_and_edges_may_be_missing_or_empty_as_in_yaml(found):
    assert [message for _, _, message in found("opening x {}")] == ["missing required field 'nodes'", "missing required field 'edges'"]
    assert found("opening x { nodes: edges: }") == [(1, 13, "nodes must contain at least one entry")]


@pytest.mark.parametrize(
    ("brace", "yaml", "levels"),
    [
        ("a := agent(b) {schema_hints: {with: {a: {enum: ‸}}}}", "{id: a, use: 'agent:b', schema_hints: {with: {a: {enum: ‸}}}}", 26),
        ("a := agent(b, k=‸)", "{id: a, use: 'agent:b', with: {k: ‸}}", 28),
    ],
)
def test_depth_has_the_limit_of_the_yaml_form(brace, yaml, levels):
    def messages(count):
        deep = "[" * count + "]" * count
        texts = WHOLE.replace('a := agent("b") {}', brace), f"{{version: 0, name: x, nodes: [{yaml}], edges: []}}"
        return [[problem.message for problem in examine(text.replace("{}", "").replace("‸", deep)).problems] for text in texts]

    assert messages(levels) == [[], []]
    assert messages(levels + 1) == [["values are nested more than 32 levels deep"]] * 2
    [problem] = examine("opening x { goals: " + "[" * 100_000).problems
    assert problem.message == "values are nested more than 32 levels deep"


@pytest.mark.parametrize(
    "text",
    [
        "opening x { goals: [" + "1," * 100_001 + "] }",
        "opening x { params: {" + ",".join(f"{number}: 1" for number in range(50_001)) + "} }",
    ],
)
def test_a_document_holds_at_most_as_many_values_as_in_yaml(text):
    [problem] = examine(text).problems

    assert problem.message == "an opening holds at most 100000 values"


@pytest.mark.parametrize(
    "text",
    [
        b"opening x { goals: [\xff] }",
        b'opening x { goals: ["' + b"a" * MAX_BYTES,
        'opening x { goals: ["' + "\\" * 400_000,
        "#" * 900_000 + "\nopening",
        "opening " + '"' * 500_001,
        "opening x { edges: " + "-" * 900_000,
        "opening x { goals: [" + "{{ " * 100_000,
    ],
)
def test_hostile_text_is_refused_with_a_place(text):
    [problem] = examine(text).problems

    assert problem.where.line is not None


@given(st.text(alphabet='opening x{}[](),:=->.#"\\\n {{params.a}}nodes edges agent 1é', max_size=200))
def test_any_text_is_an_opening_or_has_problems_with_places(text):
    examined = examine("opening x {" + text)

    assert examined.problems == () or all(problem.where.line for problem in examined.problems)


def test_the_example_of_the_documentation_is_an_opening_without_problems():
    page = (Path(__file__).parents[2] / "docs" / "openings.md").read_text("utf-8")
    [example] = re.findall(r"```opening\n(.*?)```", page, re.DOTALL)

    assert examine(example).problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [("a->b", ["a", "->", "b"]), ("a-->b", ["a-", "->", "b"]), ("-a->-b-", ["-a", "->", "-b-"]), ("1>-2>b", ["1", ">", "-2", ">", "b"])],
)
def test_a_word_ends_where_an_arrow_begins_whatever_stands_around_it(text, words):
    tokens, _ = tokenize(text, Report())
    assert [token.text for token in tokens[:-1]] == words
