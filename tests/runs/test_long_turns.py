"""Agents that work for long and ask much: at a call they give their turn to other runs, and get it back."""

import asyncio

import pytest

from runloop.runs import attempting
from runloop.runs.pausing import pause, resume

LOGS = "@agent\ndef run():\n    while True:\n        emit.log('on')\n"
QUICK = "@agent\ndef run():\n    return {'out': 1}\n"
ONE = 'version: 0\nname: {0}\npolicy: {{timeout_ms: 20000}}\nnodes: [{{id: only, use: "agent:{0}"}}]\nedges: []\n'


@pytest.fixture
def at_once(monkeypatch):
    """A turn is long from its begin on."""
    monkeypatch.setattr(attempting, "_TURN_MS", 0)


async def begun(b, name, code):
    """A run that has the only turn, and works."""
    b.agent(name, code, caps="kb_read = true")
    b.agent("quick", QUICK)
    b.services.turns.allow(1, 1)
    driven = asyncio.create_task(b.manager.drive(run := await b.submit(ONE.format(name))))
    while not any(record["kind"] == "node.log" for record in b.records):
        await asyncio.sleep(0)
    return run, driven


@pytest.mark.parametrize("code", [LOGS, "@agent\ndef run():\n    while True:\n        emit.log('on')\n        kb.search('x')\n"])
async def test_who_asks_without_end_keeps_no_other_run_waiting(bench, at_once, code):
    async with bench() as b:
        run, driven = await begun(b, "chatty", code)
        for _ in range(3):
            assert (await b.run(ONE.format("quick"))).status == "succeeded"
            assert not driven.done()
        run.cancel("enough")
        assert (await driven).status == "cancelled"
        assert b.services.turns.at_work == 0


async def test_who_gave_the_turn_away_can_be_paused_goes_on_and_loses_none_of_its_time(bench, at_once):
    async with bench() as b:
        run, driven = await begun(b, "chatty", LOGS)
        other = asyncio.create_task(b.services.turns.take("other"))
        await other
        while not run.under_way.in_line:
            await asyncio.sleep(0)
        (crossings,) = run.under_way.crossings.values()
        await pause(run, "lunch")
        async with asyncio.timeout(30):
            while not run.quiet:
                await asyncio.sleep(0)
        said = len(b.records)
        await resume(run, "back")
        before_ms = crossings.waited_ms
        b.services.turns.give_back("other")
        while len(b.records) < said + 100:
            await asyncio.sleep(0)
        assert crossings.waited_ms > before_ms
        assert not run.under_way.in_line
        run.cancel("enough")
        assert (await driven).status == "cancelled"


async def test_within_one_run_nobody_gives_the_turn_to_another(bench, at_once):
    async with bench() as b:
        b.agent("some", "@agent\ndef run():\n    for _ in range(300):\n        emit.log('on')\n    return {'out': 1}\n")
        b.services.turns.allow(1, None)
        source = 'version: 0\nname: two\nnodes: [{id: a, use: "agent:some"}, {id: b, use: "agent:some"}]\nedges: []\n'
        assert (await b.run(source)).status == "succeeded"
        nodes = [record["meta"]["node"] for record in b.records if record["kind"] == "node.log"]
        assert nodes == ["a"] * 300 + ["b"] * 300
