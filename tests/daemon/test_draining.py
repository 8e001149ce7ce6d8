"""What becomes of the runs of a daemon that is told to stop."""

import asyncio
from types import SimpleNamespace

from runloop.daemon.hosted import Hosted, Stub
from runloop.daemon.hosting import Hosting
from runloop.events import RunIdentity


def identity(name):
    return RunIdentity(name, f"trace:{name}", "opening:1", "waits")


class Run:
    """A run that goes on until it is let go."""

    def __init__(self, name):
        self.run_id, self.recorder, self.parked = name, SimpleNamespace(identity=identity(name)), None
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


async def test_a_daemon_that_drains_begins_and_takes_up_nothing_and_tells_who_follows_what_is_queued():
    told, taken_up, turns = [], [], Turns()
    nothing = lambda *_args: None  # noqa: E731 - it stands for many

    async def recover(run_id, **_options):
        taken_up.append(run_id)

    manager = SimpleNamespace(drive=lambda run: run.drive(), recover=recover, services=SimpleNamespace(turns=turns))
    people = SimpleNamespace(bring_back=nothing, done=nothing, patient=set())
    stranded = lambda run, _error: told.append(run.run_id)  # noqa: E731 - as above
    hosting = Hosting(manager, SimpleNamespace(), people, 1, 4, lambda: 0, stranded, nothing, nothing, nothing)
    works, queued = Run("works"), Run("queued")
    for run in (works, queued):
        hosted = hosting.roster.hosted[run.run_id] = Hosted(run)
        hosting.roster.queue.ready.append(hosted)
    hosting.pump()
    hosting.roster.parking.put(Stub(identity("parked"), "person", 0, None))
    await works.begun.wait()
    hosting.wake("parked")

    draining = asyncio.ensure_future(hosting.drain(60, asyncio.Event()))
    await asyncio.sleep(0)
    assert (told, turns.closed) == (["queued"], True)
    works.ends.set()

    assert (await draining, told, taken_up, queued.begun.is_set()) == (1, ["queued"], [], False)
    assert (hosting.finished["succeeded"], hosting.running, list(hosting.roster.hosted)) == (1, 0, [])
