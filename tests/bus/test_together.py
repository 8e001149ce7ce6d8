"""What many connections may have the bus hold together: who has most pays, and strangers take nothing from operators."""

import asyncio

import pytest
from tests_bus_helpers import ASK, GENERIC, TOKEN, Raw

from runloop.bus import BusClient, BusLimits, frames
from runloop.bus.session import Peer

KB = 1024


def waits(rig, reader, publisher, kilobytes, topic):
    """Let so much wait for a reader."""
    rig.subscribe(reader, topic, max_bytes=1_000_000)
    rig.publish(publisher, topic, b"x" * KB * kilobytes)


def test_of_who_does_not_read_the_one_with_most_goes_as_soon_as_all_together_hold_too_much(make_rig):
    rig = make_rig(waiting_bytes=100 * KB)
    publisher, readers = rig.joined("p"), [rig.joined(name) for name in "abc"]
    for reader, kilobytes in zip(readers, (30, 40, 25), strict=True):
        waits(rig, reader, publisher, kilobytes, reader.id)
    rig.tick(1000)
    assert not any(reader.closing for reader in readers)
    waits(rig, publisher, publisher, 10, "own")
    rig.tick(1000)
    assert [reader.closing for reader in readers] == [False, True, False]
    (goodbye,) = rig.payloads(readers[1])
    assert (goodbye["code"], goodbye["retryable"]) == ("bus.bytes_in_flight", True)
    assert "102400 bytes" in goodbye["message"]
    assert "runtime.max_waiting_bytes" in goodbye["hint"]
    stats = rig.broker.stats()
    assert stats.total.published == stats.total.delivered + sum(stats.total.dropped.values()) + stats.queued_frames


@pytest.mark.parametrize("role", ["client", "operator"])
def test_the_one_side_costs_the_other_nothing(make_rig, role):
    rig = make_rig(waiting_bytes=100 * KB)
    publisher, reader, other = rig.joined("p"), rig.joined("r", role), rig.joined("o", "client" if role == "operator" else "operator")
    for each in (reader, other):
        waits(rig, each, publisher, 90, each.id)
    rig.tick(1000)
    assert not reader.closing
    waits(rig, rig.joined("s", role), publisher, 20, "s")
    rig.tick(1000)
    assert (reader.closing, other.closing) == (True, False)


def test_between_two_looks_no_more_comes_in_than_a_bound(make_rig, monkeypatch):
    monkeypatch.setattr("runloop.bus.intake.LOOK_BYTES", 50 * KB)
    rig = make_rig(waiting_bytes=100 * KB)
    publisher, reader = rig.joined("p"), rig.joined("r")
    rig.subscribe(reader, "t", max_bytes=1_000_000)
    for _ in range(40):
        rig.publish(publisher, "t", b"x" * 10 * KB)
    assert reader.closing


def test_small_frames_count_for_what_they_take(make_rig):
    rig = make_rig(waiting_bytes=100 * KB)
    publisher, reader = rig.joined("p"), rig.joined("r")
    rig.subscribe(reader, "t", max_bytes=100_000, max_messages=10_000)
    for _ in range(400):
        rig.publish(publisher, "t")
    assert reader.subs[1].size < 50 * KB
    rig.tick(1000)
    assert reader.closing


def test_subscriptions_of_all_strangers_are_bounded_and_come_back_when_they_end(make_rig):
    rig = make_rig(all_subscriptions=3)
    first, second, operator = rig.joined("a"), rig.joined("b"), rig.joined("o", "operator")
    agent = rig.agent("scribe")
    for sub in range(3):
        rig.subscribe(first, f"t/{sub}", sub)
    rig.say(second, frames.SUBSCRIBE, frames.Subscribe(1, "t/x").payload())
    assert rig.payloads(second)[0]["error"]["code"] == "bus.subscriptions"
    rig.subscribe(operator, "t/x")
    rig.subscribe(agent, "agent/scribe")
    rig.broker.disconnect(first)
    rig.subscribe(second, "t/x")
    assert {trusted: side.subscriptions for trusted, side in rig.broker.sides.items()} == {False: 1, True: 2}


def test_requests_of_all_strangers_are_bounded_and_count_until_they_are_answered(make_rig):
    rig = make_rig(asked_bytes=44 * KB)
    rig.broker.routes.serve("rlp/ctrl")
    clients, operator = [rig.joined(name) for name in "abc"], rig.joined("o", "operator")
    for each in (*clients, operator):
        for _ in range(3):
            rig.publish(each, "rlp/ctrl", type_=ASK)
    taken = [sum(call.session is each for call in rig.broker.calls) for each in (*clients, operator)]
    assert taken == [3, 3, 1, 3]
    errors = [answer["error"] for answer in rig.payloads(clients[2])]
    assert [(error["code"], error["retryable"]) for error in errors] == [("bus.requests", True)] * 2
    for call in rig.broker.calls:
        call.done()
    assert all(side.request_bytes == 0 for side in rig.broker.sides.values())
    rig.publish(clients[2], "rlp/ctrl", type_=ASK)
    assert len(rig.broker.calls) == 11


def test_a_large_request_of_a_stranger_counts_for_what_may_be_built_of_it(make_rig):
    rig = make_rig(asked_bytes=1000 * KB)
    rig.broker.routes.serve("rlp/ctrl")
    for each in (rig.joined("c"), rig.joined("o", "operator")):
        for _ in range(2):
            rig.publish(each, "rlp/ctrl", b"x" * 50 * KB, type_=ASK)
    assert [call.session.role for call in rig.broker.calls] == ["client", "operator", "operator"]


def test_windows_remember_so_much_together_and_the_largest_forgets_first(make_rig):
    rig = make_rig(window_keys=100)
    reader, publisher = rig.joined("r"), rig.joined("p")
    rig.subscribe(reader, "large", 1)
    rig.subscribe(reader, "small", 2)
    for number in range(90):
        rig.publish(publisher, "large", msg_id=1000 + number)
    for number in range(9):
        rig.publish(publisher, "small", msg_id=2000 + number)
    rig.tick(1000)
    rig.publish(publisher, "small", msg_id=2000)
    assert rig.broker.stats().total.dropped == {"duplicate": 1}
    for number in range(10):
        rig.publish(publisher, "large", msg_id=3000 + number)
    rig.tick(1000)
    rig.tick(1000)
    large, small = (reader.subs[sub].window for sub in (1, 2))
    assert (len(large), len(small)) == (0, 9)


def test_who_has_begun_most_pays_for_unfinished_frames(make_rig):
    rig = make_rig(unfinished_bytes=1000)
    begun = rig.frame(GENERIC, b"x" * 900, meta={"topic": "a"})
    strangers, operator = [rig.joined(name) for name in "ab"], rig.joined("o", "operator")
    rig.raw(strangers[0], begun[:500])
    rig.raw(strangers[1], begun[:450])
    rig.raw(operator, begun[:600])
    assert [each.closing for each in (*strangers, operator)] == [True, False, False]
    assert rig.payloads(strangers[0])[0]["code"] == "bus.bytes_in_flight"
    rig.raw(operator, begun[600:])
    assert rig.broker.buffered == 450


def test_an_operator_gets_in_where_strangers_of_many_processes_have_all_connections(make_rig):
    rig = make_rig(connections=32)
    strangers = [rig.joined(f"s{number}", pid=number) for number in range(32)]
    newcomer = rig.connect("n", pid=100)
    assert [payload["code"] for payload in rig.payloads(newcomer)] == ["bus.connections"]
    assert not any(each.closing for each in strangers)
    operator = rig.joined("o", "operator", pid=101)
    assert [each.closing for each in strangers] == [*[False] * 31, True]
    assert not operator.closing


def test_who_comes_beyond_the_limit_waits_with_few_others_to_say_who_it_is(make_rig):
    rig = make_rig(connections=32)
    for number in range(32):
        rig.joined(f"s{number}", pid=number)
    silent = [rig.broker.connect(f"w{number}", Peer(1000, 1000, 100 + number), 0, rig.now) for number in range(3)]
    assert [each.closing for each in silent] == [True, False, False]


def test_operators_alone_refuse_one_too_many(make_rig):
    rig = make_rig(connections=16)
    for number in range(16):
        rig.joined(f"o{number}", "operator", pid=number)
    assert [each["code"] for each in rig.payloads(rig.connect("n", "operator", TOKEN, pid=99))] == ["bus.connections"]


async def test_answers_that_nobody_reads_count_until_their_asker_is_gone(serve):
    server = await serve(limits=BusLimits(waiting_bytes=4_000_000, queue_bytes=1_000_000))
    begun = []

    async def answer(request):
        begun.append(request)
        return {"ok": "x" * 600_000}

    server.on_request("rlp/ctrl", answer)
    asker, quiet = await Raw.connect(server), await BusClient.connect(server.path, "operator", TOKEN)
    (session,) = [each for each in server.broker.sessions.values() if each.role == "client"]
    inbox = f"rlp/inbox/{session.id}"
    asker.send(frames.SUBSCRIBE, frames.Subscribe(1, f"{inbox}/*").payload())
    for number in range(12):
        asker.send(ASK, {}, topic="rlp/ctrl", reply_to=f"{inbox}/{number}")
    while len(begun) < 12:
        await asyncio.sleep(0)
    while not session.closing:
        await quiet.flush()
        server.broker.look(0)
    assert session.answer_bytes > 2_000_000
    asker.writer.close()
    while session.answer_bytes:
        await quiet.flush()
    await quiet.close()
