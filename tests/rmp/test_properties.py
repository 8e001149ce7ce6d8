"""What holds for every message, every slicing and every sequence of bytes."""

import struct
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop import rmp
from runloop.rmp.body import check
from runloop.rmp.envelope import decode_body
from runloop.rmp.route import decode_meta

# A busy machine is no fault of the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

U64 = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT | st.binary(max_size=20)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20)
KNOWN_META = st.fixed_dictionaries(
    {},
    optional={
        "opening_id": st.none() | st.integers(0, 2**128 - 1),
        "priority": st.none() | st.integers(0, 255),
        "tags": st.lists(TEXT, max_size=3),
        "topic": TEXT,
    },
)
UNKNOWN_META = st.dictionaries(TEXT.filter(lambda key: key not in {"opening_id", "priority", "tags"}), VALUES, max_size=3)
META = st.builds(lambda known, unknown: {**unknown, **known}, KNOWN_META, UNKNOWN_META)
ENVELOPES = st.builds(rmp.Envelope, st.sampled_from([each.type for each in rmp.registry.all()]), VALUES, st.none() | META)
LIFETIMES = st.tuples(U64, st.integers(1, 2**64 - 1)).filter(lambda pair: sum(pair) < 2**64)


@st.composite
def messages(draw: st.DrawFn) -> tuple[rmp.Envelope, dict[str, int]]:
    created, ttl = draw(LIFETIMES)
    return draw(ENVELOPES), {"trace_id": draw(st.integers(0, 2**128 - 1)), "msg_id": draw(U64), "created_at_ms": created, "ttl_ms": ttl}


FRAMES = messages().map(lambda message: rmp.encode_frame(message[0], **message[1]))


@st.composite
def nearly_frames(draw: st.DrawFn) -> bytes:
    """A frame with some bytes changed, inserted or lost; half of the time its lengths agree again, so that the body is reached."""
    data = bytearray(draw(FRAMES))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        lost = draw(st.integers(0, 3))
        data[at : at + lost] = draw(st.binary(max_size=3))
    if len(data) >= 68 and draw(st.booleans()):
        data[:4] = struct.pack(">I", len(data) - 4)
        data[20:24] = struct.pack(">I", len(data) - 68)
    return bytes(data)


HEADS = st.sampled_from([bytes([head]) for head in (0x80, 0x81, 0x82, 0x83, 0x91, 0xC1, 0xC4, 0xC7, 0xD6, 0xDC, 0xDD, 0xDE, 0xDF)])
KEYS = st.sampled_from([b"\xa4type", b"\xa7payload", b"\xa4meta", b"\xaferror.report.v1", b"\xaaopening_id", b"\xa4tags"])
BODIES = st.lists(HEADS | KEYS | st.binary(max_size=3), max_size=12).map(b"".join)
META_ALONE = st.lists(HEADS | KEYS | st.binary(max_size=3), max_size=6).map(
    lambda parts: b"\x83\xa4type\xaferror.report.v1\xa7payload\x01\xa4meta" + b"".join(parts)
)


def framed(body: bytes) -> bytes:
    return struct.pack(">I4sHHIHHIQQQQQI", 64 + len(body), b"RMP0", 0, 64, 0, 10, 0, len(body), 1, 1, 0, 0, 0, 0) + body


def outcome(read: Any, *arguments: Any) -> Any:
    """What came out, or the name of one of our errors; any other exception fails the test."""
    try:
        return repr(read(*arguments))  # by text, because NaN is not equal to itself
    except rmp.RmpError as error:
        return error.name


@unhurried
@given(messages())
def test_decoding_gives_back_what_was_encoded(message: tuple[rmp.Envelope, dict[str, int]]) -> None:
    envelope, parts = message
    data = rmp.encode_frame(envelope, **parts)
    frame = rmp.decode_frame(data, now_ms=parts["created_at_ms"])
    header = frame.header
    assert frame.envelope == envelope
    assert {name: getattr(header, name) for name in parts} == parts
    assert (header.body_len, frame.type, frame.raw) == (len(data) - 68, envelope.type, data)


@unhurried
@given(messages())
def test_the_meta_alone_is_the_meta_of_the_envelope(message: tuple[rmp.Envelope, dict[str, int]]) -> None:
    envelope, parts = message
    decoder = rmp.FrameDecoder()
    decoder.feed(rmp.encode_frame(envelope, **parts))
    (frame,) = decoder.frames()
    assert frame.meta == (envelope.meta or {})


@unhurried
@given(st.lists(FRAMES | nearly_frames(), max_size=4).map(b"".join), st.data())
def test_every_slicing_of_a_stream_gives_the_same_frames_and_the_same_end(stream: bytes, data: st.DataObject) -> None:
    def decoded(slices: list[bytes]) -> tuple[list[bytes], str | None]:
        decoder = rmp.FrameDecoder(max_body=100_000)
        frames = []
        try:
            for part in slices:
                decoder.feed(part)
                for frame in decoder.frames():
                    frames.append(frame.raw)
            decoder.finish()
        except rmp.RmpError as error:
            return frames, error.name
        return frames, None

    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=10)))
    edges = [0, *cuts, len(stream)]
    assert decoded([stream[start:end] for start, end in pairwise(edges)]) == decoded([stream])
    assert decoded([stream[at : at + 1] for at in range(len(stream))]) == decoded([stream])


@unhurried
@given(st.binary(max_size=300) | nearly_frames() | BODIES.map(framed) | META_ALONE.map(framed), st.none() | U64, st.integers(0, 300))
def test_any_bytes_decode_or_raise_one_of_our_errors(data: bytes, now_ms: int | None, max_body: int) -> None:
    outcome(lambda: rmp.decode_frame(data, now_ms=now_ms, max_body=max_body))


@unhurried
@given(nearly_frames() | BODIES.map(framed) | META_ALONE.map(framed), st.integers(0, 500))
def test_the_stream_decoder_and_the_frame_decoder_agree_on_a_whole_frame(data: bytes, max_body: int) -> None:
    def whole() -> rmp.Frame:
        return rmp.decode_frame(data, now_ms=None, max_body=max_body)

    def streamed() -> rmp.Frame:
        decoder = rmp.FrameDecoder(max_body)
        decoder.feed(data)
        for frame in decoder.frames():
            frame.check(None)
            assert frame.envelope
            return frame
        decoder.finish()
        raise AssertionError("neither a frame nor a refusal")

    if outcome(whole) != "Incomplete":
        assert outcome(streamed) == outcome(whole)


@unhurried
@given(BODIES | META_ALONE | nearly_frames().map(lambda data: data[68:]))
def test_a_broker_and_a_receiver_never_read_different_metas(body: bytes) -> None:
    whole = outcome(lambda: decode_body(body, 10).meta)
    alone = outcome(lambda: decode_meta(body, 10))
    # A broker steps over the payload, so a fault in there is for the receiver alone to find.
    assert whole in (alone, "BodyDecodeError")


@unhurried
@given(VALUES)
def test_every_value_that_json_like_code_makes_is_within_the_rules(value: Any) -> None:
    check(value)
