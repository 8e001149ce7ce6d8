"""Every rule of spec 8 with its message, at the mark. A document without problems is at the end of each family."""

from __future__ import annotations

import pytest
from tests_openings_helpers import HEAD, NODES, REST, node

from runloop.openings import examine
from runloop.openings.parse import MAX_PROBLEMS

CASES = [
    # the document
    ("‸[1]", "opening must be a YAML mapping"),
    ("‸just text", "opening must be a YAML mapping"),
    ("‸", "opening must be a YAML mapping"),
    (f"‸name: t\n{REST}", "missing required field 'version'"),
    (f"‸version: 0\n{REST}", "missing required field 'name'"),
    (f"‸{HEAD}edges: []\n", "missing required field 'nodes'"),
    (f"‸{HEAD}{NODES}", "missing required field 'edges'"),
    (f"version: ‸'0'\nname: t\n{REST}", "unsupported DSL version '0'; expected 0"),
    (f"version: ‸false\nname: t\n{REST}", "unsupported DSL version False; expected 0"),
    (f"version: ‸0.0\nname: t\n{REST}", "unsupported DSL version 0.0; expected 0"),
    (f"version: ‸[0]\nname: t\n{REST}", "unsupported DSL version None; expected 0"),
    (f"version: 0\nname: ‸5\n{REST}", "field 'name' must be a string"),
    (f"version: 0\nname: ‸{{}}\n{REST}", "field 'name' must be a string"),
    (f"version: 0\nname: ‸' '\n{REST}", "field 'name' must not be empty"),
    (f"version: 0\nname: ‸{'x' * 201}\n{REST}", "the name has 201 characters, at most 200 are allowed"),
    (f"version: 0\nname: ‸\"a\\nb\"\n{REST}", "the name has several lines"),
    (f"version: 0\nname: ‸|\n  a\n  b\n{REST}", "the name has several lines"),
    (f"version: 0\nname: ‸\"a\\e[31mb\"\n{REST}", "the name holds the control U+001B"),
    (f"{HEAD}‸descrption: x\n{REST}", "unknown key 'descrption'"),
    (f"{HEAD}‸7: x\n{REST}", "keys must be strings"),
    (f"{HEAD}goals: ‸x\n{REST}", "goals must be a sequence"),
    (f"{HEAD}goals: [a, ‸null]\n{REST}", "goals[1] must be a string"),
    # examples
    (f"{HEAD}examples: ‸x\n{REST}", "examples must be a sequence"),
    (f"{HEAD}examples: [a, ‸7]\n{REST}", "examples[1] must be a string"),
    (f"{HEAD}params: {{to: x}}\nexamples: [‸'write to {{two}}']\n{REST}", "the slot {two} is no parameter"),
    (f"{HEAD}examples: [‸'write to {{}}']\n{REST}", "the slot {} is no parameter"),
    (f"{HEAD}params: {{to: x}}\nexamples: [‸'to {{to']\n{REST}", "a brace in the example 'to {to' is not closed, or not opened"),
    (f"{HEAD}params: {{to: x}}\nexamples: [‸'}}to{{']\n{REST}", "a brace in the example '}to{' is not closed, or not opened"),
    (f"{HEAD}params: {{to: x}}\nexamples: [‸'{{to}}!']\n{REST}", "the example '{to}!' has no word of its own"),
    (f"{HEAD}params: {{to: x}}\nexamples: [‸'{{to}} and {{to}}']\n{REST}", "the example '{to} and {to}' has a slot twice"),
    (
        f"{HEAD}params: {{a: x, b: y}}\nexamples: [‸'tell {{a}}, {{b}}']\n{REST}",
        "two slots of the example 'tell {a}, {b}' have no word between them",
    ),
    (f"{HEAD}examples: [‸{'a' * 301}]\n{REST}", "an example is at most 300 characters long"),
    (f"{HEAD}examples: [{'a, ' * 64}‸a]\n{REST}", "there are 65 examples, at most 64 are allowed"),
    (f"{HEAD}params: ‸[x]\n{REST}", "params must be a mapping"),
    (f"{HEAD}params: ‸\n{REST}".replace("params: ‸", "params:‸"), "params must be a mapping"),
    (f"{HEAD}params: {{‸1: x}}\n{REST}", "parameter keys must be strings"),
    (f"{HEAD}params: {{x: {{‸[1]: x}}}}\n{REST}", "mapping keys must be strings"),
    (f"{HEAD}params: {{x: [‸.nan]}}\n{REST}", "unsupported value type for key 'x': JSON has no value .nan; quote it if it is text"),
    # policy
    (f"{HEAD}policy: ‸[]\n{REST}", "policy must be a mapping"),
    (f"{HEAD}policy: {{‸budget_token: 1}}\n{REST}", "unknown key 'budget_token' in policy"),
    (f"{HEAD}policy: {{budget_tokens: ‸-1}}\n{REST}", "policy.budget_tokens must be a non-negative integer"),
    (f"{HEAD}policy: {{budget_tokens: ‸1.5}}\n{REST}", "policy.budget_tokens must be a non-negative integer"),
    (f"{HEAD}policy: {{budget_tokens: ‸true}}\n{REST}", "policy.budget_tokens must be a non-negative integer"),
    (f"{HEAD}policy: {{budget_tokens: ‸9007199254740992}}\n{REST}", "policy.budget_tokens must be at most 9007199254740991"),
    (f"{HEAD}policy: {{budget_usd: ‸a}}\n{REST}", "policy.budget_usd must be a floating point number"),
    (f"{HEAD}policy: {{budget_usd: ‸-0.1}}\n{REST}", "policy.budget_usd must be between 0 and 1000000"),
    (f"{HEAD}policy: {{timeout_ms: ‸'5'}}\n{REST}", "policy.timeout_ms must be a non-negative integer"),
    (f"{HEAD}policy: {{timeout_ms: ‸0}}\n{REST}", "policy.timeout_ms must be at least 1"),
    (f"{HEAD}policy: {{confirm_external: ‸yes}}\n{REST}", "policy.confirm_external must be a boolean"),
    (f"{HEAD}policy: {{max_parallel: ‸0}}\n{REST}", "policy.max_parallel must be at least 1"),
    (f"{HEAD}policy: {{approve_in_advance: ‸mail.smtp}}\n{REST}", "policy.approve_in_advance must be a sequence"),
    (f"{HEAD}policy: {{approve_in_advance: [‸1]}}\n{REST}", "policy.approve_in_advance entry 0 must be a string"),
    (f"{HEAD}policy: {{approve_in_advance: [‸mail.send]}}\n{REST}", "unknown action 'mail.send' in policy.approve_in_advance"),
    # nodes
    (f"{HEAD}nodes: ‸{{}}\nedges: []\n", "nodes must be a sequence"),
    (f"{HEAD}nodes: ‸[]\nedges: []\n", "nodes must contain at least one entry"),
    (f"{HEAD}nodes: [‸a]\nedges: []\n", "node entry must be a mapping"),
    (f"{HEAD}nodes: [‸{{use: agent:a}}]\nedges: []\n", "missing required field 'id'"),
    (f"{HEAD}nodes: [‸{{id: a}}]\nedges: []\n", "missing required field 'use'"),
    (f"{HEAD}nodes: [{{id: ‸5, use: agent:a}}]\nedges: []\n", "field 'id' must be a string"),
    (f"{HEAD}nodes: [{{id: ‸[x], use: agent:a}}]\nedges: []\n", "field 'id' must be a string"),
    (f"{HEAD}nodes: [{{id: ‸a.b, use: agent:a}}]\nedges: []\n", "node id 'a.b' must be 1 to 64 letters, digits, '-' or '_'"),
    (f"{HEAD}nodes: [{{‸1: x, id: a, use: agent:a}}]\nedges: []\n", "keys in node 'a' must be strings"),
    (node("‸wiht: {}"), "unknown key 'wiht' in node 'a'"),
    (node("with: ‸[]"), "node.with must be a mapping"),
    (node("with: {‸1: x}"), "keys in with must be strings"),
    (node("with: {x: [‸.inf]}"), "unsupported value type for key 'x': JSON has no value .inf; quote it if it is text"),
    (node("timeout_ms: ‸soon"), "timeout_ms must be a non-negative integer"),
    (node("timeout_ms: ‸0"), "timeout_ms must be at least 1"),
    (node("budget_tokens: ‸[]"), "budget_tokens must be a non-negative integer"),
    (node("budget_tokens: ‸4294967296"), "budget_tokens must be at most 4294967295"),
    (node("budget_usd: ‸x"), "budget_usd must be a floating point number"),
    (node("tags: ‸x"), "tags must be a sequence of strings"),
    (node("tags: [x, ‸1]"), "tags entries must be strings"),
    (node("on_failure: ‸ignore"), "on_failure must be fail, continue or skip"),
    (node("on_failure: ‸[skip]"), "on_failure must be fail, continue or skip"),
    (node("budget_tokens: ‸9", "policy: {budget_tokens: 8}\n"), "budget_tokens 9 of node 'a' exceeds policy.budget_tokens 8"),
    (node("budget_usd: ‸0.5", "policy: {budget_usd: 0.25}\n"), "budget_usd 0.5 of node 'a' exceeds policy.budget_usd 0.25"),
    (node("timeout_ms: ‸9", "policy: {timeout_ms: 8}\n"), "timeout_ms 9 of node 'a' exceeds policy.timeout_ms 8"),
    # confirmation
    *[
        (node(f"with: {{require_human_confirm: ‸{value}}}"), "policy.confirm_external=true forbids nodes from disabling confirmation")
        for value in ("false", "0", "null", "no", "'false'", "[]")
    ],
    (
        node('with: {require_human_confirm: ‸"{{params.c}}"}', "params: {c: false}\npolicy: {confirm_external: true}\n"),
        "policy.confirm_external=true forbids nodes from disabling confirmation",
    ),
    # use
    *[
        (f"{HEAD}nodes: [{{id: a, use: ‸{use}}}]\nedges: []\n", message)
        for use, message in [
            ("writer", "node.use must be of the form 'agent:<name>' or 'opening:<name>'"),
            ("opening", "node.use must be of the form 'agent:<name>' or 'opening:<name>'"),
            ("'agents:x'", "unknown use prefix 'agents'"),
            ("'agent:'", "agent reference cannot be empty"),
            ("'opening:'", "opening reference cannot be empty"),
            ("'agent:@v'", "agent name cannot be empty"),
            ("'agent:a@'", "agent variant cannot be empty"),
            ("'agent:a@v!'", "agent variant must contain only alphanumeric characters, '-' or '_'"),
            ("'agent:a@v@w'", "agent variant must contain only alphanumeric characters, '-' or '_'"),
            ("'agent:ä'", "agent name must contain only alphanumeric characters, '-' or '_'"),
            ("'agent: a'", "agent name must contain only alphanumeric characters, '-' or '_'"),
            ("'opening:a@b'", "opening name must contain only alphanumeric characters, '-' or '_'"),
            ("'opening:../x'", "opening name must contain only alphanumeric characters, '-' or '_'"),
        ]
    ],
    # retry
    (node("retry: ‸3"), "retry must be a mapping: {max_attempts: 3}"),
    (node("retry: {‸attempts: 3}"), "unknown key 'attempts' in retry"),
    (node("retry: {max_attempts: ‸x}"), "retry.max_attempts must be a non-negative integer"),
    (node("retry: {backoff_ms: ‸-1}"), "retry.backoff_ms must be a non-negative integer"),
    (node("retry: {initial_ms: ‸1.5}"), "retry.initial_ms must be a non-negative integer"),
    (node("retry: {max_ms: ‸true}"), "retry.max_ms must be a non-negative integer"),
    (node("retry: {multiplier: ‸fast}"), "retry.multiplier must be a floating point number"),
    (node("retry: {multiplier: ‸true}"), "retry.multiplier must be a floating point number"),
    (node("retry: {multiplier: ‸0}"), "retry.multiplier must be greater than 0"),
    (node("retry: {jitter: ‸[]}"), "retry.jitter must be a floating point number"),
    (node("retry: {jitter: ‸-0.1}"), "retry.jitter must be between 0.0 and 1.0"),
    (node("retry: {backoff_ms: 1, ‸initial_ms: 2}"), "retry has both backoff_ms and initial_ms"),
    # hints
    (node("schema_hints: ‸[]"), "schema_hints must be a mapping"),
    (node("schema_hints: {‸wiht: {}}"), "unknown key 'wiht' in schema_hints"),
    (node("schema_hints: {with: {‸1: {}}}"), "schema_hints.with keys must be strings"),
    (node("schema_hints: {with: {type: ‸text}}"), "invalid schema_hints.with entry: 'text' is not valid under any of the given schemas"),
    (node("schema_hints: {with: ‸5}"), "invalid schema_hints.with entry: 5 is not of type 'object', 'boolean'"),
    (node("schema_hints: {with: {tone: {enum: ‸dry}}}"), "invalid schema hint for 'tone': 'dry' is not of type 'array'"),
    (node("schema_hints: {with: {tone: ‸5}}"), "invalid schema hint for 'tone': 5 is not of type 'object', 'boolean'"),
    (node('schema_hints: {with: {tone: {pattern: ‸"(a"}}}'), "invalid schema hint for 'tone': pattern '(a': missing ): (a"),
    (node("with: {tone: ‸wet}, schema_hints: {with: {tone: {enum: [dry]}}}"), "with: 'wet' is not one of ['dry']"),
    (node("with: ‸{}, schema_hints: {with: {tone: {required: true}}}"), "with: 'tone' is a required property"),
    (f"{HEAD}nodes: [‸{{id: a, use: agent:a, schema_hints: {{with: {{required: [x]}}}}}}]\nedges: []", "with: 'x' is a required property"),
    (node('with: ‸{tone: x}, schema_hints: {with: {properties: {tone: {$ref: "#/const"}}, const: {pattern: "(a"}}}'),
     "with: its schema is not used: pattern '(a': missing ): (a"),
    (node('with: ‸{}, schema_hints: {with: {$ref: "https://example.com/s.json"}}'), "with: its schema has a $ref that leads nowhere: https://example.com/s.json"),
    (node('with: ‸{}, schema_hints: {with: {$ref: "#"}}'), "with: its schema refers to itself without end"),
    # edges
    (f"{HEAD}{NODES}edges: ‸{{}}\n", "edges must be a sequence"),
    (f"{HEAD}{NODES}edges:‸\n", "edges must be a sequence"),
    (f"{HEAD}{NODES}edges: [‸a.out -> b.in]\n", "edge entries must be mappings with 'from' and 'to'"),
    (f"{HEAD}{NODES}edges: [‸{{to: b.in}}]\n", "missing required field 'from'"),
    (f"{HEAD}{NODES}edges: [‸{{from: a.out}}]\n", "missing required field 'to'"),
    (f"{HEAD}{NODES}edges: [{{from: a.out, to: b.in, ‸if: x}}]\n", "unknown key 'if' in an edge"),
    (f"{HEAD}{NODES}edges: [{{from: ‸1, to: b.in}}]\n", "field 'from' must be a string"),
    (f"{HEAD}{NODES}edges: [{{from: a.out, to: ‸[b]}}]\n", "field 'to' must be a string"),
    (f"{HEAD}{NODES}edges: [{{from: ‸a, to: b.in}}]\n", "port reference must be of the form '<node>.<port>'"),
    (f"{HEAD}{NODES}edges: [{{from: ‸a., to: b.in}}]\n", "node and port identifiers must be non-empty"),
    (f"{HEAD}{NODES}edges: [{{from: a.out, to: ‸.in}}]\n", "node and port identifiers must be non-empty"),
    (f"{HEAD}{NODES}edges: [{{from: a.out, to: ‸b.in==1}}]\n", "'in==1' is not an identifier; use letters, digits, '-' or '_'"),
    (f"{HEAD}{NODES}edges: [{{from: ‸a.ok==maybe, to: b.in}}]\n", "unsupported literal value; use booleans, numbers, or quoted strings"),
    (
        f"{HEAD}{NODES}edges: [{{from: ‸'a.ok == \"{{{{ params.x }}}}\"', to: b.in}}]\n",
        "a comparison is with a fixed value, no template is filled in here",
    ),
    (f"{HEAD}{NODES}edges: [{{from: ‸a.ok>true, to: b.in}}]\n", "'>' cannot compare booleans, so it never holds"),
    (f"{HEAD}{NODES}edges: [{{from: ‸c.out, to: b.in}}]\n", "edge references unknown node 'c'"),
    (f"{HEAD}{NODES}edges: [{{from: a.out, to: b.in}}, ‸{{from: ' a.out ', to: b.in}}]\n", "duplicate edge a.out -> b.in"),
    (f"{HEAD}{NODES}edges: [{{from: ‸a.out, to: a.in}}]\n", "opening graph contains a cycle; ensure edges form a DAG"),
    # success and artifacts
    (f"{HEAD}success: ‸[]\n{REST}", "success must be a mapping"),
    (f"{HEAD}success: ‸{{}}\n{REST}", "success must specify 'any_of' or 'all_of'"),
    (f"{HEAD}success: {{any_of: ‸x}}\n{REST}", "success.any_of must be a sequence"),
    (f"{HEAD}success: {{all_of: ‸{{}}}}\n{REST}", "success.all_of must be a sequence"),
    (f"{HEAD}success: {{all_of: ‸[]}}\n{REST}", "success expressions must not be empty"),
    (f"{HEAD}success: {{all_of: [‸'']}}\n{REST}", "success expressions must not be empty"),
    (f"{HEAD}success: {{all_of: [‸1]}}\n{REST}", "success expressions must be strings"),
    (f"{HEAD}success: {{all_of: [‸exists(x.out)]}}\n{REST}", "success references unknown node 'x'"),
    (f"{HEAD}success: {{any_of: [a.n > 1], ‸none_of: []}}\n{REST}", "unknown key 'none_of' in success"),
    (f"{HEAD}artifacts: ‸[]\n{REST}", "artifacts must be a mapping"),
    (f"{HEAD}artifacts: {{save: ‸a.out}}\n{REST}", "artifacts.save must be a sequence"),
    (f"{HEAD}artifacts: {{save: [a.out, ‸1]}}\n{REST}", "artifacts.save entry 1 must be a string"),
    (f"{HEAD}artifacts: {{save: [‸a]}}\n{REST}", "port reference must be of the form '<node>.<port>'"),
    (f"{HEAD}artifacts: {{save: [‸x.out]}}\n{REST}", "artifacts.save references unknown node 'x'"),
    (f"{HEAD}artifacts: {{save: [a.out, ‸a.out]}}\n{REST}", "artifacts.save lists 'a.out' twice"),
    (f"{HEAD}artifacts: {{‸keep: []}}\n{REST}", "unknown key 'keep' in artifacts"),
    # templates
    (node('with: {x: ‸"{{params.y}}"}'), "template '{{params.y}}' references missing parameter"),
    (node('with: {x: ‸"{{env.y}}"}'), "unsupported template syntax in value '{{env.y}}'; only '{{params.*}}' is allowed"),
    (node('with: {x: ["a", ‸"a }} b"]}'), "unsupported template syntax in value 'a }} b'; only '{{params.*}}' is allowed"),
    (node('with: {‸"{{params.y}}": 1}'), "a key cannot be a template: '{{params.y}}'"),
    *[
        (node('with: {x: "{{params.y}}"}', f"params: {{y: ‸{value}}}\n"), "embedded template syntax not allowed in parameter value '{{'")
        for value in ("'{{'", "[1, ['{{']]", "{a: {b: '{{'}}", "{'{{': 1}")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), CASES, ids=[f"{number}-{message[:40]}" for number, (_, message) in enumerate(CASES)])
def test_each_mistake_has_its_message_at_its_place(marked, text, message):
    expected, places, messages = marked(text)

    assert (places, messages) == (expected, [message])


def test_many_problems_are_told_at_once_in_document_order(marked):
    expected, places, messages = marked("""\
version: ‸2
name: t
nodes:
  - id: a
    use: ‸tool:a
    ‸colour: red
    retry:
      jitter: ‸7
  - id: ‸a
    use: agent:b
edges:
  - from: a.out
    to: ‸c.in
success:
  any_of: [‸"d.out == 1", ‸"a.out"]
policy:
  ‸budget: 5
""")

    assert places == expected
    assert len(messages) == 9


def test_two_cycles_are_two_problems_and_their_hints_name_the_way():
    text = HEAD + "nodes: [{id: a, use: agent:x}, {id: b, use: agent:x}, {id: c, use: agent:x}, {id: d, use: agent:x}]\nedges:\n"
    for source, target in ("ab", "bc", "ca", "dd", "ad"):
        text += f"  - {{from: {source}.out, to: {target}.in}}\n"

    problems = examine(text).problems

    assert [(problem.where.line, problem.hint) for problem in problems] == [
        (7, "the cycle is a -> b -> c -> a"),
        (8, "the cycle is d -> d"),
    ]


def test_a_diamond_is_no_cycle():
    text = HEAD + "nodes: [{id: a, use: agent:x}, {id: b, use: agent:x}, {id: c, use: agent:x}, {id: d, use: agent:x}]\nedges:\n"
    for source, target in ("ab", "ac", "bd", "cd", "ad"):
        text += f"  - {{from: {source}.out, to: {target}.in}}\n"

    assert examine(text).problems == ()


def test_at_most_ten_cycles_are_told():
    nodes = ", ".join(f"{{id: n{number}, use: agent:x}}" for number in range(12))
    edges = ", ".join(f"{{from: n{number}.out, to: n{number}.in}}" for number in range(12))

    assert len(examine(f"{HEAD}nodes: [{nodes}]\nedges: [{edges}]\n").problems) == 10


def test_a_flood_of_problems_is_cut_and_counted():
    nodes = ", ".join(f"{{id: n{number}, use: tool:x}}" for number in range(MAX_PROBLEMS + 50))

    problems = examine(f"{HEAD}nodes: [{nodes}]\nedges: []\n").problems

    assert (len(problems), problems[-1].code, problems[-1].message) == (MAX_PROBLEMS + 1, "opening.more", "and 50 more problems")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"{HEAD}polcy: {{}}\n{REST}", "did you mean 'policy'?"),
        (f"{HEAD}Policy: {{}}\n{REST}", "did you mean 'policy'?"),
        (f"{HEAD}zzz: 1\n{REST}", "known: artifacts, edges, examples, goals, name, nodes, params, policy, success, version"),
        (f"version: '0'\nname: t\n{REST}", "write it without quotes"),
        (f"{HEAD}goals:\n{REST}", "write [] if it is empty"),
        (f"{HEAD}goals: x\n{REST}", "write [a, b], or entries after '- '"),
        (f"{HEAD}policy:\n{REST}", "write {} or leave the key out"),
        (node("timeout_ms: 0"), "leave the key out for the default of 30000"),
        (node("timeout_ms: 9007199254740992"), ""),
        (node("timeout_ms: 99999999999999999999"), "write a number of at most 9007199254740991"),
        (node("timeout_ms: 30s"), "write it in milliseconds: 30000"),
        (node("timeout_ms: soon"), ""),
        (node("timeout_ms: '5000'"), "write it without quotes: 5000"),
        (node("timeout_ms: '{{params.ms}}'"), "templates stand in 'with' and in clauses: write the number"),
        (node("budget_tokens: 5m"), ""),
        (node("retry: {backoff_ms: 1h 30m}"), "write it in milliseconds: 5400000"),
        (node("wait: {}"), "write {for: 2d} or {until: 2026-12-24T18:00:00Z}"),
        (f"{HEAD}POLICY: {{}}\n{REST}", "did you mean 'policy'?"),
        (node("on_failure: skipp"), "did you mean 'skip'?"),
        (f"{HEAD}nodes: [{{id: a, use: writer}}]\nedges: []\n", "did you mean 'agent:writer'?"),
        (f"{HEAD}nodes: [{{id: a, use: agent}}]\nedges: []\n", "write 'agent:<name>'"),
        (f"{HEAD}{NODES}edges: [{{from: a, to: b.in}}]\n", "'a' has no port; the usual one is 'a.out'"),
        (node('with: {x: "{{params.topik}}"}', "params: {topic: x}\n"), "did you mean 'topic'?"),
        (node('with: {x: "{{params.topik}}"}'), "declare it: params: {topik: …}"),
        (f"{HEAD}success: {{any_of: [a.out]}}\n{REST}", "to ask whether the port has a value, write exists(a.out)"),
        (f"{HEAD}policy: {{confirm_external: yes}}\n{REST}", "write true or false without quotes"),
        (f"version: 0\nname:\n{REST}", "write a text behind it"),
        (f"version: 0\nname: []\n{REST}", "add 'name: …'"),
        (node("timeout_ms: 1e4"), "write it without a fraction: 10000"),
        (node("timeout_ms: 1.5"), ""),
        (f"{HEAD}goals: [7]\n{REST}", "put it in quotes"),
        (f"{HEAD}goals: [[]]\n{REST}", ""),
        (node("gate: {ask: 'Well?', options: [true]}"), "put it in quotes"),
        (
            f"{HEAD}{NODES}edges: [{{from: a.out, to: b}}]\n",
            "'b' has no port: name the one that gets the value, an argument of the agent; 'b.in' gets none and only orders",
        ),
        (f"{HEAD}{NODES}edges: [{{from: a.out, to: b.in, in:b.in}}]\n", "known: from, to"),
        (f"{HEAD}{NODES}edges: [{{from: a.out, to: b.in, to:b.in}}]\n", "write 'to: b.in', with a space behind the colon"),
        (f"{HEAD}{NODES}edges: [{{from: a.out.text, to: b.in}}]\n", "a port is a whole: what stands inside a value is no port"),
        (node('with: {x: "{{b.out}}"}'), "an edge hands over what a node gave: {from: b.out, to: a.x}"),
        (
            f"{HEAD}{NODES}edges: [{{from: '{{{{a.ok}}}}', to: b.in}}]\n",
            "write it without braces: NODE.PORT; templates stand in 'with' and in clauses",
        ),
        (f"{HEAD}{NODES}edges: [{{from: a.ok == “x”, to: b.in}}]\n", 'write "x" in double quotes if it is text'),
        (
            node('with: {x: "on {{params.x}}"}'),
            "a template is the whole value, not a part of it: hand the parameter over, and let the agent make the text",
        ),
        (node('with: {x: "{{ topic }}"}', "params: {topic: 1}\n"), 'write "{{params.topic}}"'),
        (node('with: {x: "{{topic}}"}'), 'write "{{params.topic}}", and declare it: params: {topic: …}'),
        (node("with: {x: {{params.x}}}", "params: {x: 1}\n"), 'write "{{params.x}}"'),
        (node("id: b"), "it is already set on line 3; keep one, or begin another entry with '- '"),
        (node("timeout_ms: 5, timeout_ms: 6"), "it is already set on line 3; keep one"),
    ],
)  # fmt: skip
def test_the_hint_says_what_to_change(text, hint):
    assert [problem.hint for problem in examine(text).problems] == [hint]


@pytest.mark.parametrize("nodes", ["{a: {use: agent:x}}", "[]", "[{use: agent:x}]"])
def test_where_no_node_can_be_read_nothing_that_names_one_is_a_further_problem(nodes):
    problems = examine(f"{HEAD}nodes: {nodes}\nedges: [{{from: a.out, to: b.in}}]\nsuccess: {{any_of: [exists(a.out)]}}\n").problems

    assert [problem.code for problem in problems if problem.code == "opening.reference"] == []
    assert len(problems) == 1


@pytest.mark.parametrize(
    "text",
    [
        'a.ok == "x" and b.ok == "y"',
        "a.ok == true && b.ok == true",
        "a.ok == 1 OR b.ok == 2",
        "a.ok == true || exists(b.ok)",
        "exists(a.out) and exists(b.out)",
        "exists(a.out) and not exists(b.out)",
    ],
)
@pytest.mark.parametrize("place", ["success: {{any_of: [{}]}}\nedges: []\n", "edges: [{{from: {}, to: b.in}}]\n"])
def test_two_conditions_in_one_are_refused_and_the_hint_says_where_the_second_goes(text, place):
    [problem] = examine(HEAD + NODES + place.format("'" + text + "'")).problems

    assert problem.code == "opening.expression"
    assert problem.message.endswith("joins two conditions, and each stands for itself")
    assert problem.hint == "write two edges to the node, or two entries of 'any_of' or 'all_of'"


@pytest.mark.parametrize("text", ['a.ok == "this and b.ok == that"', 'a.ok == "or"', 'a.ok == "x || exists(b.out)"'])
def test_a_text_may_speak_of_two_conditions(text):
    assert examine(f"{HEAD}{NODES}edges: []\nsuccess: {{any_of: ['{text}']}}\n").problems == ()


def test_a_condition_cannot_be_denied():
    [problem] = examine(f"{HEAD}{NODES}edges: []\nsuccess: {{any_of: [not exists(a.out)]}}\n").problems

    assert problem.hint == "there is no 'not': compare with != or with false"


def test_a_long_list_of_known_names_is_cut():
    nodes = ", ".join(f"{{id: node{number}, use: agent:x}}" for number in range(20))

    [problem] = examine(f"{HEAD}nodes: [{nodes}]\nedges: []\nartifacts: {{save: [zz.out]}}\n").problems

    assert problem.hint.startswith("known: node0, node1, node10")
    assert problem.hint.endswith("…")
