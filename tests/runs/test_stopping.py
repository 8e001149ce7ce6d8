"""What is stopped, and whoever stops it, end in one commit; what a person cancelled ends, whatever becomes of the process."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest

from runloop.effects.perform.ports import PersonAnswer
from runloop.kb import AsyncLedger
from runloop.openings.states import NodeSucceeded
from runloop.runs.forking import ForkRequest
from runloop.runs.history import load_run
from runloop.runs.pausing import pause, resume
from runloop.runs.results import RunHalted
from runloop.runs.run import Run

ASKS = "@agent\ndef run():\n    return {'out': model.complete('p').text}\n"
MODEL = "model = true"
SLOW = 'version: 0\nname: slow\nnodes: [{id: only, use: "agent:one", timeout_ms: 2000}]\nedges: []\n'
INNER = 'version: 0\nname: inner\nnodes: [{id: deep, use: "agent:one"}]\nedges: []\n'
OUTER = 'version: 0\nname: outer\nnodes: [{id: only, use: "opening:inner", timeout_ms: 2000}]\nedges: []\n'
SPAWNS = "@agent\ndef run():\n    return {'out': spawn.opening('inner').status}\n"
SPAWNING = 'version: 0\nname: s\nnodes: [{id: only, use: "agent:spawner"}]\nedges: []\n'
GATE = "{ask: good, timeout: 1h, on_timeout: approve}"
GATED = f'version: 0\nname: gated\nnodes: [{{id: only, use: "agent:one", gate: {GATE}}}]\nedges: []\n'
RACE = """
version: 0
name: race
nodes:
  - {id: before, use: "agent:two"}
  - {id: quick, use: "agent:two"}
  - {id: slow, use: "agent:one"}
  - {id: first, use: "agent:last", merge: first_ok}
edges:
  - {from: before.out, to: slow.go}
  - {from: slow.out, to: first.in}
  - {from: quick.out, to: first.in}
"""
GATED_RACE = """
version: 0
name: race
nodes:
  - {id: gated, use: "agent:one", gate: {ask: good}}
  - {id: quick, use: "agent:two"}
  - {id: first, use: "agent:last", merge: first_ok}
edges:
  - {from: gated.out, to: first.got}
  - {from: quick.out, to: first.got}
"""
PLAIN = 'version: 0\nname: plain\nnodes: [{id: only, use: "agent:one"}]\nedges: []\n'


class Commits:
    """The ledger, and which records went to it together: kinds with the opening that they are of."""

    def __init__(self, b):
        self.ledger, self.made = b.services.ledger, []
        object.__setattr__(b.services, "ledger", self)

    def append(self, events, *, check=True, urgent=True):
        events = list(events)
        self.made.append([(event.payload.get("opening_name"), event.kind) for event in events])
        return AsyncLedger(self.ledger.ledger).append(events)

    @property
    def last(self):
        return self.made[-1]


async def test_an_attempt_whose_time_is_up_ends_in_one_commit_with_the_call_that_it_was_in(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.model.hold = asyncio.Event()
        commits = Commits(b)

        result = await b.run(SLOW)

        assert (result.status, result.code) == ("failed", "timeout")
        assert commits.last == [("slow", "effect.failed"), ("slow", "node.finished"), ("slow", "run.finished")]
        assert [record["kind"] for record in b.records][-3:] == ["effect.failed", "node.finished", "run.finished"]


async def test_a_nested_run_that_is_stopped_ends_in_one_commit_with_the_node_that_it_was(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.openings["inner"] = INNER
        b.model.hold = asyncio.Event()
        commits, seen = Commits(b), []
        b.manager.watchers.append(seen.append)

        result = await b.run(OUTER)

        inner = [("inner", kind) for kind in ("effect.failed", "node.finished", "run.finished")]
        assert (result.status, result.code) == ("failed", "timeout")
        assert commits.last == [*inner, ("outer", "node.finished"), ("outer", "run.finished")]
        assert [(record["opening_name"], record["kind"]) for record in seen][-5:] == commits.last
        child = b.ledger.read(run_id=next(record["run_id"] for record in seen if record["parent_run_id"]))
        assert [event.payload["seq"] for event in child] == list(range(1, len(child) + 1))


async def test_a_spawned_run_that_is_stopped_ends_in_one_commit_with_the_call_that_asked_for_it(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.agent("spawner", SPAWNS, caps='spawn = ["opening:inner"]')
        b.openings["inner"] = INNER
        b.model.hold = asyncio.Event()
        commits, run = Commits(b), await b.submit(SPAWNING)
        driving = asyncio.create_task(b.manager.drive(run))
        await b.model.hold.wait()
        run.cancel("enough")
        await driving

        inner = [("inner", kind) for kind in ("effect.failed", "node.finished", "run.finished")]
        assert commits.last == [*inner, *(("s", kind) for kind in ("effect.failed", "node.finished", "run.finished"))]


async def test_children_that_an_earlier_process_left_end_with_their_parent_too(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.openings["inner"] = INNER
        run_id = await left(b, OUTER.replace(", timeout_ms: 2000", ""))
        commits = Commits(b)

        result = await b.manager.drive(await b.manager.recover(run_id, ending="no more"))

        assert (result.status, result.reason) == ("cancelled", "no more")
        inner = [("inner", kind) for kind in ("run.recovered", "effect.failed", "node.finished", "run.finished")]
        assert commits.last == [*inner, *(("outer", kind) for kind in ("run.recovered", "node.finished", "run.finished"))]


async def test_children_that_an_agent_had_spawned_in_an_earlier_process_end_with_its_calls(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.agent("spawner", SPAWNS.replace("return", "emit.log('first')\n    return"), caps='spawn = ["opening:inner"]')
        b.openings["inner"] = INNER
        run_id = await left(b, SPAWNING)
        commits = Commits(b)

        await b.manager.drive(await b.manager.recover(run_id, ending="no more"))

        inner = [("inner", kind) for kind in ("run.recovered", "effect.failed", "node.finished", "run.finished")]
        assert commits.last == [*inner, *(("s", kind) for kind in ("run.recovered", "effect.failed", "node.finished", "run.finished"))]


async def test_a_run_that_was_cancelled_ends_so_when_its_process_dies_before_it_could(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        run_id = await left(b, PLAIN, cancel="enough")

        result = await b.manager.drive(await b.manager.recover(run_id))

        assert (result.status, result.reason, len(b.model.prompts)) == ("cancelled", "enough", 1)
        kinds = [event.kind for event in b.ledger.read_run(run_id)]
        assert kinds[-5:] == ["run.cancelling", "run.recovered", "effect.failed", "node.finished", "run.finished"]


async def test_a_run_that_is_cancelled_just_when_its_last_node_ends_is_cancelled(bench, monkeypatch):
    tell = Run.tell

    def and_cancel(run, event):
        tell(run, event)
        if isinstance(event, NodeSucceeded):
            run.cancel("enough")

    monkeypatch.setattr(Run, "tell", and_cancel)
    async with bench() as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        result = await b.run(PLAIN)

        assert (result.status, result.reason) == ("cancelled", "enough")
        assert b.kinds()[-3:] == ["run.cancelling", "node.finished", "run.finished"]


async def test_a_process_that_leaves_while_it_stops_a_cancelled_run_leaves_its_end_to_the_next(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.model.hold = asyncio.Event()
        run = await b.submit(PLAIN)
        driving = asyncio.create_task(b.manager.drive(run))
        while not b.model.prompts:
            await asyncio.sleep(0)
        cancelling = run.cancel("enough")
        while run.under_way.tasks:  # until the attempt is told to stop
            await asyncio.sleep(0)
        run.halt()

        await cancelling
        with pytest.raises(RunHalted):
            await driving
        assert b.kinds()[-2:] == ["effect.requested", "run.cancelling"]

        result = await b.manager.drive(await b.manager.recover(run.run_id))
        assert (result.status, result.reason) == ("cancelled", "enough")
        assert [event.kind for event in b.ledger.read_run(run.run_id)][-3:] == ["effect.failed", "node.finished", "run.finished"]


async def test_a_run_that_is_cancelled_after_the_time_of_its_gate_has_passed_ends_and_is_cancelled(bench, desk):
    async with bench(operator=desk()) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 1}\n")
        run = await b.submit(GATED)
        driving = asyncio.create_task(b.manager.drive(run))
        while "approval.requested" not in b.kinds():
            await asyncio.sleep(0)
        run.halt()
        await asyncio.gather(driving, return_exceptions=True)
        clock_ms = b.services.clock_ms
        b.manager.services = replace(b.services, clock_ms=lambda: clock_ms() + 7_200_000)

        result = await asyncio.wait_for(b.manager.drive(await b.manager.recover(run.run_id, ending="enough")), 60)

        assert (result.status, result.reason) == ("cancelled", "enough")
        assert [event.kind for event in b.ledger.read_run(run.run_id)][-3:] == ["approval.expired", "node.finished", "run.finished"]


async def test_a_second_cancellation_adds_nothing(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        run = await b.submit(PLAIN)
        assert run.cancel("first") is run.cancel("second")

        assert (await b.manager.drive(run)).reason == "first"
        assert b.kinds() == ["run.submitted", "run.cancelling", "node.finished", "run.finished"]
        assert run.cancel("third") is None


async def test_a_fork_of_a_run_that_was_cancelled_goes_on(bench):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        run_id = await left(b, PLAIN, cancel="enough")
        end = await b.manager.drive(await b.manager.recover(run_id))
        at = next(event.payload["seq"] for event in b.ledger.read_run(run_id) if event.kind == "run.cancelling")

        fork = await b.manager.fork(b.ledger, ForkRequest(run_id, str(at)))

        assert end.status == "cancelled"
        assert (await b.manager.drive(fork)).status == "succeeded"


async def left(b, opening, cancel=None):
    """The id of a run whose process died while a model was asked; just after the run was cancelled, if that is wanted."""
    held = b.model.hold = asyncio.Event()
    run = await b.submit(opening)
    driving = asyncio.create_task(b.manager.drive(run))
    await held.wait()
    for each in run.family():
        each.recorder.halted = True
    if cancel is not None:
        run.halt()
        await run.cancel(cancel)
    driving.cancel()
    with suppress(asyncio.CancelledError, RunHalted):
        await driving
    b.model.hold = None
    return run.run_id


async def test_what_was_stopped_says_why_when_it_is_read_back(bench):
    nodes = '[{id: quick, use: "agent:two"}, {id: slow, use: "agent:one"}, {id: first, use: "agent:two", merge: first_ok}]'
    edges = "[{from: quick.out, to: first.in}, {from: slow.out, to: first.in}]"
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        b.agent("two", "@agent\ndef run():\n    return {'out': 2}\n")
        b.model.hold = asyncio.Event()

        result = await b.run(f"version: 0\nname: race\nnodes: {nodes}\nedges: {edges}\n")

        attempts = load_run(b.ledger, result.run_id).attempts
        assert sorted((each.node, each.status, each.why) for each in attempts) == [
            ("first", "ok", ""),
            ("quick", "ok", ""),
            ("slow", "cancelled", "'first' has what it needs"),
        ]


@pytest.fixture
def ends(monkeypatch):
    """The first two ends of attempts, of which their run hears nothing until a test tells it; set once they have come."""
    tell, kept, both = Run.tell, [], asyncio.Event()

    def keep(run, event):
        if both.is_set() or not isinstance(event, NodeSucceeded):
            tell(run, event)
            return
        kept.append(event)
        if len(kept) == 2:
            both.set()

    monkeypatch.setattr(Run, "tell", keep)
    return SimpleNamespace(both=both, kept=kept)


async def racing(b, ends):
    """RACE under way, up to where both ends have come; what "slow" would do can be seen of the model."""
    b.agent("one", ASKS.replace("run()", "run(go)"), caps=MODEL, ports_in=("go",))
    b.agent("two", "@agent\ndef run():\n    return {'out': 2}\n")
    b.agent("last", "@agent\ndef run(**_):\n    return {'out': 1}\n", ports_in=("in",))
    run = await b.submit(RACE)
    driving = asyncio.create_task(b.manager.drive(run))
    await ends.both.wait()
    return run, driving


async def test_an_attempt_that_is_stopped_in_the_step_in_which_it_starts_does_nothing(bench, ends):
    async with bench() as b:
        run, driving = await racing(b, ends)
        for end in sorted(ends.kept, key=lambda end: end.node):  # "before" lets "slow" start, "quick" makes it needless
            run.tell(end)

        assert ((await driving).status, b.model.prompts) == ("succeeded", [])
        assert {each.node: each.status for each in load_run(b.ledger, run.run_id).attempts}["slow"] == "cancelled"


async def test_an_attempt_that_is_stopped_while_a_pause_holds_it_back_does_not_begin_when_the_run_goes_on(bench, ends):
    async with bench() as b:
        run, driving = await racing(b, ends)
        await pause(run, "lunch")
        for end in sorted(ends.kept, key=lambda end: end.node):
            run.tell(end)
            while not any(meta["node"] == end.node for meta in b.metas("node.finished")):
                await asyncio.sleep(0)
        await resume(run, "back")

        assert ((await driving).status, b.model.prompts) == ("succeeded", [])


class Person:
    """Answers when the test says so."""

    present = True

    def __init__(self):
        self.asked, self.answer = asyncio.Event(), asyncio.get_running_loop().create_future()

    def has_said_no(self, _question_id):
        return False

    async def ask(self, _question, _ctx):
        self.asked.set()
        return await self.answer


@pytest.mark.parametrize(("merge", "counts"), [("first_ok", False), ("any", True)])
async def test_an_answer_is_heard_after_what_came_before_it_also_by_who_takes_the_run_up(bench, ends, merge, counts):
    person = Person()
    async with bench(operator=person) as b:
        b.agent("one", "@agent\ndef run():\n    return {'out': 'gated'}\n")
        b.agent("two", "@agent\ndef run():\n    return {'out': 'quick'}\n")
        b.agent("last", "@agent\ndef run(got):\n    return {'out': model.complete(got).text}\n", caps=MODEL, ports_in=("got",))
        held = b.model.hold = asyncio.Event()
        run = await b.submit(GATED_RACE.replace("first_ok", merge))
        driving = asyncio.create_task(b.manager.drive(run))
        await ends.both.wait()
        quick, gated = sorted(ends.kept, key=lambda end: end.outputs["out"] == ["gated"])
        run.tell(gated)
        await person.asked.wait()
        person.answer.set_result(PersonAnswer("approve", "operator"))
        run.tell(quick)  # it is heard first; with first_ok it closes the gate
        await held.wait()
        run.halt()
        await asyncio.gather(driving, return_exceptions=True)
        b.model.hold = None

        result = await b.manager.drive(await b.manager.recover(run.run_id))

        kinds = [event.kind for event in b.ledger.read_run(run.run_id)]
        assert (result.status, result.reason, b.model.prompts) == ("succeeded", "", ["quick", "quick"])
        assert ("approval.expired" in kinds, "approval.decided" in kinds) == (not counts, counts)


@pytest.mark.parametrize("moment", ["goes to the disk", "is on record"])
async def test_what_an_answered_call_cost_is_in_the_ends_of_its_node_and_its_run_also_where_it_is_cancelled_as_its_answer(bench, moment):
    async with bench() as b:
        b.agent("one", ASKS, caps=MODEL)
        ledger = b.services.ledger

        def cancels(events):
            if any(event.kind == "effect.completed" for event in events):
                run.cancel("enough")

        def append(events, **how):
            events = list(events)
            written = ledger.append(events, **how)
            cancels(events if moment == "goes to the disk" else ())
            return written

        object.__setattr__(b.services, "ledger", SimpleNamespace(append=append))
        run = await b.submit(PLAIN)
        run.recorder.subscribe(lambda record: run.cancel("enough") if record["kind"] == "effect.completed" else None)

        assert (await b.manager.drive(run)).status == "cancelled"

        [call], [node], [end] = b.metas("effect.completed"), b.metas("node.finished"), b.metas("run.finished")
        assert (call["tokens_in"] + call["tokens_out"], call["usd"]) == (15, 0.00025)
        assert (node["tokens"], node["usd"]) == (end["tokens"], end["usd"]) == (15, 0.00025)
