"""The bus on a real socket: modes, peers that misbehave, requests, reconnecting."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import tempfile
import warnings
from pathlib import Path

import pytest
from tests_bus_helpers import ASK, GENERIC, TOKEN, Raw

from runloop import rmp
from runloop.bus import BusClient, BusLimits, BusServer, frames
from runloop.bus.errors import AlreadyRunning, BadFrame, Disconnected, LimitExceeded, NotAllowed
from runloop.bus.listen import Listener
from runloop.errors import InvalidInput, RunloopError

DESCRIPTORS = Path("/proc/self/fd")


async def test_the_socket_is_for_this_user_alone_and_goes_with_the_server(serve, tmp_path):
    server = await serve()
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
    await server.close()
    assert [path.name for path in server_files(tmp_path)] == ["rmp.sock.lock"]


def server_files(tmp_path):
    return sorted((tmp_path / "bus").iterdir())


async def test_a_second_daemon_is_refused_and_the_first_goes_on(serve, tmp_path):
    server = await serve()
    second = BusServer(token=TOKEN)
    with pytest.raises(AlreadyRunning) as caught:
        await second.start(server.path)
    assert caught.value.code == "bus.already_running"
    assert str(os.getpid()) in caught.value.message
    await second.close()
    async with await BusClient.connect(server.path) as client:
        await client.flush()


async def test_publish_and_subscribe_between_two_clients(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as writer, await BusClient.connect(server.path) as reader:
        news = await reader.subscribe("news/*")
        for number in range(2000):
            await writer.publish("news/today", GENERIC, {"n": number})
        await writer.flush()
        assert [(await anext(news)).payload["n"] for _ in range(976, 2000)][-1] == 1999


async def test_a_flood_larger_than_all_buffers_arrives_whole_where_the_queue_is_large_enough(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as writer, await BusClient.connect(server.path) as reader:
        flood = await reader.subscribe("a", max_messages=1_000_000, max_bytes=64 << 20)
        for number in range(20_000):
            await writer.publish("a", GENERIC, number.to_bytes(4, "big") * 100)
        for number in range(20_000):
            assert (await anext(flood)).payload[:4] == number.to_bytes(4, "big")


async def test_a_callback_gets_each_message_and_one_that_raises_harms_nobody(serve):
    server = await serve()
    broken = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context["exception"]))
    async with await BusClient.connect(server.path) as client:
        got, all_here = [], asyncio.Event()

        def on_message(message):
            got.append(message.payload)
            if len(got) == 3:
                all_here.set()
            if message.payload == 1:
                raise ValueError("broken")

        await client.subscribe("a", on_message=on_message)
        for number in range(3):
            server.publish("a", GENERIC, number)
        await all_here.wait()
    assert got == [0, 1, 2]
    assert [str(error) for error in broken] == ["broken"]


async def test_two_subscriptions_of_one_client_get_a_copy_each(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        one, two = await client.subscribe("a/*"), await client.subscribe("a/b")
        assert await client.publish("a/b", GENERIC, "x", ack=True) == 2
        assert ((await anext(one)).payload, (await anext(two)).payload) == ("x", "x")
        await two.close()
        await client.publish("a/b", GENERIC, "y", ack=True)
        assert (await anext(one)).payload == "y"
        assert [message.payload async for message in two] == []


async def test_a_connection_whose_goodbye_waits_until_it_reads_on_ends_once(serve):
    server, broken = await serve(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: broken.append(told))
    raw = await Raw.connect(server)
    raw.writer.transport.pause_reading()
    raw.send(frames.SUBSCRIBE, frames.Subscribe(1, "many").payload())
    while not server.stats().subscriptions:
        await asyncio.sleep(0)
    (connection,) = server._connections
    while not connection._paused:
        server.publish("many", GENERIC, {"text": "x" * 150_000})
        await asyncio.sleep(0)
    server.broker.goodbye(connection._session, RunloopError("enough", code="bus.stopping"), 0)
    server.pump()
    with socket.socket(fileno=os.dup(raw.writer.get_extra_info("socket").fileno())) as own:
        while server.stats().connections:
            with contextlib.suppress(BlockingIOError):
                while own.recv(1 << 20):  # all at once, so that what the server has kept goes out whole
                    pass
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    raw.writer.close()
    assert broken == []


async def test_what_the_bus_refuses_is_raised_at_the_caller(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        with pytest.raises(NotAllowed):
            await client.publish("rlp/sys/metrics", GENERIC, 1, ack=True)
        with pytest.raises(NotAllowed):
            await client.subscribe("rlp/ctrl")
        with pytest.raises(BadFrame):
            await client.subscribe("a//b")
        with pytest.raises(NotAllowed):
            await client.request("rlp/sys/x", ASK, {})
        assert client.pending == 0
    with pytest.raises(NotAllowed) as caught:
        await BusClient.connect(server.path, "operator", "wrong")
    assert caught.value.code == "bus.token"


async def test_nobody_there_is_said_with_the_path(tmp_path):
    with pytest.raises(Disconnected) as caught:
        await BusClient.connect(tmp_path / "nothing.sock")
    assert str(tmp_path) in caught.value.message
    assert "rlp up" in caught.value.hint


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b" " * 64, "rmp.body_too_large"),
        (b"\x00\x00\x00\x01", "rmp.truncated_header"),
        (b"\x00\x00\x00\x50" + b"x" * 80, "rmp.invalid_magic"),
    ],
)
async def test_garbage_is_answered_with_a_goodbye_and_harms_nobody(serve, garbage, code):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        peer = await Raw.connect(server, greet=False)
        peer.writer.write(garbage)
        type_, got = await peer.end()
        assert (type_, got.split(".")[0]) == (frames.GOODBYE, "rmp")
        await client.flush()


async def test_peers_that_say_nothing_or_half_a_frame_are_sent_away(serve):
    strict = await serve("strict.sock", limits=BusLimits(hello_ms=50))
    server = await serve(limits=BusLimits(frame_ms=50, heartbeat_ms=40))
    mute = await Raw.connect(strict, greet=False)
    slow = await Raw.connect(server)
    slow.writer.write(b"\x00\x00\x01")
    deaf = await Raw.connect(server)
    assert await mute.end() == (frames.GOODBYE, "bus.hello_timeout")
    assert await slow.end() == (frames.GOODBYE, "bus.frame_timeout")
    assert await deaf.end() == (frames.GOODBYE, "bus.heartbeat")
    assert (strict.stats().connections, server.stats().connections) == (0, 0)


async def test_a_client_answers_pings_and_stays(serve):
    server = await serve(limits=BusLimits(heartbeat_ms=20, missed_heartbeats=2))
    async with await BusClient.connect(server.path) as client:
        first = client.session
        pinged = next(iter(server.broker.sessions.values()))
        for _ in range(5):
            before = pinged.sent_ids
            while pinged.sent_ids == before:
                await asyncio.sleep(0.005)
        await client.flush()
        assert client.session == first


async def test_a_reader_that_stalls_is_bounded_and_the_other_gets_everything(serve):
    server = await serve()
    stalled = await Raw.connect(server)
    stalled.reader._transport.pause_reading()
    stalled.send(frames.SUBSCRIBE, frames.Subscribe(1, "a", max_messages=100).payload())
    async with await BusClient.connect(server.path) as writer, await BusClient.connect(server.path) as reader:
        got = await reader.subscribe("a", max_messages=100_000, max_bytes=64 << 20)
        while server.stats().subscriptions < 4:
            await asyncio.sleep(0)
        for number in range(3000):
            await writer.publish("a", GENERIC, number.to_bytes(4, "big") + bytes(1000))
        for number in range(3000):
            assert (await anext(got)).payload[:4] == number.to_bytes(4, "big")
        counts = server.stats().topics["a"]
        assert counts.published == 6000
        assert counts.queued <= 100
        assert sum(counts.dropped.values()) > 1000
    stalled.writer.transport.abort()


async def test_a_connection_beyond_the_limit_is_told_and_a_free_place_can_be_taken(serve):
    server = await serve(limits=BusLimits(connections=1))
    async with await BusClient.connect(server.path):
        with pytest.raises(RunloopError) as caught:
            await BusClient.connect(server.path)
        assert caught.value.code == "bus.connections"
    while server.stats().connections:
        await asyncio.sleep(0)
    async with await BusClient.connect(server.path):
        pass


async def test_another_user_is_refused_with_a_goodbye(serve, monkeypatch):
    server = await serve()
    monkeypatch.setattr("runloop.bus.connection.os.geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr("runloop.bus.connection.ROOT", os.getuid() + 1)
    peer = await Raw.connect(server, greet=False)
    assert await peer.end() == (frames.GOODBYE, "bus.uid")


NOBODY = 65534


def as_nobody(path):
    """Connect in a process of another user, and return all that comes back, or the name of the error."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forking beside threads; the child makes nothing but system calls
        pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                while data := peer.recv(65536):
                    os.write(writing, data)
        except OSError as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    return told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
async def test_a_process_of_another_user_does_not_get_in_and_is_told_why_where_the_modes_let_it_knock():
    with tempfile.TemporaryDirectory(prefix="rl-") as root:
        server = BusServer(token=TOKEN)
        await server.start(Path(root) / "bus" / "rmp.sock")
        assert await asyncio.to_thread(as_nobody, server.path) == b"PermissionError"
        for path, mode in ((Path(root), 0o755), (server.path.parent, 0o755), (server.path, 0o666)):
            path.chmod(mode)
        decoder = rmp.FrameDecoder()
        decoder.feed(await asyncio.to_thread(as_nobody, server.path))
        (goodbye,) = decoder.frames()
        assert (goodbye.type, goodbye.envelope.payload["code"]) == (frames.GOODBYE, "bus.uid")
        assert f"user {NOBODY}" in goodbye.envelope.payload["message"]
        while server.stats().connections:
            await asyncio.sleep(0)
        async with await BusClient.connect(server.path, "operator", TOKEN) as client:
            await client.flush()
        await server.close()


async def test_peer_credentials_come_from_the_kernel(serve):
    server = await serve()
    async with await BusClient.connect(server.path):
        (session,) = server.broker.sessions.values()
        assert (session.peer.uid, session.peer.gid, session.peer.pid) == (os.getuid(), os.getgid(), os.getpid())


async def test_a_client_reconnects_and_its_subscriptions_with_it(serve, tmp_path):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        news = await client.subscribe("a")
        server.publish("a", GENERIC, 1)
        assert (await anext(news)).payload == 1
        await server.close()
        again = await serve()
        while again.stats().subscriptions != 2:
            await asyncio.sleep(0.01)
        again.publish("a", GENERIC, 2)
        assert (await anext(news)).payload == 2
        assert await client.publish("a", GENERIC, 3, ack=True) == 1


async def test_a_client_of_another_event_loop_says_so_and_nothing_waits_for_ever(serve):
    server = await serve()
    client = await BusClient.connect(server.path)
    news = await client.subscribe("news")
    calls = (
        lambda: client.publish("news", GENERIC, 1),
        lambda: client.publish("news", GENERIC, 1, ack=True),
        lambda: client.request("news", ASK, 1),
        lambda: client.subscribe("more"),
        client.flush,
        news.close,
        client.close,
    )

    def elsewhere(call):
        with pytest.raises(InvalidInput) as caught:
            asyncio.run(call())
        return caught.value.code

    assert [await asyncio.to_thread(elsewhere, call) for call in calls] == ["client.loop"] * len(calls)
    assert await client.publish("news", GENERIC, 2, ack=True) == 1
    assert (await anext(news)).payload == 2
    await client.close()


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "x", "-1"])
async def test_what_comes_to_an_inbox_under_no_number_that_was_given_out_harms_nobody(serve, number):
    server = await serve()
    async with await BusClient.connect(server.path, reconnect_s=0) as asker, await BusClient.connect(server.path) as asked:
        assert await asked.publish(f"{asker.inbox}/{number}", GENERIC, 1, ack=True) == 1
        await asker.flush()


async def test_the_largest_message_reaches_who_has_two_subscriptions_that_match(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as writer, await BusClient.connect(server.path, reconnect_s=0) as reader:
        subs = [await reader.subscribe(pattern, max_bytes=16 << 20) for pattern in ("news/*", "news/**")]
        body = rmp.Envelope(GENERIC, b"x" * 70_000, {"topic": "news/a", "ack": True})
        room = rmp.DEFAULT_MAX_BODY - (len(rmp.encode_frame(body, trace_id=1, msg_id=1, created_at_ms=1)) - 68 - 70_000)
        await writer.publish("news/a", GENERIC, b"x" * room, ack=True)
        assert [len((await anext(sub)).payload) for sub in subs] == [room, room]


POISON = (b"\xd4\x01\x01", b"\xa2\xff\xfe", b"\x82\xa1a\x01\xa1a\x02", b"\x91" * 64 + b"\xc0")


def poisoned(topic, number, payload):
    """A frame whose ``meta`` is sound and whose payload is not."""
    good = rmp.encode_frame(rmp.Envelope(GENERIC, None, {"topic": topic}), trace_id=9, msg_id=number, created_at_ms=1000, ttl_ms=1 << 60)
    key = b"\xa7payload"
    body = good[68:].replace(key + b"\xc0", key + payload)
    header = bytearray(good[4:68])
    header[16:20] = len(body).to_bytes(4, "big")
    return (64 + len(body)).to_bytes(4, "big") + header + body


@pytest.mark.parametrize(("klass", "room"), [("realtime", 100), ("batched", 20)])
async def test_a_payload_that_breaks_the_rules_reaches_no_reader_and_costs_the_subscription_nothing(serve, klass, room):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        news = await client.subscribe("news", klass, max_messages=room)
        peer = await Raw.connect(server)
        peer.writer.write(b"".join(poisoned("news", number, payload) for number, payload in enumerate(POISON * 3, 10)))
        await peer.writer.drain()
        peer.send(GENERIC, "sound", topic="news")
        async with asyncio.timeout(30):
            got = (await anext(news)).payload
        assert (got, news.dropped) == ("sound", 12)
        peer.writer.close()


async def test_a_function_that_reads_a_broken_payload_goes_on_with_the_next_message(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        heard, done = [], asyncio.Event()

        def take(message):
            heard.append(message.payload)
            done.set()

        news = await client.subscribe("news", on_message=take)
        broken = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context))
        peer = await Raw.connect(server)
        peer.writer.write(b"".join(poisoned("news", number, payload) for number, payload in enumerate(POISON, 10)))
        peer.send(GENERIC, "sound", topic="news")
        async with asyncio.timeout(30):
            await done.wait()
        assert (heard, news.dropped, broken) == (["sound"], 4, [])
        peer.writer.close()


async def test_closing_says_goodbye_to_everybody(serve):
    server = await serve()
    peers = [await Raw.connect(server) for _ in range(3)]
    await server.close()
    assert [await peer.end() for peer in peers] == [(frames.GOODBYE, "bus.stopping")] * 3


async def test_thousands_of_connections_that_come_and_go_leave_no_descriptor_and_no_session(serve):
    server = await serve()
    before = len(list(DESCRIPTORS.iterdir()))
    for _ in range(200):
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, str(server.path))
        peer.send(b"\x00")
        peer.close()
        await asyncio.sleep(0)
    async with await BusClient.connect(server.path) as client:
        await client.flush()
        while server.stats().connections > 1:
            await asyncio.sleep(0)
    while server.stats().connections:
        await asyncio.sleep(0)
    assert len(list(DESCRIPTORS.iterdir())) <= before + 1
    assert server.broker.buffered == 0


async def test_a_frame_that_claims_more_than_the_limit_is_refused_before_its_body(serve):
    server = await serve()
    peer = await Raw.connect(server)
    header = struct.pack(">I4sHHIHHIQQQQQI", 64 + (1 << 30), b"RMP0", 0, 64, 0, 1, 0, 1 << 30, 1, 1, 0, 0, 1, 0)
    peer.writer.write(header)
    assert await peer.end() == (frames.GOODBYE, "rmp.body_too_large")


async def test_a_client_may_have_all_the_subscriptions_that_the_welcome_tells_of(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        subs = [
            await client.subscribe(f"topic/{number}") for number in range(client.limits["subscriptions"] - 1)
        ]  # the other one is its inbox
        sizes = [sub.max_bytes for sub in subs]
        assert (sizes[0], sizes[-1], server.stats().subscriptions) == (4 << 20, 256 << 10, 256)
        assert sum(sizes) + client.limits["queue_bytes"] <= client.limits["session_bytes"]
        with pytest.raises(LimitExceeded) as caught:
            await client.subscribe("one/more")
        assert caught.value.code == "bus.subscriptions"


async def test_a_socket_that_systemd_made_stays_when_the_server_ends(tmp_path):
    path = tmp_path / "rmp.sock"
    with socket.socket(socket.AF_UNIX) as systemds:
        systemds.bind(str(path))
        systemds.listen()
        server = BusServer()
        await server.start(Listener([systemds.dup()], path, None, None))
        await server.close()
        assert path.is_socket()
