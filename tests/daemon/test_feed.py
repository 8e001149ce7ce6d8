"""The records of runs as frames: the same bytes whenever they are made, published together, and for nobody not made at all."""

import asyncio
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop import rmp
from runloop.daemon import feed
from runloop.daemon.feed import RECORD_TTL_MS, RUN_EVENT, Form, RunFeed
from runloop.errors import InvalidInput
from runloop.events import OUTER_KEYS

RUN = str(uuid.UUID(int=7))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def record(seq=1, kind="node.log", meta=None, *, run_id=RUN, parent=None, live=False):
    values = (1, seq, 1_000 + seq, run_id, f"trace:{RUN}", f"opening:{RUN}", "o", parent, kind, "info", "m", meta or {})
    return dict(zip(OUTER_KEYS, (*values, None if live else 100 + seq), strict=True))


@given(VALUES, st.integers(1, 2**40))
def test_a_frame_is_what_rmp_makes_of_the_record(value, seq):
    made, topic = record(seq, meta={"value": value}), f"rlp/runs/trace:{RUN}/events"
    envelope = rmp.Envelope(RUN_EVENT, made, {"topic": topic, "seq": seq})
    expected = rmp.encode_frame(envelope, trace_id=7, msg_id=100 + seq, created_at_ms=1_000 + seq, ttl_ms=RECORD_TTL_MS)
    assert Form.of(made).frame(made) == expected


def test_the_record_of_an_old_run_is_not_too_old_for_a_reader_that_looks_at_the_time_to_live():
    made = record()
    century_ms = 100 * 366 * 24 * 3_600_000
    assert rmp.decode_frame(Form.of(made).frame(made), now_ms=made["ts_ms"] + century_ms).envelope.payload == made


@pytest.mark.parametrize("depth", [40, 61])
def test_a_deep_record_is_a_frame_too(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    made = record(meta={"value": value})
    assert rmp.decode_frame(Form.of(made).frame(made), now_ms=None).envelope.payload == made


def test_a_record_too_deep_for_rmp_says_so():
    value = 1
    for _ in range(64):
        value = [value]
    made = record(meta={"value": value})
    with pytest.raises(rmp.EncodeError):
        Form.of(made).frame(made)


class Bus:
    """Remembers what was published; ``following`` says whether anybody is there."""

    def __init__(self, *, following=True):
        self.following = following
        self.published = []
        self.unheard = 0
        self.flush = None

    def wanted(self, topic, frames):
        self.unheard += 0 if self.following else frames
        return self.following

    def flush_soon(self):
        asyncio.get_running_loop().call_soon(self.flush)

    def publish_own(self, topic, frames):
        self.published.append((topic, [(own.seq, rmp.decode_frame(own.raw, now_ms=None)) for own in frames]))


def feeding(bus):
    made = RunFeed(None)
    made.bus, bus.flush = bus, made.flush
    return made


async def test_records_of_one_turn_are_published_together_by_topic_and_in_order():
    bus, child = Bus(), str(uuid.UUID(int=9))
    taking = feeding(bus)
    for made in (record(1), record(1, run_id=child, parent=RUN), record(2), record(2, kind="node.progress", live=True)):
        taking.take(made)
    assert bus.published == []
    await asyncio.sleep(0)
    found = [(topic, [seq for seq, _ in frames]) for topic, frames in bus.published]
    assert found == [(f"rlp/runs/trace:{RUN}/events", [1, 2, None]), (f"rlp/runs/run:{child}/events", [1])]
    live = bus.published[0][1][2][1]
    assert (live.meta, live.header.ttl_ms, live.header.msg_id >> 62) == ({"topic": bus.published[0][0]}, feed.LIVE_TTL_MS, 2)


async def test_a_live_record_is_not_the_same_message_as_one_of_another_life_of_the_daemon():
    told = set()
    for _ in range(2):
        bus = Bus()
        feeding(bus).take(record(2, kind="node.progress", live=True))
        await asyncio.sleep(0)
        told.add(bus.published[0][1][0][1].header.dedupe_key)
    assert len(told) == 2


async def test_facts_are_those_of_the_frame():
    bus, owns = Bus(), []
    bus.publish_own = lambda _topic, frames: owns.extend(frames)
    taking = feeding(bus)
    taking.take(record(3))
    taking.take(record(3, kind="node.progress", live=True))
    await asyncio.sleep(0)
    for own in owns:
        header = rmp.decode_frame(own.raw, now_ms=None).header
        assert (own.facts.schema_id, own.facts.expires_at_ms) == (header.schema_id, header.expires_at_ms)
        assert (own.facts.trace_id, own.facts.msg_id) == header.dedupe_key


async def test_for_nobody_no_frame_is_made_until_somebody_asks(monkeypatch):
    made = []
    original = Form.frame
    monkeypatch.setattr(Form, "frame", lambda form, taken: (made.append(taken["seq"]), original(form, taken))[1])
    bus = Bus(following=False)
    taking = feeding(bus)
    for seq in (1, 2, 3):
        taking.take(record(seq))
    await asyncio.sleep(0)
    assert (made, bus.unheard, bus.published) == ([], 3, [])
    found = await taking.read(f"rlp/runs/trace:{RUN}/events", 2, 10)
    assert [(seq, rmp.decode_frame(raw, now_ms=None).meta["seq"]) for seq, raw in found] == [(2, 2), (3, 3)]


async def test_records_of_a_run_that_waits_are_read_from_the_ledger(monkeypatch):
    asked = []
    monkeypatch.setattr(RunFeed, "_from_ledger", lambda _feed, _topic, _run_id, from_seq, _limit: asked.append(from_seq) or [])
    taking = feeding(Bus())
    for seq, kind in enumerate(["run.submitted", "run.waiting", "run.recovered"], 1):
        taking.take(record(seq, kind))
    topic = f"rlp/runs/trace:{RUN}/events"
    assert [seq for seq, _ in await taking.read(topic, 3, 10)] == [3]
    assert await taking.read(topic, 1, 10) == []
    assert asked == [1]


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the ledger, which lost nothing."""
    asked = []
    monkeypatch.setattr(RunFeed, "_count_erasures", lambda _feed: 0)
    monkeypatch.setattr(RunFeed, "_from_ledger", lambda _feed, _topic, run_id, from_seq, _limit: asked.append((run_id, from_seq)) or [])
    return asked


async def test_of_a_long_run_the_newest_records_stay_under_their_numbers(monkeypatch, asked):
    monkeypatch.setattr(feed, "_KEPT", 2)
    taking, topic = feeding(Bus()), f"rlp/runs/trace:{RUN}/events"
    for seq in range(1, 6):
        taking.take(record(seq))
    found = await taking.read(topic, 3, 2)
    assert [(seq, rmp.decode_frame(raw, now_ms=None).meta["seq"]) for seq, raw in found] == [(3, 3), (4, 4)]
    assert (await taking.read(topic, 2, 2), asked) == ([], [(RUN, 2)])


async def test_of_runs_that_ended_the_latest_alone_stay_and_nothing_of_one_that_is_put_away(monkeypatch, asked):
    monkeypatch.setattr(feed, "_ENDED", 1)
    runs = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]
    taking = feeding(Bus())
    for run_id, kind in zip(runs, ("run.finished", "run.finished", "run.submitted"), strict=True):
        taking.take(record(1, kind, run_id=run_id))
    taking.put_away(runs[2])
    there = [len(await taking.read(feed.run_topic(run_id), 1, 9)) for run_id in runs]
    assert (there, asked) == ([0, 1, 0], [(runs[0], 1), (runs[2], 1)])


async def test_what_ended_runs_said_is_read_from_the_ledger_once_that_has_lost_texts(monkeypatch, asked):
    runs = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]
    taking = feeding(Bus())
    for run_id, kind in zip(runs, ("run.finished", "run.finished", "run.started"), strict=True):
        taking.take(record(1, kind, run_id=run_id))
    monkeypatch.setattr(RunFeed, "_count_erasures", lambda _feed: 1)
    there = [len(await taking.read(feed.run_topic(run_id), 1, 9)) for run_id in runs]
    assert (there, asked) == ([0, 0, 1], [(runs[0], 1), (runs[1], 1)])
    taking.take(record(2, "run.finished", run_id=runs[2]))
    assert len(await taking.read(feed.run_topic(runs[2]), 1, 9)) == 2


@pytest.mark.parametrize("parent", [None, str(uuid.UUID(int=8))])
async def test_what_is_in_memory_is_read_under_the_topic_of_the_run_alone(parent, asked):
    taking = feeding(Bus())
    taking.take(record(1, parent=parent))
    topics = [f"rlp/runs/trace:{RUN}/events", f"rlp/runs/run:{RUN}/events"]
    right, wrong = topics if parent is None else topics[::-1]
    assert len(await taking.read(right, 1, 9)) == 1
    with pytest.raises(InvalidInput) as caught:
        await taking.read(wrong, 1, 9)
    assert (caught.value.code, caught.value.hint.startswith(f"subscribe to {right}"), asked) == ("bus.not_durable", True, [])


@pytest.mark.parametrize("name", [f"trace:{RUN[:8]}", f"trace:{RUN[:-1]}F", "trace:", RUN, f"trace:{RUN}0", f"node:{RUN}"])
async def test_a_topic_of_records_names_a_whole_run_id(name):
    with pytest.raises(InvalidInput) as caught:
        await feeding(Bus()).read(f"rlp/runs/{name}/events", 1, 9)
    assert caught.value.code == "bus.not_durable"
