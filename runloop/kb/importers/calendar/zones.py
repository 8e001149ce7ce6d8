"""Time zones that a calendar defines itself (RFC 5545 3.6.5): how names of Outlook's, Exchange's or Notes' own making are meant."""

from __future__ import annotations

import io
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

MAX_ZONES = 200  # of one file
MAX_RULES = 100  # of one zone
_RULE = re.compile(rb"^RRULE[^:\r\n]*:(.*)$", re.MULTILINE | re.IGNORECASE)
_PART = re.compile(
    rb"FREQ=YEARLY|INTERVAL=1|BYMONTH=[0-9]{1,2}|BYDAY=[+-]?[1-5](SU|MO|TU|WE|TH|FR|SA)"
    rb"|BYDAY=(SU|MO|TU|WE|TH|FR|SA)|BYMONTHDAY=-?[0-9]{1,2}(,-?[0-9]{1,2}){0,6}|WKST=[A-Z]{2}|UNTIL=[0-9TZ]{8,16}",
    re.IGNORECASE,
)
_NAME = re.compile(rb"^TZID[^:\r\n]*:(.*)$", re.MULTILINE | re.IGNORECASE)
_KNOWN = re.compile(rb"((BEGIN|END):(STANDARD|DAYLIGHT)\s*$)|(DTSTART|RRULE|RDATE|TZOFFSETFROM|TZOFFSETTO|TZNAME)[:;]", re.IGNORECASE)
_FOLDED = re.compile(rb"\r?\n[ \t]")


class Zones:
    """The definitions of one file, looked into only where a time names a zone that is known nowhere else."""

    def __init__(self) -> None:
        self._unread: list[bytes] = []
        self._noted = 0
        self._found: dict[str, dt.tzinfo] = {}

    def note(self, text: bytes) -> None:
        """Keep a definition, from its BEGIN to its END."""
        if self._noted < MAX_ZONES:
            self._unread.append(text)
            self._noted += 1

    def find(self, name: str) -> dt.tzinfo | None:
        """The zone that the file defines under the name; of several, the last."""
        self._found.update(each for each in map(_read, self._unread) if each is not None)
        self._unread.clear()
        return self._found.get(name)


@lru_cache(64)
def _read(text: bytes) -> tuple[str, dt.tzinfo] | None:
    """Name and zone of a definition; None where it is none, or its rules are not for some days of one month of each year."""
    from dateutil.tz import tzical  # what icalendar reads it with, which would keep it under its name for every other calendar too

    plain = _FOLDED.sub(b"", text)
    rules = [rule.strip().split(b";") for rule in _RULE.findall(plain)]
    if (named := _NAME.search(plain)) is None or len(rules) > MAX_RULES or not all(_is_plain(parts) for parts in rules):
        return None
    lines = [line.strip() for line in plain.splitlines() if _KNOWN.match(line)]
    try:
        zone = tzical(
            io.StringIO("\n".join(["BEGIN:VTIMEZONE", "TZID:zone", *(line.decode("ascii") for line in lines), "END:VTIMEZONE"]))
        ).get()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):
        return None
    return re.sub(r"\\(.)", r"\1", named[1].strip(b" \t\r").decode("utf-8", "replace")), zone


def _is_plain(parts: list[bytes]) -> bool:
    """Whether a rule takes no time to follow over centuries."""
    return any(part[:8].upper() == b"BYMONTH=" for part in parts) and all(_PART.fullmatch(part) for part in parts)
