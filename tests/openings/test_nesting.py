"""Nested openings: parameters are ports, ``out`` is the output, and none is a part of itself."""

from __future__ import annotations

import pytest

from runloop.errors import RunloopError
from runloop.openings import AgentPorts, check, examine, parse_opening

CHILD = "version: 0\nname: child\nparams: {text: '', n: 1, any: null}\nnodes: [{id: a, use: agent:x}]\nedges: []\n"
BASE = """\
version: 0
name: parent
nodes:
  - {id: a, use: agent:x}
  - {id: b, use: opening:child, with: {n: 2}}
edges:
  - {from: a.out, to: b.text}
  - {from: a.out, to: b.in}
success: {any_of: [exists(b.out)]}
"""
NEVER_ENDS = "that never ends: put a guard on an edge to one of them, or use another opening"


def resolve(_name, _variant):
    return AgentPorts(frozenset({"item", "x"}))


def uses(name, *others):
    nodes = ", ".join(f"{{id: n{i}, use: opening:{other}}}" for i, other in enumerate(others)) or "{id: a, use: agent:x}"
    return f"version: 0\nname: {name}\nnodes: [{nodes}]\nedges: []\n"


def library(**texts):
    """Openings by name; None for a broken one."""

    def nested(name):
        if name not in texts:
            return None
        if texts[name] is None:
            raise RunloopError("it is broken", hint="repair it")
        return parse_opening(texts[name])

    return nested


def problems(text, **texts):
    found = check(parse_opening(text), resolve, library(**{"child": CHILD, **texts}))
    return [(problem.where.line, problem.where.column, problem.message, problem.hint) for problem in found]


def test_an_opening_that_fits_its_use_has_no_problem():
    assert problems(BASE) == []


def test_without_a_resolver_nested_openings_are_left_alone():
    assert check(parse_opening(BASE.replace("b.text", "b.nothing")), resolve) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("to: b.text", "to: b.txt", (7, 23, "opening 'child' has no input port 'txt'", "did you mean 'text'?")),
        ("exists(b.out)", "exists(b.outputs)", (9, 20, "opening 'child' has no output port 'outputs'", "did you mean 'out'?")),
        ("with: {n: 2}", "with: {m: 2}", (5, 40, "opening 'child' has no parameter 'm'", "known: any, n, text")),
        ("with: {n: 2}", 'with: {n: "2"}', (5, 43, "parameter 'n' of opening 'child' is of type number, not string", "")),
        (
            "opening:child",
            "opening:chidl",
            (5, 18, "there is no opening 'chidl'", "give the name of a file in one of openings.search_dirs"),
        ),
        ("opening:child", "opening:broken", (5, 18, "opening 'broken' cannot be used: it is broken", "repair it")),
        (
            "with: {n: 2}",
            "gate: {ask: q, revise_to: b}",
            (5, 18, "opening 'child' gets the port 'revise' and does not declare it", "declare it there: params: {revise: null}"),
        ),
        (
            "with: {n: 2}",
            "output: {schema: {}}",
            (5, 18, "opening 'child' gets the port 'feedback' and does not declare it", "declare it there: params: {feedback: null}"),
        ),
        (
            "with: {n: 2}",
            "merge: {vote: {of: text}}",
            (5, 18, "opening 'child' gets the port 'vote' and does not declare it", "declare it there: params: {vote: null}"),
        ),
    ],
)
def test_what_does_not_fit_is_said_at_its_place(old, new, expected):
    assert old in BASE
    assert problems(BASE.replace(old, new), broken=None) == [expected]


def test_a_parameter_whose_default_is_null_takes_anything_and_the_run_s_ports_can_be_declared():
    text = BASE.replace("with: {n: 2}", "with: {any: [1]}, output: {schema: {}}")

    assert problems(text, child=CHILD.replace("any: null", "any: null, feedback: null")) == []


@pytest.mark.parametrize(
    ("library_texts", "chain"),
    [
        ({"child": uses("child", "parent")}, "parent -> child -> parent"),
        ({"child": uses("child", "child")}, "parent -> child -> child"),
        (
            {"child": uses("child", "fine", "c"), "fine": uses("fine"), "c": uses("c", "fine", "d"), "d": uses("d", "c")},
            "parent -> child -> c -> d -> c",
        ),
    ],
)
def test_an_opening_that_leads_to_itself_is_a_problem_where_it_is_used(library_texts, chain):
    text = BASE.replace(", with: {n: 2}", "")

    assert problems(text, **library_texts) == [(5, 18, f"opening 'child' leads to itself without a condition: {chain}", NEVER_ENDS)]


def test_an_opening_that_uses_itself_directly():
    assert problems(uses("self", "self"))[0][2:] == (
        "opening 'self' leads to itself without a condition: self -> self",
        NEVER_ENDS,
    )


AGAIN = "version: 0\nname: again\nnodes: [{id: a, use: agent:x}, {id: r, use: agent:x}, {id: b, use: opening:again%s}]\nedges: [%s]\n"
DRAFT = "{from: a.out, to: b.in}"


@pytest.mark.parametrize(
    ("keys", "edges", "ends"),
    [
        ("", DRAFT, False),
        ("", "{from: a.ok == true, to: b.in}", True),
        ("", f"{DRAFT}, {{from: r.ok == true, to: b.in}}", True),
        (", merge: any", f"{DRAFT}, {{from: r.ok == true, to: b.in}}", False),
        (", merge: {at_least: 2}", f"{DRAFT}, {{from: r.ok == true, to: b.in}}", True),
        (", merge: {at_least: 2}", f"{DRAFT}, {{from: r.out, to: b.in}}", False),
        (", merge: first_ok", DRAFT, True),
        ("", "{from: a.more, to: b.in}", True),
        (", for_each: {in: more}", "{from: a.out, to: b.more}", True),
        ("", "{from: a.ok == true, to: r.in}, {from: r.out, to: b.in}", True),
        (", gate: {ask: Good?}", DRAFT, False),
        (", on_failure: skip", DRAFT, False),
        (", wait: {for: 2d}", DRAFT, False),
    ],
)
def test_an_opening_may_lead_to_itself_under_a_condition(keys, edges, ends):
    found = problems(AGAIN % (keys, edges), again=AGAIN % (keys, edges))

    assert [message for _, _, message, _ in found if "leads to itself" in message] == (
        [] if ends else ["opening 'again' leads to itself without a condition: again -> again"]
    )


@pytest.mark.parametrize("clause", ["gate: {ask: On?}", "on_failure: skip", "on_failure: continue"])
def test_what_leads_to_a_nested_opening_may_end_without_it(clause):
    text = (AGAIN % ("", DRAFT)).replace("use: agent:x}", f"use: agent:x, {clause}}}", 1)

    assert problems(text, again=text) == []


def test_a_ring_below_a_condition_is_one_all_the_same():
    text = (AGAIN % ("", "{from: a.out == true, to: b.in}")).replace("opening:again", "opening:child")

    assert [message for _, _, message, _ in problems(text, child=uses("child", "ring"), ring=uses("ring", "child"))] == [
        "opening 'child' leads to itself without a condition: again -> child -> ring -> child"
    ]


def test_an_opening_may_have_the_name_of_one_that_it_uses():
    assert problems(uses("same", "same"), same=uses("same")) == []


def test_openings_used_twice_missing_or_broken_below_are_no_recursion():
    child = uses("child", "one", "two", "missing", "broken")
    text = BASE.replace("b.text", "b.in2").replace(", with: {n: 2}", "")

    found = problems(text, child=child, one=uses("one", "two"), two=uses("two"), broken=None)

    assert [message for _, _, message, _ in found] == ["opening 'child' has no input port 'in2'"]


def test_examine_looks_at_nested_openings_too():
    found = examine(BASE.replace("b.text", "b.txt"), resolve=resolve, nested=library(child=CHILD)).problems

    assert [problem.code for problem in found] == ["opening.port"]


# ── clauses against ports ────────────────────────────────────────────────────────────────────────────────────────────────

FAN = """\
version: 0
name: t
nodes:
  - {id: a, use: agent:x}
  - id: b
    use: agent:y
    CLAUSE
  - {id: c, use: agent:x}
edges:
  - {from: a.out, to: b.item}
  - {from: b.out, to: c.x}
  - {from: b.PORT, to: c.x}
"""


@pytest.mark.parametrize(
    ("clause", "port", "expected"),
    [
        ("for_each: {in: item, on_failure: continue}", "errors", []),
        ("for_each: {in: item}", "errors", ["agent 'y' has no output port 'errors'"]),
        ("for_each: {in: item, as: x}", "out.", []),
        ("for_each: {in: item, as: word}", "out.", ["agent 'y' has no input port 'word'"]),
        ("gate: {ask: q}", "gate", []),
        ("tags: []", "gate", ["agent 'y' has no output port 'gate'"]),
        ("output: {schema: {}}", "out.", []),
        ("output: {port: ok, schema: {}}", "out.", ["agent 'y' has no output port 'ok'"]),
    ],
)
def test_ports_that_clauses_add_or_need(clause, port, expected):
    edge = "  - {from: b.PORT, to: c.x}\n"
    text = FAN.replace(edge, "") if port == "out." else FAN.replace("PORT", port)

    assert [problem.message for problem in check(parse_opening(text.replace("CLAUSE", clause)), resolve)] == expected


@pytest.mark.parametrize(
    ("clause", "expected"),
    [("for_each: {}", "missing required field 'in'"), ("for_each: {in: no/port}", "'no/port' is not a port")],
)
def test_a_clause_that_names_no_port_is_one_problem(clause, expected):
    text = FAN.replace("  - {from: b.PORT, to: c.x}\n", "").replace("CLAUSE", clause)

    found = examine(text, resolve=resolve).problems
    assert [problem.message for problem in found] == [expected]


def test_the_port_of_items_that_arrives_under_another_name_is_not_the_agent_s():
    text = FAN.replace("  - {from: b.PORT, to: c.x}\n", "").replace("CLAUSE", "for_each: {in: all, as: x}").replace("b.item", "b.all")

    assert check(parse_opening(text), resolve) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {"tone": {}}, "required": ["tone"]}, []),
        ({"type": "object"}, ["agent 'y' has no input port 'tone'"]),
        (True, ["agent 'y' has no input port 'tone'"]),
    ],
)
def test_an_item_can_be_an_argument_of_the_agent(schema, expected):
    text = "version: 0\nname: t\nparams: {tones: []}\nnodes: [{id: a, use: agent:y, for_each: {in: params.tones, as: tone}}]\nedges: []\n"

    found = check(parse_opening(text), lambda _name, _variant: AgentPorts(with_schema=schema))

    assert [problem.message for problem in found] == expected


@pytest.mark.parametrize(("clause", "column"), [("output: {schema: {}}", 31), ("output: {port: ok, schema: {}}", 46)])
def test_a_contract_about_a_port_that_is_not_there_is_wrong_where_it_stands(clause, column):
    text = f"version: 0\nname: t\nnodes: [{{id: a, use: agent:y, {clause}}}]\nedges: []\n"

    [problem] = check(parse_opening(text), lambda _name, _variant: AgentPorts(ports_out=frozenset({"text"})))

    assert (problem.where.line, problem.where.column) == (3, column)


@pytest.mark.parametrize(
    ("hint", "told"),
    [("did you mean 'letters'?", "did you mean 'letters'?"), ("", "give the name of a file in one of openings.search_dirs")],
)
def test_what_is_near_to_an_opening_that_is_not_there_is_told_at_each_use(hint, told):
    def nested(name):
        raise RunloopError("there is no such opening", code="opening.not_found", hint=hint)

    found = check(parse_opening(uses("parent", "letter", "other")), resolve, nested)

    assert [(each.code, each.message, each.hint) for each in found] == [
        ("opening.unknown_opening", f"there is no opening '{name}'", told) for name in ("letter", "other")
    ]
