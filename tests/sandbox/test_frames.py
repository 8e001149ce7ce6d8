"""The messages between pool and worker are RMP frames like any other."""

import msgpack
import pytest

from runloop import rmp
from runloop.sandbox import frames

PAYLOADS = [
    {"run": 1, "kind": "python", "seed": bytes(32), "limits": {"fuel": None, "wall_ms": 5}, "request": "{}"},
    {"run": 1, "Completed": {"result": "42", "running_ms": 1.5, "hostcalls": 0}},
    {},
]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("schema", [frames.RUN, frames.ENDED, frames.CONTROL])
def test_a_message_is_the_frame_that_rmp_makes_of_it(schema, payload):
    raw = frames.encode(schema, payload)
    decoded = rmp.decode_frame(raw, now_ms=None)
    assert (decoded.header.schema_id, decoded.envelope.payload) == (schema, payload)
    header = decoded.header
    again = rmp.encode_frame(decoded.envelope, trace_id=0, msg_id=header.msg_id, created_at_ms=header.created_at_ms, ttl_ms=header.ttl_ms)
    assert again == raw


@pytest.mark.parametrize("reader", [frames.from_parent, frames.from_worker])
def test_both_sides_read_what_the_other_writes_in_any_slices(reader):
    reading, stream = reader(), b"".join(frames.encode(frames.RUN, payload) for payload in PAYLOADS)
    found = [message for at in range(0, len(stream), 7) for message in reading.feed(stream[at : at + 7])]
    assert found == [(frames.RUN, payload) for payload in PAYLOADS]


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
def test_what_rmp_cannot_carry_has_its_name(value):
    with pytest.raises(rmp.EncodeError):
        frames.encode(frames.RUN, {"x": value})


def test_an_answer_has_room_for_the_longest_text_as_json_writes_it():
    text = "\\u0001" * (8 << 20)
    raw = frames.encode(frames.ANSWER, {"run": 1, "ok": text})

    assert list(frames.from_parent().feed(raw)) == [(frames.ANSWER, {"run": 1, "ok": text})]
    with pytest.raises(rmp.BodyTooLarge):
        list(frames.from_worker().feed(raw))
    with pytest.raises(rmp.BodyTooLarge):
        frames.encode(frames.ANSWER, {"x": "y" * frames.MAX_ANSWER})


def test_a_message_above_the_limit_is_refused():
    with pytest.raises(rmp.BodyTooLarge):
        frames.encode(frames.RUN, {"x": "y" * rmp.DEFAULT_MAX_BODY})


@pytest.mark.parametrize(
    "body",
    [
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\x81\xa1a\xd4\x05x",  # an extension
        b"\x81\x01\x02",  # a key that is no string
    ],
)
def test_the_pool_does_not_take_from_a_worker_what_rmp_forbids(body):
    good = frames.encode(frames.ENDED, {"run": 1})
    payload = msgpack.packb({"run": 1})
    at = good.rindex(payload)
    header = rmp.decode_frame(good, now_ms=None).header
    changed = rmp.header.write_header(header._replace(body_len=header.body_len - len(payload) + len(body))) + good[rmp.BODY_AT : at] + body
    with pytest.raises(rmp.BodyDecodeError):
        list(frames.from_worker().feed(changed))


def test_a_body_whose_type_is_not_that_of_the_header_is_refused():
    raw = frames.encode(frames.ENDED, {"run": 1})
    other = raw[: rmp.BODY_AT] + raw[rmp.BODY_AT :].replace(b"result", b"resulT")
    with pytest.raises(rmp.RmpError):
        list(frames.from_worker().feed(other))
