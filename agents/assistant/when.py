"""Times that people say: today, yesterday, this week, the last 3 days, since Monday, in March, on 2026-11-02."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = tuple("january february march april may june july august september october november december".split())  # noqa: SIM905 - read as a line
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10, "few": 3}
UNITS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400, "year": 365 * 86_400}
_COUNT = rf"(?P<count>\d{{1,4}}|{'|'.join(NUMBERS)})"
_UNIT = rf"(?P<unit>{'|'.join(UNITS)})s?"


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since_ms`` to before ``until_ms`` (Unix milliseconds), and the words that said so."""

    since_ms: int
    until_ms: int
    words: str


@dataclass(frozen=True, slots=True)
class _Now:
    """The moment of the question, where the person is: ``offset_s`` east of UTC."""

    ms: int
    offset_s: int

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.ms / 1000 + self.offset_s, UTC).date()

    def days(self, first: date, last: date, words: str) -> Span:
        """Whole days, the last one included, but nothing that is yet to come."""
        return Span(self._midnight(first), min(self.ms + 1, self._midnight(last + timedelta(days=1))), words)

    def back(self, seconds: int) -> date:
        return datetime.fromtimestamp(self.ms / 1000 + self.offset_s - seconds, UTC).date()

    def _midnight(self, day: date) -> int:
        return round((datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - self.offset_s) * 1000)


def span_of(question: str, now_ms: int, offset_s: int) -> Span | None:
    """The time that a question speaks of, days beginning at midnight where the person is (``offset_s`` east of UTC)."""
    now, text = _Now(now_ms, offset_s), question.lower()
    for pattern, rule in _RULES:
        found = pattern.search(text)
        span = None if found is None else rule(found, now)
        if span is not None:
            return span
    return None


def shown(ms: int, offset_s: int) -> str:
    """A time for people, where they are, to the minute."""
    return datetime.fromtimestamp(ms / 1000 + offset_s, UTC).strftime("%Y-%m-%d %H:%M")


def _number(text: str | None) -> int:
    return 1 if text is None else int(text) if text.isdigit() else NUMBERS[text]


def _from(found: re.Match[str], now: _Now, first: date, last: date) -> Span:
    """The days from ``first`` to ``last``; to today where the words say "since"."""
    return now.days(first, now.today if found["since"] else last, found[0].strip())


def _on_date(found: re.Match[str], now: _Now) -> Span | None:
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    return _from(found, now, day, day)


def _days_ago(count: int) -> Callable[[re.Match[str], _Now], Span]:
    def rule(found: re.Match[str], now: _Now) -> Span:
        day = now.today - timedelta(days=count)
        return _from(found, now, day, day)

    return rule


def _week(found: re.Match[str], now: _Now) -> Span:
    monday = now.today - timedelta(days=now.today.weekday() + (7 if found["which"] == "last" else 0))
    return _from(found, now, monday, min(now.today, monday + timedelta(days=6)))


def _month(found: re.Match[str], now: _Now) -> Span:
    first = now.today.replace(day=1)
    if found["which"] != "last":
        return _from(found, now, first, now.today)
    last = first - timedelta(days=1)
    return _from(found, now, last.replace(day=1), last)


def _year(found: re.Match[str], now: _Now) -> Span:
    year = now.today.year - (found["which"] == "last")
    return _from(found, now, date(year, 1, 1), min(now.today, date(year, 12, 31)))


def _ago(found: re.Match[str], now: _Now) -> Span:
    day = now.back(_number(found["count"]) * UNITS[found["unit"]])
    return _from(found, now, day, day)


def _last(found: re.Match[str], now: _Now) -> Span:
    return Span(now.ms - _number(found["count"]) * UNITS[found["unit"]] * 1000, now.ms + 1, found[0])


def _weekday(found: re.Match[str], now: _Now) -> Span:
    day = now.today - timedelta(days=(now.today.weekday() - DAYS.index(found["day"])) % 7 or 7)
    return _from(found, now, day, day)


def _named_month(found: re.Match[str], now: _Now) -> Span:
    number = MONTHS.index(found["month"]) + 1
    year = now.today.year - (number > now.today.month)
    last = date(year + number // 12, number % 12 + 1, 1) - timedelta(days=1)
    return _from(found, now, date(year, number, 1), last)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?P<since>since )?(?:on |in )?{text}\b")


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Now], Span | None]], ...] = (
    (_pattern(r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"), _on_date),
    (_pattern("the day before yesterday"), _days_ago(2)),
    (_pattern("(?:yesterday|last night)"), _days_ago(1)),
    (_pattern("(?:today|tonight|this morning|this afternoon|this evening)"), _days_ago(0)),
    (_pattern("(?P<which>this|last) week"), _week),
    (_pattern("(?P<which>this|last) month"), _month),
    (_pattern("(?P<which>this|last) year"), _year),
    (_pattern(rf"{_COUNT} {_UNIT} ago"), _ago),
    (_pattern(rf"(?:the )?(?:last|past|previous) (?:{_COUNT} )?{_UNIT}"), _last),
    (_pattern(rf"(?:last |this )?(?P<day>{'|'.join(DAYS)})"), _weekday),
    (_pattern(rf"(?:last )?(?P<month>{'|'.join(MONTHS)})"), _named_month),
)
