"""Envelope and meta, whole and as the broker reads them."""

import struct
from typing import Any

import msgpack
import pytest

from runloop import rmp
from runloop.rmp.envelope import decode_body, encode_body
from runloop.rmp.route import decode_meta

REPORT = 10
OPENING = bytes(range(16))


def body_of(*pairs: tuple[Any, Any]) -> bytes:
    """A map with exactly these entries, in this order, twice the same key where asked."""
    return struct.pack("B", 0x80 | len(pairs)) + b"".join(msgpack.packb(key) + msgpack.packb(value) for key, value in pairs)


def with_meta(meta: Any) -> bytes:
    return body_of(("type", "error.report.v1"), ("payload", {}), ("meta", meta))


def read_both(body: bytes) -> tuple[Any, Any]:
    return decode_body(body, REPORT).meta, decode_meta(body, REPORT)


@pytest.mark.parametrize(
    ("body", "key", "reason"),
    [
        (b"\x92\x01\x02", "body", "the envelope is not a map but array"),
        (b"\xc0", "body", "the envelope is not a map but nil"),
        (body_of(), "type", "the envelope has no 'type'"),
        (body_of(("payload", 1)), "type", "the envelope has no 'type'"),
        (body_of(("type", "error.report.v1")), "payload", "the envelope has no 'payload'"),
        (body_of(("type", 7), ("payload", 1)), "type", "the type is not a string but int"),
        (body_of(("type", b"error.report.v1"), ("payload", 1)), "type", "the type is not a string but bin"),
        (with_meta([1]), "meta", "meta is not a map but array"),
        (with_meta("x"), "meta", "meta is not a map but str"),
        (with_meta({"priority": 256}), "meta", "meta.priority is not an integer from 0 to 255"),
        (with_meta({"priority": -1}), "meta", "meta.priority is not an integer from 0 to 255"),
        (with_meta({"priority": True}), "meta", "meta.priority is not an integer from 0 to 255"),
        (with_meta({"priority": 1.0}), "meta", "meta.priority is not an integer from 0 to 255"),
        (with_meta({"opening_id": -1}), "meta", "meta.opening_id is neither an integer from 0 to 2^128 - 1 nor 16 bytes"),
        (with_meta({"opening_id": "7"}), "meta", "meta.opening_id is neither an integer from 0 to 2^128 - 1 nor 16 bytes"),
        (with_meta({"opening_id": OPENING[:15]}), "meta", "meta.opening_id is neither an integer from 0 to 2^128 - 1 nor 16 bytes"),
        (with_meta({"opening_id": False}), "meta", "meta.opening_id is neither an integer from 0 to 2^128 - 1 nor 16 bytes"),
        (with_meta({"tags": "red"}), "meta", "meta.tags is not a list of strings"),
        (with_meta({"tags": ["red", 1]}), "meta", "meta.tags is not a list of strings"),
        (with_meta({"tags": None}), "meta", "meta.tags is not a list of strings"),
    ],
)
def test_a_body_that_is_no_envelope_is_refused_with_the_reason(body: bytes, key: str, reason: str) -> None:
    with pytest.raises(rmp.BodyDecodeError) as caught:
        decode_body(body, REPORT)
    assert (caught.value.where.key, caught.value.message) == (key, f"the body cannot be read: {reason}")
    with pytest.raises(rmp.BodyDecodeError):
        decode_meta(body, REPORT)


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (None, None),
        ({}, {}),
        ({"opening_id": 7, "priority": 1}, {"opening_id": 7, "priority": 1}),
        ({"opening_id": None, "priority": None}, {"opening_id": None, "priority": None}),
        ({"priority": 0}, {"priority": 0}),
        ({"priority": 255, "tags": []}, {"priority": 255, "tags": []}),
        ({"opening_id": 2**64 - 1, "tags": ["a", "b"]}, {"opening_id": 2**64 - 1, "tags": ["a", "b"]}),
        ({"opening_id": OPENING}, {"opening_id": 0x000102030405060708090A0B0C0D0E0F}),
        ({"opening_id": bytes(16), "tags": ["a"]}, {"opening_id": 0, "tags": ["a"]}),
        ({"topic": "rlp/sys", "seq": 3, "later": {"x": [b"y"]}}, {"topic": "rlp/sys", "seq": 3, "later": {"x": [b"y"]}}),
        ({f"key{n}": n for n in range(20)}, {f"key{n}": n for n in range(20)}),
    ],
)
def test_meta_is_read_the_same_with_and_without_its_payload(meta: object, expected: object) -> None:
    assert read_both(with_meta(meta)) == (expected, expected)


def test_a_body_without_meta_has_none() -> None:
    assert read_both(body_of(("type", "error.report.v1"), ("payload", 1))) == (None, None)


def test_other_keys_of_the_envelope_are_ignored() -> None:
    body = body_of(("later", [1]), ("payload", 5), ("meta", {"topic": "t"}), ("type", "error.report.v1"))
    assert decode_body(body, REPORT) == rmp.Envelope("error.report.v1", 5, {"topic": "t"})
    assert decode_meta(body, REPORT) == {"topic": "t"}


@pytest.mark.parametrize(
    "body",
    [
        body_of(("type", "error.report.v1"), ("payload", 1), ("payload", 2)),
        body_of(("type", "observation.run.event.v1"), ("type", "error.report.v1"), ("payload", 2)),
        body_of(("type", "error.report.v1"), ("payload", 1), ("meta", {}), ("meta", {})),
        body_of(("type", "error.report.v1"), ("payload", 1), ("later", {}), ("later", {})),
        with_meta({"topic": 1}).replace(b"\x81\xa5topic\x01", b"\x82\xa5topic\x01\xa5topic\x02"),
        with_meta({"x": {"k": 1}}).replace(b"\x81\xa1k\x01", b"\x82\xa1k\x01\xa1k\x02"),
    ],
    ids=["payload", "type", "meta", "an unknown key", "in meta", "deep in meta"],
)
def test_a_key_that_occurs_twice_is_refused_with_and_without_the_payload(body: bytes) -> None:
    with pytest.raises(rmp.BodyDecodeError, match="twice in one map"):
        decode_body(body, REPORT)
    with pytest.raises(rmp.BodyDecodeError, match="twice in one map"):
        decode_meta(body, REPORT)


@pytest.mark.parametrize("type_", ["observation.trace.line.v1", "error.report.v2", "error", "", "artifact.created.v1"])
def test_a_type_other_than_the_schemas_is_a_mismatch(type_: str) -> None:
    body = body_of(("type", type_), ("payload", {"value": 7}))
    for read in (decode_body, decode_meta):
        with pytest.raises(rmp.BodyTypeMismatch) as caught:
            read(body, REPORT)
        assert caught.value.facts == {"expected": "error.report.v1", "actual": type_}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x83\xa4type",
        with_meta({}) + b"\x00",
        with_meta({"a": msgpack.Timestamp(1)}),
        with_meta({"a": msgpack.ExtType(5, b"")}),
        with_meta({1: 2}),
        with_meta({b"a": 2}),
        with_meta({"a": 1}).replace(b"\xa1a", b"\xa1\xff"),
        b"\x82\xa4type\xafxrror.report.v1\xa7payload" + b"\x91" * 4_000_000 + b"\xc0",  # deeper than the stack of any Python
    ],
    ids=["empty", "c1", "cut", "more", "timestamp", "extension", "int key", "bin key", "not utf-8", "deep payload"],
)
def test_meta_alone_is_refused_for_the_same_faults(body: bytes) -> None:
    with pytest.raises(rmp.BodyDecodeError):
        decode_meta(body, REPORT)
    with pytest.raises(rmp.BodyDecodeError):
        decode_body(body, REPORT)


@pytest.mark.parametrize(("depth", "fits"), [(61, True), (62, True), (63, False)])
def test_meta_counts_as_the_second_level(depth: int, fits: bool) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value]
    body = with_meta({"deep": value})
    if fits:
        assert read_both(body) == ({"deep": value}, {"deep": value})
        return
    for read in (decode_body, decode_meta):
        with pytest.raises(rmp.BodyDecodeError, match="nested deeper than 64"):
            read(body, REPORT)


def test_the_keys_are_written_in_the_order_type_payload_meta() -> None:
    body = encode_body(rmp.Envelope("error.report.v1", {"b": 1, "a": 2}, {"opening_id": 7}))
    assert body == body_of(("type", "error.report.v1"), ("payload", {"b": 1, "a": 2}), ("meta", {"opening_id": 7}))


def test_no_meta_is_not_written_and_an_empty_one_is() -> None:
    assert encode_body(rmp.Envelope("error.report.v1", 1)) == body_of(("type", "error.report.v1"), ("payload", 1))
    assert encode_body(rmp.Envelope("error.report.v1", 1, {})) == body_of(("type", "error.report.v1"), ("payload", 1), ("meta", {}))


@pytest.mark.parametrize(
    ("opening_id", "packed"),
    [(1234, "cd04d2"), (2**64 - 1, "cf" + "ff" * 8), (2**64, "c410" + "00" * 7 + "01" + "00" * 8), (2**128 - 1, "c410" + "ff" * 16)],
)
def test_an_opening_id_is_an_integer_while_msgpack_has_one_and_16_bytes_beyond(opening_id: int, packed: str) -> None:
    envelope = rmp.Envelope("error.report.v1", None, {"topic": "t", "opening_id": opening_id})
    body = encode_body(envelope)
    assert body.endswith(b"opening_id" + bytes.fromhex(packed))
    assert decode_body(body, REPORT) == envelope
    assert envelope.meta == {"topic": "t", "opening_id": opening_id}


@pytest.mark.parametrize(
    "meta", [{"opening_id": 2**128}, {"opening_id": b"x" * 16}, {"priority": 256}, {"priority": True}, {"tags": [1]}, {"tags": "x"}]
)
def test_a_meta_that_no_receiver_would_take_is_not_sent(meta: dict[str, Any]) -> None:
    with pytest.raises(rmp.EncodeError) as caught:
        encode_body(rmp.Envelope("error.report.v1", None, meta))
    assert caught.value.where.key == "meta"


def test_what_rmp_knows_of_meta_has_its_own_names() -> None:
    envelope = rmp.Envelope("error.report.v1", None, {"opening_id": 7, "priority": 1, "tags": ["a", "b"]})
    assert (envelope.opening_id, envelope.priority, envelope.tags) == (7, 1, ("a", "b"))


@pytest.mark.parametrize("meta", [None, {}])
def test_what_meta_does_not_say_is_absent(meta: dict[str, Any] | None) -> None:
    envelope = rmp.Envelope("error.report.v1", None, meta)
    assert (envelope.opening_id, envelope.priority, envelope.tags) == (None, None, ())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xc0", "the envelope is not a map"),
        (with_meta({}) + b"\x00", "bytes follow the value"),
        (with_meta({})[:-1], "it ends within a value"),
        (b"\x81\xa4type\xc1", "it holds the byte 0xc1, which no value begins with"),
        (b"\x81\xc4\x01x\x01", "a map key is not a string"),
        (body_of(("type", 7), ("payload", 1)), "the type is not a string"),
        (b"\x82\xa4type\xa1\xff\xa7payload\xc0", "a string is not UTF-8"),
        (b"\x81\xa1x" + b"\x91" * 1_000_000 + b"\xc0", "nested deeper than 64"),
        (body_of(("payload", 1)), "the envelope has no 'type'"),
        (body_of(("type", "error.report.v1")), "the envelope has no 'payload'"),
        (with_meta({"x": b"?"}).replace(b"\xc4\x01?", b"\xa1\xff"), "a string is not UTF-8"),
    ],
)
def test_what_a_broker_cannot_read_is_told_in_the_words_of_the_protocol(body: bytes, reason: str) -> None:
    with pytest.raises(rmp.BodyDecodeError) as caught:
        decode_meta(body, REPORT)
    assert caught.value.message == f"the body cannot be read: {reason}"


@pytest.mark.parametrize(
    "body",
    [
        body_of(("type", "\U000e0001" * 15_000), ("payload", 1)),
        body_of(("type", "error.report.v1"), ("payload", 1), ("\U000e0001" * 15_000, 1), ("\U000e0001" * 15_000, 1)),
        body_of(("type", "error.report.v1"), ("payload", 1), (b"\xff" * 60_000, 1)),
    ],
)
def test_a_message_about_a_body_quotes_no_more_than_the_beginning_of_a_text(body: bytes) -> None:
    with pytest.raises(rmp.MessageError) as caught:
        decode_body(body, REPORT)
    assert len(caught.value.message) < 1_000
