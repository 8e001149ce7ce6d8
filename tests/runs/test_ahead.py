"""A run goes on while its records are on their way to the disk; what leaves it, and what anybody sees of it, waits for them (ADR 5)."""

import asyncio
import json

import pytest

from runloop.errors import Unavailable
from runloop.openings.states import NodeReady, RunDone, StartNode, Status
from runloop.runs import carrying_out
from runloop.runs import recorder as recorder_module
from runloop.runs.commands import AT_ONCE, READY_AT_ONCE, portions
from runloop.runs.recorder import DRAFTS_AT_ONCE
from runloop.runs.services import RunRules

NEXT = "@agent\ndef run(**inputs):\n    return {'out': 1}\n"
SENDS = "@agent\ndef run(**inputs):\n    mail.send([{'email': 'ada@example.org'}], subject='Hello', text='there')\n    return {'out': 1}\n"
TELLS = "@agent\ndef run(**inputs):\n    emit.progress('half', 0.5)\n    return {'out': 1}\n"


HANGS = "@agent\ndef run(**inputs):\n    while True: pass\n"


class Slow:
    """The ledger, with a disk that takes what it is given only when a test says so. ``fails`` is what the commits from then on meet."""

    def __init__(self, b):
        self.aio, self.queue, self.open, self.fails = b.services.ledger, [], True, None
        object.__setattr__(b.services, "ledger", self)

    def append(self, events, *, check=True, urgent=True):
        done = asyncio.get_running_loop().create_future()
        self.queue.append((list(events), done))
        if self.open:
            self.let()
        return done

    def let(self):
        queue, self.queue = self.queue, []
        for events, done in queue:
            if self.fails is not None:
                done.set_exception(self.fails)
                continue
            self.aio.append(events).add_done_callback(lambda written, done=done: _pass(written, done))


def _pass(written, done):
    if (error := written.exception()) is not None:
        done.set_exception(error)
    else:
        done.set_result(written.result())


class Guests:
    """The pool, and who began in it."""

    def __init__(self, b):
        self.run, self.began = b.pool.run, []
        b.pool.run = self

    async def __call__(self, spec, hostcall, *rest):
        self.began.append(spec)
        return await self.run(spec, hostcall, *rest)


def chain(*agents):
    nodes = ", ".join(f"{{id: n{number}, use: {use}}}" for number, use in enumerate(agents))
    edges = ", ".join(f"{{from: n{number}.out, to: n{number + 1}.go}}" for number in range(len(agents) - 1))
    return f"version: 0\nname: chain\nnodes: [{nodes}]\nedges: [{edges}]\n"


async def settled(found, least):
    """What ``found`` gives once it is ``least`` or more, and stays the same."""
    last, same = found(), 0
    async with asyncio.timeout(60):
        while same < 10 or last < least:
            await asyncio.sleep(0.02)
            last, same = (found(), 0) if found() != last else (last, same + 1)
    return last


async def test_nodes_follow_each_other_while_nothing_of_it_is_on_disk_and_nobody_sees_it(bench):
    async with bench() as b:
        b.agent("next", NEXT, ports_in=("go",))
        run = await b.submit(chain("agent:next", "agent:next", "agent:next"))
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))

        assert await settled(lambda: len(guests.began), 3) == 3
        assert ([event.kind for event in b.ledger.read()], b.kinds(), driven.done()) == (["run.submitted"], ["run.submitted"], False)

        disk.let()
        assert (await driven).status == "succeeded"
        assert [record["seq"] for record in b.records] == list(range(1, len(b.records) + 1))
        starts = [record for record in b.records if record["kind"] == "node.started"]
        for start, began in zip(starts, guests.began, strict=True):
            assert (json.loads(began.request_json)["run"]["node"], began.start_ms) == (start["meta"]["node"], start["ts_ms"])


async def test_what_leaves_the_machine_waits_for_everything_before_it(bench, desk):
    async with bench(operator=desk(True)) as b:
        b.agent("next", NEXT, ports_in=("go",))
        b.agent("sends", SENDS, ports_in=("go",), caps="mail = true")
        run = await b.submit(chain("agent:next", "agent:sends"))
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))

        assert await settled(lambda: len(guests.began), 2) == 2
        assert (b.outbox.sent, b.services.operator.shown) == ([], [])

        disk.open = True
        disk.let()
        assert ((await driven).status, len(b.outbox.sent)) == ("succeeded", 1)


async def test_a_disk_that_takes_nothing_holds_a_run_up_after_some_nodes(bench):
    async with bench() as b:
        b.agent("next", NEXT, ports_in=("go",))
        run = await b.submit(chain(*["agent:next"] * 20))
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))

        assert await settled(lambda: len(guests.began), 8) == 8

        disk.open = True
        disk.let()
        assert ((await driven).status, len(guests.began)) == ("succeeded", 20)


async def test_a_commit_that_fails_though_nobody_waited_for_it_ends_the_drive_and_leaves_no_gap(bench):
    async with bench() as b:
        b.agent("next", NEXT, ports_in=("go",))
        b.agent("hangs", HANGS, ports_in=("go",))
        run = await b.submit(chain("agent:next", "agent:next", "agent:hangs"))
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))
        await settled(lambda: len(guests.began), 3)
        first, *rest = disk.queue
        disk.queue = [first]
        disk.let()
        disk.queue, disk.fails = rest[:1], Unavailable("the disk is gone", code="kb.io")
        disk.let()
        disk.fails, disk.open = None, True
        disk.queue = rest[1:]
        disk.let()

        with pytest.raises(Unavailable, match="the disk is gone"):
            async with asyncio.timeout(20):  # the guest that hangs is not waited for
                await driven
        assert [event.payload["seq"] for event in b.ledger.read(run_id=run.run_id)] == list(range(1, 2 + len(first[0])))


async def test_after_a_cancellation_nothing_begins_of_what_was_about_to(bench):
    async with bench(rules=RunRules(max_parallel=100)) as b:
        b.agent("hangs", HANGS)
        nodes = ", ".join(f"{{id: n{number}, use: agent:hangs}}" for number in range(100))
        run = await b.submit(f"version: 0\nname: wide\nnodes: [{nodes}]\nedges: []\n")
        guests, begin = [], b.pool.run

        async def cancels(spec, hostcall, *rest):
            guests.append(spec)
            run.cancel("enough")
            return await begin(spec, hostcall, *rest)

        b.pool.run = cancels
        assert (await b.manager.drive(run)).status == "cancelled"

        assert len(guests) <= AT_ONCE
        ended = [(meta["node"], meta["status"]) for meta in b.metas("node.finished")]
        assert sorted(ended) == sorted((f"n{number}", "cancelled") for number in range(100))


async def test_a_run_that_ends_with_hundreds_of_items_lets_others_go_on_and_is_one_commit(bench, monkeypatch):
    async with bench(rules=RunRules(max_parallel=1)) as b:
        b.agent("hangs", HANGS, ports_in=("item",))
        count = 3 * DRAFTS_AT_ONCE
        items = "{id: a, use: agent:hangs, for_each: {in: params.items, as: item}}"
        run = await b.submit(f"version: 0\nname: wide\nparams: {{items: {list(range(count))}}}\nnodes: [{items}]\nedges: []\n")
        disk, turns, begin = Slow(b), [], b.pool.run
        run.recorder._ledger = disk

        async def turn():
            turns.append(len(disk.queue))
            await asyncio.sleep(0)

        async def cancels(spec, hostcall, *rest):
            disk.open = False
            disk.let()
            run.cancel("enough")
            await asyncio.sleep(0)
            return await begin(spec, hostcall, *rest)

        monkeypatch.setattr(carrying_out, "pause", turn)
        monkeypatch.setattr(recorder_module, "pause", turn)
        b.pool.run = cancels
        driven = asyncio.ensure_future(b.manager.drive(run))
        await settled(lambda: len(disk.queue), 2)
        assert len(turns) >= 6
        (cancelling, _), (ends, _) = disk.queue
        disk.open = True
        disk.let()
        assert ((await driven).status, set(turns)) == ("cancelled", {1})
        assert [event.kind for event in cancelling] == ["run.cancelling"]
        assert [event.kind for event in ends] == [*["node.finished"] * (count + 1), "run.finished"]


async def test_a_nested_run_begins_only_when_the_node_that_it_is_is_on_disk(bench):
    async with bench() as b:
        b.agent("next", NEXT, ports_in=("go",))
        b.openings["inner"] = chain("agent:next").replace("chain", "inner")
        run = await b.submit('version: 0\nname: outer\nnodes: [{id: only, use: "opening:inner"}]\nedges: []\n')
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))

        assert await settled(lambda: (len(guests.began), len(disk.queue)), (0, 1)) == (0, 1)

        disk.open = True
        disk.let()
        assert (await driven).status == "succeeded"


async def test_progress_is_shown_after_the_start_of_the_node_that_makes_it(bench):
    async with bench() as b:
        b.agent("tells", TELLS, ports_in=("go",))
        run = await b.submit(chain("agent:tells"))
        disk, guests = Slow(b), Guests(b)
        run.recorder._ledger, disk.open = disk, False
        driven = asyncio.ensure_future(b.manager.drive(run))
        await settled(lambda: min(len(guests.began), len(disk.queue)), 1)

        assert b.kinds() == ["run.submitted"]

        disk.open = True
        disk.let()
        await driven
        kinds = b.kinds()
        assert kinds.index("node.started") < kinds.index("node.progress") < kinds.index("node.finished")


def start(node):
    return StartNode(node, "agent:a", 1, {}, 1000)


def test_many_starts_come_in_portions_each_after_its_ready():
    nodes = [f"n{number}" for number in range(AT_ONCE)]
    commands = [*map(NodeReady, nodes), *(start(node) for node in nodes[:-1])]

    parts = list(portions(commands))

    assert all(len(part) <= AT_ONCE + 1 for part in parts)
    whole = [command for part in parts for command in part]
    assert sorted(map(repr, whole)) == sorted(map(repr, commands))
    assert all(whole.index(NodeReady(node)) < whole.index(start(node)) for node in nodes[:-1])
    assert whole[-1] == NodeReady(nodes[-1])
    assert [c.node for c in whole if isinstance(c, StartNode)] == nodes[:-1]


def test_many_readies_without_a_start_are_written_in_portions_too():
    commands = [NodeReady(str(number)) for number in range(3 * READY_AT_ONCE)]
    parts = list(portions([*commands, start("0")]))
    assert [len(part) for part in parts] == [READY_AT_ONCE] * 3 + [1]
    assert [command for part in parts for command in part] == [commands[0], start("0"), *commands[1:]]


def test_what_ends_something_stays_one_commit():
    commands = [*map(NodeReady, map(str, range(100))), RunDone(Status.CANCELLED, "stop", "", {}, 0, 0)]
    assert list(portions(commands)) == [commands]
    assert list(portions([])) == [[]]
