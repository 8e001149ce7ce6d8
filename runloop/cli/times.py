"""Times as people give and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from runloop.errors import InvalidInput, Where

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def moment(text: str | None, now_ms: int, option: str) -> int | None:
    """Unix milliseconds of ``text``: so long ago (90s, 15m, 2h, 2d, 1w), a time of today, or an ISO date with or without a time.

    Without a zone it is this machine's. Raises InvalidInput ``cli.time``.
    """
    if text is None:
        return None
    word = text.strip()
    span = _SPAN.fullmatch(word)
    if span is not None:
        return now_ms - int(span[1]) * _UNITS[span[2]] * 1000
    today = datetime.fromtimestamp(now_ms / 1000).astimezone()
    try:
        found = datetime.fromisoformat(f"{today.date()}T{word.zfill(5)}" if _CLOCK.fullmatch(word) else word)
        return int(found.astimezone().timestamp() * 1000)  # without a zone: this machine's
    except (ValueError, OverflowError, OSError):
        hint = f"for example {option} 2d, {option} 15m, {option} 09:30, {option} {today.date() - timedelta(days=2)}"
        raise InvalidInput(f"{text!r} is no time", code="cli.time", where=Where(key=option), hint=hint) from None


def span(ms: int | None) -> str:
    """``ms`` as a short time for people: 0.42s, 12.3s, 3m05s, 2h10m, 3d4h; a dash when it is not known."""
    if ms is None:
        return "–"
    if ms < 10_000:
        return f"{max(0, ms) / 1000:.2f}s"
    if ms < 60_000:
        return f"{ms / 1000:.1f}s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600}h"


def clock(ms: int) -> str:
    """The date and time of day of Unix milliseconds, where this machine is."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%m-%d %H:%M:%S")


def date_clock(ms: int) -> str:
    """As :func:`clock`, with the year."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def day(ms: int) -> str:
    """The date of Unix milliseconds, where this machine is."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")


def clock_ms(ms: int) -> str:
    """The time of day, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
