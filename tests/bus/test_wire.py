"""The client's side of one connection: when what is sent goes out."""

import asyncio
from types import SimpleNamespace

import pytest

from runloop.bus import wire as module
from runloop.bus.inbox import Subscription
from runloop.bus.pending import Pending
from runloop.bus.wire import Wire


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)

    def is_closing(self):
        return False

    def set_write_buffer_limits(self, high):
        pass


class Clock:
    """Stands until it is moved."""

    seconds = 1.0

    def monotonic(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def connected():
    wire, transport = Wire(Pending(), Pending(), {}, lambda *_: None), Transport()
    wire.connection_made(transport)
    return wire, transport.written


async def test_what_follows_at_once_goes_out_together_at_the_end_of_the_turn(clock):
    wire, written = connected()
    for raw in (b"a", b"b", b"c"):
        wire.send(raw)
    assert written == [b"a"]
    await asyncio.sleep(0)
    assert written == [b"a", b"bc"]


async def test_what_comes_alone_goes_out_at_once(clock):
    wire, written = connected()
    for raw in (b"a", b"b"):
        wire.send(raw)
        clock.seconds += 0.001
    assert written == [b"a", b"b"]


async def test_a_flood_within_a_turn_does_not_wait_for_its_end(clock):
    wire, written = connected()
    for _ in range(3):
        wire.send(bytes(60_000))
    assert [len(data) for data in written] == [60_000, 120_000]
    wire.send(b"the rest")
    assert len(written) == 2
    await asyncio.sleep(0)
    assert written[2] == b"the rest"


async def test_a_durable_record_that_comes_again_is_handed_out_once(rig):
    sub = Subscription(
        SimpleNamespace(grant=lambda *_: None), 1, "rlp/runs/trace:1/events", "durable", from_seq=1, max_messages=9, max_bytes=1 << 20
    )
    wire = Wire(Pending(), Pending(), {1: sub}, lambda *_: None)
    for seq in (1, 2, 2, 1, 3):
        raw = rig.frame("observation.run.event.v1", seq, meta={"topic": sub.pattern, "seq": seq, "sub": 1})
        wire.get_buffer(-1)[: len(raw)] = raw
        wire.buffer_updated(len(raw))
    sub.end()
    assert [message.payload async for message in sub] == [1, 2, 3]
