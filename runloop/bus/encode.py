"""The publisher's path: frames for one topic and type share their beginning and end, so that each costs a header and its payload.

What comes out is what :func:`runloop.rmp.encode_frame` makes of the same envelope, byte for byte; a test compares them.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

from runloop.bus.topics import check_topic
from runloop.rmp import HEADER_LEN, EncodeError, Envelope, encode_frame
from runloop.rmp.body import SCALARS, pack
from runloop.rmp.header import U64_MAX, too_large
from runloop.rmp.registry import ID_OF

_HEADER: Final = struct.Struct(">I12sHHIQQ16sQI")
_START: Final = struct.Struct(">4sHHI").pack(b"RMP0", 0, HEADER_LEN, 0)
_FORMS: Final = 1024
_is_flat: Final = SCALARS.issuperset
_join: Final = "".join
_ONE_ITEM: Final = 1


class Encoder:
    """Encodes publishes of one connection; ``trace_id`` is used where a publish names none, message ids count up from ``first_id``."""

    __slots__ = ("_forms", "_max_body", "_pack", "_trace", "msg_id")

    def __init__(self, *, trace_id: int, first_id: int, max_body: int) -> None:
        self._forms: dict[tuple[str, str], tuple[int, bytes, bytes]] = {}
        self._trace = trace_id.to_bytes(16, "big")
        self._pack = msgpack.Packer(autoreset=True).pack
        self._max_body = max_body
        self.msg_id = first_id

    def quick(self, topic: str, type_: str, payload: Any, created_at_ms: int, ttl_ms: int) -> bytes:
        """A frame whose ``meta`` is the topic alone; raises what :func:`runloop.rmp.encode_frame` and ``check_topic`` raise."""
        form = self._forms.get((topic, type_)) or self._form(topic, type_)
        schema_id, begin, end = form
        kind = type(payload)
        if kind is bytes or (kind is dict and _is_flat(map(type, payload.values())) and _strings(payload)):
            try:
                body = b"".join((begin, self._pack(payload), end))
            except (ValueError, OverflowError) as error:
                raise EncodeError(f"the message cannot be sent: {error}", key="payload") from None
        else:
            # One level deeper than it stands alone, as in the envelope.
            body = b"".join((begin, pack([payload])[_ONE_ITEM:], end))
        size = len(body)
        if size > self._max_body:
            raise too_large(size, self._max_body)
        if type(ttl_ms) is not int or not 0 < ttl_ms <= U64_MAX - created_at_ms:
            return self.full(topic, type_, payload, created_at_ms, ttl_ms, trace_id=None, meta={})  # which says what is wrong
        self.msg_id = msg_id = self.msg_id + 1
        return _HEADER.pack(HEADER_LEN + size, _START, schema_id, 0, size, created_at_ms, ttl_ms, self._trace, msg_id, 0) + body

    def full(
        self, topic: str, type_: str, payload: Any, created_at_ms: int, ttl_ms: int, *, trace_id: int | None, meta: dict[str, Any]
    ) -> bytes:
        """A frame with more in its ``meta``, or with a trace of its own."""
        self.msg_id += 1
        return encode_frame(
            Envelope(type_, payload, {"topic": check_topic(topic), **meta}),
            trace_id=int.from_bytes(self._trace, "big") if trace_id is None else trace_id,
            msg_id=self.msg_id,
            created_at_ms=created_at_ms,
            ttl_ms=ttl_ms,
            max_body=self._max_body,
        )

    def _form(self, topic: str, type_: str) -> tuple[int, bytes, bytes]:
        meta = {"topic": check_topic(topic)}
        encode_frame(Envelope(type_, None, meta), trace_id=0, msg_id=0, created_at_ms=0, max_body=self._max_body)  # raises for the type
        begin = b"\x83\xa4type" + msgpack.packb(type_) + b"\xa7payload"
        end = b"\xa4meta" + msgpack.packb(meta)
        if len(self._forms) >= _FORMS:
            self._forms.clear()
        form = self._forms[topic, type_] = (ID_OF[type_], begin, end)
        return form


def _strings(payload: dict[Any, Any]) -> bool:
    """Whether every key is a string."""
    try:
        _join(payload)
    except TypeError:
        return False
    return True
