"""Following over restarts: what the daemon that comes back says about the run decides."""

import asyncio
import importlib
import itertools

import pytest

from runloop import rmp
from runloop.errors import EXIT_FAILED, EXIT_UNAVAILABLE, RunloopError, Unavailable

RUN = "00000000-0000-4000-8000-000000000001"
TOPIC = f"rlp/runs/trace:{RUN}/events"
RUN_EVENT = "observation.run.event.v1"


def record(seq, kind="node.log", **meta):
    return {"seq": seq, "event_id": seq, "run_id": RUN, "kind": kind, "meta": meta}


def frame(topic, each):
    envelope = rmp.Envelope(RUN_EVENT, each, {"topic": topic, "seq": each["seq"]})
    return rmp.encode_frame(envelope, trace_id=1, msg_id=each["seq"], created_at_ms=1)


async def collect(records, seen):
    """Add the number of each record to come."""
    async for each in records:
        seen.append(each["seq"])


class Ledger:
    """Records in memory behind the port."""

    def __init__(self, *records):
        self.records = list(records)

    async def read(self, topic, from_seq, limit):
        found = [each for each in self.records if each["seq"] >= from_seq][:limit]
        return [(each["seq"], frame(topic, each)) for each in found]


def serve_attach(server, state, last_seq, asked=None):
    async def control(request):
        if asked is not None:
            asked.append(request.payload)
        return {"ok": {"run_id": RUN, "state": state, "topic": TOPIC, "from_seq": request.payload.get("from_seq", 1), "last_seq": last_seq}}

    server.on_request("rlp/ctrl", control)


@pytest.fixture
async def restarted(bus):
    """Start the bus anew, with other records."""
    await bus.stop()

    async def again(ledger, state, last_seq, asked=None):
        await bus.stop()
        server = await bus.start(ledger=ledger)
        serve_attach(server, state, last_seq, asked)
        return server

    return again


async def test_a_run_that_goes_on_in_the_next_daemon_is_followed_to_its_end(bus, restarted):
    ledger, asked = Ledger(record(1), record(2)), []
    server = await restarted(ledger, "running", 2)
    async with bus.client() as client, client.handle(RUN, attended=True).following() as records:
        seen = [(await anext(records))["seq"] for _ in range(2)]
        halted = {"run_id": RUN, "error": {"code": "daemon.stopped", "message": "stopped", "hint": "", "retryable": True}}
        server.publish(TOPIC, "error.report.v1", halted)
        ledger.records += [record(3, "run.recovered"), record(4, "node.finished", node="a", status="ok", outputs={"out": [1]})]
        ledger.records.append(record(5, "run.finished", status="succeeded"))
        await restarted(ledger, "running", 5, asked)
        async with asyncio.timeout(30):
            seen += [each["seq"] async for each in records]
            assert (seen, records.outputs) == ([1, 2, 3, 4, 5], {"a": {"out": [1]}})
            while not asked:
                await asyncio.sleep(0)
    assert (asked[0]["attended"], asked[0]["run"]) == (True, RUN)


@pytest.mark.parametrize("more", [0, 1])
async def test_a_run_that_no_daemon_goes_on_with_ends_after_its_last_record_with_that_error(bus, restarted, more):
    ledger = Ledger(record(1), record(2))
    await restarted(ledger, "running", 2)
    async with bus.client() as client, client.handle(RUN).following() as records:
        seen = [(await anext(records))["seq"] for _ in range(2)]
        ledger.records += [record(3)] * more
        await restarted(ledger, "unfinished", 2 + more)
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(collect(records, seen), 30)
    assert (seen, caught.value.code) == (list(range(1, 3 + more)), "run.unfinished")


async def test_an_attached_run_without_an_end_is_what_is_recorded_and_then_that_error(bus, restarted):
    await restarted(Ledger(record(1), record(2)), "unfinished", 2)
    async with bus.client() as client:
        run, seen = await client.attach(RUN), []
        with pytest.raises(Unavailable) as caught:
            await collect(run.records(), seen)
        with pytest.raises(Unavailable):
            await run.result()
    assert (seen, caught.value.code) == ([1, 2], "run.unfinished")


async def test_a_result_has_what_ended_well_gave_from_whatever_number_the_records_are_read(bus, restarted):
    ended = [record(1, "node.finished", node="a", status="ok", outputs={"out": [1]}), record(2, "node.finished", node="b", status="failed")]
    await restarted(Ledger(*ended, record(3, "run.finished", status="failed", reason="b failed")), "failed", 3)
    async with bus.client() as client:
        run = await client.attach(RUN, from_seq=3)
        assert [each["seq"] async for each in run.records()] == [3]
        assert [each["seq"] async for each in run.records(2)] == [2, 3]
        result = await run.result()
    assert (result.status, result.reason, result.outputs) == ("failed", "b failed", {"a": {"out": [1]}})


async def test_what_is_done_to_a_run_goes_with_its_reason(bus):
    asked = []
    serve_attach(bus.server, "running", 1, asked)
    async with bus.client() as client:
        run = client.handle(RUN)
        for change in (run.cancel, run.pause, run.resume):
            await change("enough")
    assert asked == [{"verb": verb, "run": RUN, "reason": "enough"} for verb in ("cancel", "pause", "resume")]


async def test_an_attached_run_that_is_taken_up_meanwhile_is_followed_to_its_end(bus, restarted):
    ledger = Ledger(record(1), record(2))
    server = await restarted(ledger, "unfinished", 2)
    async with bus.client() as client:
        run = await client.attach(RUN)
        async with run.following() as records, asyncio.timeout(30):
            seen = [(await anext(records))["seq"] for _ in range(2)]
            ledger.records.append(record(3, "run.finished", status="succeeded"))
            serve_attach(server, "succeeded", 3)
            server.publish(TOPIC, RUN_EVENT, ledger.records[-1])
            await collect(records, seen)
            assert (seen, (await run.result()).ok) == ([1, 2, 3], True)


async def test_a_daemon_that_stops_and_stays_away_is_named_as_the_reason(bus, restarted):
    server = await restarted(Ledger(record(1)), "running", 1)
    async with bus.client(reconnect_s=0.1) as client, client.handle(RUN).following() as records:
        await anext(records)
        server.publish(
            TOPIC, "error.report.v1", {"run_id": RUN, "error": {"code": "daemon.stopped", "message": "m", "hint": "", "retryable": True}}
        )
        server.pump()
        await bus.stop()
        with pytest.raises(Unavailable) as caught:
            await anext(records)
    assert (caught.value.code, caught.value.exit_code) == ("daemon.stopped", EXIT_UNAVAILABLE)


async def test_a_run_that_breaks_off_raises_what_broke_it(bus, restarted):
    server = await restarted(Ledger(record(1)), "running", 1)
    async with bus.client() as client, client.handle(RUN).following() as records:
        await anext(records)
        server.publish(
            TOPIC, "error.report.v1", {"run_id": RUN, "error": {"code": "kb.full", "message": "the disk is full", "retryable": False}}
        )
        with pytest.raises(RunloopError) as caught:
            await anext(records)
    assert (caught.value.code, caught.value.message, caught.value.exit_code) == ("kb.full", "the disk is full", EXIT_FAILED)


async def test_who_reads_before_anything_is_followed_is_told_how(bus, restarted):
    await restarted(Ledger(record(1)), "running", 1)
    async with bus.client() as client:
        with pytest.raises(RunloopError, match="nothing is followed yet") as caught:
            await anext(client.handle(RUN).following())
    assert "async with" in caught.value.hint


async def test_leaving_early_leaves_no_subscription_and_no_task(bus, restarted):
    server = await restarted(Ledger(record(1), record(2)), "running", 2)
    async with bus.client() as client:
        before = server.stats().subscriptions
        async with client.handle(RUN).following() as records:
            await anext(records)
        await client.bus.flush()
        assert (server.stats().subscriptions, client.bus.on_reconnect, client.bus.pending) == (before, [], 0)


async def test_an_escaped_output_comes_back_as_it_was_given(bus, restarted):
    escaped = {"$data": {"$blob": ["mine"]}}
    ledger = Ledger(record(1, "node.finished", node="a", status="ok", outputs=escaped), record(2, "run.finished", status="succeeded"))
    await restarted(ledger, "succeeded", 2)
    async with bus.client() as client:
        assert await client.handle(RUN).outputs() == {"a": {"$blob": ["mine"]}}


READ = ["submit", "fork", "attach", "list", "approvals", "status", "metrics", "library", "describe_agents", "blob", "route"]


@pytest.mark.parametrize(("verb", "fields"), [*((verb, {}) for verb in READ), ("cancel", {"run": RUN})])
async def test_what_only_reads_or_can_be_repeated_is_asked_again_after_a_broken_connection(bus, verb, fields):
    asked = asyncio.Queue()

    async def control(request):
        asked.put_nowait(request.payload["verb"])
        if bus.server is first:
            await asyncio.get_running_loop().create_future()
        return {"ok": {"by": "the second"}}

    first = bus.server
    first.on_request("rlp/ctrl", control)
    async with bus.client() as client:
        asking = asyncio.create_task(client.ask(verb, **fields))
        assert await asked.get() == verb
        await bus.stop()
        (await bus.start()).on_request("rlp/ctrl", control)
        assert await asking == {"by": "the second"}


@pytest.mark.parametrize(("verb", "run"), [("cancel", "last"), ("cancel", RUN[:8]), ("pause", RUN)])
async def test_what_might_be_done_to_another_run_or_undo_what_somebody_else_did_is_not_asked_again(bus, verb, run):
    asked = asyncio.Event()

    async def control(_request):
        asked.set()
        await asyncio.get_running_loop().create_future()

    bus.server.on_request("rlp/ctrl", control)
    async with bus.client() as client:
        asking = asyncio.create_task(client.ask(verb, run=run))
        await asked.wait()
        await bus.stop()
        with pytest.raises(Unavailable) as caught:
            await asking
    assert caught.value.code == "bus.disconnected"


async def test_a_daemon_whose_start_takes_longer_than_a_client_waits_is_waited_for_as_long_as_it_says_how_far_it_is(
    bus, restarted, monkeypatch
):
    ledger, said, often = Ledger(record(1)), itertools.count(1), asyncio.Event()

    def starting(_path):
        far = next(said)
        if far == 4:
            often.set()
        return far, 99

    await restarted(ledger, "running", 1)
    async with bus.client(reconnect_s=0.01) as client, client.handle(RUN).following() as records, asyncio.timeout(30):
        await anext(records)
        monkeypatch.setattr(importlib.import_module("runloop.bus.listen"), "starting", starting)
        await bus.stop()
        await often.wait()
        ledger.records.append(record(2, "run.finished", status="succeeded"))
        await restarted(ledger, "running", 2)
        assert [each["seq"] async for each in records] == [2]
