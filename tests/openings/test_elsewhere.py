"""Keys as other workflow languages have them are answered with what they are called here."""

import pytest

from runloop.openings import OpeningError, parse_once

WHOLE = "version: 0\nname: x\nnodes:\n- id: a\n  use: agent:greeter\n{node}\nedges: [{edge}]\n{document}\n"


def hints(**parts: str) -> list[tuple[str, str]]:
    with pytest.raises(OpeningError) as refused:
        parse_once(WHOLE.format(**({"node": "", "edge": "", "document": ""} | parts)), file="x.yaml")
    return [(problem.where.key, problem.hint) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("name", "a node is named by 'id'"),
        ("agent", "'use: agent:NAME' or 'use: opening:NAME' says what runs"),
        ("params", "'with' gives values; an edge hands over what another node gave"),
        ("depends_on", "edges give the order, beside 'nodes': {from: FIRST.PORT, to: NEXT.PORT}"),
        ("when", "a condition stands on an edge: {from: NODE.PORT == true, to: NODE.PORT}"),
        ("loop", "write 'for_each'"),
        ("approval", "a gate asks a person: 'gate: {ask: …}'"),
        ("foreach", "did you mean 'for_each'?"),
        ("\xa0with", "before it stands another space than the space bar makes (U+00A0): type it anew"),
    ],
)
def test_of_a_node(key, hint):
    assert hints(node=f"  {key}: x") == [(key, hint)]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("steps", "write 'nodes', a list with 'id' and 'use'"),
        ("inputs", "write 'params: {NAME: DEFAULT}'"),
        ("outputs", "write 'artifacts: {save: [NODE.PORT]}' for what is kept as files"),
        ("description", "write 'goals', a list of texts"),
        ("budget_tokens", "it stands under 'policy'"),
        ("schedule", "an opening has no clock of its own: a line of cron, or a systemd timer, with `rlp run NAME --detach` starts it"),
    ],
)
def test_of_the_document(key, hint):
    assert hints(document=f"{key}: x") == [(key, hint)]


def test_of_an_edge():
    found = dict(hints(edge="{source: a.out, target: a.in, if: x}"))
    assert (found["source"], found["target"]) == ("write 'from'", "write 'to'")
    assert found["if"] == "the condition stands in 'from': {from: NODE.PORT == true, to: NODE.PORT}"


def test_a_condition_on_an_edge_is_written_as_the_hint_of_another_key_says():
    said = dict(hints(node="  when: x"))["when"].partition("{from: ")[2].partition(", to")[0]
    edge = f"{{from: {said.replace('NODE', 'a').replace('PORT', 'ok')}, to: b.in}}"

    assert parse_once(WHOLE.format(node="- {id: b, use: agent:greeter}", edge=edge, document="")).edges


def test_no_key_that_is_known_is_called_otherwise():
    from runloop.openings.elsewhere import _MEANT

    assert not [(here, key) for here, words in _MEANT.items() for key in words if key == here]


DECLARED = "params: {{n: {value}}}"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("{type: number, default: 3}", "write 'n: 3', for which another value of its type can be given"),
        ("{default: [a], description: what}", "write 'n: [\"a\"]', for which another value of its type can be given"),
        ("{type: string, required: true}", "write 'n: null', for which any value can be given"),
    ],
)
def test_of_a_parameter(value, hint):
    assert hints(document=DECLARED.format(value=value)) == [("params.n", f"{hint}; what else there is to say is a comment")]


@pytest.mark.parametrize(
    "value",
    ["{type: string}", "{type: string, enum: [a, b]}", "{default: 3}", "{type: x, default: 3, more: 1}", "{required: [a], type: object}"],
)
def test_a_parameter_may_be_a_json_schema_or_any_other_mapping(value):
    assert parse_once(WHOLE.format(node="", edge="", document=DECLARED.format(value=value))).params["n"] is not None


def test_who_gives_a_value_for_what_may_be_a_declaration_is_told_so():
    document = DECLARED.format(value="{type: number}")
    with pytest.raises(OpeningError) as refused:
        parse_once(WHOLE.format(node="", edge="", document=document), params={"n": 3})
    said = "if that should say what it may be, write 'n: null', for which any value can be given"
    assert [problem.hint for problem in refused.value.problems] == [f'the opening\'s default is {{"type": "number"}}; {said}']


def test_of_a_list_of_parameters():
    assert hints(document="params: [{name: n}]") == [("params", "write 'params: {NAME: DEFAULT}'")]


OPERATORS = "the operators are ==, !=, >, >=, < and <="
DENIED = "there is no 'not': compare with != or with false"
PRESENCE = "an edge without a comparison hands over what is there, and exists(NODE.PORT), alone, asks for it under 'success'"
SINGLE = "compare with '==', not '='"
TWO_PORTS = "a port is compared with a literal: have an agent compare two of them, and give the result"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a.ok is true", OPERATORS),
        ('a.ok contains "x = y"', OPERATORS),
        ("a.ok in [1, 2]", OPERATORS),
        ("a.ok === true", "compare with '==' or '!='"),
        ("a.score => 5", "write '>=' or '<='"),
        ("a.score =< 5", "write '>=' or '<='"),
        ("a.ok <> 1", "unequal is written '!='"),
        ("a.ok = true", SINGLE),
        ('a.ok = "x"', SINGLE),
        ("not a.ok", DENIED),
        ("!a.ok", DENIED),
        ("a.ok == True", "write 'true' or 'false' in small letters"),
        ("a.ok == null", f"nothing equals no value: {PRESENCE}"),
        ("exists a.out", PRESENCE),
        ("exists(a.out) == true", PRESENCE),
        ("len(a.out) > 1", "there is no function but exists(NODE.PORT) under 'success': have an agent give the value on a port"),
        ("a.out[0] == 1", "a port is a whole: what stands inside a value is no port"),
        ("true == a.ok", "the port stands first, and what it is compared with behind the operator"),
        ("a.ok == a.other", TWO_PORTS),
        ("a.ok == maybe", 'write "maybe" in double quotes if it is text'),
        ("a.ok == 'not = x'", 'write "not = x" in double quotes if it is text'),
        ("a.ok == “not = x”", 'write "not = x" in double quotes if it is text'),
    ],
)
def test_of_an_expression_on_an_edge_and_under_success_alike(text, hint):
    quoted = "'" + text.replace("'", "''") + "'"
    on_edge = hints(edge=f"{{from: {quoted}, to: a.in}}")
    under_success = hints(document=f"success: {{any_of: [{quoted}]}}")

    assert [found for _, found in on_edge + under_success] == [hint, hint]


def test_of_a_reference_in_the_quotes_of_a_word_processor():
    with pytest.raises(OpeningError) as refused:
        parse_once(WHOLE.format(node="", edge="", document="").replace("agent:greeter", "“agent:greeter”"), file="x.yaml")

    assert [problem.hint for problem in refused.value.problems] == ['write "agent:greeter", in plain quotes or none']


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("nodes", "each node is an entry of a list: '- id: NAME', with 'use: agent:NAME' below it"),
        ("edges", "each edge is an entry of a list: '- {from: NODE.PORT, to: NODE.PORT}'"),
    ],
)
def test_of_nodes_and_edges_under_their_names(key, hint):
    lists = {"nodes": "[{id: a, use: agent:greeter}]", "edges": "[]"} | {key: "{a: {use: agent:greeter}}"}
    with pytest.raises(OpeningError) as refused:
        parse_once(f"version: 0\nname: x\nnodes: {lists['nodes']}\nedges: {lists['edges']}\n", file="x.yaml")

    assert [problem.hint for problem in refused.value.problems] == [hint]
