import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop import rmp
from runloop.bus.encode import Encoder
from runloop.bus.message import Message

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


def encoder(**options):
    return Encoder(**{"trace_id": 2**127 + 5, "first_id": 41, "max_body": 1 << 20, **options})


@given(VALUES, st.integers(1, 2**40))
def test_the_quick_form_is_byte_for_byte_the_frame_of_the_codec(payload, ttl_ms):
    made = encoder().quick("a/b", "observation.generic.v1", payload, 1000, ttl_ms)
    envelope = rmp.Envelope("observation.generic.v1", payload, {"topic": "a/b"})
    assert made == rmp.encode_frame(envelope, trace_id=2**127 + 5, msg_id=42, created_at_ms=1000, ttl_ms=ttl_ms)


@given(VALUES)
def test_a_message_reads_the_payload_that_the_decoder_reads(payload):
    raw = encoder().quick("a", "observation.generic.v1", payload, 1000, 1000)
    expected = rmp.decode_frame(raw, now_ms=None).envelope
    assert Message(raw).payload == expected.payload
    message = Message(raw)
    assert (message.envelope, message.payload, message.topic, message.type, message.seq) == (
        expected,
        expected.payload,
        "a",
        expected.type,
        None,
    )


def nested(levels):
    value = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "payload", [{1: 2}, {"a": {1: 2}}, object(), 2**64, {"a": 2**64}, "\ud800", {"\ud800": 1}, {"a": "\ud800"}, nested(64), {"a": {1}}]
)
def test_what_rmp_cannot_carry_is_refused_as_by_the_codec(payload):
    with pytest.raises(rmp.EncodeError):
        encoder().quick("a", "observation.generic.v1", payload, 1000, 1000)
    with pytest.raises(rmp.EncodeError):
        rmp.encode_frame(rmp.Envelope("observation.generic.v1", payload, {"topic": "a"}), trace_id=1, msg_id=1, created_at_ms=1)


def test_the_deepest_payload_of_the_codec_passes():
    raw = encoder().quick("a", "observation.generic.v1", nested(63), 1000, 1000)
    assert Message(raw).payload == rmp.decode_frame(raw, now_ms=None).envelope.payload == nested(63)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"ttl_ms": 0}, "rmp.invalid_ttl"),
        ({"topic": "a//b"}, "bus.topic"),
        ({"type_": "no.such.v1"}, "rmp.unknown_schema"),
        ({"payload": b"x" * (1 << 20)}, "rmp.body_too_large"),
    ],
)
def test_a_publish_that_cannot_be_is_refused_before_it_is_sent(change, error):
    from runloop.errors import RunloopError

    given = {"topic": "a", "type_": "observation.generic.v1", "payload": None, "created_at_ms": 1, "ttl_ms": 1000, **change}
    with pytest.raises(RunloopError) as caught:
        encoder().quick(*given.values())
    assert caught.value.code == error


@pytest.mark.parametrize(
    ("ttl_ms", "error"),
    [
        (0, rmp.InvalidTtl),
        (-1, rmp.EncodeError),
        (2**64, rmp.EncodeError),
        (1.5, rmp.EncodeError),
        ("5", rmp.EncodeError),
        (2**64 - 1, rmp.InvalidExpiry),
    ],
)
def test_a_time_to_live_that_is_none_is_refused_as_by_the_codec(ttl_ms, error):
    with pytest.raises(error) as caught:
        encoder().quick("a", "observation.generic.v1", 1, 1000, ttl_ms)
    assert caught.value.where.key == "ttl_ms"
