"""What is read from an opening: defaults, extensions, aliases, parameters, templates."""

from __future__ import annotations

import pytest
from tests_openings_helpers import HEAD, NODES, REST, node

from runloop.openings import OnFailure, OpeningError, Policy, Retry, examine, params, parse_once, parse_opening
from runloop.openings.parse import LONG, MAX_KEPT_LONG


def only_node(text: str):
    return parse_opening(text).nodes[0]


def test_policy_and_its_extensions():
    text = "policy: {budget_tokens: 8000, budget_usd: 0.25, timeout_ms: 5, confirm_external: false,"
    text += " approve_in_advance: [mail.outbox, mail.outbox], max_parallel: 4}\n"

    assert parse_opening(HEAD + text + REST).policy == Policy(8000, 250_000, 5, False, ("mail.outbox",), 4)


def test_without_a_policy_external_actions_are_confirmed():
    assert parse_opening(HEAD + REST).policy == Policy(confirm_external=True)


def test_with_confirmation_off_a_node_may_disable_it_and_with_it_on_may_ask_for_it():
    assert only_node(node("with: {require_human_confirm: false}", "policy: {confirm_external: false}\n")).with_args == {
        "require_human_confirm": False
    }
    assert only_node(node("with: {require_human_confirm: true}")).with_args == {"require_human_confirm": True}


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("tags: []", Retry()),
        ("retry: {}", Retry(1, 100, None, 2.0, 0.2)),
        ("retry: {max_attempts: 0}", Retry(1, 100, None, 2.0, 0.2)),
        ("retry: {max_attempts: 4, backoff_ms: 7, max_ms: 50, multiplier: 3, jitter: 0}", Retry(4, 7, 50, 3.0, 0.0)),
        ("retry: {initial_ms: 9, jitter: 1}", Retry(1, 9, None, 2.0, 1.0)),
    ],
)
def test_retry_and_its_defaults(text, retry):
    assert only_node(node(text)).retry == retry


def test_the_other_fields_of_a_node():
    read = only_node(node("timeout_ms: 5, budget_tokens: 6, budget_usd: 0.5, tags: [x, y], on_failure: skip"))

    assert (read.timeout_ms, read.budget_tokens, read.budget_usd_micros, read.tags, read.on_failure) == (
        5,
        6,
        500_000,
        ("x", "y"),
        OnFailure.SKIP,
    )


def test_a_node_may_have_all_that_the_opening_has():
    limits = "timeout_ms: 5, budget_tokens: 6, budget_usd: 0.5"

    assert only_node(node(limits, f"policy: {{{limits}}}\n")).budget_tokens == 6


def test_a_nested_opening():
    read = only_node(f"{HEAD}nodes: [{{id: a, use: 'opening:send-mail'}}]\nedges: []\n")

    assert (read.kind, read.name, read.variant, read.use) == ("opening", "send-mail", None, "opening:send-mail")


def test_aliases_share_values_between_nodes():
    text = (
        HEAD + "nodes:\n  - {id: a, use: agent:a, retry: &again {max_attempts: 3}}\n  - {id: b, use: agent:b, retry: *again}\nedges: []\n"
    )

    assert [each.retry.max_attempts for each in parse_opening(text).nodes] == [3, 3]


def test_goals_success_and_artifacts_are_kept():
    opening = parse_opening(HEAD + "goals: [one, two]\nsuccess: {all_of: [exists(a.out)]}\nartifacts: {save: [b.out]}\n" + REST)

    assert (opening.goals, str(opening.success), [str(ref) for ref in opening.save]) == (("one", "two"), "all_of: exists(a.out)", ["b.out"])


def test_examples_are_words_and_slots_in_turn():
    text = HEAD + "params: {to: x, topic: y}\nexamples: ['write to {to} about {topic}', '{to} please', hello]\n" + REST

    examples = parse_opening(text).examples

    assert [example.pieces for example in examples] == [("write to ", "to", " about ", "topic", ""), ("", "to", " please"), ("hello",)]
    assert examples[0].slots == ("to", "topic")


def test_the_digest_is_that_of_the_text():
    from blake3 import blake3

    text = HEAD + REST + "# ü\n"
    assert (parse_opening(text).digest, parse_opening(text).source) == (blake3(text.encode()).hexdigest(), text)


def test_hints_may_be_a_whole_schema_and_an_edge_supplies_what_is_required():
    schema = "{type: object, required: [topic], properties: {topic: {type: string}}}"
    text = f"{HEAD}nodes: [{{id: a, use: agent:a}}, {{id: b, use: agent:b, schema_hints: {{with: {schema}}}}}]\n"
    text += "edges: [{from: a.out, to: b.topic}]\n"

    assert parse_opening(text).nodes[1].with_schema["required"] == ["topic"]


def test_a_hint_may_be_any_schema_even_a_boolean():
    assert only_node(node("schema_hints: {with: true}")).with_schema is True
    assert only_node(node("schema_hints: {with: {x: {required: [y]}, z: true}}")).with_schema == {
        "type": "object",
        "properties": {"x": {"required": ["y"]}, "z": True},
        "required": [],
    }
    assert only_node(node("schema_hints: {with: {x: {required: false}}}")).with_schema["required"] == []
    assert only_node(node("schema_hints: {}")).with_schema is None


PARAMS = node('with: {x: "{{params.topic}}"}', "params: {topic: Q4, limit: 5, any: null, list: [1], flag: true, map: {}}\n")


def test_a_default_that_no_record_could_keep_is_refused_at_its_place_unless_another_value_is_given():
    text = node('with: {x: "{{params.n}}"}', "params: {n: 9007199254740992, ok: [9007199254740991, -9007199254740991, 1e300, true]}\n")
    with pytest.raises(OpeningError) as caught:
        parse_opening(text)
    (problem,) = caught.value.problems

    assert (problem.code, problem.where.key, problem.hint) == ("opening.param", "params.n", "give it as text")
    assert text.splitlines()[problem.where.line - 1][problem.where.column - 1 :].startswith("9007199254740992")
    assert parse_opening(text, params={"n": 5}).params["n"] == 5


@pytest.mark.parametrize(
    "given",
    [{}, {"topic": "Q1"}, {"limit": 2.5}, {"any": [1]}, {"any": None}, {"list": []}, {"flag": False}, {"map": {"k": [None, -1.5]}}, None],
)
def test_given_parameters_go_over_the_declared(given):
    opening = parse_opening(PARAMS, params=given)

    assert opening.params == {"topic": "Q4", "limit": 5, "any": None, "list": [1], "flag": True, "map": {}, **(given or {})}
    assert opening.nodes[0].with_args == {"x": opening.params["topic"]}


NESTED: list = []
for _ in range(40):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"topik": "x"}, "unknown parameter 'topik'"),
        ({"topic": 5}, "parameter 'topic' must be a string, not a number"),
        ({"topic": None}, "parameter 'topic' must be a string, not null"),
        ({"limit": "5"}, "parameter 'limit' must be a number, not a string"),
        ({"limit": True}, "parameter 'limit' must be a number, not a boolean"),
        ({"list": {}}, "parameter 'list' must be an array, not an object"),
        ({"any": float("nan")}, "parameter 'any' is not a finite number"),
        ({"any": [2**64]}, "parameter 'any' is out of range (-2^63 to 2^64-1)"),
        ({"any": {"k": [1, 2**53]}}, "parameter 'any' holds 9007199254740992, which is beyond 2^53 - 1: no record keeps it exactly"),
        ({"limit": -(2**53)}, "parameter 'limit' holds -9007199254740992, which is beyond 2^53 - 1: no record keeps it exactly"),
        ({"any": {1: 2}}, "parameter 'any' has a key that is not a string"),
        ({"any": (1, 2)}, "parameter 'any' holds a tuple, which is not a JSON value"),
        ({"any": "\ud800"}, "parameter 'any' holds half of a surrogate pair"),
        ({"any": NESTED}, "parameter 'any' is nested more than 32 levels deep"),
        ({"topic": "{{x"}, "embedded template syntax not allowed in parameter value '{{x'"),
    ],
)
def test_a_given_parameter_that_does_not_fit_is_refused(given, message):
    with pytest.raises(OpeningError) as caught:
        parse_opening(PARAMS, params=given)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_a_given_parameter_of_another_type_is_told_the_default_as_it_would_be_written():
    text = "version: 0\nname: o\nparams: {yes: true, words: [é, null]}\nnodes: [{id: a, use: agent:x}]\nedges: []\n"
    found = examine(text, params={"yes": "no", "words": 1}).problems
    assert [problem.hint for problem in found] == ["the opening's default is true", 'the opening\'s default is ["é", null]']


def test_a_given_parameter_has_no_place_in_the_document_but_a_name():
    [problem] = examine(PARAMS, file="o.yaml", params={"topik": 1}).problems

    assert (problem.where.file, problem.where.line, problem.where.key, str(problem)) == (
        None,
        None,
        "params.topik",
        "key 'params.topik': unknown parameter 'topik'",
    )
    assert problem.hint == "did you mean 'topic'?"


@pytest.mark.parametrize("value", [[1] * 100_000, {str(number): [] for number in range(100_000)}, [[[]] * 300] * 400])
def test_a_given_parameter_with_more_values_than_templates_take_is_refused_before_it_is_looked_at(monkeypatch, value):
    looked_at, weigh = [], params.weigh
    monkeypatch.setattr(params, "weigh", lambda each, depth=0: looked_at.append(each) or weigh(each, depth))
    [problem] = examine(PARAMS, params={"any": value}).problems

    assert (problem.code, problem.where.key) == ("opening.limit", "params.any")
    assert problem.message == "parameter 'any' has more than 100000 values, which no template takes"
    assert looked_at == ["Q4"]


def test_a_given_parameter_may_have_as_many_values_as_templates_take():
    assert examine(PARAMS, params={"any": [1] * 99_999}).problems == ()


def test_an_opening_without_parameters_takes_none():
    [problem] = examine(HEAD + REST, params={"x": 1}).problems

    assert problem.message == "unknown parameter 'x'"
    assert problem.hint == 'the opening declares none: write params: {x: …} into it, and x: "{{params.x}}" under `with` of a node'


def test_templates_cannot_make_a_small_document_huge():
    listed = ", ".join(['"{{params.big}}"'] * 300)

    [problem] = examine(node(f"with: {{x: [{listed}]}}", f"params: {{big: {'x' * 20_000}}}\n")).problems

    assert problem.message == "templates expand to more than 100000 values or 4194304 characters"
    assert "the parameter 'big' adds 1 value and 20000 characters" in problem.hint


def test_templates_cannot_nest_deeper_than_values_may():
    deep = "[" * 20 + '"{{params.big}}"' + "]" * 20

    [problem] = examine(node(f"with: {{x: {deep}}}", f"params: {{big: {'[' * 20}{']' * 20}}}\n")).problems

    assert problem.message == "values are nested more than 32 levels deep"


def test_a_template_may_stand_between_spaces():
    assert only_node(node('with: {x: " {{  params.n  }} "}', "params: {n: 7}\n")).with_args == {"x": 7}


def test_a_parameter_that_no_json_can_hold_is_refused_by_name():
    with pytest.raises(OpeningError) as refused:
        parse_once(f"{HEAD}params: {{to: a, n: 1}}\n{REST}", params={"n": b"bytes"})
    assert "'n'" in str(refused.value)


@pytest.mark.parametrize("where", ["text", "params"])
def test_of_long_openings_only_some_are_kept(where):
    def read(number):
        text = f"{HEAD}params: {{to: a, n: 1}}\n{REST}"
        given = {"to": f"{number} {'x' * LONG}"} if where == "params" else {"n": number}
        return parse_once(f"{text}# {'x' * LONG}\n" if where == "text" else text, params=given)

    first = read(0)
    assert read(0) is first
    for number in range(1, MAX_KEPT_LONG + 1):
        read(number)
    assert read(0) is not first
    assert read(0) == first


def test_the_same_text_with_the_same_parameters_is_one_opening_and_what_is_wrong_is_told_every_time():
    text = f"{HEAD}params: {{to: a, n: 1}}\n{REST}"
    once = parse_once(text, params={"n": 2})
    assert parse_once(text, params={"n": 2}) is once
    assert (once, parse_once(text).params["n"]) == (parse_opening(text, params={"n": 2}), 1)
    assert parse_once(text, params={"n": 2.0}) is not once
    for _ in range(2):
        with pytest.raises(OpeningError, match="required field 'edges'"):
            parse_once(f"{HEAD}{NODES}")
