"""The runs of a daemon: which begin, which are left to the ledger, what becomes of them when it is told to stop."""

import asyncio
from types import SimpleNamespace

import pytest

from runloop.daemon import backlog
from runloop.daemon.errors import DaemonDraining
from runloop.daemon.hosted import Hosted, Stub
from runloop.daemon.hosting import Hosting
from runloop.events import RunIdentity
from runloop.kb.errors import LedgerCorrupt
from runloop.runs.results import RunHalted


def identity(name):
    return RunIdentity(name, f"trace:{name}", "opening:1", "waits")


class Run:
    """A run that goes on until it is let go."""

    def __init__(self, name, last_seq=1):
        self.run_id, self.recorder, self.parked = name, SimpleNamespace(identity=identity(name), last_seq=last_seq), None
        self.paused = False
        self.begun, self.ends = asyncio.Event(), asyncio.Event()

    async def drive(self):
        self.begun.set()
        await self.ends.wait()
        return SimpleNamespace(status="succeeded")


class Turns:
    """Who works: nobody comes to rest here."""

    closed = False

    def close(self):
        self.closed = True

    async def quiet(self):
        await asyncio.get_running_loop().create_future()


class Runs(Hosting):
    """Hosting for one run at a time, which keeps what it told and whom it took up; its clock stands until somebody sets it."""

    def __init__(self):
        self.told, self.taken_up, self.put_by, self.turns, self.now_ms = [], [], [], Turns(), 0
        services = SimpleNamespace(turns=self.turns)
        manager = SimpleNamespace(drive=lambda run: run.drive(), recover=self.recover, services=services)
        people = SimpleNamespace(wait_ms=0, bring_back=self.nothing, done=self.nothing, put_aside=self.nothing, patient=set())
        super().__init__(
            manager, SimpleNamespace(), people, 1, 4, lambda: self.now_ms, self.strand, self.nothing, self.nothing, self.put_by.append
        )

    def nothing(self, *_given):
        pass

    def strand(self, run, _error):
        self.told.append(run.run_id)

    async def recover(self, run_id, **_options):
        self.taken_up.append(run_id)

    def take(self, run):
        return self.host(run, SimpleNamespace(root=None), None, patient=False)


async def test_a_daemon_that_drains_begins_and_takes_up_nothing_and_tells_who_follows_what_is_queued():
    hosting, works, queued = Runs(), Run("works"), Run("queued")
    for run in (works, queued):
        hosting.take(run)
    hosting.pump()
    hosting.roster.parking.put(Stub(identity("parked"), "person", 0, None))
    await works.begun.wait()
    hosting.wake("parked")

    draining = asyncio.ensure_future(hosting.drain(60, asyncio.Event()))
    await asyncio.sleep(0)
    assert (hosting.told, hosting.turns.closed) == (["queued"], True)
    works.ends.set()

    assert (await draining, hosting.told, hosting.taken_up, queued.begun.is_set()) == (1, ["queued"], [], False)
    assert (hosting.finished["succeeded"], hosting.running, list(hosting.roster.hosted)) == (1, 0, [])


@pytest.mark.parametrize("wanted", [Hosting.go_on, Hosting.fetch], ids=["answered", "changed"])
async def test_who_wants_something_of_a_parked_run_while_the_daemon_drains_is_told_so_at_once(wanted):
    hosting = Runs()
    hosting.roster.parking.put(Stub(identity("parked"), "person", 0, None))
    await hosting.drain(0, asyncio.Event())
    async with asyncio.timeout(10):
        with pytest.raises(DaemonDraining):
            await wanted(hosting, "parked")
    assert (hosting.taken_up, hosting.roster.has("parked")) == ([], True)


async def test_a_run_that_comes_on_record_while_the_daemon_begins_to_drain_is_told_to_be_left():
    hosting = Runs()
    await hosting.drain(0, asyncio.Event())
    with pytest.raises(DaemonDraining):
        hosting.take(Run("late"))
    assert (hosting.told, list(hosting.roster.hosted), len(hosting.roster.queue)) == (["late"], [], 0)


async def test_of_many_queued_runs_those_that_have_done_nothing_are_left_to_the_ledger_and_forks_are_not(monkeypatch):
    monkeypatch.setattr(backlog, "READY", 1)
    hosting = Runs()
    for run in (Run("first"), Run("second"), Run("fork", last_seq=2)):
        hosting.take(run)
    assert (hosting.put_by, list(hosting.roster.hosted)) == (["second"], ["first", "fork"])
    assert [each.run.run_id for each in hosting.roster.queue.ready] == ["first", "fork"]
    assert hosting.roster.queue.behind["second"].shown()["state"] == "queued"


async def test_how_long_runs_take_is_a_mean_in_which_the_last_one_counts_a_tenth():
    hosting, run = Runs(), Run("works")
    hosting.now_ms = 5_000
    hosted = hosting.take(run)
    hosting.pump()
    await run.begun.wait()
    hosting.now_ms = 16_000
    run.ends.set()
    await hosted.task
    assert hosting.mean_ms == 2_000


async def test_a_run_that_is_here_or_has_ended_here_is_not_taken_over():
    def left(name, **more):
        given = {"patient": False, "waiting": {"why": "person"}, "paused": False, "waiting_ms": 0, "queued": False}
        return SimpleNamespace(identity=identity(name), **given | more)

    hosting = Runs()
    hosting.max_runs = 0
    hosting.roster.hosted["here"] = Hosted(Run("here"))
    hosting.roster.end("ended", "succeeded")
    found = [left("here"), left("ended"), left("waits"), left("patient", patient=True), left("goes_on", waiting=None)]
    assert hosting.take_over(found) == (1, 2)
    assert (set(hosting.roster.parking.stubs), set(hosting.roster.returning), hosting.people.patient) == (
        {"waits", "patient"},
        {"goes_on"},
        {"patient"},
    )


async def test_of_the_runs_that_ask_for_what_is_granted_those_that_are_parked_or_being_parked_are_woken_unless_they_are_paused():
    class Leaves(Run):
        async def drive(self):
            await super().drive()
            self.parked = SimpleNamespace(why="person", until_ms=None, questions=())
            raise RunHalted

    hosting, leaving, held = Runs(), Leaves("leaving"), Leaves("held")
    held.paused = True
    asks = ["unreadable", "waits", "paused", "leaving", "held", "here", "runs_another"]
    hosting.people.asking_for = lambda given: [(each, f"child of {each}", given) for each in asks]

    def read_run(run_id):
        if run_id == "child of unreadable":
            raise LedgerCorrupt("gone")
        return iter([SimpleNamespace(payload={"meta": run_id.removeprefix("child of ")})])

    hosting.kb.read_run = read_run
    given = SimpleNamespace(is_for=lambda submitted: submitted != "runs_another")
    hosting.people.parking = {"leaving", "held"}
    for name in ("unreadable", "waits", "runs_another"):
        hosting.roster.parking.put(Stub(identity(name), "person", 0, None))
    hosting.roster.parking.put(Stub(identity("paused"), "person", 0, None, paused=True))
    parked = [hosting.take(each) for each in (leaving, held)]
    hosting.roster.hosted["here"] = Hosted(Run("here"))
    hosting.max_runs = 2
    hosting.pump()
    hosting.max_runs = 0
    hosting.granted([given])
    await asyncio.gather(*hosting._tasks)
    assert list(hosting.roster.returning) == ["waits"]
    for each in parked:
        each.run.ends.set()
        await each.task
    assert list(hosting.roster.returning) == ["waits", "leaving"]
    assert list(hosting.roster.parking.stubs) == ["unreadable", "runs_another", "paused", "held"]


@pytest.mark.parametrize(
    ("error", "why"),
    [(RunHalted(), "daemon.draining"), (LedgerCorrupt("gone"), "ledger.corrupt"), (OSError("no"), "run.broke"), (None, None)],
)
async def test_who_has_answered_a_run_that_stops_without_an_end_is_told_why(error, why):
    class Stops(Run):
        async def drive(self):
            if error is not None:
                raise error
            return SimpleNamespace(status="succeeded")

    hosting, told = Runs(), []
    hosting.people.done = lambda run_id, left: told.append((run_id, left and left.code))
    hosted = hosting.take(Stops("stops"))
    hosting.pump()
    await hosted.task
    assert told == [("stops", why)]
    broke_off = why in {"ledger.corrupt", "run.broke"}
    assert [(each["run_id"], each["error"]["code"]) for each in hosting.roster.not_taken_up()] == [("stops", why)] * broke_off
    assert hosting.roster.has("stops") is broke_off
