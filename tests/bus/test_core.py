import msgspec
import pytest

from runloop import rmp
from runloop.bus import frames
from runloop.bus.acl import DECISION
from runloop.bus.core import Broker
from runloop.bus.session import Peer
from runloop.errors import InvalidInput

GENERIC = "observation.generic.v1"


def test_a_hello_is_welcomed_with_session_role_and_limits(rig):
    session = rig.connect("one")
    (welcome,) = rig.payloads(session)
    assert (welcome["session"], welcome["role"], welcome["uid"], welcome["inbox"]) == (session.key, "client", 1000, "rlp/inbox/one")
    assert welcome["limits"]["max_body"] == rmp.DEFAULT_MAX_BODY


def test_a_published_frame_arrives_as_the_bytes_that_were_sent(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "news/*")
    raw = rig.frame(GENERIC, {"n": 1}, meta={"topic": "news/today", "extra": [1, 2]})
    rig.raw(writer, raw)
    assert [frame.raw for frame in rig.read(reader)] == [raw]
    assert rig.read(writer) == []


def test_nothing_arrives_that_no_pattern_covers_and_nothing_after_unsubscribing(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    rig.publish(writer, "b")
    rig.say(reader, frames.UNSUBSCRIBE, {"sub": 1})
    rig.publish(writer, "a")
    assert [frame.type for frame in rig.read(reader)] == [frames.ACK]


@pytest.mark.parametrize("first", [GENERIC, frames.SUBSCRIBE, frames.PING])
def test_the_first_frame_must_be_a_hello(rig, first):
    session = rig.broker.connect("x", rig.broker.local.peer, 0, rig.now)
    rig.raw(session, rig.frame(first, {"sub": 1, "pattern": "**", "class": "realtime"}, meta={"topic": "a"} if first == GENERIC else None))
    assert [frame.type for frame in rig.read(session)] == [frames.GOODBYE]
    assert (session.closing, session.subs) == (True, {})


def test_a_second_hello_changes_nothing(rig):
    session = rig.joined("x")
    rig.say(session, frames.HELLO, {"role": "worker", "name": "y", "version": "1"})
    (ack,) = rig.payloads(session)
    assert (ack["ok"], ack["error"]["code"], session.role, session.peer.name) == (False, "bus.hello", "client", "x")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"role": "daemon", "name": "x", "version": "1"}, "bus.invalid"),
        ({"role": "operator", "name": "x", "version": "1"}, "bus.token"),
        ({"role": "operator", "name": "x", "version": "1", "token": "f" * 63}, "bus.token"),
        ({"role": "client", "version": "1"}, "bus.invalid"),
        ({"role": "client", "name": "x" * 200, "version": "1"}, "bus.invalid"),
        ("client", "bus.invalid"),
        (None, "bus.invalid"),
    ],
)
def test_a_hello_that_cannot_be_granted_ends_with_a_goodbye_that_says_why(rig, payload, code):
    session = rig.broker.connect("x", rig.broker.local.peer, 0, rig.now)
    rig.say(session, frames.HELLO, payload)
    (goodbye,) = rig.read(session)
    assert (goodbye.type, goodbye.envelope.payload["code"]) == (frames.GOODBYE, code)
    assert goodbye.envelope.payload["hint"]


def test_without_a_token_of_the_daemon_nobody_becomes_operator(make_rig):
    rig = make_rig()
    rig.broker.token = None
    session = rig.connect("x", "operator", "")
    assert rig.payloads(session)[0]["code"] in {"bus.token", "bus.invalid"}


def test_the_same_message_is_delivered_once_and_counted_and_announced(rig):
    reader, writer, watcher = rig.joined("r"), rig.joined("w"), rig.joined("d")
    rig.subscribe(reader, "a")
    rig.subscribe(watcher, "rlp/sys/drops")
    for _ in range(3):
        rig.publish(writer, "a", msg_id=42)
    assert len(rig.read(reader)) == 1
    assert rig.broker.stats().topics["a"].dropped == {"duplicate": 2}
    rig.tick()
    (notice,) = rig.payloads(watcher)
    assert (notice["reason"], notice["topic"], notice["msg_id"], notice["trace_id"], notice["count"]) == ("duplicate", "a", 42, 7, 2)


def test_a_notice_is_the_same_message_as_no_record_of_that_run_and_no_notice_of_another_life(make_rig):
    told = []
    for secret in (b"one life", b"another"):
        rig = make_rig(secret=secret)
        reader, writer, watcher = rig.joined("r"), rig.joined("w"), rig.joined("d")
        rig.subscribe(reader, "a")
        rig.subscribe(watcher, "rlp/sys/drops")
        for _ in range(2):
            rig.publish(writer, "a", msg_id=1)  # as the record that is event 1
        rig.tick()
        (notice,) = rig.read(watcher)
        told.append(notice.header.dedupe_key)
        assert notice.header.trace_id == 7
    assert told[0] != told[1]
    assert min(msg_id for _, msg_id in told) > 2**53  # the largest id of an event


def test_a_late_subscriber_gets_a_repeated_message_that_the_others_know(rig):
    first, second, writer = rig.joined("1"), rig.joined("2"), rig.joined("w")
    rig.subscribe(first, "a")
    rig.publish(writer, "a", msg_id=42)
    rig.subscribe(second, "a")
    rig.publish(writer, "a", msg_id=42)
    rig.publish(writer, "a", msg_id=42)
    assert (len(rig.read(first)), len(rig.read(second))) == (1, 1)


def test_a_message_counts_as_new_again_after_the_window(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    rig.publish(writer, "a", msg_id=42)
    rig.tick(29_999)
    rig.publish(writer, "a", msg_id=42)
    assert len(rig.read(reader)) == 1
    rig.tick(30_001)
    rig.publish(writer, "a", msg_id=42)
    assert [frame.type for frame in rig.read(reader)] == [frames.PING, GENERIC]


def test_the_window_remembers_65536_messages_and_not_more_than_twice_that(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    sub = rig.subscribe(reader, "a", max_messages=1_000_000, max_bytes=64 << 20)
    template = rig.frame(GENERIC, None, meta={"topic": "a"}, msg_id=1)

    def send(first, count):
        rig.raw(writer, b"".join(template[:56] + number.to_bytes(8, "big") + template[64:] for number in range(first, first + count)))

    for start in range(0, 200_000, 1000):
        send(start, 1000)
        assert len(sub.window) <= 2 * 65_536 + 1000
    before = rig.broker.stats().topics["a"].dropped.get("duplicate", 0)
    send(200_000 - 65_536, 65_536)
    assert rig.broker.stats().topics["a"].dropped["duplicate"] - before == 65_536


def test_an_expired_frame_is_refused_counted_and_announced(rig):
    reader, writer, watcher = rig.joined("r"), rig.joined("w"), rig.joined("d")
    rig.subscribe(reader, "a")
    rig.subscribe(watcher, "rlp/sys/drops")
    raw = rig.frame(GENERIC, None, meta={"topic": "a"}, ttl_ms=5, msg_id=9)
    rig.now += 5
    rig.raw(writer, raw)
    (refused,) = rig.payloads(writer)
    assert (refused["of"], refused["ok"], refused["error"]["code"]) == (9, False, "rmp.expired")
    assert rig.read(reader) == []
    rig.tick()
    assert [notice["reason"] for notice in rig.payloads(watcher)] == ["ttl_expired"]


def test_an_acknowledgement_tells_how_many_subscriptions_matched(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    number = rig.publish(writer, "a", meta={"ack": True})
    nobody = rig.publish(writer, "b", meta={"ack": True})
    assert rig.payloads(writer) == [{"of": number, "ok": True, "matched": 1}, {"of": nobody, "ok": True, "matched": 0}]


def test_where_a_connection_has_two_matching_subscriptions_each_copy_says_which(rig):
    reader, other, writer = rig.joined("r"), rig.joined("o"), rig.joined("w")
    rig.subscribe(reader, "a/*", 1)
    rig.subscribe(reader, "a/b", 2)
    rig.subscribe(other, "a/b")
    rig.publish(writer, "a/b", {"x": [1, {"y": b"z"}]}, meta={"opening_id": 2**100})
    got = rig.read(reader)
    assert sorted(frame.meta["sub"] for frame in got) == [1, 2]
    assert [frame.envelope.payload for frame in got] == [{"x": [1, {"y": b"z"}]}] * 2
    assert [frame.envelope.opening_id for frame in got] == [2**100] * 2
    assert "sub" not in rig.read(other)[0].meta


@pytest.mark.parametrize(
    ("role", "topic", "type_", "allowed"),
    [
        ("client", "action.decision", DECISION, False),
        ("agent", "anywhere", DECISION, False),
        ("worker", "anywhere", DECISION, False),
        ("operator", "action.decision", DECISION, True),
        ("operator", "rlp/sys/metrics", "observation.metrics.snapshot.v1", False),
        ("operator", "rlp/runs/trace:1/events", "observation.run.event.v1", False),
        ("client", "rlp/ctrl", "intent.ctrl.request.v1", True),
        ("agent", "rlp/runs/trace:1/agents/x/1", GENERIC, False),
        ("operator", "rlp/runs/trace:1/agents/x/1", GENERIC, True),
        ("operator", "agent/x", GENERIC, True),
        ("client", "agent/x", GENERIC, False),
        ("agent", "agent/x", GENERIC, False),
        ("agent", "rlp/runtime/hello", "observation.agent.hello.v1", True),
        ("client", "rlp/runtime/hello", "observation.agent.hello.v1", False),
        ("operator", "action.request", GENERIC, False),
    ],
)
def test_a_role_publishes_what_its_rules_allow(rig, role, topic, type_, allowed):
    writer = rig.joined("w", role)
    rig.publish(writer, topic, type_=type_, meta={"ack": True})
    (answer,) = rig.payloads(writer)
    assert answer["ok"] is allowed
    if not allowed:
        assert answer["error"]["code"] == "bus.forbidden"
        assert answer["error"]["hint"]


def test_a_refused_frame_does_not_slip_through_in_a_run_of_allowed_ones(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "**")
    rig.raw(writer, b"".join(rig.frame(type_, None, meta={"topic": "a"}) for type_ in (GENERIC, GENERIC, DECISION, GENERIC)))
    assert [frame.type for frame in rig.read(reader)] == [GENERIC] * 3


def test_control_requests_are_read_by_operators_only_also_through_wildcards(rig):
    client, operator, writer = rig.joined("c"), rig.joined("o", "operator"), rig.joined("w")
    rig.subscribe(client, "**")
    rig.subscribe(operator, "**")
    rig.publish(writer, "rlp/ctrl", type_="intent.ctrl.request.v1")
    assert (len(rig.read(client)), len(rig.read(operator))) == (0, 1)
    rig.say(client, frames.SUBSCRIBE, frames.Subscribe(2, "rlp/ctrl").payload())
    assert rig.payloads(client)[0]["error"]["code"] == "bus.forbidden"


def test_an_inbox_is_read_by_its_owner_only(rig):
    owner, other, writer = rig.joined("own"), rig.joined("oth"), rig.joined("w")
    rig.subscribe(owner, "rlp/inbox/own/*")
    rig.subscribe(other, "rlp/inbox/**")
    rig.subscribe(writer, "**")
    rig.publish(writer, "rlp/inbox/own/1", "psst")
    assert (rig.payloads(owner), rig.payloads(other), rig.payloads(writer)) == (["psst"], [], [])


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({"topic": "a/*"}, "bus.topic"),
        ({"topic": 7}, "bus.topic"),
        ({}, "bus.topic"),
        ({"topic": "a", "ack": 1}, "bus.invalid"),
        ({"topic": "a", "seq": "1"}, "bus.invalid"),
        ({"topic": "a", "sub": 1}, "bus.invalid"),
        ({"topic": "a", "reply_to": ""}, "bus.topic"),
        ({"topic": "a", "priority": 256}, "rmp.body_decode_error"),
    ],
)
def test_a_frame_with_unusable_routing_is_refused_and_the_connection_goes_on(rig, meta, code):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "**")
    good = rig.frame(GENERIC, 1, meta={"topic": "a"})
    body = rmp.body.pack({"type": GENERIC, "payload": None, "meta": meta})
    bad = rmp.header.write_header(rmp.Header(1, len(body), rig.now, 1000, 1, 77)) + body
    rig.raw(writer, good[:56] + (5).to_bytes(8, "big") + good[64:] + bad + good)
    (answer,) = rig.payloads(writer)
    assert (answer["of"], answer["error"]["code"]) == (77, code)
    assert rig.payloads(reader) == [1, 1]


def test_garbage_ends_the_connection_with_the_reason_after_the_frames_before_it(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    rig.raw(writer, rig.frame(GENERIC, 1, meta={"topic": "a"}) + b"GET / HTTP/1.1\r\n" + b"x" * 100)
    assert rig.payloads(reader) == [1]
    (goodbye,) = rig.payloads(writer)
    assert goodbye["code"].startswith("rmp.")
    assert writer.closing
    assert not reader.closing


def test_any_slicing_of_the_stream_delivers_the_same(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    stream = b"".join(rig.frame(GENERIC, [number, b"x" * (number * 37)], meta={"topic": "a"}) for number in range(20))
    for at in range(0, len(stream), 13):
        rig.raw(writer, stream[at : at + 13])
    assert [payload[0] for payload in rig.payloads(reader)] == list(range(20))
    assert rig.broker.buffered == 0


def test_too_many_connections_get_a_goodbye_and_harm_nobody(make_rig):
    rig = make_rig(connections=2)
    first, second = rig.joined("1"), rig.joined("2")
    third = rig.broker.connect("3", first.peer, 0, rig.now)
    (goodbye,) = rig.read(third)
    assert (goodbye.envelope.payload["code"], goodbye.header.created_at_ms) == ("bus.connections", rig.now)
    assert goodbye.envelope.payload["retryable"]
    rig.broker.disconnect(second)
    second = rig.joined("4")  # the third one is on its way out and does not count
    assert rig.payloads(first) == []
    rig.broker.disconnect(third)
    rig.subscribe(first, "a")
    rig.publish(second, "a", 1)
    assert rig.payloads(first) == [1]


def test_a_peer_is_told_once_why_its_connection_ends(rig):
    peer = rig.joined("p")
    for why in ("first", "second"):
        rig.broker.goodbye(peer, InvalidInput(why, code="rmp.body"), rig.now)
    assert [payload["message"] for payload in rig.payloads(peer)] == ["first"]


def test_a_process_that_has_most_of_the_connections_keeps_no_other_out(make_rig):
    rig = make_rig(connections=3)
    many = [rig.joined(f"many {number}", pid=7) for number in range(3)]
    other = rig.joined("other", pid=8)
    assert [[payload["code"] for payload in rig.payloads(each)] for each in (*many, other)] == [[], [], ["bus.connections"], []]
    rig.broker.disconnect(many[2])
    again = rig.connect("one more", pid=7)
    assert [payload["code"] for payload in rig.payloads(again)] == ["bus.connections"]
    rig.subscribe(many[0], "a")
    rig.publish(other, "a", 1)
    assert rig.payloads(many[0]) == [1]


def test_of_a_process_with_most_of_the_connections_one_without_a_hello_goes_first(make_rig):
    rig = make_rig(connections=3)
    others = rig.broker.connect("others", Peer(1000, 1000, 8), 0, rig.now)
    greeted, silent = rig.joined("greeted", pid=7), rig.broker.connect("silent", Peer(1000, 1000, 7), 0, rig.now)
    newcomer = rig.joined("newcomer", pid=9)
    assert [[payload["code"] for payload in rig.payloads(each)] for each in (others, greeted, silent, newcomer)] == [
        [],
        [],
        ["bus.connections"],
        [],
    ]


def test_where_many_processes_have_a_few_connections_the_newcomer_goes(make_rig):
    rig = make_rig(connections=8)
    few = [rig.joined(str(number), pid=number // 2) for number in range(8)]
    newcomer = rig.connect("newcomer", pid=9)
    assert [payload["code"] for payload in rig.payloads(newcomer)] == ["bus.connections"]
    assert not any(rig.payloads(each) for each in few)


def test_connections_that_never_say_hello_keep_nobody_out(make_rig):
    rig = make_rig(connections=3)
    first = rig.joined("1")
    silent = [rig.broker.connect(f"silent {number}", first.peer, 0, rig.now) for number in range(4)]
    second = rig.joined("2")
    codes = [[payload["code"] for payload in rig.payloads(each)] for each in silent]
    assert codes == [["bus.connections"], ["bus.connections"], ["bus.connections"], []]
    rig.subscribe(first, "a")
    rig.publish(second, "a", 1)
    assert rig.payloads(first) == [1]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (frames.Subscribe(3, "a"), "bus.subscriptions"),
        (frames.Subscribe(1, "a"), "bus.subscription"),
        (frames.Subscribe(2, "a", max_messages=2**40), "bus.queue"),
        (frames.Subscribe(2, "a", max_bytes=30 << 20), "bus.bytes_in_flight"),
        (frames.Subscribe(2, "a", "durable"), "bus.not_durable"),
        (frames.Subscribe(2, "a/*", "durable"), "bus.invalid"),
        (frames.Subscribe(2, "a", "sometimes"), "bus.invalid"),
        (frames.Subscribe(2, "a", "realtime", 5), "bus.invalid"),
    ],
)
def test_a_subscription_beyond_the_limits_is_refused_and_the_others_stay(make_rig, wanted, code):
    rig = make_rig(subscriptions=1 if code == "bus.subscriptions" else 9, session_bytes=32 << 20)
    session = rig.joined("s")
    rig.subscribe(session, "b", 1)
    rig.say(session, frames.SUBSCRIBE, wanted.payload())
    (answer,) = rig.payloads(session)
    assert (answer["ok"], answer["error"]["code"]) == (False, code)
    assert list(session.subs) == [1]


def test_who_never_reads_answers_is_sent_away(make_rig):
    rig = make_rig(control_bytes=10_000)
    session, other = rig.joined("s"), rig.joined("o")
    for _ in range(1000):
        rig.say(session, frames.PING, None)
    assert session.closing
    assert rig.payloads(session)[-1]["code"] == "bus.bytes_in_flight"
    assert not other.closing


def test_nothing_after_connect_half_a_frame_and_unanswered_pings_end_a_connection(rig):
    limits = rig.broker.limits
    mute = rig.broker.connect("mute", rig.broker.local.peer, rig.mono, rig.now)
    slow, silent, alive = rig.joined("slow"), rig.joined("silent"), rig.joined("alive")
    frame = iter(rig.frame(GENERIC, b"x" * 500, meta={"topic": "a"}))
    for _ in range(0, 75_000, 1000):
        rig.tick(1000)
        rig.raw(slow, bytes([next(frame)]))
        rig.say(alive, frames.PING, None)
        rig.read(alive)
    ends = {name: rig.payloads(session)[-1]["code"] for name, session in (("mute", mute), ("slow", slow), ("silent", silent))}
    assert ends == {"mute": "bus.hello_timeout", "slow": "bus.frame_timeout", "silent": "bus.heartbeat"}
    assert limits.heartbeat_ms * (limits.missed_heartbeats + 1) <= 75_000
    assert not alive.closing


def test_a_peer_that_answers_pings_stays(rig):
    session = rig.joined("s")
    for _ in range(300):
        rig.tick(1000)
        for frame in rig.read(session):
            assert frame.type == frames.PING
            rig.say(session, frames.PONG, None)
    assert not session.closing


def test_a_client_that_goes_on_elsewhere_ends_its_session_before(rig):
    before = rig.joined("before")
    session = rig.broker.connect("after", before.peer, 0, rig.now)
    rig.say(session, frames.HELLO, frames.Hello("client", "x", "1", None, before.key).payload())
    assert rig.payloads(before)[0]["code"] == "bus.resumed"
    assert not session.closing


def test_nobody_ends_the_session_of_another_role_by_resuming_it(rig):
    operator = rig.joined("op", "operator")
    session = rig.broker.connect("x", operator.peer, 0, rig.now)
    rig.say(session, frames.HELLO, frames.Hello("client", "x", "1", None, operator.key).payload())
    assert not operator.closing


def test_who_was_asked_cannot_end_the_connection_of_who_asked(rig):
    asker, asked = rig.joined("asker"), rig.joined("asked")
    rig.subscribe(asked, "service")
    rig.publish(asker, "service", 1, meta={"reply_to": "rlp/inbox/asker/1"})
    known = rig.read(asked)[0].meta["reply_to"].split("/")[2]
    session = rig.broker.connect("x", asker.peer, 0, rig.now)
    rig.say(session, frames.HELLO, frames.Hello("client", "x", "1", None, known).payload())
    assert (asker.closing, session.closing) == (False, False)


def test_the_keys_of_two_brokers_differ():
    first, second = (Broker(secret=secret).connect("one", Peer(1, 1, 1), 0, 0) for secret in (b"a", b"b"))
    assert first.key != second.key


def test_topics_that_are_used_once_do_not_add_up(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "t/*")
    for number in range(10_000):
        rig.publish(writer, f"t/{number}")
        rig.read(reader)
    stats = rig.broker.stats()
    assert len(stats.topics) <= 4096
    assert (stats.total.published, stats.total.delivered) == (10_000, 10_000)
    assert stats.to_dict()["total"]["frames"] == 10_000


def test_session_frames_that_only_the_bus_sends_are_refused(rig):
    session = rig.joined("s")
    number = rig.say(session, frames.ACK, {"of": 1, "ok": True})
    (answer,) = rig.payloads(session)
    assert (answer["of"], answer["ok"], answer["error"]["code"]) == (number, False, "bus.invalid")


def test_a_peer_may_say_goodbye(rig):
    session = rig.joined("s")
    rig.say(session, frames.GOODBYE, {"code": "x", "message": "y"})
    assert rig.payloads(session)[0]["code"] == "bus.closed"


def test_frames_for_a_handler_carry_who_sent_them(rig):
    rig.broker.routes.serve("rlp/ctrl")
    writer = rig.joined("w")
    rig.publish(writer, "rlp/ctrl", {"verb": "list"}, type_="intent.ctrl.request.v1", meta={"reply_to": "rlp/inbox/w/1"})
    (call,) = rig.broker.calls
    assert (call.topic, call.peer.role, call.peer.session, call.reply_to) == ("rlp/ctrl", "client", "w", "rlp/inbox/w/1")


def test_unfinished_frames_of_many_connections_are_bounded_together(make_rig):
    rig = make_rig(unfinished_bytes=1000)
    half = rig.frame(GENERIC, b"x" * 900, meta={"topic": "a"})[:600]
    first, second = rig.joined("1"), rig.joined("2")
    rig.raw(first, half)
    rig.raw(second, half)
    assert rig.payloads(second)[0]["code"] == "bus.bytes_in_flight"
    assert not first.closing
    assert rig.broker.buffered == 600


def test_what_the_daemon_must_read_is_small_unless_an_operator_sends_it(make_rig):
    rig = make_rig(request_bytes=1000, session_frame_bytes=1000)
    rig.broker.routes.serve("rlp/ctrl")
    client, operator, stranger = rig.joined("c"), rig.joined("o", "operator"), rig.broker.connect("s", Peer(1000, 1000, 1), 0, rig.now)
    for session in (client, operator):
        rig.publish(session, "rlp/ctrl", b"x" * 1000, type_="intent.ctrl.request.v1")
        rig.publish(session, "elsewhere", b"x" * 1000)
    assert [answer["error"]["code"] for answer in rig.payloads(client)] == ["bus.request_bytes"]
    assert (rig.payloads(operator), [call.session for call in rig.broker.calls]) == ([], [operator])
    for session in (client, stranger):
        rig.say(session, frames.HELLO, {"role": "client", "name": "x", "version": "1", "token": "x" * 1000})
    assert rig.payloads(client)[0]["error"]["message"].startswith("a session frame of ")
    assert rig.payloads(stranger)[0]["message"].endswith("the limit is 1000")
    assert (client.closing, stranger.closing) == (False, True)


def test_a_key_of_a_subscription_that_is_nil_is_as_if_left_out(rig):
    one = rig.joined("one")
    rig.say(one, frames.SUBSCRIBE, {"sub": 1, "pattern": "a", "class": None, "from_seq": None, "max_messages": None, "max_bytes": None})
    assert rig.payloads(one)[0]["ok"]
    assert one.subs[1].klass == "realtime"


def test_a_class_that_is_no_short_text_is_not_repeated_in_the_refusal(rig):
    one = rig.joined("one")
    for number, klass in enumerate(["\U000e0001" * 15_000, 1, True, ["durable"], ""]):
        rig.say(one, frames.SUBSCRIBE, {"sub": number, "pattern": "a", "class": klass})
    rig.say(one, frames.SUBSCRIBE, {"sub": 9, "pattern": "a", "class": "quick"})
    said = [answer["error"]["message"] for answer in rig.payloads(one)]
    assert said == ["class is not a string of 1 to 16 characters"] * 5 + ["there is no class 'quick'"]


def test_a_record_has_a_number_from_1_on(rig):
    one = rig.joined("one")
    for seq in (0, -1, 1.0, True, 1):
        rig.publish(one, "a", meta={"seq": seq, "ack": True})
    assert [answer.get("error", {}).get("message") for answer in rig.payloads(one)] == ["meta.seq is not a positive integer"] * 4 + [None]


def test_a_large_meta_is_refused_before_it_is_read(rig):
    one = rig.joined("one")
    rig.publish(one, "a", meta={"more": "x" * 70_000})
    assert [answer["error"]["code"] for answer in rig.payloads(one)] == ["bus.invalid"]


def test_a_bad_reply_topic_is_called_that(rig):
    one = rig.joined("one")
    rig.publish(one, "a", meta={"reply_to": 5})
    rig.publish(one, "a", meta={"reply_to": "rlp/*"})
    said = [answer["error"]["message"] for answer in rig.payloads(one)]
    assert said == ["the reply_to is not a string but int", "the reply_to 'rlp/*' has a wildcard"]


def test_requests_of_the_daemon_itself_are_not_bounded(make_rig):
    rig = make_rig(requests=2)
    rig.broker.routes.serve("rlp/ctrl")
    for number in range(3):
        rig.broker.publish(rig.frame("intent.ctrl.request.v1", number, meta={"topic": "rlp/ctrl"}), rig.now)
    assert len(rig.broker.calls) == 3


def test_requests_that_are_being_worked_on_are_bounded_for_each_connection(make_rig):
    rig = make_rig(requests=2)
    rig.broker.routes.serve("rlp/ctrl")
    greedy, other = rig.joined("g"), rig.joined("o")
    for _ in range(3):
        rig.publish(greedy, "rlp/ctrl", type_="intent.ctrl.request.v1")
    assert [answer["error"]["code"] for answer in rig.payloads(greedy)] == ["bus.requests"]
    rig.publish(other, "rlp/ctrl", type_="intent.ctrl.request.v1")
    assert rig.read(other) == []
    rig.broker.calls[0].done()
    rig.publish(greedy, "rlp/ctrl", type_="intent.ctrl.request.v1")
    assert rig.read(greedy) == []


def test_what_nobody_reads_in_a_meta_is_not_kept(rig):
    """4,000 frames of a stranger left 230 MiB in the daemon."""
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    for length in (0, 10, 2_000, 60_000):
        rig.publish(writer, "a", meta={"junk": "x" * length} if length else {})
    kept = [msgspec.msgpack.decode(packed) for packed in rig.broker.routes.metas]
    assert kept == [{"topic": "a"}, {"topic": "a", "junk": "x" * 10}]
    assert len(rig.read(reader)) == 4
