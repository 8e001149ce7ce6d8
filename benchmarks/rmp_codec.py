"""What one frame costs: microseconds per operation of the RMP codec, as JSON. `--quick` proves that it runs."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import struct
import sys
import timeit
from collections.abc import Callable
from importlib.metadata import version

import msgpack

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


def measure(operation: Callable[[], object], times: int, scale: int) -> dict[str, float]:
    """Median and range over the runs, µs per operation."""
    operation()
    number = max(1, times // scale)
    runs = sorted(seconds / number / scale * 1e6 for seconds in timeit.repeat(operation, number=number, repeat=RUNS))
    return {"median_us": round(statistics.median(runs), 3), "min_us": round(runs[0], 3), "max_us": round(runs[-1], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    times = 2_000 if parser.parse_args().quick else 100_000
    report = {
        "benchmark": "rmp_codec",
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("msgpack", "msgspec")}},
        "frame_bytes": len(RAW),
        "body_bytes": len(BODY),
        "runs": RUNS,
        "operations_per_run": times,
        "results": {name: measure(operation, times, scale) for name, (operation, scale) in OPERATIONS.items()},
    }
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
