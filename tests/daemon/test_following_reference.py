"""Following a run against the plainest model, a list: whatever breaks on the way, its records come once each and in order."""

import asyncio
import uuid
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.bus import BusClient, BusLimits, BusServer
from runloop.bus.errors import Disconnected
from runloop.daemon.feed import RunFeed, run_topic
from runloop.events import RunIdentity, record_of, run_event
from runloop.events.records import RunStarted, Versions
from runloop.kb import KnowledgeBase
from runloop.tasks import end_tasks

TOKEN = "f" * 64
OPENING = "opening:16fd2706-8baf-433b-82eb-8c7fada847da"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 8)),
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("turns"), st.integers(1, 40)),
        st.tuples(st.just("cut"), st.integers(0, 3_000)),
        st.sampled_from([("tell",), ("wait",), ("stop",), ("kill",), ("start",), ("elsewhere",), ("again",), ("beside",)]),
    ),
    min_size=12,
    max_size=40,
)


class Line:
    """Between a client and whatever daemon is there: it breaks after so many bytes towards the client."""

    def __init__(self, root):
        self.path, self.far = root / "line" / "rmp.sock", root / "bus" / "rmp.sock"
        self.path.parent.mkdir(mode=0o700)
        self.left = None
        self.writers, self.tasks = set(), set()

    async def start(self):
        self.server = await asyncio.start_unix_server(self.connected, self.path)

    async def connected(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.writers.add(writer)
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_unix_connection(self.far)
            self.writers.add(far_writer)
            ways = [self.carry(reader, far_writer, bounded=False), self.carry(far_reader, writer, bounded=True)]
            both = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            far_writer.transport.abort()
            await end_tasks(*both)
        writer.transport.abort()

    async def carry(self, reader, writer, *, bounded):
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if bounded and self.left is not None:
                    data, self.left = data[: self.left], max(0, self.left - len(data))
                writer.write(data)
                await writer.drain()
                if bounded and self.left == 0:
                    self.left = None
                    return

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def close(self):
        self.cut()
        self.server.close()
        if self.tasks:
            await asyncio.wait(self.tasks)


class World:
    """A ledger that stays, daemons that come and go, and a client that follows one run."""

    def __init__(self, kb, root, page, room):
        run_id = str(uuid.uuid4())
        self.run = RunIdentity(run_id, f"trace:{run_id}", OPENING, "followed")
        self.kb, self.line, self.page, self.room = kb, Line(root), page, room
        self.stored = self.told = 0
        self.server = self.feed = self.sub = None
        self.got, self.heard = [], []

    async def start(self):
        if self.server is None:
            self.feed = RunFeed(self.kb)
            self.server = BusServer(limits=BusLimits(replay_messages=self.page), token=TOKEN, ledger=self.feed)
            self.feed.bus, self.server.before_flush = self.server, self.feed.flush
            await self.server.start(self.line.far)

    async def end(self, *, told):
        if self.server is not None:
            if not told:
                self.line.cut()
            server, self.server = self.server, None
            await server.close()

    def store(self, kind="node.log", meta=None, *, seen=True):
        """A record becomes durable; the daemon has it from its own runs, and not from those of another process."""
        self.stored += 1
        if self.stored == 1:
            kind, meta = "run.submitted", RunStarted("d", {}, Versions("0"), "local")
        meta = meta or {"node": "a", "text": "x" * (self.stored * 37 % 400)}
        (event,) = self.kb.ledger.append([run_event(self.run, self.stored, kind, meta, "m")])
        self.last = record_of(event)
        if seen and self.server is not None:
            self.feed.take(self.last)

    def tell(self):
        """Something that is not kept: only who follows now may hear of it."""
        if self.server is not None and self.stored:
            self.told += 1
            self.feed.take({**self.last, "kind": "node.progress", "event_id": None, "message": str(self.told)})

    async def follow(self, client, from_seq):
        options = {"from_seq": from_seq, "max_messages": self.room, "max_bytes": 64 * 1024}
        self.sub = await insisting(lambda: client.subscribe(run_topic(self.run.run_id), "durable", **options))

    async def read(self):
        record = (await anext(self.sub)).payload
        (self.got if record["event_id"] is not None else self.heard).append(record)


async def insisting(ask):
    """What is asked for, again after each broken line: nobody repeats it for who asked."""
    while True:
        with suppress(Disconnected):
            return await ask()


async def followed(world, steps, from_seq):  # noqa: C901, PLR0912 - a branch for each step
    await world.line.start()
    await world.start()
    async with await BusClient.connect(world.line.path, "operator", TOKEN, reconnect_s=60) as client:
        await world.follow(client, from_seq)
        for step in [*steps, ("start",), ("store", 1), ("read", 1_000)]:
            match step:
                case ("store", count):
                    for _ in range(count):
                        world.store()
                case ("elsewhere",) if world.server is None:
                    world.store(seen=False)
                case ("wait",):
                    world.store("run.waiting", {"why": "a person"})
                case ("tell",):
                    world.tell()
                case ("read", count) if world.server is not None:
                    for _ in range(count):
                        if from_seq + len(world.got) <= world.stored:
                            await world.read()
                case ("turns", count):
                    for _ in range(count):
                        await asyncio.sleep(0)
                case ("cut", count):
                    world.line.left = count
                case ("stop",) | ("kill",):
                    await world.end(told=step == ("stop",))
                case ("start",):
                    await world.start()
                case ("again",) if world.server is not None:
                    with suppress(Disconnected):
                        await world.sub.close()
                    await world.follow(client, from_seq + len(world.got))
                case ("beside",) if world.server is not None:
                    await insisting(lambda: client.subscribe("rlp/runs/**", max_messages=4, max_bytes=64 * 1024))
        assert world.sub.waiting == 0


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    with KnowledgeBase.open(tmp_path_factory.mktemp("kb") / "pog") as kb:
        yield kb


@settings(max_examples=60)
@given(steps=STEPS, from_seq=st.integers(1, 6), page=st.integers(1, 5), room=st.integers(1, 9))
def test_each_record_comes_once_and_in_order_over_broken_lines_and_daemons(ledger, steps, from_seq, page, room):
    with TemporaryDirectory(prefix="rl-") as root, mock.patch.multiple("runloop.bus.client", _FIRST_PAUSE_S=0.001, _LONGEST_PAUSE_S=0.01):
        world = World(ledger, Path(root), page, room)

        async def within():
            try:
                async with asyncio.timeout(60):
                    await followed(world, steps, from_seq)
            finally:
                await world.end(told=True)
                await world.line.close()

        asyncio.run(within())
    assert [record["seq"] for record in world.got] == list(range(from_seq, world.stored + 1))
    numbers = [int(record["message"]) for record in world.heard]
    assert numbers == sorted(set(numbers))
