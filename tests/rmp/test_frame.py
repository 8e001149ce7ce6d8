import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from runloop import rmp

MakeFrame = Callable[..., bytes]
BODY = b"\x83\xa4type\xaferror.report.v1\xa7payload\xc4\x01\xff\xa4meta\x81\xa5topic\xa1t"
ENVELOPE = rmp.Envelope("error.report.v1", b"\xff", {"topic": "t"})
PARTS: dict[str, Any] = {"trace_id": 0x112233445566778899AABBCCDDEEFF00, "msg_id": 42, "created_at_ms": 1_000, "ttl_ms": 2_000}


def streamed(data: bytes) -> rmp.Frame:
    decoder = rmp.FrameDecoder()
    decoder.feed(data)
    (frame,) = decoder.frames()
    return frame


def test_a_frame_keeps_the_bytes_received_and_only_those(with_body: MakeFrame) -> None:
    data = with_body(BODY)
    frame = rmp.decode_frame(data + b"next", now_ms=None)
    assert (frame.raw, frame.body) == (data, BODY)


def test_a_frame_does_not_follow_changes_of_the_buffer_it_was_read_from(with_body: MakeFrame) -> None:
    data = bytearray(with_body(BODY))
    frame = rmp.decode_frame(data, now_ms=None)
    data[68:] = bytes(len(BODY))
    assert frame.body == BODY


def test_a_frame_cannot_be_changed(with_body: MakeFrame) -> None:
    frame = streamed(with_body(BODY))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.raw = b""  # type: ignore[misc]


def test_frames_are_equal_when_their_bytes_are_whatever_was_decoded_so_far(with_body: MakeFrame) -> None:
    one, other = streamed(with_body(BODY)), streamed(with_body(BODY))
    assert one.envelope == ENVELOPE
    assert one == other
    assert one == rmp.Frame(one.header, one.raw)


def test_the_envelope_is_decoded_once(with_body: MakeFrame) -> None:
    frame = streamed(with_body(BODY))
    assert frame.envelope is frame.envelope


def test_the_type_is_known_without_the_body(with_body: MakeFrame) -> None:
    assert streamed(with_body(b"\xc1", schema_id=9)).type == "intent.control.v1"
    assert streamed(with_body(b"\xc1", schema_id=999)).type is None


def test_the_meta_is_read_without_the_payload(with_body: MakeFrame) -> None:
    broken_payload = BODY.replace(b"\xc4\x01\xff", b"\xd4\x05\xff")
    frame = streamed(with_body(broken_payload))
    assert frame.meta == {"topic": "t"}
    with pytest.raises(rmp.BodyDecodeError):
        _ = frame.envelope


def test_the_meta_is_the_envelopes_once_that_is_decoded(with_body: MakeFrame) -> None:
    frame = streamed(with_body(BODY))
    assert frame.envelope.meta is frame.meta


@pytest.mark.parametrize("look_first", [False, True])
def test_a_frame_without_meta_has_an_empty_one(with_body: MakeFrame, look_first: bool) -> None:
    frame = streamed(with_body(b"\x82\xa4type\xaferror.report.v1\xa7payload\xc0"))
    if look_first:
        assert frame.envelope.meta is None
    assert frame.meta == {}


def test_the_body_of_an_unknown_schema_is_not_read(with_body: MakeFrame) -> None:
    frame = streamed(with_body(BODY, schema_id=999))
    with pytest.raises(rmp.UnknownSchema):
        _ = frame.envelope
    with pytest.raises(rmp.UnknownSchema):
        _ = frame.meta


def test_a_frame_shows_its_dedupe_key(with_body: MakeFrame) -> None:
    assert streamed(with_body(BODY)).dedupe_key == (PARTS["trace_id"], 42)


@pytest.mark.parametrize(
    ("changes", "now_ms", "error"),
    [
        ({"schema_id": 999, "ttl_ms": 0}, 5_000, rmp.UnknownSchema),
        ({"ttl_ms": 0, "body": b"\xc1"}, 5_000, rmp.InvalidTtl),
        ({"created_at_ms": 2**64 - 1, "body": b"\xc1"}, 5_000, rmp.InvalidExpiry),
        ({"body": b"\xc1"}, 5_000, rmp.Expired),
        ({"body": b"\xc1"}, None, rmp.BodyDecodeError),
        ({"schema_id": 9}, None, rmp.BodyTypeMismatch),
    ],
)
def test_of_several_faults_of_a_message_the_first_of_the_documented_order_is_named(
    with_body: MakeFrame, changes: dict[str, Any], now_ms: int | None, error: type[rmp.RmpError]
) -> None:
    data = with_body(**{"body": BODY, **changes})
    with pytest.raises(error):
        rmp.decode_frame(data, now_ms=now_ms)


def test_lengths_that_disagree_are_named_before_their_size(with_body: MakeFrame) -> None:
    data = with_body(bytes(8), frame_len=64 + 9) + b"\x00"
    with pytest.raises(rmp.LengthMismatch) as caught:
        rmp.decode_frame(data, now_ms=None, max_body=4)
    assert caught.value.facts == {"declared": 8, "actual": 9}


@pytest.mark.parametrize("present", [0, 1, 8], ids=["header only", "one byte", "whole"])
def test_a_body_above_the_limit_is_refused_from_the_header_on(with_body: MakeFrame, present: int) -> None:
    data = with_body(bytes(8))[: 68 + present]
    with pytest.raises(rmp.BodyTooLarge) as caught:
        rmp.decode_frame(data, now_ms=None, max_body=4)
    assert caught.value.facts == {"size": 8, "limit": 4}


def test_before_the_header_is_complete_even_a_huge_frame_is_only_incomplete(with_body: MakeFrame) -> None:
    with pytest.raises(rmp.Incomplete):
        rmp.decode_frame(with_body(bytes(8))[:67], now_ms=None, max_body=4)


def test_a_body_at_the_limit_is_taken(with_body: MakeFrame) -> None:
    assert rmp.decode_frame(with_body(BODY), now_ms=None, max_body=len(BODY)).body == BODY


def test_another_protocol_is_named_by_its_magic_although_its_text_reads_as_a_huge_length() -> None:
    with pytest.raises(rmp.InvalidMagic):
        rmp.decode_frame(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: something/1.0\r\nAccept: */*\r\n\r\n", now_ms=None)


def test_an_encoded_frame_is_the_one_written_by_hand(with_body: MakeFrame) -> None:
    assert rmp.encode_frame(ENVELOPE, **PARTS) == with_body(BODY)


def test_a_frame_lives_30_seconds_unless_told_otherwise() -> None:
    data = rmp.encode_frame(ENVELOPE, trace_id=1, msg_id=1, created_at_ms=1_000)
    assert rmp.decode_frame(data, now_ms=30_999).header.ttl_ms == 30_000


@pytest.mark.parametrize(
    ("envelope", "changes", "error", "key"),
    [
        (rmp.Envelope("missing", 1), {}, rmp.UnknownSchema, "type"),
        (ENVELOPE, {"ttl_ms": 0}, rmp.InvalidTtl, "ttl_ms"),
        (ENVELOPE, {"created_at_ms": 2**64 - 1}, rmp.InvalidExpiry, "ttl_ms"),
        (ENVELOPE, {"created_at_ms": 2**64}, rmp.EncodeError, "created_at_ms"),
        (ENVELOPE, {"ttl_ms": 2**64}, rmp.EncodeError, "ttl_ms"),
        (ENVELOPE, {"ttl_ms": 1.5}, rmp.EncodeError, "ttl_ms"),
        (ENVELOPE, {"msg_id": -1}, rmp.EncodeError, "msg_id"),
        (ENVELOPE, {"trace_id": 2**128}, rmp.EncodeError, "trace_id"),
        (ENVELOPE, {"max_body": len(BODY) - 1}, rmp.BodyTooLarge, "body_len"),
        (rmp.Envelope("error.report.v1", {1: 2}), {}, rmp.EncodeError, "payload"),
        (rmp.Envelope("error.report.v1", 1, {"priority": 300}), {}, rmp.EncodeError, "meta"),
    ],
)
def test_a_frame_that_no_receiver_would_take_is_not_encoded(
    envelope: rmp.Envelope, changes: dict[str, Any], error: type[rmp.RmpError], key: str
) -> None:
    with pytest.raises(error) as caught:
        rmp.encode_frame(envelope, **{**PARTS, **changes})
    assert (caught.value.where.key, bool(caught.value.hint)) == (key, True)


def test_a_body_may_not_outgrow_the_length_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runloop.rmp.frame.U32_MAX", 64 + len(BODY) - 1)
    with pytest.raises(rmp.BodyTooLarge):
        rmp.encode_frame(ENVELOPE, **PARTS, max_body=2**40)
