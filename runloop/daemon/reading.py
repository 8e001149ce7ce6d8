"""The fields of a request on ``rlp/ctrl``: each is read as what it must be, or refused with its name and what to give."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runloop.errors import InvalidInput, Where


def bad(key: str, hint: str) -> InvalidInput:
    """A field that cannot be used, and what to give instead."""
    return InvalidInput(f"{key} cannot be used", code="ctrl.invalid", where=Where(key=key), hint=hint)


def map_of(value: Any, key: str) -> dict[str, Any]:
    """A map."""
    if not isinstance(value, dict):
        raise bad(key, "give a map")
    return value


def text(fields: Mapping[str, Any], key: str, *, optional: bool = False) -> str | None:
    """A text that is not empty; None where it may be left out."""
    value = fields.get(key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or not value:
        raise bad(key, "give a text")
    return value


def flag(fields: Mapping[str, Any], key: str) -> bool:
    """True or false; false where it is left out."""
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise bad(key, "use true or false")
    return value


def count(fields: Mapping[str, Any], key: str, least: int, default: int) -> int:
    """A number from ``least`` on."""
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise bad(key, f"use a number from {least} on")
    return value


def uuid_of(fields: Mapping[str, Any], key: str) -> str:
    """A UUID in its usual form."""
    given = str(text(fields, key))
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise bad(key, "give a UUID that you made for this run alone: it becomes the run's id") from None


def bare(value: Any) -> str:
    """A trace id in any of upstream's forms as a bare UUID."""
    if isinstance(value, bytes) and len(value) == 16:
        return str(uuid.UUID(bytes=value))
    return value.removeprefix("trace:") if isinstance(value, str) else ""


def directory(given: str) -> Path:
    """An absolute path."""
    path = Path(given)
    if not path.is_absolute():
        raise bad("workdir", "give an absolute path")
    return path


def reason(fields: Mapping[str, Any], default: str) -> str:
    """Why something is asked for."""
    return text(fields, "reason", optional=True) or default


def digests(value: Any) -> tuple[dict[str, Any], ...]:
    """Agents and the digests that they must have."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise bad("agent_digests", "give a list of {name, variant?, digest}")
    found = []
    for each in value:
        entry = map_of(each, "agent_digests")
        found.append({"name": text(entry, "name"), "variant": text(entry, "variant", optional=True), "digest": text(entry, "digest")})
    return tuple(found)


def number(fields: Mapping[str, Any], key: str, default: int | None, low: int = 0, high: int = 2**53) -> int | None:
    """A number within bounds, or None."""
    value = fields.get(key, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise bad(key, f"use a number from {low} to {high}")
    return value
