"""Labels of content from outside, along the edges of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings import parse_opening
from runloop.runs.taint import Taint
from runloop.sandbox.spec import GuestError

SOURCE = """
version: 0
name: lines
nodes:
  - {id: one, use: agent:a}
  - {id: one_more, use: agent:a}
  - {id: many, use: agent:a}
  - {id: last, use: agent:a}
edges:
  - {from: one.out, to: many.in}
  - {from: many.out, to: last.in}
  - {from: one_more.out, to: last.also}
"""
OPENING = parse_opening(SOURCE)
WEB, MAIL = frozenset({"web"}), frozenset({"mail"})


def test_a_node_inherits_from_the_run_and_from_what_is_connected_to_it_and_from_nothing_else():
    taint = Taint(OPENING, MAIL)
    taint.put("one", WEB)
    assert taint.inherited("many") == WEB | MAIL
    assert taint.inherited("last") == MAIL  # many has put nothing out yet
    assert taint.inherited("one") == MAIL


def test_what_a_node_with_items_put_out_has_the_labels_of_all_items_and_one_with_a_longer_name_has_none_of_them():
    taint = Taint(OPENING, frozenset())
    taint.put("one[0]", WEB)
    taint.put("one[1]", MAIL)
    assert taint.of("one") == WEB | MAIL
    assert taint.of("one[1]") == MAIL
    assert taint.of("one_more") == frozenset()
    assert taint.inherited("many") == WEB | MAIL


def test_an_attempt_that_succeeded_replaces_the_labels_of_the_one_before():
    taint = Taint(OPENING, frozenset())
    taint.put("one", WEB)
    taint.put("one", MAIL)
    assert (taint.of("one"), taint.everywhere()) == (MAIL, MAIL)


NAMES = st.sampled_from(["one", "one[0]", "one[1]", "one_more", "many", "many[0]", "many[10]", "last"])


@given(st.frozensets(st.sampled_from("ab")), st.lists(st.tuples(NAMES, st.frozensets(st.sampled_from("cdef")))))
def test_it_says_what_looking_through_everything_says(base, put):
    taint, known = Taint(OPENING, base), {}
    for name, labels in put:
        taint.put(name, labels)
        known[name] = labels
    for name in ("one", "one[0]", "one[1]", "one_more", "many", "last", "other"):
        assert taint.of(name) == frozenset().union(*(known[each] for each in known if each == name or each.startswith(f"{name}[")))
    for node in OPENING.nodes:
        before = [edge.source.node for edge in OPENING.edges if edge.target.node == node.id]
        assert taint.inherited(node.id) == base.union(*map(taint.of, before))
    assert taint.everywhere() == base.union(*known.values())


TRIES = """version: 0
name: tries
nodes: [{{id: one, use: "{used}", output: {{schema: {schema}}}}}]
edges: []
"""
INNER = """version: 0
name: inner
params: {feedback: null}
nodes: [{id: n, use: "agent:tells", with: {feedback: "{{params.feedback}}"}}]
edges: []
artifacts: {save: [n.out]}
"""
TELLS = """@agent
def run(feedback=None):
    if feedback is None:
        return {'out': f"{len(kb.search('pier'))} found"}
    mail.send([{'email': 'a@example.org'}], subject='s', text=str(feedback['output']))
    return {'out': 1}
"""
OF_AN_OPENING = "{properties: {outputs: {properties: {n.out: {items: {type: integer}}}}}}"


@pytest.mark.parametrize(("used", "schema"), [("agent:tells", "{type: integer}"), ("opening:inner", OF_AN_OPENING)])
@pytest.mark.parametrize("again", [False, True])
async def test_what_another_attempt_is_told_of_the_last_output_is_from_outside_as_that_was(bench, desk, used, schema, again):
    asked = desk(True)
    async with bench(asked) as b:
        b.agent("tells", TELLS, ports_in=("feedback",), caps="mail = true\nkb_read = true")
        b.openings["inner"] = INNER
        run = await b.submit(TRIES.format(used=used, schema=schema))
        if again:  # its process ends while somebody is asked
            await b.left_while_asked(run, asked)
            run = await b.manager.recover(run.run_id)
        result = await b.manager.drive(run)
        assert (result.status, [request.taint for request in asked.shown]) == ("succeeded", [{"web"}])


FAILS = "@agent\ndef run(item=None):\n    raise ValueError(f\"{len(kb.search('pier'))} found\")\n"
MAILS = """@agent
def run({port}):
{before}    mail.send([{{'email': 'a@example.org'}}], subject='s', text=str({port}))
    return {{'out': 1}}
"""
OF_ITEMS = """version: 0
name: items
params: {items: [1, 2]}
nodes:
  - {id: each, use: "agent:fails", for_each: {in: params.items, as: item, on_failure: continue}}
  - {id: last, use: "agent:mails"}
edges: [{from: each.errors, to: last.why}]
"""
SPAWNS = 'version: 0\nname: spawns\nnodes: [{id: last, use: "agent:mails"}]\nedges: []\n'
OF_CHILD = 'version: 0\nname: child\nnodes: [{id: n, use: "agent:fails"}]\nedges: []\n'


@pytest.mark.parametrize(
    ("text", "port", "before"), [(OF_ITEMS, "why", ""), (SPAWNS, "why=None", "    why = spawn.opening('child').reason\n")]
)
async def test_why_something_failed_that_had_read_from_outside_is_from_outside(bench, desk, text, port, before):
    asked = desk(True)
    async with bench(asked) as b:
        b.agent("fails", FAILS, ports_in=("item",), caps="kb_read = true")
        name = port.partition("=")[0]
        code = MAILS.format(port=name, before=before).replace(f"run({name})", f"run({port})")
        b.agent("mails", code, ports_in=(name,), caps='mail = true\nspawn = ["opening:child"]')
        b.openings["child"] = OF_CHILD
        result = await b.run(text)
        assert (result.status, [request.taint for request in asked.shown]) == ("succeeded", [{"web"}])
        assert "0 found" in b.outbox.sent[0][1]


def mails(b):
    """An agent that mails why the opening child failed."""
    code = MAILS.format(port="why", before="    why = spawn.opening('child').reason\n").replace("run(why)", "run(why=None)")
    b.agent("mails", code, ports_in=("why",), caps='mail = true\nspawn = ["opening:child"]')


class Dying:
    """The pool; the agent that fails loses its worker after its first answer, and each time before anybody hears that it had it again."""

    def __init__(self, b):
        self.pool = b.pool

    async def prepare(self, spec=None):
        await self.pool.prepare(spec)

    async def run(self, spec, hostcall, tape, in_line):
        if "raise ValueError" not in spec.sources["agent.py"]:
            return await self.pool.run(spec, hostcall, tape, in_line)
        if not tape:
            await hostcall("kb.search", '{"query": "pier"}')
        raise GuestError("the worker is gone", code="worker.crashed", retryable=True)


async def test_what_lost_its_worker_for_good_had_read_what_its_record_says(bench, desk):
    asked = desk(True)
    async with bench(asked) as b:
        object.__setattr__(b.services, "guests", Dying(b))
        b.agent("fails", FAILS, ports_in=("item",), caps="kb_read = true")
        mails(b)
        b.openings["child"] = OF_CHILD
        result = await b.run(SPAWNS)
        assert (result.status, [request.taint for request in asked.shown]) == ("succeeded", [{"web"}])
        assert "the worker is gone" in b.outbox.sent[0][1]


async def test_what_ran_out_of_time_had_read_what_it_had_read(bench, desk):
    asked = desk(True)
    async with bench(asked) as b:
        b.agent("fails", "@agent\ndef run():\n    kb.search('pier')\n    while True:\n        pass\n", caps="kb_read = true")
        mails(b)
        b.openings["child"] = OF_CHILD.replace('fails"', 'fails", timeout_ms: 1000')
        result = await b.run(SPAWNS)
        assert (result.status, [request.taint for request in asked.shown]) == ("succeeded", [{"web"}])
        assert "1000 ms" in b.outbox.sent[0][1]


MAKES = """@agent
def run():
    first = emit.artifact("first.txt", "one")
    hits = kb.search("pier")
    emit.artifact("second.txt", "two")
    return {"out": "three"}
"""
MADE = 'version: 0\nname: makes\nnodes: [{id: n, use: "agent:makes"}]\nedges: []\nartifacts: {save: [n.out]}\n'


async def test_an_artifact_says_where_its_maker_had_read_when_it_was_made(bench):
    async with bench() as b:
        b.agent("makes", MAKES, caps="kb_read = true")
        assert (await b.run(MADE)).status == "succeeded"
        assert [made.get("taint") for made in b.metas("artifact.created")] == [None, ["web"], ["web"]]


SENDS = "@agent\ndef run(text):\n    return {'out': mail.send([{'email': 'a@example.org'}], subject='s', text=text).status}\n"
TOLD = """version: 0
name: told
params: {text: none}
nodes: [{id: n, use: "agent:sends", with: {text: "{{params.text}}"}}]
edges: []
"""


@pytest.mark.parametrize("call", ["spawn.agent('sends', {'text': 'three'})", "spawn.opening('told', {'text': 'three'})"])
async def test_what_a_child_is_told_by_who_had_read_from_outside_is_from_outside(bench, desk, call):
    asked = desk(True)
    async with bench(asked) as b:
        code = f"@agent\ndef run(why=None):\n    kb.search('pier')\n    return {{'out': {call}.status}}\n"
        b.agent("mails", code, ports_in=("why",), caps='kb_read = true\nmail = true\nspawn = ["agent:sends", "opening:told"]')
        b.agent("sends", SENDS, ports_in=("text",), caps="mail = true")
        b.openings["told"] = TOLD
        result = await b.run(SPAWNS)
        assert (result.status, [request.taint for request in asked.shown]) == ("succeeded", [{"web"}])
