"""Openings against the agents that are installed."""

from __future__ import annotations

import pytest

from runloop.errors import RunloopError
from runloop.openings import AgentPorts, check, examine, parse_opening

TEXT = """\
version: 0
name: t
nodes:
  - {id: a, use: agent:reader, with: {path: x}}
  - {id: b, use: agent:writer@nightly, with: {tone: dry}}
  - {id: c, use: opening:other}
edges:
  - {from: a.text, to: b.body}
  - {from: a.text != "", to: b.in}
  - {from: b.out, to: c.anything}
success: {any_of: [exists(b.out)]}
artifacts: {save: [a.text]}
"""

READER = AgentPorts(frozenset(), frozenset({"text", "lines"}))
OTHERS = "others are declared under [ports.out] in the agent's manifest.toml"
WRITER = AgentPorts(frozenset({"body", "title"}))


def resolver(**agents):
    def resolve(name, variant):
        found = agents.get(name)
        if isinstance(found, RunloopError):
            raise found
        return found

    return resolve


def problems(text, **agents):
    return [
        (problem.where.line, problem.where.column, problem.message, problem.hint)
        for problem in check(parse_opening(text), resolver(**agents))
    ]


def test_an_opening_that_fits_its_agents_has_no_problems():
    assert problems(TEXT, reader=READER, writer=WRITER) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a.text, to: b.body", "a.txt, to: b.body", (8, 12, "agent 'reader' has no output port 'txt'", "did you mean 'text'?")),
        ("to: b.body", "to: b.bdy", (8, 24, "agent 'writer' has no input port 'bdy'", "did you mean 'body'?")),
        ("b.out, to: c", "b.body, to: c", (10, 12, "agent 'writer' has no output port 'body'", f"known: out; {OTHERS}")),
        ("exists(b.out)", "exists(b.ok)", (11, 20, "agent 'writer' has no output port 'ok'", f"known: out; {OTHERS}")),
        ("save: [a.text]", "save: [a.out]", (12, 20, "agent 'reader' has no output port 'out'", f"known: lines, text; {OTHERS}")),
    ],
)
def test_a_port_that_the_manifest_lacks_is_a_problem_at_its_reference(old, new, expected):
    assert old in TEXT
    assert problems(TEXT.replace(old, new), reader=READER, writer=WRITER) == [expected]


def test_an_agent_that_is_missing_is_said_once_at_each_use_and_its_ports_are_left_alone():
    hint = "rlp agent list shows what is installed; rlp agent install adds one"

    assert problems(TEXT, reader=READER) == [(5, 18, "agent 'writer' with variant 'nightly' is not installed", hint)]
    assert problems(TEXT, writer=WRITER) == [(4, 18, "agent 'reader' is not installed", hint)]


def test_an_agent_that_is_broken_is_asked_for_once_and_named_at_each_use():
    asked = []

    def resolve(name, variant):
        asked.append(name)
        raise RunloopError("the digest differs", hint="install it anew")

    text = "version: 0\nname: t\nnodes: [{id: a, use: agent:x}, {id: b, use: agent:x}]\nedges: []\n"

    found = check(parse_opening(text), resolve)

    assert [(each.code, each.message, each.hint, each.where.node) for each in found] == [
        ("opening.unusable_agent", "agent 'x' cannot be used: the digest differs", "install it anew", node) for node in "ab"
    ]
    assert asked == ["x"]


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("did you mean 'xylophone'?", "did you mean 'xylophone'?"),
        ("", "rlp agent list shows what is installed; rlp agent install adds one"),
    ],
)
def test_what_is_near_to_an_agent_that_is_not_there_is_told(hint, told):
    def resolve(name, variant):
        raise RunloopError("there is no such agent", code="bundle.not_found", hint=hint)

    [found] = check(parse_opening("version: 0\nname: t\nnodes: [{id: a, use: agent:x}]\nedges: []\n"), resolve)

    assert (found.code, found.message, found.hint) == ("opening.unknown_agent", "agent 'x' is not installed", told)


def test_arguments_are_checked_against_the_agents_schema():
    schema = {"type": "object", "required": ["tone", "body", "title"], "properties": {"tone": {"enum": ["warm"]}}}
    writer = AgentPorts(frozenset({"body"}), with_schema=schema)

    assert problems(TEXT, reader=READER, writer=writer) == [
        (5, 46, "with: 'title' is a required property", "the manifest of agent 'writer' says so under [schemas.with]"),
        (5, 53, "with: 'dry' is not one of ['warm']", "the manifest of agent 'writer' says so under [schemas.with]"),
    ]


def test_a_schema_of_an_agent_with_a_pattern_that_could_take_for_ever_is_not_used():
    writer = AgentPorts(frozenset({"body"}), with_schema={"properties": {"tone": {"pattern": r"(y)\1"}}})

    [(_, _, message, _)] = problems(TEXT, reader=READER, writer=writer)
    assert message.startswith(r"with: its schema is not used: pattern '(y)\\1': invalid escape sequence: \1; patterns know")


def test_a_long_argument_is_not_repeated_whole_and_the_size_that_is_allowed_is_told():
    schema = {"type": "object", "properties": {"tone": {"type": "string", "maxLength": 5000}, "body": {"type": "string", "minLength": 1}}}
    long = "very " * 2000 + "dry"
    text = TEXT.replace("tone: dry", f'tone: "{long}", body: ""')

    told = [message for _, _, message, _ in problems(text, reader=READER, writer=AgentPorts(frozenset({"body"}), with_schema=schema))]

    assert [len(message) < 320 for message in told] == [True, True]
    assert told[0].startswith("with: 'very very")
    assert told[0].endswith("dry' is too long (maxLength 5000)")
    assert told[1] == "with: '' should be non-empty (minLength 1)"


def test_an_argument_that_a_parameter_gives_is_told_by_the_name_of_the_parameter():
    schema = {"type": "object", "properties": {"tone": {"minLength": 1}, "body": {"properties": {"lines": {"items": {"type": "integer"}}}}}}
    text = "version: 0\nname: t\nparams: {mood: '', lines: [1, x]}\nnodes:\n- {id: a, use: agent:writer, with: {tone: '{{params.mood}}', "
    opening = parse_opening(text + "body: {lines: '{{params.lines}}'}}}\nedges: []\n")

    found = check(opening, lambda name, variant: AgentPorts(with_schema=schema))

    assert [(problem.where.key, problem.message) for problem in found] == [
        ("params.mood", "parameter 'mood', as with.tone: '' should be non-empty (minLength 1)"),
        ("params.lines", "parameter 'lines', as with.body.lines.1: 'x' is not of type 'integer'"),
    ]


def test_examine_tells_the_documents_problems_and_the_agents_in_one_order():
    text = TEXT.replace("version: 0", "version: 1").replace("exists(b.out)", "b.out")

    found = examine(text, resolve=resolver(reader=READER)).problems

    assert [problem.code for problem in found] == ["opening.version", "opening.unknown_agent", "opening.expression"]


def test_a_node_that_could_not_be_read_has_no_ports_to_check():
    text = TEXT.replace("use: agent:reader", "use: reader")

    assert [problem.code for problem in examine(text, resolve=resolver(writer=WRITER)).problems] == ["opening.use"]


def needy(*needs, schema=None):
    return AgentPorts(frozenset({"topic", "length"}), with_schema=schema, needs=frozenset(needs))


@pytest.mark.parametrize(
    ("node", "edge", "missing"),
    [
        ("", "", ["length", "topic"]),
        (", with: {topic: x}", "", ["length"]),
        (", with: {topic: x, length: null}", "", []),
        (", with: {topic: x}", "{from: a.out, to: b.length}", []),
        (", with: {topic: x}, for_each: {in: length}", "{from: a.out, to: b.length}", []),
        (", with: {topic: x}, for_each: {in: many, as: length}", "{from: a.out, to: b.many}", []),
        (", with: {topic: x}", "{from: a.out, to: b.in}", ["length"]),
    ],
)
def test_what_an_agent_cannot_do_without_is_given_by_arguments_edges_or_items(node, edge, missing):
    text = f"version: 0\nname: t\nnodes:\n  - {{id: a, use: agent:any}}\n  - {{id: b, use: agent:needy{node}}}\nedges: [{edge}]\n"

    assert problems(text, any=AgentPorts(), needy=needy("topic", "length")) == [
        (5, 18, f"agent 'needy' needs '{name}'", f"give it under `with`, or connect an edge to b.{name}") for name in missing
    ]


def test_what_a_schema_requires_or_a_wrong_edge_was_meant_to_give_is_told_once():
    text = "version: 0\nname: t\nnodes: [{id: a, use: agent:any}, {id: b, use: agent:needy}]\nedges: [{from: a.out, to: b.topik}]\n"
    [wrong] = problems(text, any=AgentPorts(), needy=needy("topic"))
    [required] = problems(text.replace("topik", "in"), any=AgentPorts(), needy=needy("topic", schema={"required": ["topic"]}))

    assert (wrong[2], required[2]) == ("agent 'needy' has no input port 'topik'", "with: 'topic' is a required property")


def test_an_item_may_be_given_as_an_argument_that_only_the_schema_names_and_what_else_is_needed_is_told():
    node = "{id: b, use: agent:needy, for_each: {in: params.tones, as: tone}}"
    text = f"version: 0\nname: t\nparams: {{tones: [x]}}\nnodes: [{node}]\nedges: []\n"

    [missing] = problems(text, needy=needy("topic", "tone", schema={"properties": {"tone": {}}}))

    assert missing[2] == "agent 'needy' needs 'topic'"


@pytest.mark.parametrize("name", ["revise", "feedback", "vote"])
def test_what_the_run_fills_is_not_asked_of_the_opening(name):
    text = "version: 0\nname: t\nnodes: [{id: b, use: agent:needy}]\nedges: []\n"

    assert problems(text, needy=needy(name)) == []
