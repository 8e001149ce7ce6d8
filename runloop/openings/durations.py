"""Durations (``1h 30m``) and moments (RFC 3339 with a zone) as milliseconds, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from runloop.patterns import lazy

MAX_DURATION_MS = 3650 * 24 * 3600 * 1000
"""No wait and no gate is longer than ten years."""

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = lazy(r"(?:([0-9]{1,15})d)?\s*(?:([0-9]{1,15})h)?\s*(?:([0-9]{1,15})m(?!s))?\s*(?:([0-9]{1,15})s)?\s*(?:([0-9]{1,15})ms)?")
_MOMENT = lazy(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-](\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> int:
    """Milliseconds of ``2d``, ``36h``, ``1h 30m``, ``90s`` or ``500ms``, larger units first; raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not text.strip():
        raise ValueError("is not a duration")
    length = sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True) if count)
    if not 1 <= length <= MAX_DURATION_MS:
        raise ValueError("must be between 1ms and 3650d")
    return length


def parse_moment(text: str) -> int:
    """Unix milliseconds of an RFC 3339 time with a zone; raises ValueError."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not an RFC 3339 time with a zone")
    if (match[1] or "0") > "23" or (match[2] or "0") > "59":
        raise ValueError("is not a time: its offset must be between -23:59 and +23:59")
    whole, dot, rest = text.strip().upper().partition(".")
    digits = re.match(r"\d+", rest)[0] if dot else ""  # type: ignore[index]  # the pattern above has digits after the dot
    try:
        moment = datetime.fromisoformat(whole + rest[len(digits) :]).astimezone(UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1) + int(digits[:3].ljust(3, "0"))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a time: {error}") from None


def duration_text(length_ms: int) -> str:
    """The shortest form that :func:`parse_duration` reads back."""
    parts = []
    for unit, size in _UNITS.items():
        count, length_ms = divmod(length_ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def moment_text(at_ms: int) -> str:
    """The moment in UTC, with milliseconds only where there are some."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at_ms % 1000:03d}" if at_ms % 1000 else "") + "Z"
