"""Frames as JSON values, for debuggers and traces. What JSON lacks has one documented form, so that nothing is lost.

Binary is ``{"$bin": "<hex>"}``; a float that is no number is ``{"$float": "nan" | "inf" | "-inf"}``; a map that happens to look like one of
these is ``{"$map": {…}}``.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from runloop.rmp.frame import Frame
    from runloop.rmp.header import Header

_MARKS: Final = frozenset({"$bin", "$float", "$map"})


def json_value(value: Any) -> Any:
    """A decoded MsgPack value as JSON; at most 64 levels deep, as the decoder guarantees."""
    if isinstance(value, dict):
        shown = {key: json_value(inner) for key, inner in value.items()}
        return {"$map": shown} if len(value) == 1 and not _MARKS.isdisjoint(value) else shown
    if isinstance(value, list):
        return [json_value(inner) for inner in value]
    if isinstance(value, bytes):
        return {"$bin": value.hex()}
    if isinstance(value, float) and not isfinite(value):
        return {"$float": str(value)}
    return value


def header_view(header: Header) -> dict[str, Any]:
    """The header's fields; the trace id as 32 hex digits, because few JSON readers hold 128-bit integers."""
    return {
        "schema_id": header.schema_id,
        "body_len": header.body_len,
        "created_at_ms": header.created_at_ms,
        "ttl_ms": header.ttl_ms,
        "trace_id": header.trace_hex,
        "msg_id": header.msg_id,
    }


def frame_view(frame: Frame) -> dict[str, Any]:
    """Header, expiry and envelope; raises what makes the message invalid."""
    envelope = frame.envelope
    shown = {"type": envelope.type, "payload": json_value(envelope.payload)}
    if envelope.meta is not None:
        shown["meta"] = json_value(dict(envelope.meta))
    return {**header_view(frame.header), "expires_at_ms": frame.header.expires_at_ms, "envelope": shown}
