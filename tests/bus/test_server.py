"""The bus on a real socket: modes, peers that misbehave, requests, reconnecting."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import tempfile
import time
import warnings
from pathlib import Path

import pytest

from runloop import rmp
from runloop.bus import BusClient, BusLimits, BusServer, frames
from runloop.bus.errors import AlreadyRunning, BadFrame, DeadlinePassed, Disconnected, LimitExceeded, NotAllowed
from runloop.bus.listen import Listener
from runloop.errors import InvalidInput, RunloopError

GENERIC = "observation.generic.v1"
ASK = "intent.ctrl.request.v1"
TOKEN = "f" * 64
CROWDED = "t/t/t/t/t/t/t/t/t/t"
DESCRIPTORS = Path("/proc/self/fd")


class Raw:
    """A peer that sends whatever bytes a test wants."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.decoder = rmp.FrameDecoder()

    @classmethod
    async def connect(cls, server, *, greet=True):
        raw = cls(*await asyncio.open_unix_connection(server.path))
        if greet:
            raw.send(frames.HELLO, frames.Hello("client", "raw", "1").payload())
            assert (await raw.frame()).type == frames.WELCOME
        return raw

    def send(self, type_, payload, now=None, ttl_ms=rmp.DEFAULT_TTL_MS, **meta):
        from runloop.bus.server import now_ms

        envelope = rmp.Envelope(type_, payload, meta or None)
        created_at_ms = now_ms() if now is None else now
        self.writer.write(rmp.encode_frame(envelope, trace_id=1, msg_id=1, created_at_ms=created_at_ms, ttl_ms=ttl_ms))

    async def frame(self):
        while True:
            for frame in self.decoder.frames():
                return frame
            data = await self.reader.read(65536)
            if not data:
                return None
            self.decoder.feed(data)

    async def end(self):
        """The last frame before the connection ended."""
        last = None
        while (frame := await self.frame()) is not None:
            last = frame
        self.writer.close()
        return last.type, last.envelope.payload["code"]


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


async def test_a_request_is_answered_and_the_handler_knows_who_asks(serve):
    server = await serve()

    async def handler(request):
        return {"ok": [request.peer.role, request.peer.name, request.peer.uid, request.payload]}

    server.on_request("rlp/ctrl", handler)
    async with await BusClient.connect(server.path, "operator", TOKEN, name="cli") as client:
        answers = await asyncio.gather(*(client.request("rlp/ctrl", ASK, number) for number in range(50)))
        assert [answer.payload["ok"] for answer in answers] == [["operator", "cli", os.getuid(), number] for number in range(50)]
        assert (client.pending, server.handling) == (0, 0)


async def test_many_requests_of_one_connection_keep_nobody_elses_waiting(serve):
    server, begun = await serve(), []

    async def handler(request):
        begun.append(request.peer.name)
        return {"ok": True}

    server.on_request("rlp/ctrl", handler)
    async with await BusClient.connect(server.path, name="busy") as busy, await BusClient.connect(server.path, name="quiet") as quiet:
        many = [asyncio.create_task(busy.request("rlp/ctrl", ASK, number)) for number in range(60)]
        while not begun:
            await asyncio.sleep(0)
        await quiet.request("rlp/ctrl", ASK, None)
        await asyncio.gather(*many)
    assert begun.count("busy") == 60
    assert begun.index("quiet") < 30
    assert server.handling == 0


async def test_a_request_that_expires_in_its_line_is_not_begun_and_its_answer_says_so(serve):
    server, begun = await serve(), []

    async def handler(request):
        begun.append(request.payload)
        time.sleep(0.005)  # noqa: ASYNC251 - it holds the loop, as work does
        return {"ok": request.payload}

    server.on_request("rlp/ctrl", handler)
    raw = await Raw.connect(server)
    inbox = f"rlp/inbox/{next(iter(server.broker.sessions))}"
    raw.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    for number in range(100):
        raw.send(ASK, number, ttl_ms=100, topic="rlp/ctrl", reply_to=f"{inbox}/1")
    answers = []
    while len(answers) < 100:
        envelope = (await raw.frame()).envelope
        answers += [envelope.payload] if "topic" in (envelope.meta or {}) else []
    late = [answer["error"] for answer in answers if "error" in answer]
    assert 0 < len(begun) < 100
    assert begun == [answer["ok"] for answer in answers if "ok" in answer]
    assert {(error["code"], "was not begun" in error["message"]) for error in late} == {("bus.deadline", True)}
    raw.writer.close()


async def test_requests_that_nobody_began_are_dropped_when_the_server_ends(serve):
    server, begun = await serve(), []

    async def handler(request):
        begun.append(request.payload)
        await asyncio.Event().wait()

    server.on_request("rlp/ctrl", handler)
    async with await BusClient.connect(server.path, reconnect_s=0) as client:
        asked = [asyncio.create_task(client.request("rlp/ctrl", ASK, number)) for number in range(200)]
        while not begun:
            await asyncio.sleep(0)
        await server.close()
        assert {error.code for error in await asyncio.gather(*asked, return_exceptions=True)} == {"bus.disconnected"}
    assert len(begun) < 200
    assert server.handling == 0


async def asked_at_once(server, size, count):
    """A peer that asked for large answers and has read none; they are there."""
    worked = 0

    async def large(_request):
        nonlocal worked
        worked += 1
        return b"x" * size

    server.on_request("large", large)
    peer = await Raw.connect(server, greet=False)
    peer.send(frames.HELLO, frames.Hello("client", "raw", "1").payload())
    inbox = (await peer.frame()).envelope.payload["inbox"]
    peer.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    assert (await peer.frame()).type == frames.ACK
    for number in range(count):
        peer.send(ASK, number, topic="large", reply_to=f"{inbox}/{number}")
    while worked < count:
        await asyncio.sleep(0)
    return peer


async def test_answers_wait_for_who_reads_them_late_and_none_is_lost(serve):
    server = await serve()
    peer = await asked_at_once(server, 1 << 20, 20)
    answers = [await peer.frame() for _ in range(20)]
    assert sorted(int(answer.meta["topic"].rpartition("/")[2]) for answer in answers) == list(range(20))
    while server.handling:
        await asyncio.sleep(0)
    peer.writer.close()


async def ask_for_bytes(server, sizes):
    """A peer that asked for answers of these sizes, each with a time to live, and has read none; all are made."""
    begun = []

    async def large(request):
        begun.append(request.payload)
        return b"x" * request.payload

    server.on_request("large", large)
    peer = await Raw.connect(server, greet=False)
    peer.send(frames.HELLO, frames.Hello("client", "raw", "1").payload())
    inbox = (await peer.frame()).envelope.payload["inbox"]
    peer.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    assert (await peer.frame()).type == frames.ACK
    for number, (size, ttl_ms) in enumerate(sizes):
        peer.send(ASK, size, ttl_ms=ttl_ms, topic="large", reply_to=f"{inbox}/{number}")
    until = time.monotonic() + min(ttl_ms for _, ttl_ms in sizes) / 1000  # what expired in its line is not begun
    while len(begun) < len(sizes) and time.monotonic() < until:
        await asyncio.sleep(0)
    return peer


async def read_until(peer, wanted):
    """Read on until the answers with these numbers have come."""
    while wanted:
        wanted = wanted - {int((await peer.frame()).meta["topic"].rpartition("/")[2])}


async def test_a_large_answer_waits_until_it_costs_none_of_the_small_ones(serve):
    server = await serve()
    peer = await ask_for_bytes(server, [*[(100_000, 60_000)] * 40, (4 << 20, 60_000)])
    await read_until(peer, set(range(41)))
    peer.writer.close()


async def test_an_answer_whose_request_expired_before_there_was_room_costs_none_that_is_still_to_be_read(serve):
    server = await serve()
    peer = await ask_for_bytes(server, [*[(1 << 20, 60_000)] * 6, *[(1 << 20, 100)] * 20])
    while server.handling > 6:
        await asyncio.sleep(0)
    await read_until(peer, set(range(6)))
    while server.handling:
        await asyncio.sleep(0)
    peer.writer.close()


async def test_answers_for_who_left_without_reading_them_are_nobodys(serve):
    server = await serve()
    peer = await asked_at_once(server, 1 << 20, 20)
    peer.writer.transport.abort()
    while server.handling:
        await asyncio.sleep(0)
    assert server.broker.sessions == {}


async def test_errors_of_a_handler_are_replies_and_leave_nothing_behind(serve):
    broken = []
    server = await serve(on_error=lambda error, topic: broken.append((str(error), topic)))

    async def refuses(_request):
        raise InvalidInput("no such run", code="run.unknown", hint="`rlp runs` lists them")

    async def breaks(_request):
        raise ValueError("oops")

    async def unsendable(_request):
        return {"ok": object()}

    async def hangs(_request):
        await asyncio.Event().wait()

    for name, handler in (("refuses", refuses), ("breaks", breaks), ("unsendable", unsendable), ("hangs", hangs)):
        server.on_request(name, handler)
    async with await BusClient.connect(server.path) as client:
        errors = [(await client.request(name, ASK, {})).payload["error"] for name in ("refuses", "breaks", "unsendable")]
        assert [error["code"] for error in errors] == ["run.unknown", "bus.handler", "rmp.encode_error"]
        assert errors[2]["message"].startswith("the answer cannot be sent: ")
        assert broken == [("oops", "breaks")]
        with pytest.raises(DeadlinePassed):
            await client.request("hangs", ASK, {}, deadline_ms=30)
        with pytest.raises(Disconnected) as caught:
            await client.request("nobody", ASK, {})
        assert caught.value.code == "bus.no_responder"
        assert client.pending == 0
    while server.handling:
        await asyncio.sleep(0)


async def test_a_deadline_that_the_daemon_notices_first_is_the_same_error(serve):
    server = await serve()

    async def late(_request):
        raise RunloopError("no answer", code="bus.deadline")

    server.on_request("late", late)
    async with await BusClient.connect(server.path) as client:
        with pytest.raises(DeadlinePassed):
            await client.request("late", ASK, {})


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


async def test_requests_between_clients_go_through_reply_to(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as asker, await BusClient.connect(server.path) as agent:
        asked = await agent.subscribe("echo")

        async def serve_one():
            message = await anext(asked)
            await agent.publish(message.meta["reply_to"], GENERIC, message.payload, trace_id=message.trace_id)

        reply, _ = await asyncio.gather(asker.request("echo", ASK, {"x": 1}), serve_one())
        assert reply.payload == {"x": 1}


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
    server = await serve(limits=BusLimits(hello_ms=50, frame_ms=50, heartbeat_ms=40))
    mute = await Raw.connect(server, greet=False)
    slow = await Raw.connect(server)
    slow.writer.write(b"\x00\x00\x01")
    deaf = await Raw.connect(server)
    assert await mute.end() == (frames.GOODBYE, "bus.hello_timeout")
    assert await slow.end() == (frames.GOODBYE, "bus.frame_timeout")
    assert await deaf.end() == (frames.GOODBYE, "bus.heartbeat")
    assert server.stats().connections == 0


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


async def test_a_request_under_way_when_the_connection_breaks_fails_at_once(serve):
    server = await serve()
    asked = asyncio.Event()

    async def hangs(_request):
        asked.set()
        await asyncio.Event().wait()

    server.on_request("hangs", hangs)
    async with await BusClient.connect(server.path, reconnect_s=0) as client:
        news = await client.subscribe("a")
        task = asyncio.create_task(client.request("hangs", ASK, {}))
        await asked.wait()
        await server.close()
        with pytest.raises(Disconnected):
            await task
        with pytest.raises(RunloopError) as caught:
            await anext(news)
        assert caught.value.code == "bus.stopping"
        with pytest.raises(RunloopError):
            await client.publish("a", GENERIC, 1)
        assert client.pending == 0


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
"""Payloads that break a rule: an extension type, text that is not UTF-8, a key twice, too deep. The bus does not look into them."""


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
