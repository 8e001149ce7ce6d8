"""The fast reading agrees with the decoder on everything but the inside of payloads."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop import rmp
from runloop.rmp import scan as scan_module
from runloop.rmp.scan import TAG_BYTES, Reader, read_meta_bytes, read_payload, scan, with_meta

TYPE = "observation.generic.v1"
KEYS = st.text(max_size=5).filter(lambda key: key != "tags")
VALUES = st.none() | st.integers(0, 9) | st.text(max_size=5)
METAS = st.none() | st.dictionaries(KEYS, VALUES, max_size=3) | st.just({"opening_id": 2**100})
PAYLOADS = st.none() | st.binary(max_size=300) | st.lists(st.integers(0, 5), max_size=3) | st.just(b"x" * 3000)


def frame(payload=None, meta=None, **options):
    given = {"trace_id": 2**127 + 1, "msg_id": 9, "created_at_ms": 1000, "ttl_ms": 500, **options}
    return rmp.encode_frame(rmp.Envelope(TYPE, payload, meta), **given)


@given(st.lists(st.tuples(PAYLOADS, METAS), max_size=6), st.integers(0, 100))
def test_whole_frames_come_out_with_what_routing_needs(parts, cut):
    frames = [frame(payload, meta) for payload, meta in parts]
    stream = b"".join(frames)
    data = stream + frame()[: min(cut, 67)]
    rows, rest, needed, refusal = scan(data, 1 << 20)
    assert [data[at:end] for at, end, *_ in rows] == frames
    assert (rest, refusal) == (len(stream), None)
    assert needed == rmp.BODY_AT
    for raw, (_, _, schema_id, expires, key, meta) in zip(frames, rows, strict=True):
        decoded = rmp.decode_frame(raw, now_ms=None)
        assert (schema_id, expires) == (decoded.header.schema_id, decoded.header.expires_at_ms)
        assert (int.from_bytes(key[:16], "big"), int.from_bytes(key[16:], "big")) == decoded.dedupe_key
        assert read_meta_bytes(meta) == (decoded.envelope.meta or {})
        assert read_payload(raw) == decoded.envelope.payload


@given(st.data())
def test_a_changed_byte_is_judged_as_the_decoder_judges_it(data):
    raw = bytearray(frame({"a": 1, "b": b"xy"}, {"topic": "t", "n": [1]}))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    bytes_given = bytes(raw)
    decoder = rmp.FrameDecoder(1 << 20)
    decoder.feed(bytes_given)
    framing, expected = None, []
    try:
        expected.extend(decoder.frames())
    except rmp.FramingError as error:
        framing = error.code
    rows, _, _, refusal = scan(bytes_given, 1 << 20)
    assert (None if refusal is None else refusal.code) == framing
    assert len(rows) == len(expected)
    for got, want in zip(rows, expected, strict=True):
        judged = None
        try:
            want.check(None)
            meta = want.meta
        except rmp.MessageError as error:
            judged = error.code
        if judged is not None:
            wrong = got[5]
            if isinstance(wrong, bytes):  # a fault inside meta shows when it is read
                with pytest.raises(rmp.MessageError) as caught:
                    read_meta_bytes(wrong)
                wrong = caught.value
            assert wrong.code == judged
        elif isinstance(got[5], rmp.MessageError):  # an unusual form is read whole, so a fault inside the payload shows early
            with pytest.raises(type(got[5])):
                want.envelope  # noqa: B018 - raises
        else:
            assert read_meta_bytes(got[5]) == meta


@given(st.lists(st.integers(1, 50), max_size=40))
def test_a_stream_in_any_slices_gives_the_same_frames(cuts):
    frames = [frame(b"x" * size, {"topic": "t"}) for size in (0, 1, 200, 3000)]
    stream, reader, got, at = b"".join(frames), Reader(1 << 20), [], 0
    for size in [*cuts, len(stream)]:
        data, rows, refusal = reader.feed(stream[at : at + size])
        assert refusal is None
        got += [data[begin:end] for begin, end, *_ in rows]
        at += size
    assert got == frames


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\x00\x00\x00\x10", "rmp.truncated_header"),
        (b"\xff" * 68, "rmp.invalid_magic"),
        ((64 + (1 << 21)).to_bytes(4, "big") + frame()[4:20] + (1 << 21).to_bytes(4, "big") + frame()[24:], "rmp.body_too_large"),
        ((64 + (1 << 21)).to_bytes(4, "big") + frame()[4:], "rmp.length_mismatch"),
    ],
)
def test_a_stream_is_refused_as_early_as_the_decoder_refuses_it(raw, code):
    rows, _, _, refusal = scan(frame() + raw, 1 << 20)
    assert (len(rows), refusal.code) == (1, code)
    reader = Reader(1 << 20)
    assert reader.feed(raw)[2].code == code


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        ({"meta": {"topic": "t"}, "payload": 1, "type": TYPE}, {"topic": "t"}),
        ({"type": TYPE, "payload": 1, "meta": None}, {}),
        ({"type": TYPE, "payload": 1, "other": 2}, {}),
        ({"type": TYPE, "payload": 1, "meta": {"opening_id": (2**70).to_bytes(16, "big")}, "other": 2}, {"opening_id": 2**70}),
    ],
)
def test_unusual_envelopes_are_read_as_the_decoder_reads_them(with_body, envelope, expected):
    (row,) = scan(with_body(msgpack.packb(envelope), schema_id=1), 1 << 20)[0]
    assert read_meta_bytes(row[5]) == expected


LARGE = [[]] * 70_000


@pytest.mark.parametrize(
    ("envelope", "schema_id", "meta"),
    [
        ({"type": TYPE, "payload": LARGE, "other": 2, "meta": {"topic": "t"}}, 1, {"topic": "t"}),
        ({"type": TYPE, "other": LARGE, "payload": 1, "meta": None}, 1, {}),
        ({"type": TYPE, "other": LARGE, "payload": 1}, 1, {}),
        ({"type": TYPE, "payload": 1, "meta": {"opening_id": (2**70).to_bytes(16, "big")}, "other": LARGE}, 1, {"opening_id": 2**70}),
        ({"type": TYPE, "payload": LARGE}, 2, rmp.BodyTypeMismatch),
        ({"type": LARGE, "payload": 1}, 1, rmp.BodyDecodeError),
        ({"type": TYPE, "other": LARGE}, 1, rmp.BodyDecodeError),
        ({"payload": LARGE, "other": 1}, 1, rmp.BodyDecodeError),
        ({"type": TYPE, "payload": LARGE, "other": 1, "meta": 5}, 1, rmp.BodyDecodeError),
        (LARGE, 1, rmp.BodyDecodeError),
    ],
)
def test_a_large_unusual_envelope_is_judged_as_the_decoder_judges_it_without_building_it(monkeypatch, with_body, envelope, schema_id, meta):
    raw = with_body(msgpack.packb(envelope), schema_id=schema_id)
    if isinstance(meta, dict):
        assert (rmp.decode_frame(raw, now_ms=None).envelope.meta or {}) == meta
    else:
        with pytest.raises(meta):
            rmp.decode_frame(raw, now_ms=None)
    sizes, decode = [], scan_module.decode_body
    monkeypatch.setattr(scan_module, "decode_body", lambda body, known: sizes.append(len(body)) or decode(body, known))
    ((*_, found),) = scan(raw, 1 << 20)[0]
    assert max(sizes, default=0) < 100
    if isinstance(meta, dict) or isinstance(found, bytes):
        outcome = pytest.raises(meta) if not isinstance(meta, dict) else contextlib.nullcontext()
        with outcome:
            assert read_meta_bytes(found) == meta
    else:
        assert type(found) is meta


def test_a_large_envelope_has_few_keys_and_each_once(with_body):
    twice = b"\x83" + b"".join(map(msgpack.packb, ("type", TYPE, "payload", LARGE, "payload", 1)))
    many = msgpack.packb({"type": TYPE, "payload": LARGE, **dict.fromkeys(map(str, range(70)))})
    for body, reason in ((twice, "twice"), (many, "72 keys")):
        ((*_, found),) = scan(with_body(body, schema_id=1), 1 << 20)[0]
        assert isinstance(found, rmp.BodyDecodeError)
        assert reason in found.message


@pytest.mark.parametrize(
    ("body", "schema_id", "code"),
    [
        (b"\xc1", 1, "rmp.body_decode_error"),
        (b"\x83\xa4type\xb6observation.generic.v1\xa7payload\x01\xa7payload\x02", 1, "rmp.body_decode_error"),
        (msgpack.packb({"type": TYPE, "payload": 1}), 2, "rmp.body_type_mismatch"),
        (msgpack.packb({"type": TYPE, "payload": 1}), 999, "rmp.unknown_schema"),
        (b"\x91" * 5000, 1, "rmp.body_decode_error"),
    ],
)
def test_one_bad_message_does_not_hide_the_next(with_body, body, schema_id, code):
    rows, _, _, refusal = scan(with_body(body, schema_id=schema_id) + frame(), 1 << 20)
    assert (rows[0][5].code, rows[1][5], refusal) == (code, b"\x80", None)


def test_times_that_break_the_rules_are_refused(with_body):
    body = msgpack.packb({"type": TYPE, "payload": 1})
    for options, code in (({"ttl_ms": 0}, "rmp.invalid_ttl"), ({"ttl_ms": 2**64 - 1}, "rmp.invalid_expiry")):
        (row,) = scan(with_body(body, schema_id=1, **options), 1 << 20)[0]
        assert row[5].code == code


@pytest.mark.parametrize(
    "packed", [b"\x82\xa1a\x01\xa1a\x02", b"\x81\x01\x01", b"\x81\xa1a", b"\xc1", b"\x01", b"\x81\xa8priority\xcd\x01\x00"]
)
def test_a_meta_that_breaks_the_rules_is_refused_when_it_is_read(packed):
    with pytest.raises(rmp.BodyDecodeError) as caught:
        read_meta_bytes(packed)
    assert caught.value.where.key in {"meta", "body"}


@pytest.mark.parametrize(
    "payload",
    [
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\x01\x01",
        b"\x81\xa1a\xd4\x01\x00",
        b"\x81\xa1a\x81\x01\x01",
        b"\x91" * 64 + b"\x01",
        b"\x81\xa1a\xa1\xff",
    ],
)
def test_a_payload_that_breaks_the_rules_is_refused_when_it_is_read(with_body, payload):
    raw = with_body(b"\x82\xa4type\xb6observation.generic.v1\xa7payload" + payload, schema_id=1)
    assert isinstance(scan(raw, 1 << 20)[0][0][5], bytes)
    with pytest.raises(rmp.BodyDecodeError):
        read_payload(raw)
    with pytest.raises(rmp.BodyDecodeError):
        rmp.decode_frame(raw, now_ms=None)


@pytest.mark.parametrize("payload", [{}, {"a": {"b": [1]}}, {"a": 1.5, "b": None}, "text", 7, b"", b"x" * 300, b"x" * 70_000, [[1]]])
def test_any_form_of_payload_is_read(payload):
    assert read_payload(frame(payload)) == payload


@pytest.mark.parametrize("order", [("payload", "type", "meta"), ("meta", "type", "payload"), ("type", "payload", "meta")])
@pytest.mark.parametrize("payload", [b"", b"\xc4" * 300, b"x" * 70_000, {"a": b"y"}])
def test_the_order_of_the_keys_does_not_matter_to_a_payload(with_body, order, payload):
    envelope = {"type": TYPE, "payload": payload, "meta": {"topic": "t"}}
    raw = with_body(msgpack.packb({key: envelope[key] for key in order}), schema_id=1)
    assert read_payload(raw) == payload


METAS = (
    None,
    {"topic": "t"},
    {"opening_id": 2**100, "x": [{"y": b"z"}]},
    {str(number): number for number in range(15)},
    {str(number): number for number in range(16)},
    {str(number): number for number in range(65_535)},
)


@pytest.mark.parametrize("meta", METAS)
def test_meta_gets_a_key_and_everything_else_stays(meta):
    before = rmp.decode_frame(frame({"a": [1]}, meta), now_ms=None)
    after = rmp.decode_frame(with_meta(before.raw, {"sub": 2**53 - 1}), now_ms=None)
    assert after.envelope == rmp.Envelope(TYPE, {"a": [1]}, {**(meta or {}), "sub": 2**53 - 1})
    assert after.header.body_len <= before.header.body_len + TAG_BYTES + (6 if meta is None else 0)
    assert after.header._replace(body_len=0) == before.header._replace(body_len=0)
