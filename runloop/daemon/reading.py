"""The fields of a request on ``rlp/ctrl``: each is read as what it must be, or refused with its name and what to give."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runloop.errors import InvalidInput, Where
from runloop.events.traceparent import origin_of

_PATH_BYTES: Final = 4096
_PART_BYTES: Final = 255
_SAID_CHARACTERS: Final = 16_384
_RUN_CHARACTERS: Final = 64
_SOUGHT_CHARACTERS: Final = 1024
MAX_LIST: Final = 1000


def bad(key: str, hint: str, *, missing: bool = False) -> InvalidInput:
    """A field that cannot be used, or that is ``missing``, and what to give."""
    message = f"{key} is missing" if missing else f"{key} cannot be used"
    return InvalidInput(message, code="ctrl.invalid", where=Where(key=key), hint=hint)


def map_of(value: Any, key: str) -> dict[str, Any]:
    """A map."""
    if not isinstance(value, dict):
        raise bad(key, "give a map")
    return value


def map_in(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A map; an empty one where it is left out."""
    value = fields.get(key)
    return {} if value is None else map_of(value, key)


def maps_in(fields: Mapping[str, Any], key: str, form: str) -> list[dict[str, Any]]:
    """A list of maps of that form; an empty one where it is left out."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value[:MAX_LIST]):
        raise bad(key, f"give a list of {form}")
    if len(value) > MAX_LIST:
        raise bad(key, f"give at most {MAX_LIST} {form}")
    return value


def text(fields: Mapping[str, Any], key: str, *, optional: bool = False, empty: bool = False, most: int | None = None) -> str | None:
    """A text, not an empty one unless that is allowed, of ``most`` characters at most; None where it may be left out."""
    value = fields.get(key)
    if value is None and optional:
        return None
    if not isinstance(value, str) or not (value or empty):
        raise bad(key, "give a text", missing=value is None)
    if most is not None and len(value) > most:
        raise bad(key, f"give a text of at most {most} characters")
    return value


def flag(fields: Mapping[str, Any], key: str) -> bool:
    """True or false; false where it is left out."""
    value = fields.get(key)
    if value is not None and not isinstance(value, bool):
        raise bad(key, "use true or false")
    return value is True


def count(fields: Mapping[str, Any], key: str, least: int, default: int) -> int:
    """A number from ``least`` on; ``default`` where it is left out."""
    value = default if fields.get(key) is None else fields[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise bad(key, f"use a number from {least} on")
    return value


def traceparent(fields: Mapping[str, Any]) -> str | None:
    """A W3C ``traceparent``; None where it is left out."""
    given = text(fields, "traceparent", optional=True)
    if given is not None and origin_of(given) is None:
        raise bad("traceparent", "give it in the form of W3C Trace Context: 00-<32 hex digits>-<16 hex digits>-01")
    return given


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


def directory(fields: Mapping[str, Any], key: str) -> Path:
    """An absolute path, which a system could have."""
    path = Path(str(text(fields, key, most=_PATH_BYTES)))
    if not path.is_absolute() or "\0" in str(path) or any(len(os.fsencode(part)) > _PART_BYTES for part in path.parts):
        raise bad(key, "give an absolute path")
    return path


def run(fields: Mapping[str, Any], *, optional: bool = False) -> str | None:
    """What names a run: its id, the beginning of one, its trace id, or ``last``; None where it may be left out."""
    return text(fields, "run", optional=optional, most=_RUN_CHARACTERS)


def sought(fields: Mapping[str, Any], key: str) -> str | None:
    """Words to look for; None where they are left out."""
    return text(fields, key, optional=True, most=_SOUGHT_CHARACTERS)


def said(fields: Mapping[str, Any], key: str) -> str | None:
    """Why somebody decides or asks for something, which stands in records whole."""
    return text(fields, key, optional=True, most=_SAID_CHARACTERS)


def reason(fields: Mapping[str, Any], default: str) -> str:
    """Why something is asked for."""
    return said(fields, "reason") or default


def digests(fields: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Agents and the digests that they must have."""
    return tuple(
        {"name": text(entry, "name"), "variant": text(entry, "variant", optional=True), "digest": text(entry, "digest")}
        for entry in maps_in(fields, "agent_digests", "{name, variant?, digest}")
    )


def number(fields: Mapping[str, Any], key: str, default: int | None, low: int = 0, high: int = 2**53) -> int | None:
    """A number within bounds; ``default`` where it is left out."""
    value = default if fields.get(key) is None else fields[key]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise bad(key, f"use a number from {low} to {high}")
    return value
