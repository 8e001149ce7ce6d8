"""Whether there is room for a run, and when there will be."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from runloop.daemon import submitting as submitting_module
from runloop.daemon.errors import DaemonBusy, DaemonDraining
from runloop.daemon.submitting import Request, Submitting
from runloop.openings import OpeningError
from runloop.runs.lookup import OpeningText

OPENING = OpeningText("version: 0\nname: one\nnodes: [{id: a, use: agent:one}]\nedges: []\n")


def run_id(number):
    return f"00000000-0000-4000-8000-{number:012}"


class Host:
    """The runs of a daemon: so many run and are queued, and those that come are taken in when ``on_disk`` is set."""

    def __init__(self, running=0, queued=0, mean_ms=1000.0):
        self.running, self.mean_ms, self.max_runs, self.max_queued, self.draining = running, mean_ms, 2, 4, False
        self.roster, self.people, self.park = SimpleNamespace(queue=range(queued)), None, None
        self.kb = SimpleNamespace(ledger=SimpleNamespace(knows=lambda *_: False))
        services = SimpleNamespace(resolve_agent=lambda _name, _variant: None)
        self.manager, self.on_disk, self.taken = SimpleNamespace(submit=self.submit, services=services), asyncio.Event(), []

    async def submit(self, submission):
        await self.on_disk.wait()
        return submission.run_id

    def host(self, taken, *_given, **_options):
        self.taken.append(taken)
        return SimpleNamespace(shown=dict, state="queued")

    def pump(self):
        pass


@pytest.mark.parametrize(("running", "queued", "coming"), [(2, 4, 0), (2, 0, 4), (0, 0, 6), (1, 2, 3), (0, 7, 0)])
async def test_a_run_for_which_there_is_no_room_is_refused_and_counted_and_those_on_their_way_to_the_disk_take_room(
    running, queued, coming
):
    host = Host(running, queued)
    submitting = Submitting(host, None)
    taking = [asyncio.ensure_future(submitting.submit(Request(run_id(number), OPENING, {}))) for number in range(coming)]
    await asyncio.sleep(0)
    assert [submitting.under_way(run_id(number)) for number in range(coming)] == [True] * coming
    with pytest.raises(DaemonBusy):
        async with asyncio.timeout(10):
            await submitting.submit(Request(run_id(99), OPENING, {}))
    host.max_queued += max(1, queued - 4)
    host.on_disk.set()
    await submitting.submit(Request(run_id(99), OPENING, {}))
    assert (submitting.refused, len(await asyncio.gather(*taking)), len(host.taken)) == (1, coming, coming + 1)
    host.draining = True
    with pytest.raises(DaemonDraining):
        await submitting.submit(Request(run_id(100), OPENING, {}))
    assert submitting.refused == 1


@pytest.mark.parametrize(
    ("queued", "mean_ms", "after_ms"),
    [
        (0, 1000, 600),  # one of two places is free in half the time of a run, and a little more
        (2, 1000, 600),
        (8, 1000, 2100),  # four rounds are before
        (8, 0, 100),
        (8, -1000, 100),  # somebody set the clock back
        (0, 10.0, 105),
        (200, 1e6, 60_000),
    ],
)
async def test_when_to_try_again_follows_from_how_long_runs_took_and_how_many_are_before(queued, mean_ms, after_ms):
    host = Host(2, queued, mean_ms)
    host.max_queued = 0
    with pytest.raises(DaemonBusy) as caught:
        await Submitting(host, None).submit(Request(run_id(1), OPENING, {}))
    assert caught.value.retry_after_ms == after_ms


async def test_a_submission_that_nobody_waits_for_any_more_is_taken_in_all_the_same():
    host = Host()
    submitting = Submitting(host, None)
    first = asyncio.ensure_future(submitting.submit(Request(run_id(1), OPENING, {})))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    host.on_disk.set()
    async with asyncio.timeout(10):
        while submitting.under_way(run_id(1)):
            await asyncio.sleep(0)
    assert (first.cancelled(), host.taken) == (True, [run_id(1)])


async def test_a_fork_that_is_asked_for_again_while_it_is_made_is_one(monkeypatch):
    monkeypatch.setattr(submitting_module, "ArchivedRuns", lambda _ledger: SimpleNamespace(place=lambda _run_id: None))
    monkeypatch.setattr(submitting_module, "asks_for", lambda *_: True)
    host, made, begun = Host(), [], asyncio.Event()
    payload = {"run_id": run_id(1), "opening_id": "opening:1", "opening_name": "one"}
    stored = SimpleNamespace(payload=payload, provenance={"trace_id": "trace:1"})
    host.kb.ledger = SimpleNamespace(knows=lambda *_: bool(made), by_key=lambda _key: stored, full=lambda event: event)

    async def fork(*_given, **_options):
        begun.set()
        await host.on_disk.wait()
        made.append("the fork")

    async def state_of(_run_id):
        return "queued"

    host.manager.fork, host.roster.state_of = fork, state_of
    wanted = SimpleNamespace(run_id=run_id(1), parent="p", patient=False)
    submitting = Submitting(host, None)
    asking = [asyncio.ensure_future(submitting.fork(wanted, None)) for _ in range(2)]
    await begun.wait()
    await asyncio.sleep(0)
    host.on_disk.set()
    answers = await asyncio.gather(*asking)
    assert (made, [answer["repeated"] for answer in answers]) == (["the fork"], [False, True])


@pytest.mark.parametrize(("characters", "beside"), [(100, False), (20_000, True)])
async def test_a_long_opening_is_read_beside_everything_else(monkeypatch, characters, beside):
    read, parse = [], submitting_module.parse_once

    def parsing(*given, **named):
        read.append(threading.current_thread() is not threading.main_thread())
        return parse(*given, **named)

    monkeypatch.setattr(submitting_module, "parse_once", parsing)
    host = Host()
    host.on_disk.set()
    opening = OpeningText(f"{OPENING.source}# {'x' * characters}\n", None)
    taken = await Submitting(host, None).submit(Request(run_id(1), opening, {}))
    assert (taken["state"], host.taken, read) == ("queued", [run_id(1)], [beside])
    with pytest.raises(OpeningError, match="mergers"):
        await Submitting(host, None).submit(Request(run_id(2), OpeningText(f"{opening.source}mergers: 1\n", None), {}))
