"""A run and its child runs are paused and go on together, whatever became of their process in between."""

import asyncio

import pytest

from runloop.effects.types import CallError, CallErrorKind
from runloop.kb import AsyncLedger
from runloop.openings import parse_opening
from runloop.runs.pausing import pause, resume
from runloop.runs.results import RunHalted
from runloop.runs.services import RunRules
from runloop.runs.submission import Submission

ASKS = "@agent\ndef run():\n    return {'out': model.complete('p').text}\n"
INNER = 'version: 0\nname: inner\nnodes: [{id: deep, use: "agent:one"}]\nedges: []\n'
OUTER = 'version: 0\nname: outer\nnodes: [{id: only, use: "opening:inner"}]\nedges: []\n'


async def asking(b):
    """A run while the child that it waits for asks a model, and its process, which drives it."""
    b.agent("one", ASKS, caps="model = true")
    b.openings["inner"] = INNER
    held = b.model.hold = asyncio.Event()
    run = await b.submit(OUTER)
    driving = asyncio.create_task(b.manager.drive(run))
    await held.wait()
    return run, driving


async def paused(b):
    """The same, paused."""
    run, driving = await asking(b)
    await pause(run, "lunch")
    return run, driving


async def died(b, driving):
    """The process is gone."""
    for run in b.manager.active:
        run.recorder.halted = True
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    b.model.hold = None


async def test_a_child_is_paused_and_resumed_in_the_same_moment_as_its_parent(bench):
    async with bench() as b:
        run, driving = await paused(b)
        await resume(run, "back")
        child = next(iter(run.children))
        events = [event for event in b.ledger.read() if event.kind in ("run.paused", "run.resumed")]
        assert [(event.kind, event.payload["run_id"]) for event in events] == [
            ("run.paused", run.run_id), ("run.paused", child), ("run.resumed", run.run_id), ("run.resumed", child),
        ]  # fmt: skip
        await died(b, driving)


async def test_a_child_that_was_left_paused_goes_on_with_a_parent_that_was_resumed_before_it_was_back(bench):
    async with bench() as b:
        run, driving = await paused(b)
        await died(b, driving)

        again = await b.manager.recover(run.run_id)
        await resume(again, "back")

        assert (await asyncio.wait_for(b.manager.drive(again), 60)).status == "succeeded"


async def test_a_child_that_was_left_before_it_could_be_paused_waits_with_its_parent(bench):
    async with bench() as b:
        run, driving = await asking(b)
        await died(b, driving)

        again = await b.manager.recover(run.run_id)
        await pause(again, "lunch")
        driving = asyncio.create_task(b.manager.drive(again))
        seen = asyncio.Event()
        b.manager.watchers.append(lambda record: seen.set() if record["kind"] == "run.paused" else None)
        await seen.wait()
        assert [each.paused for each in again.family()] == [True, True]
        assert len(b.model.prompts) == 1
        await resume(again, "back")
        assert (await driving).status == "succeeded"


@pytest.mark.parametrize("then", ["resumed", "cancelled"])
async def test_what_a_paused_run_was_asking_is_refused_at_the_earliest_when_it_goes_on(then, bench, monkeypatch):
    """As of one that was restored on a machine where no model is configured yet."""
    async with bench(rules=RunRules(park_after_ms=0)) as b:
        run, driving = await paused(b)
        await died(b, driving)

        with monkeypatch.context() as patch:
            patch.setattr(b.model, "prepare", _unconfigured)
            again = await b.manager.recover(run.run_id, parks=lambda _: None)
            with pytest.raises(RunHalted):
                await asyncio.wait_for(b.manager.drive(again), 60)
            assert (again.parked.why, again.paused) == ("a resumption", True)

        last = await b.manager.recover(run.run_id)
        if then == "resumed":
            await resume(last, "back")
        else:
            last.cancel("not wanted")
        assert (await asyncio.wait_for(b.manager.drive(last), 60)).status == {"resumed": "succeeded"}.get(then, then)


def _unconfigured(_args, _ctx):
    raise CallError(CallErrorKind.UNAVAILABLE, "no model is configured", code="model.unconfigured")


async def test_a_run_that_is_paused_and_resumed_while_its_record_is_judged_goes_on(bench, monkeypatch):
    """As of a large output whose contract takes long to check."""
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        b.agent("other", "@agent\ndef run(after):\n    return {'out': after}\n", ports_in=("after",))
        held = b.model.hold = asyncio.Event()
        two = INNER.replace("}]", '}, {id: next, use: "agent:one"}]').replace("edges: []", "edges: [{from: deep.out, to: next.after}]")
        run = await b.submit(two.replace('"agent:one"}]', '"agent:other"}]'))
        driving = asyncio.create_task(b.manager.drive(run))
        await held.wait()
        await died(b, driving)
        again = await b.manager.recover(run.run_id)

        async def judge_all(_opening, _recorded):
            await pause(again, "lunch")
            await resume(again, "back")

        monkeypatch.setattr("runloop.runs.run.judge_all", judge_all)
        assert (await asyncio.wait_for(b.manager.drive(again), 60)).status == "succeeded"


async def test_a_run_that_is_paused_while_it_waits_leaves_memory_once_the_pause_is_on_record(bench):
    async with bench(rules=RunRules(park_after_ms=300)) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        opening = parse_opening('version: 0\nname: o\nnodes: [{id: only, use: "agent:one", wait: {for: 1h}}]\nedges: []\n')
        run = await b.manager.submit(Submission(opening, parks=lambda _: None))
        driving = asyncio.create_task(b.manager.drive(run))
        await asyncio.sleep(0)
        await pause(run, "lunch")
        with pytest.raises(RunHalted):
            await asyncio.wait_for(driving, 20)
        assert (run.parked.why, run.recorder.lost) == ("a resumption", None)


async def test_a_time_that_comes_before_a_run_would_leave_memory_is_kept(bench):
    async with bench(rules=RunRules(park_after_ms=3_600_000)) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        opening = parse_opening('version: 0\nname: o\nnodes: [{id: only, use: "agent:one", wait: {for: 200ms}}]\nedges: []\n')
        run = await b.manager.submit(Submission(opening, parks=lambda _: None))
        assert (await asyncio.wait_for(b.manager.drive(run), 30)).status == "succeeded"


async def test_a_run_whose_child_waits_does_not_wait_while_an_agent_of_its_own_is_at_work(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        b.openings["inner"] = INNER.replace("}]", ", wait: {for: 1h}}]")
        held = b.model.hold = asyncio.Event()
        run = await b.submit(OUTER.replace("]", ', {id: own, use: "agent:one"}]', 1))
        driving = asyncio.create_task(b.manager.drive(run))
        await held.wait()
        while not [child for child in run.children.values() if child.quiet]:
            await asyncio.sleep(0.001)
        assert not run.quiet
        run.cancel("enough")
        assert (await driving).status == "cancelled"


@pytest.mark.parametrize(("after_ms", "parks"), [(None, lambda _: None), (0, None)])
async def test_a_run_that_is_never_put_aside_waits_in_memory_and_says_nothing_else(bench, after_ms, parks):
    async with bench(rules=RunRules(park_after_ms=after_ms)) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        opening = parse_opening('version: 0\nname: o\nnodes: [{id: only, use: "agent:one", wait: {for: 200ms}}]\nedges: []\n')
        run = await b.manager.submit(Submission(opening, parks=parks), (b.records.append,))
        assert (await asyncio.wait_for(b.manager.drive(run), 30)).status == "succeeded"
        assert not {"run.waiting", "run.recovered"} & set(b.kinds())


async def test_a_run_that_is_paused_or_goes_on_already_records_nothing_more(bench):
    async with bench() as b:
        run, driving = await paused(b)
        await pause(run, "tea")
        for _ in range(2):
            await resume(run, "back")
        assert [kind for kind in b.kinds() if kind in ("run.paused", "run.resumed")] == ["run.paused", "run.resumed"]
        await died(b, driving)


async def test_a_pause_that_comes_while_a_resumption_is_on_its_way_to_the_disk_comes_after_it(bench):
    async with bench() as b:
        run, driving = await paused(b)
        resuming = asyncio.create_task(resume(run, "back"))
        await asyncio.sleep(0)
        await pause(run, "not yet")
        await resuming
        recorded = [event.kind for event in b.ledger.read_run(run.run_id) if event.kind in ("run.paused", "run.resumed")]
        assert (recorded, [each.paused for each in run.family()]) == (["run.paused", "run.resumed", "run.paused"], [True, True])
        await died(b, driving)


@pytest.mark.parametrize("change", [pause, resume])
async def test_a_run_whose_end_is_on_its_way_records_no_pause_and_no_resumption_behind_it(bench, monkeypatch, change):
    append, changing = AsyncLedger.append, []

    def and_change(ledger, events, **how):
        stored = append(ledger, events, **how)
        if events[-1].kind == "run.finished":
            changing.append(asyncio.create_task(change(run, "late")))
        return stored

    monkeypatch.setattr(AsyncLedger, "append", and_change)
    async with bench() as b:
        b.agent("one", ASKS, caps="model = true")
        run = await b.submit(INNER)
        if change is resume:
            await pause(run, "lunch")
            run.cancel("enough")
        await b.manager.drive(run)
        await changing[0]
        assert [event.kind for event in b.ledger.read_run(run.run_id)][-1] == "run.finished"


async def paused_before_it_began(b):
    """A run that is driven and waits to begin until it is resumed."""
    b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
    run = await b.submit('version: 0\nname: one\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n')
    await pause(run, "lunch")
    driving = asyncio.create_task(b.manager.drive(run))
    async with asyncio.timeout(20):
        while run.going is None or not run.quiet:
            await asyncio.sleep(0)
    return run, driving


async def test_a_run_that_was_paused_before_it_began_begins_when_it_is_resumed_and_nothing_is_said_to_have_started(bench):
    async with bench() as b:
        run, driving = await paused_before_it_began(b)
        assert [event.kind for event in b.ledger.read_run(run.run_id)] == ["run.submitted", "run.paused"]
        await resume(run, "back")
        assert (await driving).status == "succeeded"
        kinds = [event.kind for event in b.ledger.read_run(run.run_id)]
        assert kinds[:5] == ["run.submitted", "run.paused", "run.resumed", "run.started", "node.ready"]


@pytest.mark.parametrize("end", ["cancelled", "left"])
async def test_a_run_that_waits_paused_before_it_began_is_cancelled_or_left_as_it_is(end, bench):
    async with bench() as b:
        run, driving = await paused_before_it_began(b)
        run.cancel("enough") if end == "cancelled" else run.halt()
        found = (await asyncio.gather(driving, return_exceptions=True))[0]
        kinds = [event.kind for event in b.ledger.read_run(run.run_id)]
        assert "run.started" not in kinds
        if end == "cancelled":
            assert (found.status, kinds[-1]) == ("cancelled", "run.finished")
        else:
            assert (type(found), kinds) == (RunHalted, ["run.submitted", "run.paused"])
