"""Requests and answers on a real socket: deadlines, errors, answers that are read late, and what a broken connection leaves."""

import asyncio
import errno
import os
import time
from types import SimpleNamespace

import pytest
from tests_bus_helpers import ASK, GENERIC, TOKEN, Raw

from runloop.bus import BusClient, frames
from runloop.bus.errors import DeadlinePassed, Disconnected
from runloop.errors import InvalidInput, RunloopError


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


async def test_a_request_that_is_sent_again_on_its_connection_is_refused_and_carried_out_once(serve):
    server, begun, go_on = await serve(), [], asyncio.Event()

    async def handler(request):
        begun.append(request.payload)
        await go_on.wait()
        return {"ok": request.payload}

    server.on_request("rlp/ctrl", handler)
    raw, other = await Raw.connect(server), await Raw.connect(server)
    inbox = f"rlp/inbox/{next(iter(server.broker.sessions))}"
    raw.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    assert (await raw.frame()).envelope.payload["ok"]
    for _ in range(2):  # while the first is under way
        raw.send(ASK, "stop", msg_id=77, topic="rlp/ctrl", reply_to=f"{inbox}/1")
    refused = (await raw.frame()).envelope.payload
    go_on.set()
    answered = (await raw.frame()).envelope.payload
    raw.send(ASK, "stop", msg_id=77, topic="rlp/ctrl", reply_to=f"{inbox}/1")  # and when it has been answered
    again = (await raw.frame()).envelope.payload
    assert [(each["of"], each["ok"], each["error"]["code"]) for each in (refused, again)] == [(77, False, "rmp.duplicate")] * 2
    assert (answered, begun) == ({"ok": "stop"}, ["stop"])
    other.send(ASK, "go", msg_id=77, topic="rlp/ctrl", ack=True)  # of another connection it is another one
    assert (await other.frame()).envelope.payload["ok"]
    for each in (raw, other):
        each.writer.close()


async def test_a_refused_request_may_be_sent_again_and_1024_are_remembered(serve):
    server, begun = await serve(), []

    async def handler(request):
        begun.append(request.message.header.msg_id)

    server.on_request("rlp/ctrl", handler)
    raw = await Raw.connect(server)

    async def acked(number, payload=None):
        raw.send(ASK, payload, msg_id=number, topic="rlp/ctrl", ack=True)
        return (await raw.frame()).envelope.payload.get("error", {}).get("code")

    assert [await acked(1, "x" * 300_000), await acked(1), await acked(1)] == ["bus.request_bytes", None, "rmp.duplicate"]
    for number in range(2, 1_025):
        assert await acked(number) is None
    assert [await acked(1), await acked(1_025), await acked(1)] == ["rmp.duplicate", None, None]
    assert begun == [*range(1, 1_026), 1]
    raw.writer.close()


async def test_a_request_that_expires_in_its_line_is_not_begun_and_its_answer_says_so(serve, monkeypatch):
    server, begun = await serve(), []
    monkeypatch.setattr("runloop.bus.server.now_ms", lambda: time.time_ns() // 1_000_000 + 6_000 * len(begun))  # so long each takes

    async def handler(request):
        begun.append(request.payload)
        return {"ok": request.payload}

    server.on_request("rlp/ctrl", handler)
    raw = await Raw.connect(server)
    inbox = f"rlp/inbox/{next(iter(server.broker.sessions))}"
    raw.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    for number in range(100):
        raw.send(ASK, number, ttl_ms=600_000 if number < 10 else 60_000, topic="rlp/ctrl", reply_to=f"{inbox}/1")
    answers = []
    while len(answers) < 100:
        envelope = (await raw.frame()).envelope
        answers += [envelope.payload] if "topic" in (envelope.meta or {}) else []
    late = [answer["error"] for answer in answers if "error" in answer]
    assert len(begun) == 10
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


async def test_answers_wait_for_who_reads_them_late_and_none_is_lost(serve):
    server = await serve()
    peer = await ask_for_bytes(server, [(1 << 20, 60_000)] * 20)
    answers = [await peer.frame() for _ in range(20)]
    assert sorted(int(answer.meta["topic"].rpartition("/")[2]) for answer in answers) == list(range(20))
    while server.handling:
        await asyncio.sleep(0)
    peer.writer.close()


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
    peer = await ask_for_bytes(server, [(1 << 20, 60_000)] * 20)
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

    async def spends(_request):
        raise OSError(errno.EMFILE, "Too many open files")

    async def unsendable(_request):
        return {"ok": object()}

    async def hangs(_request):
        await asyncio.Event().wait()

    for name, handler in (
        ("refuses", refuses), ("breaks", breaks), ("spends", spends), ("unsendable", unsendable), ("hangs", hangs),
    ):  # fmt: skip
        server.on_request(name, handler)
    async with await BusClient.connect(server.path) as client:
        errors = [(await client.request(name, ASK, {})).payload["error"] for name in ("refuses", "breaks", "spends", "unsendable")]
        assert [error["code"] for error in errors] == ["run.unknown", "bus.handler", "system.exhausted", "rmp.encode_error"]
        assert errors[3]["message"].startswith("the answer cannot be sent: ")
        assert [topic for _, topic in broken] == ["breaks", "spends"]
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


async def test_what_reaches_the_bus_when_it_has_expired_came_too_late_as_well(serve, monkeypatch):
    server = await serve()
    async with await BusClient.connect(server.path) as client:
        monkeypatch.setattr("runloop.bus.client.time", SimpleNamespace(time_ns=lambda: 0))
        with pytest.raises(DeadlinePassed) as asked:
            await client.request("late", ASK, {})
        with pytest.raises(DeadlinePassed) as said:
            await client.publish("late", GENERIC, {}, ack=True)
    assert (asked.value.code, said.value.code) == ("bus.deadline", "rmp.expired")


async def test_requests_between_clients_go_through_reply_to(serve):
    server = await serve()
    async with await BusClient.connect(server.path) as asker, await BusClient.connect(server.path) as agent:
        asked = await agent.subscribe("echo")

        async def serve_one():
            message = await anext(asked)
            await agent.publish(message.meta["reply_to"], GENERIC, message.payload, trace_id=message.trace_id)

        reply, _ = await asyncio.gather(asker.request("echo", ASK, {"x": 1}), serve_one())
        assert reply.payload == {"x": 1}


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
