"""What must hold for the RMP codec whatever bytes come: driven by atheris (`fuzz_rmp.py`), and run over the corpus by the test suite.

The first byte of an input says how the rest is read: with the high bit it is a body, otherwise a stream; the low bits are the size
of the slices that the stream comes in. Without the first form a fuzzer would spend its time on getting two lengths right.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from runloop import rmp
from runloop.rmp.header import read_header
from runloop.rmp.route import decode_meta
from runloop.rmp.view import frame_view

MAX_BODY = 4096
IS_BODY = 0x80
NO_LIMIT = 1 << 30


def check_input(data: bytes) -> None:
    """Return, or raise because an invariant is broken; an error of ours never comes out."""
    how, rest = (data[0], data[1:]) if data else (0, b"")
    stream = framed(rest) if how & IS_BODY else rest
    size = how % IS_BODY + 1
    frames, end = decoded([stream])
    assert decoded([stream[at : at + size] for at in range(0, len(stream), size)]) == (frames, end)
    for raw in frames:
        check_frame(raw)
    with suppress(rmp.RmpError):
        rmp.decode_frame(stream, now_ms=1_731_465_600_200, max_body=MAX_BODY)


def framed(body: bytes) -> bytes:
    """The body behind a valid header, schema id 10."""
    return struct.pack(">I4sHHIHHIQQQQQI", 64 + len(body), b"RMP0", 0, 64, 0, 10, 0, len(body), 1, 1, 2, 3, 4, 0) + body


def decoded(slices: list[bytes]) -> tuple[list[bytes], str | None]:
    """The frames of a stream and the name of what ended it; the decoder never holds more than one frame."""
    decoder = rmp.FrameDecoder(MAX_BODY)
    frames: list[bytes] = []
    try:
        for part in slices:
            decoder.feed(part)
            for frame in decoder.frames():
                frames.append(frame.raw)
            assert decoder.buffered < rmp.BODY_AT + MAX_BODY
        decoder.finish()
    except rmp.RmpError as error:
        return frames, error.name
    return frames, None


def check_frame(raw: bytes) -> None:
    """A whole frame is refused by one of our errors, or survives the way back; broker and receiver read the same meta."""
    header = read_header(raw)[1]
    try:
        envelope = rmp.decode_frame(raw, now_ms=None, max_body=MAX_BODY).envelope
    except rmp.RmpError:
        with suppress(rmp.RmpError):
            decode_meta(raw[rmp.BODY_AT :], header.schema_id)
        return
    # Compared by their text, because NaN is not equal to itself.
    assert repr(decode_meta(raw[rmp.BODY_AT :], header.schema_id)) == repr(envelope.meta)
    frame_view(rmp.Frame(header, raw))
    again = rmp.encode_frame(
        envelope,
        trace_id=header.trace_id,
        msg_id=header.msg_id,
        created_at_ms=header.created_at_ms,
        ttl_ms=header.ttl_ms,
        max_body=NO_LIMIT,
    )
    assert repr(rmp.decode_frame(again, now_ms=None, max_body=NO_LIMIT).envelope) == repr(envelope)
