"""The canonical text of an opening: layout, comments, blank lines, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from runloop.openings import OpeningError, parse_opening
from runloop.openings.fmt import Form, format_opening

ROOT = Path(__file__).parents[2]
SHIPPED = {file.stem: file.read_text("utf-8") for file in sorted((ROOT / "openings").glob("*.yaml"))}
EXAMPLES = dict(re.findall(r"```yaml\n(version: 0\nname: (\w+)\n.*?)```", (ROOT / "docs" / "openings.md").read_text("utf-8"), re.DOTALL))
TEXTS = {**SHIPPED, **{name: text for text, name in EXAMPLES.items()}}

UNTIDY = """\
# what it is for

# and who wrote it

version: 0
name:   "note"   # short
goals: [ 'one, two',
   three ]   # of two
params: {recipient: &who john, other: *who, sum: 0x1f,
   # the text
   text: "a\\nb\\n"}


policy:   # limits
    timeout_ms: 1000
    # none of these
nodes:
- use: agent:writer
  # who writes
  id: draft
  with: {}
-   id: review   # the critic
    use: agent:critic
    with:
      # how hard
      depth: 3
      notes: |2
           indented
      list:
      -   # empty so far
        {a: 1}
edges:
- {from: draft.out==true, to:  review . draft}   # only good ones
success: {all_of: [ "exists( review.ok )" ]}
# the end
"""

YAML = """\
# what it is for

# and who wrote it

version: 0
name: note  # short
goals:
  - one, two
  - three  # of two
params:
  recipient: john
  other: john
  sum: 31
  # the text
  text: |
    a
    b

policy:  # limits
  timeout_ms: 1000
# none of these
nodes:
  - use: agent:writer
    # who writes
    id: draft
  - id: review  # the critic
    use: agent:critic
    with:
      # how hard
      depth: 3
      notes: "   indented\\n"
      list:
        # empty so far
        - {a: 1}
edges:
  - {from: draft.out == true, to: review.draft}  # only good ones
success: {all_of: [exists(review.ok)]}
# the end
"""

BRACE = """\
# what it is for

# and who wrote it

# short
opening "note" {
  goals: [
    "one, two"
    three  # of two
  ]
  params: {
    recipient: john
    other: john
    sum: 31
    # the text
    text: "a\\nb\\n"
  }

  policy: {  # limits
    timeout_ms: 1000
  }
  # none of these
  nodes:
    # who writes
    draft := agent("writer")
    review := agent("critic",  # the critic
      # how hard
      depth=3
      notes="   indented\\n"
      list=[
        # empty so far
        {a: 1}
      ]
    )
  edges:
    draft.out == true -> review.draft  # only good ones
  success: {all_of: [exists(review.ok)]}
  # the end
}
"""


def test_yaml_is_printed_canonically_with_its_comments_and_single_blank_lines():
    printed = format_opening(UNTIDY)

    assert printed.text == YAML
    assert (printed.source, printed.was) == (UNTIDY, Form.YAML)
    assert format_opening(YAML).text == YAML


def test_yaml_becomes_the_brace_form_with_its_comments_and_back():
    assert format_opening(UNTIDY, to=Form.BRACE).text == BRACE
    assert format_opening(BRACE).text == BRACE
    assert replace(parse_opening(BRACE), digest="") == replace(parse_opening(UNTIDY), digest="")


def test_comments_of_the_brace_form_stand_at_the_same_things_in_yaml():
    text = dedent("""\
        # head
        opening x {  # name
          # parts
          nodes: # all
            a := agent(b, # first
              # why
              k=1) {  # more
              tags: [t] # tags
            }  # behind a
            # c
            c := agent(d)

          edges:
            # none.a -> none.b
        }  # end
        # tail
        """)

    printed = format_opening(text, to=Form.YAML).text

    assert printed == dedent("""\
        # head
        version: 0  # name
        name: x
        # parts
        nodes:  # all
          - id: a  # first
            use: agent:b
            with:
              # why
              k: 1  # more
            tags: [t]  # tags
          # behind a
          # c
          - id: c
            use: agent:d

        edges: []
        # none.a -> none.b
        # end
        # tail
        """)
    assert format_opening(text).text == dedent("""\
        # head
        opening "x" {  # name
          # parts
          nodes:  # all
            a := agent("b",  # first
              # why
              k=1  # more
            ) {
              tags: [t]  # tags
            }
            # behind a
            # c
            c := agent("d")

          edges:
          # none.a -> none.b
          # end
          # tail
        }
        """)


@pytest.mark.parametrize("name", list(TEXTS))
def test_what_ships_and_what_is_documented_says_the_same_in_both_forms(name):
    text = TEXTS[name]

    for form in Form:
        printed = format_opening(text, to=form).text
        assert replace(parse_opening(printed), digest="") == replace(parse_opening(text), digest="")
        assert format_opening(printed).text == printed
    assert printed.count("#") == text.count("#")


MINIMAL = "version: 0\nname: {}\nnodes:\n  - id: a\n    use: agent:b\nedges: []\n"


@pytest.mark.parametrize(
    ("text", "yaml", "brace"),
    [
        ("plain words", "plain words", '"plain words"'),
        ("word", "word", '"word"'),
        ("on", '"on"', '"on"'),
        ("1e3", '"1e3"', '"1e3"'),
        (".inf", '".inf"', '".inf"'),
        ("2d", "2d", '"2d"'),
        ("2026-01-01", '"2026-01-01"', '"2026-01-01"'),
        ("a: b", '"a: b"', '"a: b"'),
        ("a #b", '"a #b"', '"a #b"'),
        ("agent:b", "agent:b", '"agent:b"'),
        ("☃ 😀", '"☃ 😀"', '"☃ 😀"'),
    ],
)
def test_text_stands_without_quotes_where_every_reader_takes_it_for_text(text, yaml, brace):
    printed = format_opening(format_opening(f'opening {brace} {{ nodes: a := agent("b") edges: }}', to=Form.YAML).text)

    assert printed.text == MINIMAL.format(yaml)
    assert format_opening(printed.text, to=Form.BRACE).text.startswith(f"opening {brace} {{\n")


def test_a_text_inside_of_a_collection_on_one_line_is_read_alike_by_both_loaders_of_pyyaml():
    document = (
        "version: 0\nname: t\nnodes:\n- {id: a, use: 'agent:b', tags: ['ok?', 'a?b', 'x y?', 'a,b'], gate: {ask: 'Go on?'}}\nedges: []\n"
    )

    printed = format_opening(document).text

    assert yaml.load(printed, yaml.SafeLoader) == yaml.load(document, yaml.SafeLoader)
    assert "Go on?" in printed


def test_controls_in_a_text_are_escaped_in_both_forms():
    text = r'"tab\there \u0085\u2028 ☃ 😀"'
    printed = format_opening(f'opening x {{ goals: [{text}] nodes: a := agent("b") edges: }}', to=Form.YAML).text

    assert text in printed
    assert text in format_opening(printed, to=Form.BRACE).text


@pytest.mark.parametrize(
    ("value", "brace"),
    [
        ('"{{params.p}}"', "{{params.p}}"),
        ("draft.out", "draft.out"),
        ('a.b == "x"', 'a.b == "x"'),
        ('\'a.b == "x"y"\'', 'a.b == "x\\"y"'),
        ("a.b > word", '"a.b > word"'),
        ("exists(a.b)", "exists(a.b)"),
        ("exists (a.b)", '"exists (a.b)"'),
        ('"12"', '"12"'),
        ("12", "12"),
        ('".inf"', '".inf"'),
        ("1.50", "1.5"),
        ("~", "null"),
        ("x->y", '"x->y"'),
        ("[yes, True]", "[yes, true]"),
        ("{a b: {}}", '{"a b": {}}'),
    ],
)
def test_a_value_in_the_brace_form_is_the_shortest_that_reads_back(value, brace):
    source = f"version: 0\nname: t\nparams: {{p: 1}}\nnodes:\n  - {{id: a, use: agent:b, with: {{k: {value}}}}}\nedges: []\n"

    assert f'a := agent("b", k={brace})\n' in format_opening(source, to=Form.BRACE).text


def test_long_texts_are_folded_in_yaml_and_long_collections_stand_in_lines():
    word, long, tags = " ".join(["word"] * 23), "x" * 130, ["tag"] * 40
    text = MINIMAL.format("t").replace("edges", f"    tags: [{', '.join(tags)}]\ngoals: [{word} {word} word, {long}]\nedges")

    assert format_opening(text).text == MINIMAL.format("t").replace(
        "edges", "    tags:\n" + "      - tag\n" * 40 + f"goals:\n  - >-\n    {word}\n    {word}\n    word\n  - {long}\nedges"
    )
    assert format_opening(text, to=Form.BRACE).text == (
        'opening "t" {\n  nodes:\n    a := agent("b") {\n      tags: [\n'
        + "        tag\n" * 40
        + f'      ]\n    }}\n  goals: [\n    "{word} {word} word"\n    {long}\n  ]\n  edges:\n}}\n'
    )


def test_lists_in_lists_and_texts_of_several_lines_stand_in_blocks():
    text = MINIMAL.format("t").replace("nodes", 'params: {p: [["a\\nb", [1]], {k: "c\\n\\nd\\n"}, "e \\nf"]}\nnodes')
    block = dedent("""\
        params:
          p:
            - - |-
                a
                b
              - [1]
            - k: |
                c

                d
            - "e \\nf"
        nodes""")

    assert format_opening(text).text == MINIMAL.format("t").replace("nodes", block)


def test_the_header_of_a_block_scalar_may_have_a_comment():
    text = MINIMAL.format("t").replace("nodes", "goals:\n- |-  # why\n  a\n  # text\n  b\n# last\nnodes")

    assert format_opening(text).text == text.replace("- |-", "  - |-").replace("\n  a\n  # text\n  b", "\n    a\n    # text\n    b")


def test_line_ends_and_byte_order_marks_become_those_of_unix():
    text = "\ufeff" + MINIMAL.format("t").replace("\n", "\r\n").replace("edges", "# c\r\n\r\nedges")

    assert format_opening(text.encode()).text == MINIMAL.format("t").replace("edges", "# c\n\nedges")


def test_a_comment_cannot_become_a_key_where_only_yaml_ends_the_line():
    text = 'opening "t" {  # one\u2028goals: [x]\u0085\n  nodes:\n    a := agent("b")\n  edges:\n}\n'

    printed = format_opening(text, to=Form.YAML).text

    assert printed == MINIMAL.format("t").replace("version: 0", "version: 0  # one goals: [x]")
    assert format_opening(printed).text == printed


def test_an_opening_with_problems_is_not_printed():
    with pytest.raises(OpeningError) as caught:
        format_opening("version: 0\nname: t\n", file="o.yaml")

    assert [problem.message for problem in caught.value.problems] == ["missing required field 'nodes'", "missing required field 'edges'"]
    assert caught.value.where.file == "o.yaml"


@pytest.mark.parametrize(
    "params",
    [
        "{" + "k" * 1100 + ": 1}",
        "{a: " * 28 + "[" + "1, " * 30_000 + "]" + "}" * 28,
    ],
    ids=["a key that is longer than keys of YAML", "a text that indentation makes too long"],
)
def test_what_the_other_form_cannot_say_is_refused(params):
    text = f"opening x {{ params: {{p: {params}}} nodes: a := agent(b) edges: }}"

    with pytest.raises(OpeningError) as caught:
        format_opening(text, to=Form.YAML)

    assert (caught.value.code, caught.value.message) == ("opening.form", "this opening cannot be written in the yaml form")
