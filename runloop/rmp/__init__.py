"""RMP, the Runloop Message Protocol: a complete codec without I/O. The wire format is in ``docs/protocol.md``.

Bytes to frames: :func:`decode_frame` for one, :class:`FrameDecoder` for a stream. Frames to bytes: :func:`encode_frame`.
"""

from runloop.rmp import registry
from runloop.rmp.decoder import FrameDecoder
from runloop.rmp.envelope import Envelope
from runloop.rmp.errors import (
    NAMED,
    BodyDecodeError,
    BodyTooLarge,
    BodyTypeMismatch,
    Duplicate,
    EncodeError,
    Expired,
    FramingError,
    Incomplete,
    InvalidExpiry,
    InvalidHeaderFlags,
    InvalidMagic,
    InvalidTtl,
    LengthMismatch,
    MessageError,
    RmpError,
    TruncatedHeader,
    UnknownSchema,
    UnsupportedVersion,
)
from runloop.rmp.frame import Frame, decode_frame, encode_frame
from runloop.rmp.header import BODY_AT, DEFAULT_MAX_BODY, DEFAULT_TTL_MS, HEADER_LEN, PREFIX_LEN, Header
from runloop.rmp.registry import Descriptor

__all__ = [
    "BODY_AT",
    "DEFAULT_MAX_BODY",
    "DEFAULT_TTL_MS",
    "HEADER_LEN",
    "NAMED",
    "PREFIX_LEN",
    "BodyDecodeError",
    "BodyTooLarge",
    "BodyTypeMismatch",
    "Descriptor",
    "Duplicate",
    "EncodeError",
    "Envelope",
    "Expired",
    "Frame",
    "FrameDecoder",
    "FramingError",
    "Header",
    "Incomplete",
    "InvalidExpiry",
    "InvalidHeaderFlags",
    "InvalidMagic",
    "InvalidTtl",
    "LengthMismatch",
    "MessageError",
    "RmpError",
    "TruncatedHeader",
    "UnknownSchema",
    "UnsupportedVersion",
    "decode_frame",
    "encode_frame",
    "registry",
]
