"""The clauses of nodes as they are written: what is read, and what is wrong at which place."""

from __future__ import annotations

from datetime import datetime
from textwrap import indent

import pytest

from runloop.openings import parse_opening
from runloop.openings.clauses import Contract, ContractRetry, ForEach, Gate, Merge, MergeRule, Vote, VoteRule, Wait

DOCUMENT = """\
version: 0
name: t
params: {{words: [one, two], text: hello, later: "2027-01-01T00:00:00Z", pause: 2d, many: [1, 2, 3]}}
nodes:
  - id: a
    use: agent:a
  - id: b
    use: agent:b
  - id: z
    use: agent:z
{clause}
  - id: end
    use: agent:end
edges:
  - {{from: a.out, to: z.x}}
  - {{from: b.out, to: z.x}}
  - {{from: b.more, to: z.y}}
  - {{from: z.out, to: end.x}}
{edges}
"""


def document(clause, edges=""):
    return DOCUMENT.format(clause=indent(clause, "    "), edges=indent(edges, "  "))


READ = [
    ("wait: {for: 1h 30m}", "wait", Wait(for_ms=5_400_000)),
    ('wait: {for: "{{params.pause}}"}', "wait", Wait(for_ms=172_800_000)),
    ("wait: {until: 2027-01-01T00:00:00Z}", "wait", Wait(until_ms=1_798_761_600_000)),
    ('wait: {until: "{{ params.later }}"}', "wait", Wait(until_ms=1_798_761_600_000)),
    ("gate: {ask: Good?}", "gate", Gate("Good?", ("approve", "reject"))),
    ('gate: {ask: "{{params.text}}"}', "gate", Gate("hello", ("approve", "reject"))),
    ("gate: {ask: q, options: [short, long]}", "gate", Gate("q", ("short", "long"))),
    ("gate: {ask: q, timeout: 1h}", "gate", Gate("q", ("approve", "reject"), 3_600_000, "reject")),
    ("gate: {ask: q, timeout: 1h, on_timeout: approve}", "gate", Gate("q", ("approve", "reject"), 3_600_000, "approve")),
    ("gate: {ask: q, revise_to: a}", "gate", Gate("q", ("approve", "revise", "reject"), revise_to="a", max_revisions=3)),
    (
        "gate: {ask: q, options: [yes, no], revise_to: z, max_revisions: 7}",
        "gate",
        Gate("q", ("yes", "no", "revise"), revise_to="z", max_revisions=7),
    ),
    ("gate: {ask: q, options: [revise, fine], revise_to: z}", "gate", Gate("q", ("revise", "fine"), revise_to="z", max_revisions=3)),
    ("for_each: {in: x}", "for_each", ForEach("x", "x")),
    ("for_each: {in: x, as: word, width: 4, max: 5000, on_failure: continue}", "for_each", ForEach("word", "x", (), 4, 5000, True)),
    ("for_each: {in: params.words, as: word}", "for_each", ForEach("word", "", ("one", "two"))),
    ("for_each: {in: params.words}", "for_each", ForEach("words", "", ("one", "two"))),
    ("output: {schema: {type: string}}", "output", Contract("out", {"type": "string"})),
    (
        "output: {port: ok, schema: {type: boolean}, retry: fresh, attempts: 5, on_exhausted: warn}",
        "output",
        Contract("ok", {"type": "boolean"}, ContractRetry.FRESH, 5, True),
    ),
    ("output: {schema: {}, retry: escalate}", "output", Contract("out", {}, ContractRetry.ESCALATE)),
    ("merge: all", "merge", Merge()),
    ("merge: any", "merge", Merge(MergeRule.ANY)),
    ("merge: first_ok", "merge", Merge(MergeRule.FIRST_OK)),
    ("merge: {at_least: 2}", "merge", Merge(MergeRule.AT_LEAST, 2)),
    ("merge: {vote: {of: x}}", "merge", Merge(MergeRule.VOTE, vote=Vote("x"))),
    (
        "merge: {vote: {of: x/a/b, rule: plurality, quorum: 2, on_tie: first}}",
        "merge",
        Merge(MergeRule.VOTE, vote=Vote("x", ("a", "b"), VoteRule.PLURALITY, 2, True)),
    ),
]


@pytest.mark.parametrize(("clause", "field", "value"), READ)
def test_what_is_read(clause, field, value):
    node = parse_opening(document(clause)).node("z")

    assert getattr(node, field) == value


def test_a_node_without_clauses_has_none_and_says_so():
    node = parse_opening(document("tags: []")).node("z")

    assert (node.wait, node.gate, node.for_each, node.output, node.merge, node.notes) == (None, None, None, None, Merge(), [])


def _said_of(text):
    """What this Python says of a time that is none; its versions say it differently."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is what is wanted
        datetime.fromisoformat(text)
    return str(caught.value)


WRONG = [
    ("wait: ‸2d", "wait must be a mapping: {for: 2d} or {until: 2026-12-24T18:00:00Z}"),
    ("wait: ‸{}", "wait must have either 'for' or 'until'"),
    ("wait: ‸{for: 2d, until: 2027-01-01T00:00:00Z}", "wait must have either 'for' or 'until'"),
    ("wait: {for: ‸two days}", "wait.for 'two days' is not a duration"),
    ("wait: {for: ‸30}", "wait.for must be a text, not 30"),
    ('wait: {for: ‸""}', "wait.for must not be empty"),
    ("wait: {for: ‸0s}", "wait.for '0s' must be between 1ms and 3650d"),
    ("wait: {until: ‸2027-01-01}", "wait.until '2027-01-01' is not an RFC 3339 time with a zone"),
    ("wait: {until: ‸2027-01-01T00:00:00}", "wait.until '2027-01-01T00:00:00' is not an RFC 3339 time with a zone"),
    ("wait: {until: ‸2027-02-30T00:00:00Z}", f"wait.until '2027-02-30T00:00:00Z' is not a time: {_said_of('2027-02-30T00:00:00Z')}"),
    (
        "wait: {until: ‸2027-01-01T00:00:00+25:00}",
        "wait.until '2027-01-01T00:00:00+25:00' is not a time: its offset must be between -23:59 and +23:59",
    ),
    ('wait: {for: ‸"{{params.nothing}}"}', "template '{{params.nothing}}' references missing parameter"),
    ('wait: {for: ‸"{{params.words}}"}', 'wait.for must be a text, not ["one", "two"]'),
    ("wait: {‸fro: 2d, for: 2d}", "unknown key 'fro' in wait"),
    ("gate: ‸{}", "missing required field 'ask'"),
    ("gate: {ask: ‸5}", "gate.ask must be a text, not 5"),
    ("gate: {ask: ‸'  '}", "gate.ask must not be empty"),
    ("gate: {ask: q, options: ‸yes}", "gate.options must be a sequence"),
    ("gate: {ask: q, options: [a, ‸5]}", "gate.options entry 1 must be a string"),
    ("gate: {ask: q, options: ‸[]}", "gate.options must have 1 to 16 options beside 'revise'"),
    ("gate: {ask: q, options: [a, ‸a]}", "gate.options lists 'a' twice"),
    ("gate: {ask: q, options: [a, ‸' b']}", "an option of a gate is 1 to 64 characters on one line, without spaces around it"),
    ("gate: {ask: q, options: [a, ‸revise]}", "the option 'revise' needs revise_to"),
    ("gate: {ask: q, options: ‸[revise], revise_to: a}", "gate.options must have 1 to 16 options beside 'revise'"),
    ("gate: {ask: q, timeout: ‸soon}", "gate.timeout 'soon' is not a duration"),
    ("gate: {ask: q, ‸on_timeout: reject}", "gate.on_timeout needs a timeout"),
    ("gate: {ask: q, timeout: 1h, on_timeout: ‸aprove}", "gate.on_timeout 'aprove' is not one of the gate's options"),
    ("gate: {ask: q, timeout: 1h, revise_to: a, on_timeout: ‸revise}", "gate.on_timeout cannot be 'revise': nobody said what to change"),
    ("gate: {ask: q, options: [a], ‸timeout: 1h}", "gate.on_timeout must say which option is taken when nobody answers"),
    ("gate: {ask: q, revise_to: ‸nobody}", "gate.revise_to names unknown node 'nobody'"),
    ("gate: {ask: q, revise_to: ‸end}", "'end' does not lead to node 'z', so it cannot be revised from there"),
    ("gate: {ask: q, revise_to: ‸[a]}", "field 'revise_to' must be a string"),
    ("gate: {ask: q, ‸max_revisions: 2}", "gate.max_revisions needs revise_to"),
    ("gate: {ask: q, revise_to: a, max_revisions: ‸0}", "gate.max_revisions must be at least 1"),
    ("gate: {ask: q, revise_to: a, max_revisions: ‸101}", "gate.max_revisions must be at most 100"),
    ("for_each: ‸{}", "missing required field 'in'"),
    ("for_each: {in: ‸no/port}", "'no/port' is not a port"),
    ("for_each: {in: ‸items}", "no edge leads to port 'items', so there are no items"),
    ("for_each: {in: ‸params.word}", "there is no parameter 'word'"),
    ("for_each: {in: ‸params.text}", "parameter 'text' is not a list"),
    ("for_each: {in: ‸params.many, max: 2}", "parameter 'many' has 3 items, at most 2 are allowed"),
    ("for_each: {in: x, as: ‸'a b'}", "'a b' is not a port"),
    ("for_each: {in: x, as: ‸y}", "an edge leads to port 'y', which is for the items"),
    ("for_each: {in: x, width: ‸0}", "for_each.width must be at least 1"),
    ("for_each: {in: x, max: ‸100001}", "for_each.max must be at most 100000"),
    ("for_each: {in: x, on_failure: ‸skip}", "for_each.on_failure must be fail or continue"),
    ("output: ‸{}", "missing required field 'schema'"),
    (
        'output: {schema: {type: string, pattern: ‸"(a"}}',
        "output.schema cannot be used: pattern '(a': missing ): (a",
    ),
    ("output: {schema: {type: ‸strin}}", "output.schema cannot be used: 'strin' is not valid under any of the given schemas"),
    (
        "output: {schema: {items: {$ref: ‸'https://example.org/a'}}}",
        "output.schema: 'https://example.org/a' leads out of the document; nothing is fetched",
    ),
    (
        "output: {schema: {anyOf: [{const: {$ref: x}}, {$ref: ‸other.json}], $defs: {a: {$ref: '#/$defs/a'}}}}",
        "output.schema: 'other.json' leads out of the document; nothing is fetched",
    ),
    ("output: {port: ‸'a b', schema: {}}", "'a b' is not a port"),
    ("output: {schema: {}, retry: ‸continu}", "output.retry must be continue, fresh or escalate"),
    ("output: {schema: {}, attempts: ‸0}", "output.attempts must be at least 1"),
    ("output: {schema: {}, on_exhausted: ‸stop}", "output.on_exhausted must be fail or warn"),
    ("output: {schema: {}, retry: escalate, ‸on_exhausted: warn}", "output.on_exhausted has no meaning with retry: escalate"),
    ("merge: ‸some", "merge must be all, any, first_ok, {at_least: N} or {vote: …}"),
    ("merge: ‸vote", "merge must be all, any, first_ok, {at_least: N} or {vote: …}"),
    ("merge: ‸[any]", "merge must be all, any, first_ok, {at_least: N} or {vote: …}"),
    ("merge: ‸{}", "merge must have either 'at_least' or 'vote'"),
    ("merge: {at_least: ‸0}", "merge.at_least must be at least 1"),
    ("merge: ‸{at_least: 3}", "at_least 3 of 2 sources can never be"),
    ("merge: {vote: ‸x}", "merge.vote must be a mapping: {of: PORT}"),
    ("merge: {vote: ‸{}}", "missing required field 'of'"),
    ("merge: {vote: {of: ‸x//a}}", "merge.vote.of must be PORT or PORT/FIELD"),
    ("merge: {vote: {of: ‸votes}}", "no edge leads to port 'votes', so nobody votes"),
    ("merge: {vote: {of: x, rule: ‸most}}", "merge.vote.rule must be majority, supermajority, unanimous or plurality"),
    ("merge: {vote: {of: x, quorum: ‸0}}", "merge.vote.quorum must be at least 1"),
    ("merge: {vote: {of: x, on_tie: ‸last}}", "merge.vote.on_tie must be fail or first"),
    ("merge: {vote: {of: x, rule: unanimous, on_tie: ‸first}}", "merge.vote.on_tie 'first' would decide against the rule unanimous"),
]


@pytest.mark.parametrize(("clause", "message"), WRONG)
def test_what_is_wrong_and_where(marked, clause, message):
    places, found, messages = marked(document(clause))

    assert (found, messages) == (places, [message])


EDGES = [
    ("merge: {vote: {of: x}}", "- {from: a.more, to: ‸z.vote}", "port 'vote' of node 'z' is for the result of the vote"),
    ("output: {schema: {}}", "- {from: a.more, to: ‸z.feedback}", "port 'feedback' of node 'z' is for what was wrong with the last output"),
    ("gate: {ask: q, revise_to: z}", "- {from: a.more, to: ‸z.revise}", "port 'revise' of node 'z' is for the comment at the gate of 'z'"),
    ("gate: {ask: q}", '- {from: ‸z.gate == "aprove", to: end.in}', "'aprove' is not an option of the gate of 'z'"),
    ("gate: {ask: q}", "- {from: ‸z.gate == true, to: end.in}", "True is not an option of the gate of 'z'"),
]


@pytest.mark.parametrize(("clause", "edge", "message"), EDGES)
def test_edges_that_do_not_go_with_a_clause(marked, clause, edge, message):
    places, found, messages = marked(document(clause, edge))

    assert (found, messages) == (places, [message])


@pytest.mark.parametrize(
    ("clause", "edge"),
    [
        ("output: {schema: {}, retry: fresh}", "- {from: a.more, to: z.feedback}"),
        ("gate: {ask: q, revise_to: a}", "- {from: a.more, to: z.revise}"),
        ("gate: {ask: q}", '- {from: z.gate == "approve", to: end.in}'),
        ("gate: {ask: q}", "- {from: z.gate, to: end.in}"),
        ("tags: []", '- {from: z.gate == "mine", to: end.in}'),
    ],
)
def test_edges_that_do(clause, edge):
    assert parse_opening(document(clause, edge))


def test_a_node_without_in_edges_has_nothing_to_merge_and_no_items_from_a_port(marked):
    text = """\
version: 0
name: t
nodes:
  - {id: a, use: agent:a, merge: ‸any}
  - {id: b, use: agent:b, for_each: {in: ‸x}}
edges: []
"""
    places, found, messages = marked(text)

    assert found == places
    assert messages == ["node 'a' has no in-edges to merge", "no edge leads to port 'x', so there are no items"]


def test_clauses_of_a_node_that_cannot_be_read_do_not_make_more_problems(found):
    text = """\
version: 0
name: t
nodes:
  - {id: a, gate: {ask: q, revise_to: a}}
  - {id: b, use: agent:b}
edges: [{from: a.gate, to: b.x}]
"""

    assert [message for _, _, message in found(text)] == ["missing required field 'use'"]


@pytest.mark.parametrize(
    ("clause", "hint"),
    [
        ("waits: {for: 2d}", "did you mean 'wait'?"),
        ("foreach: {in: x}", "did you mean 'for_each'?"),
        ("gate: {ask: q, option: [a]}", "did you mean 'options'?"),
        ("gate: {ask: q, revise_to: aa}", "did you mean 'a'?"),
        ("merge: first", "did you mean 'first_ok'?"),
        ("merge: vote", "write {at_least: 2} or {vote: {of: PORT}}"),
        ("output: {schema: {}, retry: continu}", "did you mean 'continue'?"),
        ("for_each: {in: params.word}", "did you mean 'words'?"),
    ],
)
def test_hints_say_what_was_meant(clause, hint):
    from runloop.openings import examine

    assert examine(document(clause)).problems[0].hint == hint


def test_the_items_of_a_parameter_are_those_that_are_given():
    opening = parse_opening(document("for_each: {in: params.words}"), params={"words": ["three"]})

    assert opening.node("z").for_each == ForEach("words", "", ("three",))


def test_an_instance_is_found_under_its_node():
    opening = parse_opening(document("for_each: {in: x}"))

    assert opening.node("z[17]") is opening.node("z")
    with pytest.raises(KeyError):
        opening.node("y[0]")


def test_notes_say_what_is_special_in_the_order_in_which_it_acts():
    clause = """\
gate: {ask: q, revise_to: a}
output: {schema: {}, retry: fresh}
for_each: {in: x, width: 2}
wait: {for: 36h}
merge: {vote: {of: x/ok}}
"""
    assert parse_opening(document(clause)).node("z").notes == [
        "merge majority of x/ok",
        "wait for 1d 12h",
        "for each x, 2 at a time",
        "output out, else fresh",
        "gate approve | revise | reject -> a",
    ]
    texts = [str(parse_opening(document(f"merge: {merge}")).node("z").merge) for merge in ("any", "{at_least: 2}")]
    assert texts == ["any", "at least 2"]


def test_a_gate_can_revise_whatever_leads_to_its_node_from_however_far():
    text = document("tags: []").replace("use: agent:end", "use: agent:end\n    gate: {ask: q, revise_to: a}")

    assert parse_opening(text).node("end").gate.revise_to == "a"


@pytest.mark.parametrize(("length", "fine"), [(64, True), (65, False)])
def test_an_option_has_at_most_64_characters(found, length, fine):
    assert (found(document(f"gate: {{ask: q, options: [{'x' * length}]}}")) == []) == fine


@pytest.mark.parametrize(("length", "shown"), [(40, "x" * 40), (41, "x" * 39 + "…")])
def test_long_values_are_cut_in_messages(found, length, shown):
    assert found(document(f"wait: {{for: {'x' * length}}}"))[0][2] == f"wait.for '{shown}' is not a duration"


@pytest.mark.parametrize(("count", "fine"), [(16, True), (17, False)])
def test_a_gate_has_at_most_16_options_beside_revise(found, count, fine):
    options = ", ".join(f"o{index}" for index in range(count))

    assert (found(document(f"gate: {{ask: q, options: [{options}], revise_to: z}}")) == []) == fine
