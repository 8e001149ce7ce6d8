# ruff: noqa: N818 - the names are the protocol's
"""The named errors of RMP: thirteen, and :class:`Incomplete`, which only says that more bytes are needed.

A :class:`FramingError` ends the stream, because nothing after it can be found again; a :class:`MessageError` ends one frame and
the stream goes on. The names are the protocol's (spec section 3.3) and stable, like the codes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from runloop.errors import RunloopError, Where


class RmpError(RunloopError):
    """A frame could not be read or written; ``name`` is the protocol's name and ``facts`` the numbers behind the message."""

    code = "rmp.failed"
    name: ClassVar[str] = "RmpError"

    def __init__(self, message: str, *, key: str | None = None, hint: str = "", **facts: Any) -> None:
        super().__init__(message, where=Where(key=key), hint=hint)
        self.facts = facts

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the tree, and name and facts."""
        return {**super().to_dict(), "name": self.name, "facts": self.facts}


class Incomplete(RmpError):
    """The bytes so far are the beginning of a frame; at least ``facts["missing"]`` more are needed."""

    code = "rmp.incomplete"
    name = "Incomplete"


class FramingError(RmpError):
    """The stream cannot be read past this frame: close the connection."""


class MessageError(RmpError):
    """One frame is refused; the frames around it are unaffected."""


class InvalidMagic(FramingError):
    """The header does not begin with ``RMP0``."""

    code = "rmp.invalid_magic"
    name = "InvalidMagic"


class UnsupportedVersion(FramingError):
    """The header version is not 0 or the header length not 64."""

    code = "rmp.unsupported_version"
    name = "UnsupportedVersion"


class TruncatedHeader(FramingError):
    """The length prefix announces less than a header."""

    code = "rmp.truncated_header"
    name = "TruncatedHeader"


class InvalidHeaderFlags(FramingError):
    """The flags or a reserved field are not 0."""

    code = "rmp.invalid_header_flags"
    name = "InvalidHeaderFlags"


class LengthMismatch(FramingError):
    """``body_len`` and the length prefix disagree."""

    code = "rmp.length_mismatch"
    name = "LengthMismatch"


class BodyTooLarge(FramingError):
    """The body is larger than the limit of the receiver."""

    code = "rmp.body_too_large"
    name = "BodyTooLarge"


class UnknownSchema(MessageError):
    """The schema id or the type is not in the registry."""

    code = "rmp.unknown_schema"
    name = "UnknownSchema"


class InvalidTtl(MessageError):
    """The time to live is 0."""

    code = "rmp.invalid_ttl"
    name = "InvalidTtl"


class InvalidExpiry(MessageError):
    """Creation time plus time to live exceeds 2^64 - 1 ms."""

    code = "rmp.invalid_expiry"
    name = "InvalidExpiry"


class Expired(MessageError):
    """The clock has reached the expiry."""

    code = "rmp.expired"
    name = "Expired"


class Duplicate(MessageError):
    """A frame with this (trace_id, msg_id) was already delivered; raised by who keeps the window, the bus."""

    code = "rmp.duplicate"
    name = "Duplicate"


class BodyDecodeError(MessageError):
    """The body is not one MsgPack envelope within the rules."""

    code = "rmp.body_decode_error"
    name = "BodyDecodeError"


class BodyTypeMismatch(MessageError):
    """The envelope's type is not the one of the header's schema id."""

    code = "rmp.body_type_mismatch"
    name = "BodyTypeMismatch"


class EncodeError(RmpError):
    """A value cannot be written as RMP; only a sender meets it, so it is not part of the protocol's list."""

    code = "rmp.encode_error"
    name = "EncodeError"


NAMED: tuple[type[RmpError], ...] = (
    InvalidMagic,
    UnsupportedVersion,
    TruncatedHeader,
    InvalidHeaderFlags,
    LengthMismatch,
    UnknownSchema,
    BodyTooLarge,
    InvalidTtl,
    InvalidExpiry,
    Expired,
    Duplicate,
    BodyDecodeError,
    BodyTypeMismatch,
)
"""The protocol's taxonomy, in the order of the specification."""
