"""What waits for readers: order, bounds by class, what is lost and how that is told and counted."""

import pytest

from runloop.bus import frames, intake
from runloop.bus.drops import DropNotices
from runloop.bus.intake import COPIES_A_TURN

GENERIC = "observation.generic.v1"


def test_a_frame_that_expires_while_it_waits_is_not_delivered_but_its_neighbours_are(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a")
    rig.raw(writer, b"".join(rig.frame(GENERIC, ttl, meta={"topic": "a"}, ttl_ms=ttl) for ttl in (100, 10, 100)))
    rig.now += 50
    assert rig.payloads(reader) == [100, 100]
    assert rig.broker.stats().topics["a"].dropped == {"ttl_expired": 1}


def test_control_frames_overtake_a_flood_of_data(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "data", 1)
    rig.subscribe(reader, "rlp/inbox/r/*", 2)
    for number in range(500):
        rig.publish(writer, "data", number)
    rig.publish(writer, "rlp/inbox/r/1", "reply")
    rig.say(reader, frames.PING, 1)
    first = rig.read(reader)[:2]
    assert [frame.type for frame in first] == [frames.PONG, GENERIC]
    assert first[1].envelope.payload == "reply"


def test_a_full_realtime_queue_keeps_the_newest_in_order(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a", max_messages=10)
    for start in range(0, 36, 4):
        rig.raw(writer, b"".join(rig.frame(GENERIC, number, meta={"topic": "a"}) for number in range(start, start + 4)))
    assert rig.payloads(reader) == list(range(26, 36))
    assert rig.broker.stats().topics["a"].dropped == {"overflow": 26}


def test_a_queue_is_bounded_in_bytes_too(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    sub = rig.subscribe(reader, "a", max_bytes=5_000)
    for number in range(50):
        rig.publish(writer, "a", [number, b"x" * 900])
        assert sub.size <= 5_000
    assert [payload[0] for payload in rig.payloads(reader)] == [46, 47, 48, 49]


@pytest.mark.parametrize("limit", ["messages", "bytes"])
def test_of_frames_that_came_together_no_more_go_out_than_there_is_credit_for(limit, rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    length = len(rig.frame(GENERIC, 0, meta={"topic": "a"}))
    rig.subscribe(reader, "a", klass="batched", **({"max_messages": 3} if limit == "messages" else {"max_bytes": 3 * length}))
    for together in (range(2), range(2, 5)):
        rig.raw(writer, b"".join(rig.frame(GENERIC, number, meta={"topic": "a"}) for number in together))
        rig.tick(10)
        assert rig.payloads(reader) == list(together)[: 3 - together.start]


def test_a_full_batched_queue_keeps_the_oldest_and_waits_for_credit(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a", klass="batched", max_messages=4)
    rig.raw(writer, b"".join(rig.frame(GENERIC, number, meta={"topic": "a"}) for number in range(7)))
    rig.tick(10)
    assert rig.payloads(reader) == [0, 1, 2, 3]
    rig.publish(writer, "a", 7)
    rig.tick(10)
    assert rig.payloads(reader) == []
    rig.say(reader, frames.CREDIT, {"sub": 1, "messages": 4, "bytes": 4096})
    assert rig.payloads(reader) == [7]
    assert rig.broker.stats().topics["a"].dropped == {"overflow": 3}


def test_a_batched_subscription_gathers_before_it_delivers(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a", klass="batched")
    rig.publish(writer, "a", 1)
    rig.publish(writer, "a", 2)
    assert rig.payloads(reader) == []
    assert rig.broker.tick(rig.now, rig.mono) == 10
    rig.tick(10)
    assert rig.payloads(reader) == [1, 2]


def test_what_a_stalled_reader_loses_is_announced_as_backpressure(rig):
    stalled, writer, watcher = rig.joined("s"), rig.joined("w"), rig.joined("d")
    rig.subscribe(stalled, "a", max_messages=5)
    rig.subscribe(watcher, "rlp/sys/drops")
    for number in range(5):
        rig.publish(writer, "a", number)
    rig.now += 50
    for number in range(5, 8):
        rig.publish(writer, "a", number)
    rig.tick()
    (notice,) = rig.payloads(watcher)
    assert (notice["reason"], notice["count"]) == ("backpressure_timeout", 3)
    assert rig.payloads(stalled) == [3, 4, 5, 6, 7]


def test_what_an_inbox_loses_is_told_without_its_name_which_is_a_secret(rig):
    asker, writer, watcher = rig.joined("secret"), rig.joined("w"), rig.joined("d")
    rig.subscribe(asker, "rlp/inbox/secret/*", max_messages=2)
    rig.subscribe(watcher, "rlp/sys/drops")
    for number in range(4):
        rig.publish(writer, f"rlp/inbox/secret/{number}", number)
    rig.read(asker)
    rig.publish(writer, "rlp/inbox/secret/9", None, ttl_ms=1)
    rig.tick(1_001)
    rig.read(asker)
    rig.tick(1_000)
    notices = rig.payloads(watcher)
    assert {(notice["topic"], notice["reason"]) for notice in notices} == {("rlp/inbox", "overflow"), ("rlp/inbox", "ttl_expired")}
    assert sum(notice["count"] for notice in notices) == sum(sum(each.dropped.values()) for each in rig.broker.stats().topics.values())


def test_drop_notices_are_limited_in_number_and_cause_no_notices(make_rig):
    rig = make_rig(notices_per_s=3)
    reader, writer, watcher = rig.joined("r"), rig.joined("w"), rig.joined("d")
    rig.subscribe(reader, "t/*", max_messages=1)
    watching = rig.subscribe(watcher, "rlp/sys/drops", max_messages=2)
    for _ in range(10):
        for topic in range(10):
            rig.publish(writer, f"t/{topic}")
            rig.publish(writer, f"t/{topic}")
    for _ in range(20):
        rig.tick(1)
    assert rig.broker.stats().topics["rlp/sys/drops"].frames == 3
    assert watching.messages == 2
    assert all(payload["topic"] != "rlp/sys/drops" for payload in rig.payloads(watcher))


def lose(notices, *topics):
    for topic in topics:
        notices.more(topic, "overflow", 1) or notices.add(topic, "overflow", 1, trace_id=1, msg_id=1, expires_at_ms=None)


def told(notices, now_ms):
    return [(payload["topic"], payload["count"]) for _, payload in notices.due(now_ms)]


def test_topics_that_lose_without_end_keep_no_other_from_being_told():
    notices, seen = DropNotices(1), []
    for second in range(4):
        lose(notices, "a", "b")
        seen += told(notices, second * 1000)
    assert seen == [("a", 1), ("b", 2), ("a", 2), ("b", 2)]


def test_where_no_more_may_be_told_now_the_next_notice_is_due_with_the_next_second():
    notices = DropNotices(1)
    assert notices.next_ms(100) is None
    lose(notices, "a", "b")
    assert (notices.next_ms(100), told(notices, 5000), notices.next_ms(5000)) == (100, [("a", 1)], 6000)
    assert (told(notices, 5999), told(notices, 6000), notices.next_ms(6000)) == ([], [("b", 1)], 7000)
    assert (told(notices, 7000), notices.next_ms(7000)) == ([], None)


def test_a_topic_is_told_once_a_second_with_the_first_frame_that_the_notice_before_did_not_tell_of():
    notices, named = DropNotices(10), []
    for now_ms, msg_id in ((0, 1), (999, 2), (999, 3), (1000, 4)):
        notices.more("a", "overflow", 1) or notices.add("a", "overflow", 1, trace_id=7, msg_id=msg_id, expires_at_ms=now_ms)
        named += [(each["msg_id"], each["expires_at_ms"], each["count"], each["observed_at_ms"]) for _, each in notices.due(now_ms)]
    assert named == [(1, 0, 1, 0), (2, 999, 3, 1000)]


def test_a_clock_that_is_set_back_keeps_no_notice_back():
    notices = DropNotices(1)
    lose(notices, "a")
    assert told(notices, 3_600_000) == [("a", 1)]
    lose(notices, "a", "b")
    assert (told(notices, 0), told(notices, 1000)) == ([("a", 1)], [("b", 1)])


def test_no_more_than_256_topics_are_gathered_at_a_time():
    notices = DropNotices(1000)
    lose(notices, *map(str, range(257)))
    assert [topic for topic, _ in told(notices, 0)] == list(map(str, range(256)))


def test_disconnecting_drops_what_waits_as_closed_and_leaves_nothing_behind(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a/**")
    rig.publish(writer, "a/b")
    rig.raw(reader, b"\x00\x00")
    for session in (reader, writer):
        rig.broker.disconnect(session)
        rig.broker.disconnect(session)
    assert rig.broker.stats().topics["a/b"].dropped == {"closed": 1}
    assert (rig.broker.sessions, rig.broker.windows, bool(rig.broker.routes.index), rig.broker.buffered) == ({}, {}, False, 0)


@pytest.mark.parametrize("klass", ["realtime", "batched"])
def test_a_frame_larger_than_the_queue_is_delivered_alone(rig, klass):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a", klass=klass, max_bytes=1000)
    for payload in (1, b"x" * 5000):
        rig.publish(writer, "a", payload)
        rig.tick(10)
        assert rig.payloads(reader) == [payload]
        rig.say(reader, frames.CREDIT, {"sub": 1, "messages": 1, "bytes": 10_000})


def test_many_topics_that_all_wait_do_not_make_the_next_one_dear(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "t/*", max_messages=100_000, max_bytes=64 << 20)
    looked = 0
    fold = type(rig.broker.routes)._fold

    def counted(routes):
        nonlocal looked
        looked += len(routes.topics)
        fold(routes)

    type(rig.broker.routes)._fold = counted
    try:
        for number in range(20_000):
            rig.publish(writer, f"t/{number}")
    finally:
        type(rig.broker.routes)._fold = fold
    assert looked < 2 * 20_000


def test_who_has_not_read_for_a_while_loses_a_quarter_in_whole_batches_and_keeps_the_newest(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    sub = rig.subscribe(reader, "a", max_messages=45)
    batches = [b"".join(rig.frame(GENERIC, {"n": (batch, n)}, meta={"topic": "a"}) for n in range(10)) for batch in range(6)]
    rig.raw(writer, batches[0])
    rig.tick(100)
    kept = []
    for batch in batches[1:]:
        rig.raw(writer, batch)
        kept.append(sub.messages)
    assert kept == [20, 30, 40, 30, 40]
    assert [payload["n"] for payload in rig.payloads(reader)] == [[batch, n] for batch in (2, 3, 4, 5) for n in range(10)]
    counts = rig.broker.stats().topics["a"]
    assert (counts.published, counts.delivered, counts.dropped) == (60, 40, {"backpressure_timeout": 20})


def test_what_a_stalled_reader_of_many_topics_loses_is_counted_by_topic(rig):
    reader, writer, watcher = rig.joined("r"), rig.joined("w"), rig.joined("d")
    rig.subscribe(reader, "t/*", max_messages=8)
    rig.subscribe(watcher, "rlp/sys/drops")
    for number in range(8):
        rig.publish(writer, f"t/{number % 3}", number)
    rig.now += 50
    rig.publish(writer, "t/0", 8)
    rig.tick()
    assert rig.payloads(reader) == [3, 4, 5, 6, 7, 8]
    assert {notice["topic"]: notice["count"] for notice in rig.payloads(watcher)} == {"t/0": 1, "t/1": 1, "t/2": 1}
    topics = rig.broker.stats().topics
    assert [topics[f"t/{number}"].dropped for number in range(3)] == [{"backpressure_timeout": 1}] * 3


def test_losses_that_go_on_do_not_wake_the_broker_before_the_next_notice_may_be_told(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a", max_messages=2)
    for _ in range(5):
        rig.publish(writer, "a")
    assert rig.broker.due_ms <= rig.now
    rig.tick()
    for _ in range(5):
        rig.publish(writer, "a")
    assert rig.broker.due_ms == rig.now + 1000


def test_a_message_that_comes_alone_goes_past_the_queue_to_who_reads_and_has_nothing_waiting(rig):
    reader, slow, gatherer, writer = rig.joined("r"), rig.joined("s"), rig.joined("g"), rig.joined("w")
    rig.subscribe(reader, "a")
    rig.subscribe(slow, "a")
    rig.subscribe(gatherer, "a", klass="batched")
    rig.publish(writer, "a", 0)
    rig.tick(10)
    assert [rig.payloads(each) for each in (reader, slow, gatherer)] == [[0]] * 3
    rig.broker.dirty = []
    reader.dirty = slow.dirty = gatherer.dirty = False
    wire = []
    reader.direct = gatherer.direct = wire.append
    alone = rig.frame(GENERIC, 1, meta={"topic": "a"})
    rig.raw(writer, alone)
    assert wire == [alone]
    assert rig.broker.dirty == [slow]
    slow.dirty, slow.direct = False, wire.append
    rig.publish(writer, "a", 2)
    assert wire[1:] == [rig.read(slow)[1].raw]
    assert rig.payloads(gatherer) == []
    rig.say(reader, frames.PING, None)
    rig.publish(writer, "a", 3)
    assert len(wire) == 3
    assert [frame.type for frame in rig.read(reader)] == [frames.PONG, GENERIC]


def test_the_busiest_topics_are_counted_one_by_one_and_all_others_together(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "**", max_messages=4)
    rig.subscribe(reader, "rlp/inbox/r/*", sub=2)
    for topic, times in (("a", 3), ("b", 2), ("c", 1), ("d", 1), ("rlp/inbox/r/7", 4)):
        for _ in range(times):
            rig.publish(writer, topic)
    stats = rig.broker.stats()
    found = stats.by_topic(3)
    assert {name: counts.published for name, counts in found.items()} == {"rlp/inbox": 4, "a": 3, "b": 2, "all others": 2}
    assert sum(counts.published for counts in found.values()) == stats.total.published
    assert sum(counts.queued for counts in found.values()) == stats.queued_frames
    assert found["a"].dropped == {"overflow": 3}


def test_who_can_take_a_message_at_once_does_not_wait_for_those_whose_queues_it_goes_into(rig):
    slow, reader, writer = rig.joined("s"), rig.joined("r"), rig.joined("w")
    waiting = rig.subscribe(slow, "a")
    rig.subscribe(reader, "a")
    rig.publish(writer, "a", 0)
    rig.read(reader)
    reader.dirty = False
    seen = []
    reader.direct = lambda _raw: seen.append(waiting.messages)
    rig.publish(writer, "a", 1)
    assert (seen, waiting.messages) == ([1], 2)


def test_a_connection_causes_so_many_copies_in_one_turn_and_the_rest_in_the_next_ones_in_order(rig):
    readers = [rig.joined(f"r{number}") for number in range(COPIES_A_TURN // 2)]
    for reader in readers:
        rig.subscribe(reader, "**")
    writer, topics = rig.joined("w"), ["a", "b", "a", "b", "c", "d", "e"]
    data = b"".join(rig.frame(GENERIC, number, meta={"topic": topic}) for number, topic in enumerate(topics))
    turns = []
    intake.receive(rig.broker, writer, data, rig.now)
    while True:
        turns.append((rig.broker.stats().total.frames, writer.published))
        if writer.left is None:
            break
        intake.proceed(rig.broker, writer, rig.now)
    assert (turns[-1], len(turns) > 2, all(frames == published for frames, published in turns)) == ((7, 7), True, True)
    assert [rig.payloads(reader) for reader in readers] == [list(range(7))] * len(readers)


def test_topics_that_are_hard_to_look_up_take_turns_too(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    for number in range(256):
        rig.subscribe(reader, "/".join("*" if number >> bit & 1 else "t" for bit in range(8)) + "/end", number, max_bytes=1_000)
    hard = ["t/" * 8 + f"other/{number}" for number in range(40)]
    intake.receive(rig.broker, writer, b"".join(rig.frame(GENERIC, None, meta={"topic": topic}) for topic in hard), rig.now)
    first = rig.broker.stats().total.frames
    while writer.left is not None:
        intake.proceed(rig.broker, writer, rig.now)
    assert (0 < first < 40, rig.broker.stats().total.frames) == (True, 40)
    rig.say(reader, frames.UNSUBSCRIBE, {"sub": 0})  # all that was looked up is looked up again
    known = b"".join(rig.frame(GENERIC, None, meta={"topic": topic}) for topic in hard)
    intake.receive(rig.broker, writer, known, rig.now)
    again = rig.broker.stats().total.frames
    while writer.left is not None:
        intake.proceed(rig.broker, writer, rig.now)
    assert (40 < again < 80, rig.broker.stats().total.frames) == (True, 80)


def test_a_frame_that_waits_for_many_subscriptions_of_a_connection_is_in_memory_once(rig):
    """Each gets other bytes, with its number; made when it is published, one frame of a stranger was 255 in the daemon's memory."""
    reader, writer = rig.joined("r"), rig.joined("w")
    subs = [rig.subscribe(reader, pattern, number, max_bytes=1024) for number, pattern in enumerate(["a/b", "a/*", "a/b", "**"], 1)]
    rig.publish(writer, "a/b", "x" * 100_000)
    assert len({id(run.data) for sub in subs for run in sub.queue}) == 1
    got = rig.read(reader)
    assert sorted((frame.meta["sub"], len(frame.envelope.payload)) for frame in got) == [(number, 100_000) for number in (1, 2, 3, 4)]
