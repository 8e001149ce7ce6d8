"""Durable subscriptions on a real socket: what is read from the ledger, for whom, and what follows live."""

import asyncio
import contextlib

import pytest
from tests_bus_helpers import GENERIC

from runloop import rmp
from runloop.bus import BusClient
from runloop.bus.errors import BadFrame
from runloop.errors import RunloopError


class Ledger:
    """Records in memory behind the port."""

    def __init__(self):
        self.records = []

    def store(self, seq):
        meta = {"topic": "log", "seq": seq}
        self.records.append((seq, rmp.encode_frame(rmp.Envelope(GENERIC, seq, meta), trace_id=1, msg_id=seq, created_at_ms=1000)))
        return self.records[-1][1]

    async def read(self, topic, from_seq, limit):
        if topic != "log":
            raise RunloopError("no such topic", code="run.unknown")
        await asyncio.sleep(0)
        return [record for record in self.records if record[0] >= from_seq][:limit]


class Shelf(Ledger):
    """A ledger that is slow, and says who reads at once."""

    def __init__(self):
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = []

    async def read(self, topic, from_seq, limit):
        self.begun.append(topic)
        await self.go_on.wait()
        return []


async def test_the_ledger_is_read_for_each_connection_one_thing_at_a_time_and_for_one_that_is_gone_nothing(serve):
    shelf = Shelf()
    server = await serve(ledger=shelf)
    async with await BusClient.connect(server.path) as many, await BusClient.connect(server.path) as one:
        for number in range(5):
            await many.subscribe(f"many/{number}", "durable")
        await one.subscribe("one", "durable")
        assert shelf.begun == ["many/0", "one"]
        shelf.go_on.set()
        while server.handling:
            await asyncio.sleep(0)
        assert shelf.begun == ["many/0", "one", "many/1", "many/2", "many/3", "many/4"]
        shelf.go_on.clear()
        for number in range(5, 8):
            await many.subscribe(f"many/{number}", "durable")
    while server.stats().connections:
        await asyncio.sleep(0)
    shelf.go_on.set()
    while server.handling:
        await asyncio.sleep(0)
    assert shelf.begun[6:] == ["many/5"]


async def test_a_durable_subscription_replays_follows_and_resumes_without_gap_or_repetition(serve, now_ms):
    ledger = Ledger()
    server = await serve(ledger=ledger)

    def store(seq, on):
        raw = ledger.store(seq)
        on.publish("log", GENERIC, seq, meta={"seq": seq})
        return raw

    for seq in range(1, 700):
        ledger.store(seq)
    async with await BusClient.connect(server.path) as client:
        log = await client.subscribe("log", "durable", from_seq=3, max_messages=50)
        got = [(await anext(log)).seq for _ in range(100)]
        for seq in range(700, 900):
            store(seq, server)
        got += [(await anext(log)).seq for _ in range(500)]
        await server.close()
        for seq in range(900, 1000):
            ledger.store(seq)
        again = await serve(ledger=ledger)
        got += [(await anext(log)).seq for _ in range(1000 - 3 - len(got))]
        store(1000, again)
        got.append((await anext(log)).seq)
        assert got == list(range(3, 1001))
        missing = await client.subscribe("elsewhere", "durable")
        with pytest.raises(RunloopError) as caught:
            await anext(missing)
        assert caught.value.code == "run.unknown"


async def test_what_is_read_while_others_are_subscribed_again_makes_room_for_more(serve):
    ledger = Ledger()
    server = await serve(ledger=ledger)
    async with await BusClient.connect(server.path) as client:
        log = await client.subscribe("log", "durable", max_messages=2)
        for number in range(50):
            await client.subscribe(f"other/{number}")
        await server.close()
        for seq in range(1, 10):
            ledger.store(seq)
        await serve(ledger=ledger)
        async with asyncio.timeout(30):
            assert [(await anext(log)).seq for _ in range(9)] == list(range(1, 10))


async def test_what_is_told_while_a_subscription_begins_is_not_for_it_and_costs_it_no_record(serve):
    ledger = Ledger()
    server = await serve(ledger=ledger)

    def store(seq):
        ledger.store(seq)
        server.publish("log", GENERIC, seq, meta={"seq": seq})

    for seq in range(1, 6):
        ledger.store(seq)
    async with await BusClient.connect(server.path) as client:
        everything = await client.subscribe("*")
        begins = asyncio.create_task(client.subscribe("log", "durable"))
        await asyncio.sleep(0)
        store(6)
        log = await begins
        assert [(await anext(log)).seq for _ in range(6)] == [1, 2, 3, 4, 5, 6]
        store(7)
        assert (await anext(log)).seq == 7
        await client.flush()
        assert [(await anext(everything)).seq for _ in range(everything.waiting)] == [6, 7]


async def test_a_subscription_that_nobody_waits_for_any_more_is_none_for_the_bus(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        for turns in range(6):
            begins = asyncio.create_task(client.subscribe(f"a/{turns}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            begins.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await begins).close()
        await client.flush()
        assert server.stats().subscriptions == 1
        assert client.pending == 0


async def test_a_subscription_that_is_closed_while_the_client_reconnects_does_not_come_back(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        first, last = await client.subscribe("a"), await client.subscribe("b")
        await server.close()
        again = await serve()
        while again.stats().subscriptions < 2:
            await asyncio.sleep(0)
        await first.close()
        await client.flush()
        assert again.stats().subscriptions == 2
        again.publish("b", GENERIC, 1)
        assert (await anext(last)).payload == 1


@pytest.mark.parametrize(
    "wrong",
    [{"from_seq": 5}, {"klass": "durable", "from_seq": "5"}, {"klass": "durable", "from_seq": -1}, {"klass": "best"}, {"max_messages": 0}],
)
async def test_a_subscription_that_makes_no_sense_is_refused_by_the_client(serve, wrong):
    server = await serve(ledger=Ledger())
    async with await BusClient.connect(server.path) as client:
        with pytest.raises(BadFrame) as caught:
            await client.subscribe("log", **wrong)
        assert (caught.value.code, server.broker.refused) == ("bus.invalid", 0)
        assert server.stats().subscriptions == 1
