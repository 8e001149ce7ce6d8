"""Numbers of a run's records: dense in every run that ends, whatever the ledger could not store."""

import asyncio
import uuid

import pytest

from runloop.errors import Unavailable
from runloop.events import RunIdentity, StoredEvent
from runloop.events.records import NodeText
from runloop.runs import recorder as recorder_module
from runloop.runs.recorder import Draft, Ending, Recorder

RUN = str(uuid.UUID(int=7))
IDENTITY = RunIdentity(RUN, f"trace:{RUN}", f"opening:{RUN}", "t", None)
LOCKED = Unavailable("another process holds the lock", code="ledger.locked")


class Ledger:
    """Stores everything but what ``failing`` says, after the caller went on."""

    def __init__(self, failing=()):
        self.failing = list(failing)
        self.stored = []

    def append(self, events, *, check=True, urgent=True):
        refused = self.failing.pop(0) if self.failing else None
        if isinstance(refused, ValueError):
            raise refused
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._settle, future, list(events), refused)
        return future

    def _settle(self, future, events, refused):
        if refused is not None:
            future.set_exception(refused)
            return
        ids = range(len(self.stored) + 1, len(self.stored) + len(events) + 1)
        given = zip(ids, events, strict=True)
        future.set_result([StoredEvent(n, 0, e.kind, e.actor, e.scope, e.payload, e.provenance, b"", b"", None) for n, e in given])
        self.stored += events

    def seqs(self):
        return [event.payload["seq"] for event in self.stored]


def line(text):
    return Draft("node.log", text, NodeText("a", text, 1, "info"))


def recorder(ledger):
    return Recorder(IDENTITY, ledger, lambda: 0)


async def test_after_a_line_that_could_not_be_stored_nothing_more_is_recorded():
    ledger = Ledger([None, LOCKED])
    run = recorder(ledger)
    await run.write(line("one"))
    run.note(line("lost"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="lock"):
        await run.write(line("three"))
    run.note(line("four"))
    await asyncio.sleep(0)

    assert ledger.seqs() == [1]


async def test_a_record_that_the_ledger_refuses_to_take_gives_its_number_back():
    ledger = Ledger([None, ValueError("not canonical")])
    run = recorder(ledger)
    await run.write(line("one"))
    with pytest.raises(ValueError, match="canonical"):
        await run.write(line("refused"), line("too"))
    await run.write(line("two"), line("three"))

    assert ledger.seqs() == [1, 2, 3]


async def test_a_caller_that_stops_waiting_loses_no_record_and_nobody_misses_it():
    ledger, seen = Ledger(), []
    run = recorder(ledger)
    run.subscribe(lambda record: seen.append(record["seq"]))
    waiting = run.write(line("one"))
    waiting.cancel()
    await run.write(line("two"))

    assert (ledger.seqs(), seen) == ([1, 2], [1, 2])


async def test_a_record_is_shown_before_its_caller_goes_on():
    seen = []
    run = recorder(Ledger())
    run.subscribe(lambda record: seen.append(record["seq"]))
    await run.write(line("one"), line("two"))

    assert seen == [1, 2]


async def test_a_subscriber_that_trips_does_not_hold_up_the_run():
    trouble = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: trouble.append(context["exception"]))
    run = recorder(Ledger())
    run.subscribe(lambda record: record["nothing"])
    stored = await run.write(line("one"))

    assert (len(stored), [type(error) for error in trouble]) == (1, [KeyError])


@pytest.mark.parametrize("between", [[], ["run"], ["other"], ["run", "other"]], ids=lambda names: "and ".join(names) or "nothing")
async def test_a_long_end_lets_others_go_on_and_is_one_commit_with_dense_numbers_whatever_is_recorded_meanwhile(monkeypatch, between):
    monkeypatch.setattr(recorder_module, "DRAFTS_AT_ONCE", 2)
    ledger, commits = Ledger(), []
    append = ledger.append
    ledger.append = lambda events, **rest: (commits.append(len(events)), append(events, **rest))[1]
    child = RunIdentity(str(uuid.UUID(int=8)), f"trace:{RUN}", f"opening:{RUN}", "t", RUN)
    runs = {"run": recorder(ledger), "other": Recorder(child, ledger, lambda: 0)}
    drafts = [line(str(number)) for number in range(5)]
    ending = asyncio.create_task(runs["run"].write_long(drafts, [Ending(runs["other"], drafts[:3])]))
    await asyncio.sleep(0)
    for name in between:
        await runs[name].write(line("meanwhile"))
    stored = await ending
    assert [(event.payload["run_id"], event.payload["message"]) for event in stored] == [(RUN, str(number)) for number in range(5)]
    assert commits == [*[1] * len(between), 8]
    for run in runs.values():
        seqs = [event.payload["seq"] for event in ledger.stored if event.payload["run_id"] == run.identity.run_id]
        assert seqs == list(range(1, run.last_seq + 1))


async def test_an_end_that_is_not_long_is_written_at_once(monkeypatch):
    ledger = Ledger()
    monkeypatch.setattr(recorder_module, "pause", None)
    run = recorder(ledger)
    assert [event.payload["seq"] for event in await run.write_long([line("one"), line("two")])] == [1, 2]
