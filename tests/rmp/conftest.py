import struct
from collections.abc import Callable

import pytest


def _with_body(body: bytes, *, schema_id: int = 10, created_at_ms: int = 1_000, ttl_ms: int = 2_000, frame_len: int | None = None) -> bytes:
    """A frame with this body and an otherwise valid header, written out by hand so that the codec is not tested against itself."""
    return (
        struct.pack(">I", 64 + len(body) if frame_len is None else frame_len)
        + b"RMP0\x00\x00\x00\x40\x00\x00\x00\x00"
        + struct.pack(">HHIQQ", schema_id, 0, len(body), created_at_ms, ttl_ms)
        + bytes.fromhex("112233445566778899aabbccddeeff00")
        + struct.pack(">QI", 42, 0)
        + body
    )


@pytest.fixture(scope="session")
def with_body() -> Callable[..., bytes]:
    return _with_body
