"""One message as a subscriber sees it: the bytes as received, read when somebody asks."""

from __future__ import annotations

from typing import Any, Final

from runloop.rmp import BODY_AT, Envelope, MessageError, UnknownSchema
from runloop.rmp.envelope import decode_body
from runloop.rmp.header import Header, read_header
from runloop.rmp.registry import TYPE_OF
from runloop.rmp.scan import read_payload

_UNREAD: Final = object()


class Message:
    """A frame whose routing was checked.

    Reading ``payload`` checks the rest, and raises a MessageError for what breaks the rules.
    """

    __slots__ = ("_envelope", "_header", "_payload", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._envelope: Envelope | None = None
        self._header: Header | None = None
        self._payload: Any = _UNREAD

    @property
    def header(self) -> Header:
        """Schema id, times, trace and message id."""
        if self._header is None:
            self._header = read_header(self.raw)[1]
        return self._header

    @property
    def envelope(self) -> Envelope:
        """Type, payload and meta."""
        known = self._envelope
        if known is None:
            schema_id = int.from_bytes(self.raw[16:18], "big")
            if schema_id not in TYPE_OF:
                raise UnknownSchema(f"schema id {schema_id} is not registered", key="schema_id", schema_id=schema_id)
            known = self._envelope = decode_body(self.raw[BODY_AT:], schema_id)
        return known

    @property
    def payload(self) -> Any:
        """What the message says."""
        if self._payload is _UNREAD:
            known = self._envelope
            self._payload = read_payload(self.raw) if known is None else known.payload
        return self._payload

    def is_sound(self) -> bool:
        """Whether the payload keeps the rules."""
        try:
            self.payload  # noqa: B018 - reading it is the check
        except MessageError:
            return False
        return True

    @property
    def type(self) -> str:
        """The registered type."""
        return self.envelope.type

    @property
    def meta(self) -> dict[str, Any]:
        """Topic, sequence number and whatever the sender added."""
        return self.envelope.meta or {}

    @property
    def topic(self) -> str:
        """Where it was published."""
        return str(self.meta.get("topic", ""))

    @property
    def seq(self) -> int | None:
        """The sequence number within the topic, for records of the ledger."""
        return self.meta.get("seq")

    @property
    def trace_id(self) -> int:
        """128 bits."""
        return self.header.trace_id

    def __repr__(self) -> str:
        return f"<Message {TYPE_OF.get(self.header.schema_id)} on {self.topic!r}>"
