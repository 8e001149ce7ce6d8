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


def trace_id(value: str) -> str:
    """``trace:<uuid>`` from a UUID or from that form; surrounding blanks are ignored."""
    return _display("trace", value)


def opening_id(value: str) -> str:
    """``opening:<uuid>`` from a UUID or from that form."""
    return _display("opening", value)


def agent_id(value: str) -> str:
    """``agent:<uuid>`` from a UUID or from that form."""
    return _display("agent", value)


def bare_uuid(value: str) -> str:
    """The hyphenated lower-case UUID of any display form, or of a bare UUID."""
    _, _, tail = value.strip().rpartition(":")
    return _parse(tail, value)


def event_id(value: int) -> str:
    """``event:<n>``."""
    return f"event:{value}"


def parse_event_id(value: str) -> int:
    """The number of ``event:<n>`` or ``<n>``, n from 1."""
    match = _EVENT.fullmatch(value.strip())
    if match is None or int(match[1]) > 2**63 - 1:
        raise InvalidInput(f"{value!r} is not an event id", code="id.invalid", hint="write event:12 or 12")
    return int(match[1])


def _display(prefix: str, value: str) -> str:
    return f"{prefix}:{_parse(value.strip().removeprefix(prefix + ':'), value)}"


def _parse(text: str, given: str) -> str:
    if len(text) == 36:
        try:
            return str(uuid.UUID(text))
        except ValueError:
            pass
    raise InvalidInput(f"{given!r} is not a UUID", code="id.invalid", hint="write 8-4-4-4-12 hexadecimal digits")
