"""Errors of the events package: what cannot become, or is not, a valid event."""

from __future__ import annotations

from runloop.errors import InvalidInput


class NotCanonical(InvalidInput):
    """The value has no canonical JSON form; ``code`` tells why (``events.integer_range``, ``events.not_finite``, …)."""

    code = "events.not_json"


class InvalidEvent(InvalidInput):
    """The event does not follow the schema of its kind."""

    code = "events.invalid"


class UnknownKind(InvalidEvent):
    """No schema is registered for the kind."""

    code = "events.unknown_kind"
