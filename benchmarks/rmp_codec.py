"""What one frame costs: microseconds per operation of the RMP codec, as JSON."""

from __future__ import annotations

import struct
import timeit
from collections.abc import Callable

import msgpack
from _common import arguments, repeat, report

from runloop import rmp
from runloop.rmp.envelope import decode_body, encode_body
from runloop.rmp.header import read_header

ENVELOPE = rmp.Envelope(
    "observation.run.event.v1",
    {"seq": 7, "kind": "node.progress", "text": "x" * 130, "fraction": 0.5},
    {"topic": "rlp/runs/7f3c/events", "seq": 12, "opening_id": 7},
)
PARTS = {"trace_id": 0x112233445566778899AABBCCDDEEFF00, "msg_id": 42, "created_at_ms": 1_731_465_600_123}
RAW = rmp.encode_frame(ENVELOPE, **PARTS)
BODY = RAW[rmp.BODY_AT :]
CHUNK = RAW * (65_536 // len(RAW))
PER_CHUNK = len(CHUNK) // len(RAW)
WIRE = struct.Struct(">I12sHHIQQQQQI")
VALUE = msgpack.unpackb(BODY)
RUNS = 7


def _fresh() -> rmp.Frame:
    return rmp.Frame(read_header(RAW)[1], RAW)


def _stream() -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(CHUNK)
    for _ in decoder.frames():
        pass


def _route() -> None:
    decoder = rmp.FrameDecoder()
    decoder.feed(CHUNK)
    for frame in decoder.frames():
        frame.check(1_731_465_600_200)
        frame.meta  # noqa: B018 - what is measured
        frame.dedupe_key  # noqa: B018


# The first three are floors, measured in the same run: what the libraries below take without any of our rules.
OPERATIONS: dict[str, tuple[Callable[[], object], int]] = {
    "floor: struct.unpack_from of a header": (lambda: WIRE.unpack_from(RAW), 1),
    "floor: msgpack.unpackb of the body": (lambda: msgpack.unpackb(BODY), 1),
    "floor: msgpack.packb of the body": (lambda: msgpack.packb(VALUE), 1),
    "header.read": (lambda: read_header(RAW), 1),
    "body.decode": (lambda: decode_body(BODY, 8), 1),
    "body.encode": (lambda: encode_body(ENVELOPE), 1),
    "frame.decode": (lambda: rmp.decode_frame(RAW, now_ms=None), 1),
    "frame.encode": (lambda: rmp.encode_frame(ENVELOPE, **PARTS), 1),
    "frame.meta": (lambda: _fresh().meta, 1),
    "stream.frames, 64 KiB chunks": (_stream, PER_CHUNK),
    "stream.frames, checked and routed": (_route, PER_CHUNK),
}


def main() -> None:
    args = arguments("What one frame costs: microseconds per operation of the RMP codec.")
    times = 2_000 if args.small else 100_000

    def measure() -> dict[str, float]:
        return {name: _microseconds(operation, times, scale) for name, (operation, scale) in OPERATIONS.items()}

    figures = repeat(measure, runs=1 if args.small else args.runs)
    report("rmp_codec", figures, "msgpack", "msgspec", frame_bytes=len(RAW), body_bytes=len(BODY), operations_per_run=times)


def _microseconds(operation: Callable[[], object], times: int, scale: int) -> float:
    number = max(1, times // scale)
    return timeit.timeit(operation, number=number) / number / scale * 1e6


if __name__ == "__main__":
    main()
