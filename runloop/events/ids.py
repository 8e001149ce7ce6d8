"""Identifiers: random UUIDs and the forms people see (spec 1.2)."""

from __future__ import annotations

import re
import uuid

from runloop.errors import InvalidInput

UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_EVENT = re.compile(r"(?:event:)?([1-9][0-9]{0,18})")


def new_uuid() -> str:
    """A random UUID (version 4), hyphenated and lower-case."""
    return str(uuid.uuid4())


def parse_event_id(value: str) -> int:
    """The number of ``event:<n>`` or ``<n>``, n from 1."""
    match = _EVENT.fullmatch(value.strip())
    if match is None or int(match[1]) > 2**63 - 1:
        raise InvalidInput(f"{value!r} is not an event id", code="id.invalid", hint="write event:12 or 12")
    return int(match[1])
