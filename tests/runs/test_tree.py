"""What nested openings run is what was there when the run was submitted, at every depth."""

import shutil

import pytest

from runloop.errors import RunloopError
from runloop.openings import OpeningError

TOP = """version: 0
name: top
nodes:
  - {id: first, use: "agent:before"}
  - {id: below, use: "opening:middle"}
edges: [{from: first.out, to: below.in}]
artifacts: {save: [below.out]}
"""
MIDDLE = 'version: 0\nname: middle\nnodes: [{id: deep, use: "opening:bottom"}]\nedges: []\nartifacts: {save: [deep.out]}\n'
BOTTOM = 'version: 0\nname: bottom\nnodes: [{id: only, use: "agent:leaf"}]\nedges: []\nartifacts: {save: [only.out]}\n'
OTHER = BOTTOM.replace("only", "another")
BEFORE = "@agent\ndef run():\n    return {'out': 1}\n"


def leaf(word):
    return f"@agent\ndef run():\n    return {{'out': '{word}'}}\n"


def install(b):
    b.agent("before", BEFORE)
    b.agent("leaf", leaf("as it was"))
    b.openings |= {"middle": MIDDLE, "bottom": BOTTOM}


def change(b):
    """Another agent, another opening, and one that is gone."""
    shutil.rmtree(b.agents_dir / "leaf")
    b.agent("leaf", leaf("changed"))
    b.openings["bottom"] = OTHER
    del b.openings["middle"]


async def refused(b, opening):
    """The code and the words with which a submission is refused, before anything is recorded."""
    with pytest.raises(OpeningError) as caught:
        await b.submit(opening)
    assert b.ledger.read() == []
    return caught.value.code, caught.value.message


def came_to(result):
    below = result.saved["below.out"][0]["outputs"]["deep.out"][0]
    return below["outputs"]


async def test_what_is_installed_while_a_run_waits_its_turn_does_not_reach_its_nested_openings(bench):
    async with bench() as b:
        install(b)
        run = await b.submit(TOP)
        change(b)

        assert came_to(await b.manager.drive(run)) == {"only.out": ["as it was"]}


async def test_a_run_that_is_taken_up_runs_the_nested_openings_that_it_was_submitted_with(bench):
    async with bench() as b:
        install(b)
        run = await b.submit(TOP)
        change(b)

        assert came_to(await b.manager.drive(await b.manager.recover(run.run_id))) == {"only.out": ["as it was"]}


async def test_every_nested_opening_and_its_agents_are_in_the_record(bench):
    async with bench() as b:
        install(b)
        await b.run(TOP)

        submitted, started = b.records[0]["meta"], b.records[1]["meta"]
        assert {name: said["source"] for name, said in submitted["nested"].items()} == {"middle": MIDDLE, "bottom": BOTTOM}
        assert sorted(ref.partition("@")[0] for ref in submitted["versions"]["bundles"]) == ["before", "leaf"]
        assert started.get("nested") is None


@pytest.mark.parametrize("gone", ["middle", "bottom"])
async def test_an_opening_below_that_is_not_here_is_said_when_the_run_is_submitted(bench, gone):
    async with bench() as b:
        install(b)
        source = b.services.resolve_opening

        def resolve(name):
            if name == gone:
                raise RunloopError(f"no opening {name}", code="opening.not_found")
            return source(name)

        object.__setattr__(b.services, "resolve_opening", resolve)
        with pytest.raises(RunloopError, match=f"no opening {gone}") as caught:
            await b.submit(TOP)
        assert caught.value.where.node == {"middle": "below", "bottom": "deep"}[gone]
        assert b.ledger.run_ids() == []


async def test_a_nested_opening_that_cannot_be_read_fails_its_node(bench):
    async with bench() as b:
        install(b)
        b.openings["middle"] = "version: 0\nname: middle\nnodes: 3\n"

        result = await b.run(TOP)

        assert (result.status, result.reason.partition(":")[0]) == ("failed", "node 'below' failed")


@pytest.mark.parametrize(
    ("given", "says"),
    [("nope: 1", "opening 'below' has no parameter 'nope'"), ("n: two", "parameter 'n' of opening 'below' is of type number, not string")],
)
async def test_what_a_nested_opening_does_not_take_is_refused_before_anything_is_recorded(bench, given, says):
    async with bench() as b:
        b.agent("leaf", leaf("x"))
        b.openings["below"] = BOTTOM.replace("name: bottom", "name: below\nparams: {n: 1, any: null}")
        top = "version: 0\nname: t\nnodes: [{id: a, use: 'opening:below', with: {any: 1, n: 2}}]\nedges: []\n"

        assert await refused(b, top.replace("any: 1, n: 2", given)) == ("opening.argument", says)
        assert (await b.run(top)).status == "succeeded"


@pytest.mark.parametrize(
    ("edge", "says"),
    [
        ("{from: a.out, to: b.nope}", "opening 'below' has no input port 'nope'"),
        ("{from: b.some, to: c.x}", "opening 'below' has no output port 'some'"),
    ],
)
async def test_an_edge_to_a_port_that_a_nested_opening_does_not_have_is_refused_before_anything_is_recorded(bench, edge, says):
    async with bench() as b:
        b.agent("leaf", leaf("x"))
        b.openings["below"] = BOTTOM.replace("name: bottom", "name: below\nparams: {any: null}")
        nodes = "[{id: a, use: 'agent:leaf'}, {id: b, use: 'opening:below'}, {id: c, use: 'opening:below'}]"
        top = f"version: 0\nname: t\nnodes: {nodes}\nedges: [{{from: a.out, to: b.any}}, {{from: b.out, to: c.in}}, {edge}]\n"

        assert await refused(b, top) == ("opening.port", says)
        assert (await b.run(top.replace(f", {edge}", ""))).status == "succeeded"


@pytest.mark.parametrize(
    ("clause", "port"),
    [
        ("gate: {ask: Well?, revise_to: b}", "revise"),
        ("output: {schema: {type: object}}", "feedback"),
        ("merge: {vote: {of: n}}", "vote"),
    ],
)
async def test_a_port_that_the_run_fills_and_a_nested_opening_does_not_declare_is_refused_before_anything_is_recorded(bench, clause, port):
    async with bench() as b:
        b.agent("leaf", leaf("x"))
        b.openings["below"] = BOTTOM.replace("name: bottom", "name: below\nparams: {n: null}")
        nodes = f"[{{id: a, use: 'agent:leaf'}}, {{id: b, use: 'opening:below', {clause}}}]"
        top = f"version: 0\nname: t\nnodes: {nodes}\nedges: [{{from: a.out, to: b.n}}]\n"

        says = f"opening 'below' gets the port '{port}' and does not declare it"
        assert await refused(b, top) == ("opening.argument", says)


RING = 'version: 0\nname: {}\nnodes:\n  - {{id: down, use: "opening:{}"}}\nedges: []\n'


async def test_openings_that_lead_to_each_other_are_refused_before_anything_is_recorded(bench):
    async with bench() as b:
        b.openings |= {"ping": RING.format("ping", "pong"), "pong": RING.format("pong", "ping")}

        with pytest.raises(OpeningError) as caught:
            await b.submit(b.openings["ping"])

        error = caught.value
        assert (error.code, error.message, error.where.line, error.where.node) == (
            "opening.recursion",
            "opening 'pong' leads to itself without a condition: ping -> pong -> ping",
            4,
            "down",
        )
        assert b.ledger.read() == []
