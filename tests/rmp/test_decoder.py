import tracemalloc
from collections.abc import Callable

import pytest

from runloop import rmp

MakeFrame = Callable[..., bytes]
BODY = b"\x82\xa4type\xaferror.report.v1\xa7payload\x01"


@pytest.fixture
def frame(with_body: MakeFrame) -> bytes:
    return with_body(BODY)


def drained(decoder: rmp.FrameDecoder) -> tuple[list[bytes], str | None]:
    """The frames that come out, and the name of the refusal after them."""
    frames = []
    try:
        for each in decoder.frames():
            frames.append(each.raw)
    except rmp.FramingError as error:
        return frames, error.name
    return frames, None


def test_a_frame_comes_out_as_soon_as_its_last_byte_is_in(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame[:-1])
    assert (drained(decoder), decoder.buffered) == (([], None), len(frame) - 1)
    decoder.feed(frame[-1:])
    assert (drained(decoder), decoder.buffered) == (([frame], None), 0)


def test_frames_and_the_beginning_of_the_next_come_from_one_feed(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame * 3 + frame[:70])
    assert (drained(decoder), decoder.buffered) == (([frame] * 3, None), 70)
    decoder.feed(frame[70:] + frame)
    assert (drained(decoder), decoder.buffered) == (([frame] * 2, None), 0)


def test_bytes_may_be_fed_between_two_frames(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame * 2)
    frames = decoder.frames()
    first = next(frames)
    decoder.feed(frame)
    assert [each.raw for each in (first, *frames)] == [frame] * 3


def test_frames_that_were_not_taken_are_kept(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame * 3)
    next(decoder.frames())
    assert drained(decoder) == ([frame] * 2, None)


def test_a_decoder_takes_every_kind_of_buffer(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    for part in (bytearray(frame[:10]), memoryview(frame)[10:80], frame[80:], b""):
        decoder.feed(part)
    assert drained(decoder) == ([frame], None)


@pytest.mark.parametrize(
    ("at", "new", "needed", "name"),
    [
        (0, "0000003f", 4, "TruncatedHeader"),
        (4, "58", 68, "InvalidMagic"),
        (9, "01", 68, "UnsupportedVersion"),
        (15, "01", 68, "InvalidHeaderFlags"),
        (0, "00800041", 68, "LengthMismatch"),
    ],
)
def test_a_frame_is_refused_as_soon_as_its_header_tells(frame: bytes, at: int, new: str, needed: int, name: str) -> None:
    fresh = bytes.fromhex(new)
    data = frame[:at] + fresh + frame[at + len(fresh) :]
    decoder = rmp.FrameDecoder()
    decoder.feed(data[: needed - 1])
    assert drained(decoder) == ([], None)
    decoder.feed(data[needed - 1 : needed])
    assert drained(decoder) == ([], name)


def test_lengths_are_compared_when_the_frame_is_whole(with_body: MakeFrame) -> None:
    data = with_body(BODY, frame_len=64 + len(BODY) + 1)
    decoder = rmp.FrameDecoder()
    decoder.feed(data)
    assert drained(decoder) == ([], None)
    decoder.feed(b"\x00")
    assert drained(decoder) == ([], "LengthMismatch")


def test_frames_before_a_refused_one_still_come_out(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame * 2 + b"X" * 68 + frame)
    assert drained(decoder) == ([frame] * 2, "InvalidMagic")


def test_after_a_refusal_the_stream_is_over_and_nothing_is_kept(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(b"X" * 100)
    assert drained(decoder) == ([], "InvalidMagic")
    decoder.feed(frame)
    assert decoder.buffered == 0
    assert drained(decoder) == ([], "InvalidMagic")
    with pytest.raises(rmp.InvalidMagic):
        decoder.finish()


def test_a_stream_may_end_between_frames(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.finish()
    decoder.feed(frame)
    list(decoder.frames())
    decoder.finish()


@pytest.mark.parametrize(("cut", "missing"), [(1, 3), (4, 64), (67, 1), (68, len(BODY)), (68 + len(BODY) - 1, 1)])
def test_a_stream_that_ends_within_a_frame_is_incomplete(frame: bytes, cut: int, missing: int) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame[:cut])
    assert drained(decoder) == ([], None)
    with pytest.raises(rmp.Incomplete) as caught:
        decoder.finish()
    assert caught.value.facts == {"missing": missing}


def test_frames_that_nobody_took_are_not_lost_silently_at_the_end(frame: bytes) -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(frame)
    with pytest.raises(RuntimeError, match="take frames"):
        decoder.finish()


def test_a_body_above_the_limit_is_refused_before_it_is_buffered(with_body: MakeFrame) -> None:
    decoder = rmp.FrameDecoder(max_body=1_000)
    chunk = bytes(64 * 1024)
    decoder.feed(with_body(bytes(1_001))[:68])
    tracemalloc.start()
    try:
        assert drained(decoder) == ([], "BodyTooLarge")
        for _ in range(1_000):
            decoder.feed(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (decoder.buffered, peak < 64 * 1024) == (0, True)


def test_a_body_at_the_limit_is_taken(with_body: MakeFrame) -> None:
    decoder = rmp.FrameDecoder(max_body=len(BODY))
    decoder.feed(with_body(BODY))
    assert drained(decoder) == ([with_body(BODY)], None)


def test_a_large_body_fed_in_small_parts_is_copied_a_bounded_number_of_times(with_body: MakeFrame) -> None:
    data = with_body(bytes(1_000_000))
    decoder = rmp.FrameDecoder()
    tracemalloc.start()
    try:
        for at in range(0, len(data), 1_000):
            decoder.feed(data[at : at + 1_000])
            found = drained(decoder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == ([data], None)
    assert peak < 4 * len(data)
