"""What holds whatever peers do: counts that add up at every instant, order, and readers that do not affect each other."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runloop import rmp
from runloop.bus import frames

TOPICS = ("a", "a/b", "c")
PATTERNS = ("a", "a/b", "a/*", "**", "c")
CLASSES = ("realtime", "batched")

PUBLISH = st.tuples(
    st.just("publish"), st.integers(0, 1), st.sampled_from(TOPICS), st.integers(1, 6), st.sampled_from([5, 30_000]), st.booleans()
)
STEPS = st.lists(
    st.one_of(
        PUBLISH,
        PUBLISH,
        st.tuples(
            st.just("subscribe"),
            st.integers(0, 3),
            st.integers(1, 3),
            st.sampled_from(PATTERNS),
            st.sampled_from(CLASSES),
            st.integers(1, 8),
        ),
        st.tuples(st.just("unsubscribe"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("read"), st.integers(0, 3), st.sampled_from([1, 300, 1 << 30])),
        st.tuples(st.just("credit"), st.integers(0, 3), st.integers(1, 3), st.integers(0, 5)),
        st.tuples(st.just("time"), st.sampled_from([1, 10, 60, 1000])),
        st.tuples(st.just("leave"), st.integers(0, 3)),
    ),
    max_size=60,
)


def waiting(broker):
    found = Counter()
    for session in broker.sessions.values():
        for sub in session.subs.values():
            assert sub.messages == sum(run.frames for run in sub.queue)
            assert sub.size == sum(len(run.data) - run.at for run in sub.queue)
            assert sub.messages <= sub.max_messages
            assert sub.size <= sub.max_bytes or sub.messages == 1
            for run in sub.queue:
                found[run.topic.name] += run.frames
    return found


def check(broker):
    queued = waiting(broker)
    for name, counts in broker.stats().topics.items():
        assert counts.published == counts.delivered + sum(counts.dropped.values()) + queued[name], name
    assert all(session.dirty for session in broker.sessions.values() if session.pending)


@given(steps=STEPS)
def test_published_is_delivered_and_dropped_and_queued_at_every_instant(make_rig, steps):  # noqa: C901, PLR0912 - a branch for each step
    rig = make_rig()
    readers = {number: rig.joined(f"r{number}") for number in range(4)}
    writers = [rig.joined(f"w{number}") for number in range(2)]
    born, last, read, sent = 4, {}, Counter(), Counter()

    def take(number, most):
        for frame in rig.read(readers[number], most):
            if frame.header.schema_id == 1:
                topic = frame.meta["topic"]
                writer, count = frame.envelope.payload
                key = (readers[number].id, frame.meta.get("sub"), writer, topic)
                assert last.get(key, -1) < count, "a publisher's frames of one topic were reordered"
                last[key] = count
                read[topic] += 1

    for step in steps:
        match step:
            case ("publish", writer, topic, count, ttl_ms, together):
                made = []
                for _ in range(count):
                    sent[writer] += 1
                    made.append(
                        rig.frame("observation.generic.v1", [writer, sent[writer]], meta={"topic": topic}, ttl_ms=ttl_ms, trace_id=writer)
                    )
                for data in [b"".join(made)] if together else made:
                    rig.raw(writers[writer], data)
                    check(rig.broker)
            case ("subscribe", number, sub, pattern, klass, most):
                rig.say(readers[number], frames.SUBSCRIBE, frames.Subscribe(sub, pattern, klass, None, most, 4096).payload())
            case ("unsubscribe", number, sub):
                rig.say(readers[number], frames.UNSUBSCRIBE, {"sub": sub})
                last = {key: value for key, value in last.items() if key[0] != readers[number].id}
            case ("read", number, most):
                take(number, most)
            case ("credit", number, sub, messages):
                rig.say(readers[number], frames.CREDIT, {"sub": sub, "messages": messages, "bytes": 4096})
            case ("time", ms):
                rig.tick(ms)
            case ("leave", number):
                rig.broker.disconnect(readers[number])
                readers[number] = rig.joined(f"r{(born := born + 1)}")
        for session in (*readers.values(), *writers):
            session.dirty = session.dirty and session.pending
        rig.broker.dirty = [session for session in rig.broker.dirty if session.dirty]
        check(rig.broker)
    for number in readers:
        take(number, 1 << 30)
    check(rig.broker)
    assert {topic: counts.delivered for topic, counts in rig.broker.stats().topics.items() if topic in TOPICS and counts.delivered} == dict(
        read
    )
    for session in (*readers.values(), *writers):
        rig.broker.disconnect(session)
    check(rig.broker)
    assert (sum(waiting(rig.broker).values()), rig.broker.windows, rig.broker.batches, bool(rig.broker.routes.index)) == (0, {}, {}, False)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3000)), min_size=1, max_size=40))
def test_a_stalled_reader_changes_nothing_for_another(make_rig, bursts):
    def run(*, stalled):
        rig = make_rig()
        reader, writer = rig.joined("r"), rig.joined("w")
        rig.subscribe(reader, "a")
        if stalled:
            rig.subscribe(rig.joined("s"), "a", max_messages=7, max_bytes=5000)
        got = []
        for count, size in bursts:
            rig.raw(
                writer,
                b"".join(
                    rig.frame("observation.generic.v1", b"x" * size, meta={"topic": "a"}, msg_id=n + 1000 * len(got)) for n in range(count)
                ),
            )
            rig.tick(1)
            got.append([frame.raw for frame in rig.read(reader)])
        return got

    assert run(stalled=True) == run(stalled=False)


HAND_OVER = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(st.sampled_from(TOPICS), min_size=1, max_size=5)),
        st.tuples(st.just("reads"), st.booleans()),
        st.tuples(st.just("own"), st.sampled_from(TOPICS)),
    ),
    max_size=40,
)


@given(steps=HAND_OVER)
def test_what_is_handed_over_at_once_keeps_its_place_among_what_waited(make_rig, steps):
    rig = make_rig()
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "**", max_messages=9)
    wire, sent, decoder = [], 0, rmp.FrameDecoder()

    def flush():
        if reader.direct is not None:
            wire.extend(rig.broker.outgoing(reader, rig.now))
            reader.dirty = False
            rig.broker.dirty = []

    reader.direct = wire.append
    for step, what in steps:
        match step:
            case "publish":
                made = []
                for topic in what:
                    sent += 1
                    made.append(rig.frame("observation.generic.v1", sent, meta={"topic": topic}))
                rig.raw(writer, b"".join(made))
            case "reads":
                reader.direct = wire.append if what else None
            case _:  # the hosting process sends at the end of its turn
                sent += 1
                rig.broker.publish(rig.frame("observation.generic.v1", sent, meta={"topic": what}), rig.now)
                check(rig.broker)
                continue
        check(rig.broker)
        flush()
        check(rig.broker)
    reader.direct = wire.append
    flush()
    decoder.feed(b"".join(wire))
    got = [frame.envelope.payload for frame in decoder.frames() if frame.header.schema_id == 1]
    total = rig.broker.stats().total
    assert got == sorted(got)
    assert (len(got), total.published, total.queued) == (total.delivered, sent, 0)


def test_each_connection_has_counts_of_its_own(rig):
    publisher, reader = rig.joined("publisher"), rig.joined("reader")
    rig.say(reader, frames.SUBSCRIBE, frames.Subscribe(1, "a/b", max_messages=2).payload())
    for _ in range(3):
        rig.publish(publisher, "a/b")
    rig.raw(publisher, rig.frame("observation.generic.v1", 1, meta={"topic": "rlp/sys/metrics"}))  # refused
    rig.read(reader)
    assert (publisher.published, publisher.delivered, publisher.lost) == (3, 0, 0)
    assert (reader.published, reader.delivered, reader.lost) == (0, 2, 1)
