"""Replay, then live: every record once and in order, however readings and publishes interleave."""

from hypothesis import given
from hypothesis import strategies as st

from runloop.bus import frames, replay
from runloop.errors import RunloopError

TOPIC = "rlp/runs/trace:1/events"


class Ledger:
    """Records as they would lie on disk; a reading sees what was stored when it was made."""

    def __init__(self, rig):
        self.rig = rig
        self.records = []

    def store(self):
        seq = len(self.records) + 1
        raw = self.rig.frame("observation.run.event.v1", seq, meta={"topic": TOPIC, "seq": seq})
        self.records.append((seq, raw))
        return raw

    def read(self, read):
        return [record for record in self.records if record[0] >= read.from_seq][: read.limit]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 5)),
        st.tuples(st.just("publish"), st.integers(1, 5)),
        st.just(("begin-read",)),
        st.just(("end-read",)),
        st.tuples(st.just("take"), st.sampled_from([1, 400, 1 << 30])),
        st.tuples(st.just("credit"), st.integers(1, 4)),
        st.just(("live-only",)),
    ),
    max_size=80,
)


@given(steps=STEPS, stored=st.integers(0, 12), from_seq=st.integers(1, 15), room=st.integers(1, 6), page=st.integers(1, 5))
def test_a_durable_subscription_has_no_gap_and_no_repetition(  # noqa: C901, PLR0912 - a branch for each step
    make_rig, steps, stored, from_seq, room, page
):
    rig = make_rig(durable=True, replay_messages=page)
    ledger = Ledger(rig)
    for _ in range(stored):
        ledger.store()
    published, readings, got = stored, [], []
    reader = rig.joined("r", "operator")
    sub = rig.subscribe(reader, TOPIC, klass="durable", from_seq=from_seq, max_messages=room)

    def take(most):
        found = [frame for frame in rig.read(reader, most) if frame.header.schema_id == 8]
        got.extend(frame.meta["seq"] for frame in found if "seq" in frame.meta)
        return len(found)

    def end_read():
        if readings:
            read, records = readings.pop(0)
            replay.supply(rig.broker, read, records)

    def begin_read():
        readings.extend((read, ledger.read(read)) for read in rig.broker.reads)
        rig.broker.reads.clear()

    for step in steps:
        match step:
            case ("store", count):
                for _ in range(count):
                    ledger.store()
            case ("publish", count):
                for _ in range(min(count, len(ledger.records) - published)):
                    rig.broker.publish(ledger.records[published][1], rig.now)
                    published += 1
            case ("begin-read",):
                begin_read()
            case ("end-read",):
                end_read()
            case ("take", most):
                take(most)
            case ("credit", messages):
                rig.say(reader, frames.CREDIT, {"sub": 1, "messages": messages, "bytes": 1 << 20})
            case ("live-only",):
                rig.broker.publish(rig.frame("observation.run.event.v1", None, meta={"topic": TOPIC}), rig.now)
        assert sub.messages <= room
        assert len(rig.broker.reads) + len(readings) <= 1
    while published < len(ledger.records):
        rig.broker.publish(ledger.records[published][1], rig.now)
        published += 1
    for _ in range(300):
        rig.say(reader, frames.CREDIT, {"sub": 1, "messages": 3, "bytes": 1 << 20})
        begin_read()
        end_read()
        take(1 << 30)
    assert got == list(range(from_seq, len(ledger.records) + 1))
    counts = rig.broker.stats().topics[TOPIC]
    assert counts.published == counts.delivered + sum(counts.dropped.values())


def test_a_topic_that_the_ledger_does_not_have_ends_the_subscription_with_its_error(make_rig):
    rig = make_rig(durable=True)
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable")
    (read,) = rig.broker.reads
    replay.failed(rig.broker, read, RunloopError("no such run", code="run.unknown"), rig.now)
    (answer,) = rig.payloads(reader)
    assert (answer["of"], answer["sub"], answer["error"]["code"]) == (0, 1, "run.unknown")
    assert reader.subs == {}


def test_what_the_ledger_answers_after_the_reader_has_gone_is_nobodys(make_rig):
    rig = make_rig(durable=True)
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable")
    (read,) = rig.broker.reads
    rig.broker.disconnect(reader)
    replay.supply(rig.broker, read, [(1, b"")])
    replay.failed(rig.broker, read, RunloopError("x"), rig.now)
    assert rig.broker.stats().total.published == 0


def test_a_durable_record_never_expires_in_its_queue(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    ledger.store()
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable")
    replay.supply(rig.broker, rig.broker.reads.pop(), ledger.records)
    rig.now += 60_000
    assert rig.payloads(reader) == [1]


def live_reader(make_rig, **options):
    """A durable subscription that has read everything stored, and its ledger."""
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    ledger.store()
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable", **options)
    replay.supply(rig.broker, rig.broker.reads.pop(), ledger.records)
    assert rig.payloads(reader) == [1]
    return rig, ledger, reader


def test_a_number_that_was_skipped_is_read_from_the_ledger_before_what_follows(make_rig):
    rig, ledger, reader = live_reader(make_rig)
    ledger.store()
    rig.broker.publish(ledger.store(), rig.now)
    assert rig.payloads(reader) == []
    (read,) = rig.broker.reads
    replay.supply(rig.broker, read, ledger.read(read))
    assert rig.payloads(reader) == [2, 3]


def test_a_frame_without_a_number_comes_in_its_place_and_where_there_is_no_room_its_loss_is_counted(make_rig):
    rig, ledger, reader = live_reader(make_rig, max_messages=2)
    rig.say(reader, frames.CREDIT, {"sub": 1, "messages": 1, "bytes": 1 << 20})
    rig.payloads(reader)
    rig.broker.publish(ledger.store(), rig.now)
    for _ in range(2):
        rig.broker.publish(rig.frame("observation.run.event.v1", "told", meta={"topic": TOPIC}), rig.now)
    assert rig.payloads(reader) == [2, "told"]
    assert sum(rig.broker.stats().topics[TOPIC].dropped.values()) == 1


def test_what_is_published_while_a_reading_is_under_way_is_read_next(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable")
    read = rig.broker.reads.pop()
    found = ledger.read(read)
    rig.broker.publish(ledger.store(), rig.now)
    replay.supply(rig.broker, read, found)
    (again,) = rig.broker.reads
    replay.supply(rig.broker, again, ledger.read(again))
    assert rig.payloads(reader) == [1]


def test_an_older_record_that_is_published_late_does_not_hide_a_newer_one(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable")
    older = ledger.store()
    read = rig.broker.reads.pop()
    found = ledger.read(read)
    rig.broker.publish(ledger.store(), rig.now)
    rig.broker.publish(older, rig.now)
    replay.supply(rig.broker, read, found)
    (again,) = rig.broker.reads
    replay.supply(rig.broker, again, ledger.read(again))
    assert rig.payloads(reader) == [1, 2]


def test_a_source_that_begins_too_early_repeats_nothing(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    for _ in range(5):
        ledger.store()
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, klass="durable", from_seq=4)
    replay.supply(rig.broker, rig.broker.reads.pop(), ledger.records)
    assert rig.payloads(reader) == [4, 5]


def test_a_record_published_again_is_not_delivered_again(make_rig):
    rig, ledger, reader = live_reader(make_rig)
    rig.broker.publish(ledger.records[0][1], rig.now)
    assert rig.payloads(reader) == []
    rig.broker.publish(ledger.store(), rig.now)
    assert rig.payloads(reader) == [2]


def subs_of(frames_):
    return [(frame.meta["seq"], frame.meta.get("sub")) for frame in frames_]


def test_beside_another_subscription_that_matches_each_record_says_which_it_is_for(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    ledger.store()
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, "rlp/runs/*/events", 1)
    rig.subscribe(reader, TOPIC, 2, klass="durable")
    replay.supply(rig.broker, rig.broker.reads.pop(), ledger.records)
    rig.broker.publish(ledger.store(), rig.now)
    assert sorted(subs_of(rig.read(reader))) == [(1, 2), (2, 1), (2, 2)]
    rig.say(reader, frames.UNSUBSCRIBE, {"sub": 1})
    rig.read(reader)
    raw = ledger.store()
    rig.broker.publish(raw, rig.now)
    assert [frame.raw for frame in rig.read(reader)] == [raw]


def test_what_waits_when_another_subscription_begins_says_which_it_is_for(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    ledger.store()
    reader = rig.joined("r", "operator")
    first = rig.subscribe(reader, "rlp/runs/*/events", 1)
    records = rig.subscribe(reader, TOPIC, 2, klass="durable")
    replay.supply(rig.broker, rig.broker.reads.pop(), ledger.records)
    rig.publish(reader, "news")
    rig.broker.publish(ledger.store(), rig.now)
    rig.say(reader, frames.UNSUBSCRIBE, {"sub": 1})
    assert not first.messages
    rig.broker.publish(ledger.store(), rig.now)
    rig.say(reader, frames.SUBSCRIBE, frames.Subscribe(3, "rlp/runs/**").payload())
    rig.say(reader, frames.SUBSCRIBE, frames.Subscribe(4, "news").payload())
    rig.broker.publish(ledger.store(), rig.now)
    assert records.size == sum(len(run.data) for run in records.queue)
    told = [frame for frame in rig.read(reader) if "topic" in frame.meta]
    assert sorted(subs_of(told)) == [(1, 2), (2, 2), (3, 2), (4, 2), (4, 3)]
    assert (records.size, records.messages) == (0, 0)


def test_frames_that_wait_together_are_marked_one_by_one_and_once(rig):
    reader, writer = rig.joined("r"), rig.joined("w")
    rig.subscribe(reader, "a/*", 1)
    rig.raw(writer, b"".join(rig.frame("observation.generic.v1", number, meta={"topic": "a/b"}) for number in range(3)))
    for sub in (2, 3):
        rig.say(reader, frames.SUBSCRIBE, frames.Subscribe(sub, "a/b").payload())
    told = [frame for frame in rig.read(reader) if "topic" in frame.meta]
    assert [(frame.envelope.payload, frame.meta["sub"]) for frame in told] == [(0, 1), (1, 1), (2, 1)]
    counts = rig.broker.stats().topics["a/b"]
    assert (counts.published, counts.delivered) == (3, 3)


def test_a_live_frame_for_which_there_is_no_room_costs_no_record_beside_another_subscription(make_rig):
    rig = make_rig(durable=True)
    ledger = Ledger(rig)
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, 1)
    record, live_only = ledger.store(), rig.frame("observation.run.event.v1", None, meta={"topic": TOPIC})
    room = len(record) + len(live_only) - 1
    rig.subscribe(reader, TOPIC, 2, klass="durable", max_bytes=room)
    replay.supply(rig.broker, rig.broker.reads.pop(), [])
    rig.broker.publish(record, rig.now)
    rig.broker.publish(live_only, rig.now)
    assert [frame.meta.get("seq") for frame in rig.read(reader) if frame.meta["sub"] == 2] == [1]
