"""The cases of spec 26.4. Upstream points at the first textual match; here the place is that of the YAML node that is wrong."""

from __future__ import annotations

import pytest

from runloop.openings import Node, OpeningError, examine, parse_opening
from runloop.openings.expressions import PortRef, parse_expression

CYCLE = "opening graph contains a cycle; ensure edges form a DAG"
CONFIRM = "policy.confirm_external=true forbids nodes from disabling confirmation"
COMPARISON = "comparison expression must include an operator (==, !=, >, >=, <, <=)"

CASES = [
    # change to the base (old, new), the problem, its place, upstream's place where it differs
    ("version 1", "version: 0", "version: 1", "unsupported DSL version 1; expected 0", (1, 10)),  # upstream 1:1
    ("to an unknown node", "to: b.in", "to: zz.in", "edge references unknown node 'zz'", (10, 9)),  # upstream 9:5
    ("a cycle", "to: b.in\n", "to: b.in\n  - from: b.out\n    to: a.in\n", CYCLE, (11, 11)),  # upstream 8:1, the key 'edges'
    ("a goal that is a number", "name: t", "name: t\ngoals: [123]", "goals[0] must be a string", (3, 9)),
    ("use tool:b", "use: agent:b", "use: tool:b", "unknown use prefix 'tool'", (7, 10)),  # upstream 7:5
    ("use agent:b!", "use: agent:b", "use: agent:b!", "agent name must contain only alphanumeric characters, '-' or '_'", (7, 10)),
    ("use agent", "use: agent:b", "use: agent", "node.use must be of the form 'agent:<name>' or 'opening:<name>'", (7, 10)),
    (
        "a template without its parameter",
        "use: agent:b",
        'use: agent:b\n    with: {q: "{{params.x}}"}',
        "template '{{params.x}}' references missing parameter",
        (8, 15),
    ),
    (
        "a template inside a text",
        "use: agent:b",
        'use: agent:b\n    with: {line: "prefix {{params.x}}"}',
        "unsupported template syntax in value 'prefix {{params.x}}'; only '{{params.*}}' is allowed",
        (8, 18),
    ),
    (
        "a parameter that holds a template",
        "name: t\nnodes:\n  - id: a\n    use: agent:a",
        'name: t\nparams: {x: "a {{b"}\nnodes:\n  - id: a\n    use: agent:a\n    with: {q: "{{params.x}}"}',
        "embedded template syntax not allowed in parameter value 'a {{b'",
        (3, 13),
    ),
    ("jitter 1.5", "use: agent:b", "use: agent:b\n    retry: {jitter: 1.5}", "retry.jitter must be between 0.0 and 1.0", (8, 21)),
    (
        "any_of and all_of",
        "edges:",
        'success: {any_of: ["a.x == 1"], all_of: ["a.x == 1"]}\nedges:',
        "success must define either 'any_of' or 'all_of', not both",
        (8, 33),
    ),
    ("a success expression without operator", "edges:", 'success: {any_of: ["helper.out"]}\nedges:', COMPARISON, (8, 20)),
    (
        "a guard with a bare word",
        "from: a.out",
        "from: a.ok==yes",
        "unsupported literal value; use booleans, numbers, or quoted strings",
        (9, 11),
    ),
    ("no edges", "edges:\n  - from: a.out\n    to: b.in\n", "", "missing required field 'edges'", (1, 1)),
    (
        "a mailer without confirmation",
        "use: agent:b",
        "use: agent:mailer\n    with: {require_human_confirm: false}",
        CONFIRM,
        (8, 35),
    ),
]


@pytest.mark.parametrize(("old", "new", "message", "place"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_case_of_the_specification_gives_its_message_at_the_place_of_the_node(base, found, old, new, message, place):
    assert old in base
    assert found(base.replace(old, new)) == [(*place, message)]


def test_a_second_node_of_the_same_id_is_the_one_that_is_wrong(base, found):
    problems = found(base.replace("id: b", "id: a"))

    assert problems == [(6, 9, "duplicate node id 'a'"), (10, 9, "edge references unknown node 'b'")]  # upstream 4:5, the first node


def test_the_base_itself_has_no_problems(base):
    opening = parse_opening(base, file="t.yaml")

    assert [node.use for node in opening.nodes] == ["agent:a", "agent:b"]
    assert [str(edge) for edge in opening.edges] == ["a.out -> b.in"]
    assert opening.policy.confirm_external is True


def test_compose_email_has_five_nodes_eight_edges_and_a_success_expression(compose_email):
    opening = parse_opening(compose_email)

    assert [node.id for node in opening.nodes] == ["contacts", "context", "draft", "review", "send"]
    assert len(opening.edges) == 8
    assert opening.success is not None
    assert (opening.success.mode, opening.success.expressions) == ("any_of", (parse_expression("review.ok == true"),))
    assert opening.save == (PortRef("draft", "out"),)
    assert opening.node("contacts").with_args == {"query": "john"}
    assert (opening.policy.budget_tokens, opening.policy.timeout_ms) == (8000, 30000)


def test_a_variant_follows_the_at_sign(base):
    opening = parse_opening(base.replace("agent:b", "agent:writer@nightly"))

    assert (opening.nodes[1].name, opening.nodes[1].variant, opening.nodes[1].use) == ("writer", "nightly", "agent:writer@nightly")


def test_short_hints_become_an_object_schema(base):
    hints = "use: agent:b\n    with: {topic: x}\n    schema_hints: {with: {tone: {enum: [dry]}, topic: {required: true}}}"

    schema = parse_opening(base.replace("use: agent:b", hints)).nodes[1].with_schema

    assert schema == {"type": "object", "properties": {"tone": {"enum": ["dry"]}, "topic": {}}, "required": ["topic"]}


def test_parameters_keep_their_types(base):
    text = base.replace("name: t", "name: t\nparams: {limit: 5, enabled: true, list: [1, x], object: {k: v}}")
    text = text.replace(
        "use: agent:b",
        'use: agent:b\n    with: {n: "{{params.limit}}", on: "{{ params.enabled }}", l: "{{params.list}}",'
        ' o: ["{{params.object}}"], deep: {er: "{{params.object}}"}}',
    )

    assert parse_opening(text).nodes[1].with_args == {"n": 5, "on": True, "l": [1, "x"], "o": [{"k": "v"}], "deep": {"er": {"k": "v"}}}


def test_the_stored_system_helper_of_upstream_is_refused_for_both_of_its_faults(found):
    text = """\
version: 0
name: system_helper
params: {prompt: "", command: "", model: gemini-1.5-flash}
nodes:
  - id: helper
    use: agent:system_helper
    with: {prompt: "{{params.prompt}}", output_cap: 8192}
success: {any_of: [helper.out]}
"""
    assert found(text) == [(1, 1, "missing required field 'edges'"), (8, 20, COMPARISON)]


def test_parse_opening_raises_every_problem_and_speaks_for_the_first(base):
    text = base.replace("version: 0", "version: 1").replace("to: b.in", "to: zz.in")

    with pytest.raises(OpeningError) as caught:
        parse_opening(text, file="o.yaml")

    error = caught.value
    assert [problem.code for problem in error.problems] == ["opening.version", "opening.reference"]
    assert (error.code, error.exit_code, str(error.where)) == ("opening.version", 2, "o.yaml:1:10, key 'version'")
    assert [problem.message for problem in error.others] == ["edge references unknown node 'zz'"]
    assert [problem["where"]["line"] for problem in error.to_dict()["problems"]] == [1, 10]


def test_what_could_be_read_is_there_even_with_problems(base):
    examined = examine(base.replace("to: b.in", "to: zz.in"))

    assert examined.opening is not None
    assert [node.id for node in examined.opening.nodes] == ["a", "b"]
    assert examined.opening.node("a") == Node("a", "agent", "a")
    with pytest.raises(KeyError):
        examined.opening.node("zz")
