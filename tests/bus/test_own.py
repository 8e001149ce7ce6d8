"""Frames of the hosting process that it knows without reading them: as if they had been read."""

import pytest

from runloop import rmp
from runloop.bus.publishing import Own
from runloop.bus.topic import Facts

TOPIC = "rlp/runs/trace:1/events"
RECORD = "observation.run.event.v1"


def own(rig, seq=None, **options):
    meta = {"topic": options.pop("topic", TOPIC)} if seq is None else {"topic": TOPIC, "seq": seq}
    raw = rig.frame(RECORD, {"seq": seq}, meta=meta, **options)
    header = rmp.decode_frame(raw, now_ms=None).header
    seen = header.trace_id.to_bytes(16, "big") + header.msg_id.to_bytes(8, "big")
    return Own(raw, Facts(header.schema_id, header.expires_at_ms, seen), seq)


def raws(rig, session):
    return [frame.raw for frame in rig.read(session)]


@pytest.mark.parametrize("klass", ["realtime", "batched"])
def test_they_arrive_in_order_as_they_are(rig, klass):
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, "rlp/runs/*/events", klass=klass)
    frames = [own(rig, seq) for seq in (1, 2, 3)]
    rig.broker.publish_own(TOPIC, frames, rig.now)
    rig.tick(1000)
    assert raws(rig, reader) == [each.raw for each in frames]
    counts = rig.broker.stats().topics[TOPIC]
    assert (counts.frames, counts.published, counts.delivered, counts.queued) == (3, 3, 3, 0)


def test_a_connection_with_two_subscriptions_gets_a_marked_copy_for_each(rig):
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC, 1)
    rig.subscribe(reader, "rlp/**", 2)
    rig.broker.publish_own(TOPIC, [own(rig, 1), own(rig, 2)], rig.now)
    assert sorted((frame.meta["seq"], frame.meta["sub"]) for frame in rig.read(reader)) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_repeated_one_is_delivered_once_and_the_new_ones_beside_it_too(rig):
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC)
    first, second = own(rig, 1), own(rig, 2)
    rig.broker.publish_own(TOPIC, [first], rig.now)
    rig.broker.publish_own(TOPIC, [first, second], rig.now)
    assert raws(rig, reader) == [first.raw, second.raw]
    counts = rig.broker.stats().topics[TOPIC]
    assert (counts.published, counts.delivered, sum(counts.dropped.values())) == (3, 2, 1)


def test_one_that_expires_early_does_not_take_the_others_with_it(rig):
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC)
    short, long = own(rig, 1, ttl_ms=10), own(rig, 2, ttl_ms=30_000)
    rig.broker.publish_own(TOPIC, [short, long], rig.now)
    rig.tick(20)
    assert raws(rig, reader) == [long.raw]


def test_a_topic_is_wanted_while_somebody_subscribes_and_is_counted_while_nobody_does(rig):
    reader = rig.joined("r", "operator")
    assert not rig.broker.wanted(TOPIC, 3)
    rig.subscribe(reader, "rlp/runs/*/events")
    assert rig.broker.wanted(TOPIC, 2)
    rig.broker.disconnect(reader)
    assert not rig.broker.wanted(TOPIC)
    assert rig.broker.stats().topics[TOPIC].frames == 4


def test_a_topic_that_the_process_serves_itself_is_wanted(rig):
    rig.broker.routes.serve("rlp/ctrl")
    assert rig.broker.wanted("rlp/ctrl")


def test_expired_ones_are_refused_by_name(rig):
    reader = rig.joined("r", "operator")
    rig.subscribe(reader, TOPIC)
    rig.subscribe(reader, "rlp/**", 2)  # so that each is looked at
    late = own(rig, 1, ttl_ms=5)
    rig.now += 10
    with pytest.raises(rmp.Expired):
        rig.broker.publish_own(TOPIC, [late], rig.now)
