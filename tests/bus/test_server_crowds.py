"""Frames with hundreds of copies on a real socket: nobody else waits for them, and none is lost."""

import asyncio

import pytest
from tests_bus_helpers import GENERIC, Raw

from runloop import rmp
from runloop.bus import BusClient, frames

CROWDED = "t/t/t/t/t/t/t/t/t/t"


async def crowd(server, subscriptions=255):
    """Readers that take a copy of each frame on ``CROWDED``, every subscription one of its own."""
    readers = []
    for number in range(3):
        reader = await Raw.connect(server)
        for sub in range(subscriptions):
            bits = f"{number * subscriptions + sub:010b}"
            pattern = "/".join("*" if bit == "1" else "t" for bit in bits)
            reader.send(frames.SUBSCRIBE, frames.Subscribe(sub, pattern, max_messages=1, max_bytes=1_000).payload())
            assert (await reader.frame()).envelope.payload["ok"]
        readers.append(reader)
    return readers


def flood(count):
    """Frames of one publisher on the topic of :func:`crowd`, as bytes."""
    from runloop.bus.server import now_ms

    envelope = rmp.Envelope(GENERIC, None, {"topic": CROWDED})
    return b"".join(rmp.encode_frame(envelope, trace_id=9, msg_id=number, created_at_ms=now_ms(), ttl_ms=60_000) for number in range(count))


def taken(server):
    """How many of them the bus has published."""
    found = server.stats().topics.get(CROWDED)
    return 0 if found is None else found.frames


async def test_frames_with_hundreds_of_copies_each_keep_nobody_else_waiting(serve):
    server = await serve()
    readers = await crowd(server)
    quiet = await BusClient.connect(server.path, name="quiet")
    publisher = await Raw.connect(server)
    publisher.writer.write(flood(300))
    while not (first := taken(server)):
        await asyncio.sleep(0)
    await quiet.flush()
    assert taken(server) < 300
    publisher.send(frames.PING, 1)
    assert (first < 300, (await publisher.frame()).type, taken(server)) == (True, frames.PONG, 300)
    stats = server.stats()
    assert (stats.topics[CROWDED].published, stats.total.queued) == (300 * 3 * 255, stats.queued_frames)
    await quiet.close()
    for each in (publisher, *readers):
        each.writer.close()


@pytest.mark.parametrize("aborts", [False, True], ids=["closes", "is lost"])
async def test_what_a_publisher_sent_before_it_ended_is_taken_whole(serve, aborts):
    server = await serve()
    readers = await crowd(server)
    publisher = await Raw.connect(server)
    publisher.writer.write(flood(100))
    while not taken(server):
        await asyncio.sleep(0)
    assert taken(server) < 100
    (connection,) = [each for each in server._connections if each._session is not None and each._session.left is not None]
    publisher.writer.close()
    if aborts:
        connection.abort()
    await connection.gone
    assert (taken(server), server.stats().connections) == (100, 3)
    for each in readers:
        each.writer.close()


async def test_a_server_that_ends_leaves_frames_that_it_has_not_taken(serve):
    server = await serve()
    readers = await crowd(server)
    publisher = await Raw.connect(server)
    publisher.writer.write(flood(300))
    while not taken(server):
        await asyncio.sleep(0)
    await server.close()
    assert (server.stats().connections, taken(server) < 300) == (0, True)
    for each in (publisher, *readers):
        each.writer.close()


async def test_garbage_behind_frames_with_many_copies_ends_the_connection_after_them(serve):
    server = await serve()
    readers = await crowd(server)
    publisher = await Raw.connect(server)
    publisher.writer.write(flood(50) + b"garbage" * 100)
    assert (await publisher.end())[1] == "rmp.invalid_magic"
    assert taken(server) == 50
    for each in (publisher, *readers):
        each.writer.close()
