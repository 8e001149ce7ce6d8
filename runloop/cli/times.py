"""Times as people give and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runloop.errors import InvalidInput, Where
from runloop.patterns import lazy
from runloop.text import clock, clock_ms, date_clock, day, span

__all__ = ["clock", "clock_ms", "date_clock", "day", "moment", "span"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = lazy(r"(\d{1,6})([smhdw])")
_CLOCK = lazy(r"\d{1,2}:\d{2}(:\d{2})?")


def moment(text: str | None, now_ms: int, option: str) -> int | None:
    """Unix milliseconds of ``text``: so long ago (90s, 15m, 2h, 2d, 1w), a time of today, or an ISO date with or without a time.

    Without a zone it is this machine's; before 1970 there was nothing, so it is not less than 0. Raises InvalidInput ``cli.time``.
    """
    if text is None:
        return None
    word = text.strip()
    span = _SPAN.fullmatch(word)
    if span is not None:
        return max(0, now_ms - int(span[1]) * _UNITS[span[2]] * 1000)
    today = datetime.fromtimestamp(now_ms / 1000)  # noqa: DTZ006 - a zone a day away from UTC has no aware form
    try:
        found = datetime.fromisoformat(f"{today.date()}T{'0' * (word[1] == ':')}{word}" if _CLOCK.fullmatch(word) else word)
        return max(0, (found.astimezone() - _EPOCH) // _MS)  # without a zone: this machine's
    except (ValueError, OverflowError, OSError):
        hint = f"for example {option} 2d, {option} 15m, {option} 09:30, {option} {today.date() - timedelta(days=2)}"
        raise InvalidInput(f"{text!r} is no time", code="cli.time", where=Where(key=option), hint=hint) from None
