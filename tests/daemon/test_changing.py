"""What a client wants of a run that is on its way out of memory, or while the disk is full."""

import asyncio
from types import SimpleNamespace

import pytest

from runloop.daemon import changing as module_of_changing
from runloop.daemon import room, submitting
from runloop.daemon import roster as module
from runloop.daemon.changing import Changing
from runloop.daemon.hosted import Hosted
from runloop.daemon.hosting import Hosting
from runloop.daemon.submitting import Submitting
from runloop.errors import InvalidInput
from runloop.events import RunIdentity
from runloop.kb.errors import LedgerFull
from runloop.runs.results import Parked, RunHalted
from runloop.runs.unfinished import Unfinished

RUN_ID = "00000000-0000-4000-8000-000000000001"


class Run:
    """A run as its host sees it: it is parked when ``leaves`` says so, and out of memory when its guests ``are_out``."""

    def __init__(self):
        self.run_id = RUN_ID
        self.recorder = SimpleNamespace(identity=RunIdentity(RUN_ID, "trace:1", "opening:1", "waits"))
        self.opening = SimpleNamespace(params={})
        self.parked, self.paused, self.quiet, self.patient, self.recorded = None, False, False, False, None
        self.leaves, self.are_out, self.cancelled = asyncio.Event(), asyncio.Event(), []
        self.on_disk = asyncio.get_running_loop().create_future()

    def cancel(self, reason):
        self.cancelled.append((reason, self.parked))
        return self.on_disk

    async def drive(self):
        await self.leaves.wait()
        self.parked = Parked("person", None, ())
        await self.are_out.wait()
        raise RunHalted


class Runs:
    """The run manager: the run that is here, and those that it is taken up as."""

    def __init__(self):
        self.taken_up = []

    async def drive(self, run):
        return await run.drive()

    async def recover(self, _run_id, **_options):
        self.taken_up.append(Run())
        return self.taken_up[-1]


@pytest.fixture
async def host(monkeypatch):
    """A daemon's runs, one of them driven: (what changes them, the hosting, that run, the ledger)."""
    monkeypatch.setattr(module, "own_run", lambda _kb, ref: ref)
    monkeypatch.setattr(room, "_LOOK_S", 0)
    nothing, ledger = lambda *_args: None, SimpleNamespace(stalled=None)
    people = SimpleNamespace(wait_ms=0, parking=set(), put_aside=nothing, bring_back=nothing, done=nothing, patient=set())
    hosting = Hosting(Runs(), SimpleNamespace(ledger=ledger), people, 4, 4, lambda: 0, nothing, nothing, nothing, nothing)
    run = Run()
    hosted = hosting.roster.hosted[RUN_ID] = Hosted(run)
    hosting.roster.queue.ready.append(hosted)
    hosting.pump()
    yield Changing(hosting, Submitting(hosting, nothing)), hosting, run, ledger
    for each in (run, *hosting.manager.taken_up):
        each.leaves.set()
        each.are_out.set()
    await asyncio.gather(*(each.task for each in hosting.roster.hosted.values() if each.task is not None), return_exceptions=True)


async def test_a_run_that_is_being_parked_is_taken_up_for_what_is_wanted_of_it(host):
    changing, hosting, run, _ledger = host
    run.leaves.set()
    while run.parked is None:
        await asyncio.sleep(0)
    cancelling = asyncio.create_task(changing.cancel(RUN_ID, "enough"))
    run.are_out.set()
    async with asyncio.timeout(10):
        while not hosting.manager.taken_up or not hosting.manager.taken_up[0].cancelled:
            await asyncio.sleep(0)
    again = hosting.manager.taken_up[0]
    again.on_disk.set_result([])
    assert (await cancelling)["state"] == "cancelling"
    assert (run.cancelled, again.cancelled) == ([], [("enough", None)])


async def test_a_run_that_is_not_in_memory_is_cancelled_by_several_at_once(host):
    changing, hosting, run, _ledger = host
    run.leaves.set()
    while run.parked is None:
        await asyncio.sleep(0)
    both = [asyncio.create_task(changing.cancel(RUN_ID, why)) for why in ("enough", "me too")]
    run.are_out.set()
    async with asyncio.timeout(10):
        while not hosting.manager.taken_up or len(hosting.manager.taken_up[0].cancelled) < 2:
            await asyncio.sleep(0)
        hosting.manager.taken_up[0].on_disk.set_result([])
        assert [(await each)["state"] for each in both] == ["cancelling", "cancelling"]
    assert hosting.ending == {}


async def test_a_run_that_cannot_go_on_is_cancelled_also_by_who_comes_while_somebody_else_tries_that(host, monkeypatch):
    changing, hosting, run, _ledger = host
    run.leaves.set()
    run.are_out.set()
    while RUN_ID in hosting.roster.hosted:
        await asyncio.sleep(0)
    recover, tried = hosting.manager.recover, asyncio.Event()

    async def needs_its_agents(run_id, *, ending, **options):
        await tried.wait()
        if ending is None:
            raise InvalidInput("its agent is not kept", code="bundle.missing")
        return await recover(run_id, **options)

    monkeypatch.setattr(hosting.manager, "recover", needs_its_agents)
    pausing = asyncio.create_task(changing.pause(RUN_ID, "lunch"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelling = asyncio.create_task(changing.cancel(RUN_ID, "enough"))
    await asyncio.sleep(0)
    tried.set()
    with pytest.raises(InvalidInput, match="its agent is not kept"):
        await pausing
    async with asyncio.timeout(10):
        while not hosting.manager.taken_up and not cancelling.done():
            await asyncio.sleep(0)
        if not cancelling.done():
            hosting.manager.taken_up[0].on_disk.set_result([])
        assert (await cancelling)["state"] == "cancelling"


async def test_who_cancels_while_the_disk_is_full_is_told_so_and_it_happens_once_there_is_room(host):
    changing, _hosting, run, ledger = host
    ledger.stalled = LedgerFull("no room")
    with pytest.raises(LedgerFull, match="the run does that as soon as there is room"):
        await changing.cancel(RUN_ID, "enough")
    assert run.cancelled == [("enough", None)]
    ledger.stalled = None
    run.on_disk.set_result([])
    assert (await changing.cancel(RUN_ID, "enough"))["state"] == "cancelling"


async def cancelled_at_its_end(changing, hosting, run, status):
    """Cancel the run while its own end, in that state, is on its way; what the canceller waits for."""
    run.on_disk = None
    cancelling = asyncio.create_task(changing.cancel(RUN_ID, "enough"))
    while not run.cancelled:
        await asyncio.sleep(0)
    hosting.roster.hosted.pop(RUN_ID)
    hosting.roster.end(RUN_ID, status)
    return cancelling


@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_who_cancels_a_run_whose_own_end_is_on_its_way_hears_how_it_ended(host, status):
    changing, hosting, run, _ledger = host
    cancelling = await cancelled_at_its_end(changing, hosting, run, status)
    with pytest.raises(InvalidInput, match=f"has ended: {status}") as caught:
        await cancelling
    assert caught.value.code == "run.ended"


async def test_who_cancels_once_more_while_a_run_ends_cancelled_is_told_that_it_is_cancelled(host):
    changing, hosting, run, _ledger = host
    cancelling = await cancelled_at_its_end(changing, hosting, run, "cancelled")
    assert (await cancelling)["state"] == "cancelling"


async def test_who_cancels_a_run_whose_end_waits_for_room_is_not_told_that_it_is_cancelled(host):
    changing, _hosting, run, _ledger = host
    run.on_disk = None
    assert (await changing.cancel(RUN_ID, "enough"))["state"] == "ending"


@pytest.mark.parametrize("how", ["submitted", "forked"])
async def test_what_is_wanted_of_a_run_that_is_on_record_and_not_here_yet_waits_until_it_is(host, monkeypatch, how):
    changing, hosting, run, _ledger = host
    hosted, taken_in = hosting.roster.hosted.pop(RUN_ID), asyncio.Event()

    async def take_in(*_given):
        await taken_in.wait()
        hosting.roster.hosted[RUN_ID] = hosted
        return hosted

    monkeypatch.setattr(Submitting, "_take_in", take_in)
    monkeypatch.setattr(Submitting, "_fork", take_in)
    monkeypatch.setattr(Submitting, "_stored", lambda *_given: None)
    monkeypatch.setattr(hosting.roster, "kb", SimpleNamespace(run=lambda _run_id: {"status": "queued", "parent_run_id": None}))
    monkeypatch.setattr(hosting, "kb", SimpleNamespace(ledger=_ledger, run=hosting.roster.kb.run))
    monkeypatch.setattr(module_of_changing, "unfinished_runs", lambda *_given: [])
    hosting.manager.services = SimpleNamespace(driven=lambda _owner: True, owner="0")
    request = SimpleNamespace(run_id=RUN_ID)
    submitting = changing.submitting
    coming = asyncio.create_task(submitting.submit(request) if how == "submitted" else submitting.fork(request, None))
    await asyncio.sleep(0)
    run.on_disk.set_result([])
    cancelling = asyncio.create_task(changing.cancel(RUN_ID, "enough"))
    await asyncio.sleep(0)
    taken_in.set()
    async with asyncio.timeout(10):
        assert ((await cancelling)["state"], run.cancelled) == ("cancelling", [("enough", None)])
        await asyncio.wait({coming})


async def test_of_two_who_want_something_of_a_run_that_a_process_left_both_are_heard(host, monkeypatch):
    changing, hosting, run, _ledger = host
    del hosting.roster.hosted[RUN_ID]
    left = Unfinished(run.recorder.identity, None, None, None, False, None, 0)
    monkeypatch.setattr(module, "own_run", lambda _kb, ref: ref)
    row = {"status": "running", "parent_run_id": None}
    monkeypatch.setattr(hosting.roster, "kb", SimpleNamespace(run=lambda _run_id: row))
    monkeypatch.setattr(hosting, "kb", SimpleNamespace(ledger=_ledger, run=lambda _run_id: row))
    monkeypatch.setattr(module_of_changing, "unfinished_runs", lambda *_given: [left])
    hosting.manager.services = SimpleNamespace(driven=lambda _owner: False, owner="0")
    both = [asyncio.create_task(changing.cancel(RUN_ID, why)) for why in ("enough", "me too")]
    async with asyncio.timeout(10):
        while not hosting.manager.taken_up or not hosting.manager.taken_up[0].cancelled:
            await asyncio.sleep(0)
        hosting.manager.taken_up[0].on_disk.set_result([])
        assert [(await each)["state"] for each in both] == ["cancelling", "cancelling"]
    assert len(hosting.manager.taken_up) == 1


async def test_a_fork_whose_requester_waits_no_longer_is_taken_in_all_the_same(monkeypatch):
    monkeypatch.setattr(submitting, "ArchivedRuns", lambda _ledger: SimpleNamespace(place=lambda _run_id: None))
    made, on_disk, pumped = [], asyncio.Event(), asyncio.Event()

    async def fork(*_given, **_options):
        await on_disk.wait()
        return "the fork"

    def host(run, *_given, **_options):
        made.append(run)
        return SimpleNamespace(shown=dict, state="queued")

    hosting = SimpleNamespace(
        kb=SimpleNamespace(ledger=SimpleNamespace(knows=lambda *_: False)), people=None, manager=SimpleNamespace(fork=fork), park=None,
        host=host, pump=pumped.set, draining=False, running=0, roster=SimpleNamespace(queue=()), max_runs=1, max_queued=1,
    )  # fmt: skip
    taking = asyncio.ensure_future(Submitting(hosting, None).fork(SimpleNamespace(run_id=RUN_ID, parent="p", patient=False), None))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait({taking})
    on_disk.set()
    async with asyncio.timeout(10):
        await pumped.wait()
    assert (taking.cancelled(), made) == (True, ["the fork"])


async def test_only_what_no_process_drives_is_taken_over_and_what_broke_off_here_only_by_its_id(host, monkeypatch):
    changing, hosting, *_ = host
    left = [
        Unfinished(RunIdentity(name, "trace:1", "opening:1", "waits"), owner, None, None, patient=False, waiting=None, waiting_ms=0)
        for name, owner in (("left", "gone"), ("driven", "another"), ("mine", "me"))
    ]
    taken = []
    monkeypatch.setattr(
        Hosting, "take_over", lambda _self, found: taken.append([each.identity.run_id for each in found]) or (len(found), 0)
    )
    monkeypatch.setattr(
        module_of_changing, "unfinished_runs", lambda _kb, run_id: [each for each in left if run_id in {None, each.identity.run_id}]
    )
    hosting.manager.services = SimpleNamespace(driven=lambda owner: owner == "another", owner="me")
    assert [await changing._adopt(name) for name in (None, "left", "driven", "mine")] == [1, 1, 0, 1]
    monkeypatch.setattr(Submitting, "under_way", lambda _self, run_id: run_id == "mine")
    assert await changing._adopt("mine") == 0
    assert taken == [["left"], ["left"], [], ["mine"], []]
