"""One block of a calendar as the payload of ``appointment.imported``. Recurrences stay rules: nothing is expanded, nothing is looked up."""

from __future__ import annotations

import datetime as dt
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    from icalendar import Event

    from runloop.kb.importers.calendar.zones import Zones

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_RULES = ("RRULE", "EXRULE", "RDATE", "EXDATE")
_SAFE = {0: "\ufffd", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}
_MISSING = "no UID; its content stands for it"


def read_appointment(text: str, zones: Zones) -> dict[str, Any]:
    """The payload without the place it was read from, with ``zones`` for names known nowhere else; ValueError where the block is none."""
    from icalendar import Event

    _look_up_zones()
    with warnings.catch_warnings(action="ignore"):  # what the library remarks to programmers, of Evolution's names of zones for one
        event = Event.from_ical(text)
    if not isinstance(event, Event):
        raise ValueError("not one appointment")  # noqa: TRY004 - the caller reports it as it reports what the parser raises
    problems = [(f"{name}: {why}" if name else why)[:200] for name, why in event.errors]
    uid = _text(event, "UID")
    if not uid:
        uid = blake3(text.encode("utf-8", "surrogatepass")).hexdigest()
        problems.append(_MISSING)
    starts, ends = _moment(event, "DTSTART", zones, problems), _moment(event, "DTEND", zones, problems)
    if ends is None and starts is not None:
        ends = _after(event, zones, problems)
    occurrence = _moment(event, "RECURRENCE-ID", zones, problems)
    where = None if occurrence is None else occurrence["at"] + (f" {occurrence['zone']}" if occurrence.get("zone") else "")
    people = _all(event, "ATTENDEE")
    organizer = next(iter(_all(event, "ORGANIZER")), None)
    more: dict[str, Any] = {
        "description": _text(event, "DESCRIPTION"),
        "location": _text(event, "LOCATION"),
        "starts": starts,
        "ends": ends,
        "rules": [rule for name in _RULES for rule in _rules(event, name)],
        "occurrence": where,
        "organizer": None if organizer is None else _mention(organizer),
        "attendees": [_attendee(each) for each in people],
        "status": _text(event, "STATUS").lower(),
        "categories": _categories(event),
        "url": _text(event, "URL"),
        "problems": list(dict.fromkeys(problems))[:50],
    }
    payload = {"uid": uid, "summary": " ".join(_text(event, "SUMMARY").split()), "appointment": _key(uid, where)}
    return payload | {name: value for name, value in more.items() if value not in (None, "", [], {})}


@cache
def _look_up_zones() -> None:
    """Zones by name, for the library: a name that is one of a directory, or too long for a file's, is that of no zone."""
    from icalendar.timezone import tzp
    from icalendar.timezone.zoneinfo import ZONEINFO

    class Zones(ZONEINFO):
        def timezone(self, name: str) -> dt.tzinfo | None:
            try:
                return super().timezone(name)
            except OSError:
                return None

    tzp.use(Zones())


def _key(uid: str, occurrence: str | None) -> str:
    return blake3(f"{uid}\n{occurrence or ''}".encode()).hexdigest()


def _all(event: Event, name: str) -> list[Any]:
    """The values of a property that could be read."""
    from icalendar.prop import vBroken

    value = event.get(name)
    return [each for each in (value if isinstance(value, list) else [value]) if each is not None and not isinstance(each, vBroken)]


def _text(event: Event, name: str) -> str:
    value = next(iter(_all(event, name)), None)
    return "" if value is None else str(value).translate(_SAFE).strip()


def _moment(event: Event, name: str, zones: Zones, problems: list[str]) -> dict[str, Any] | None:
    """A date or a time as it stands there, with its Unix milliseconds: of a day or a time without a zone, as if it were in UTC."""
    value = next(iter(_all(event, name)), None)
    when = getattr(value, "dt", None)
    if not isinstance(when, dt.date):
        return None
    zone = str(value.params.get("TZID", "")).translate(_SAFE) or None  # type: ignore[union-attr]
    return _shown(when, zone, zones, problems)


def _shown(when: dt.date, zone: str | None, zones: Zones, problems: list[str]) -> dict[str, Any]:
    if not isinstance(when, dt.datetime):
        midnight = dt.datetime(when.year, when.month, when.day, tzinfo=dt.UTC)
        return {"at": when.isoformat(), "ms": _ms(midnight)}
    local = when.replace(tzinfo=None).isoformat()
    if when.tzinfo is None and zone is not None:
        if (defined := zones.find(zone)) is None:
            problems.append(f"time zone {zone[:80]!r} is not known")
            return {"at": local, "zone": zone}
        when = when.replace(tzinfo=defined)
    if when.tzinfo is None:
        return {"at": local, "ms": _ms(when.replace(tzinfo=dt.UTC))}
    return {"at": local, "zone": zone or "UTC", "ms": _ms(when)}


def _ms(when: dt.datetime) -> int:
    try:
        return (when - _EPOCH) // dt.timedelta(milliseconds=1)
    except OverflowError:  # the first and the last day that there is, in another zone
        return (when.replace(tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(milliseconds=1)


def _after(event: Event, zones: Zones, problems: list[str]) -> dict[str, Any] | None:
    """The end that follows from a duration."""
    duration = getattr(next(iter(_all(event, "DURATION")), None), "dt", None)
    start = next(iter(_all(event, "DTSTART")), None)
    if not isinstance(duration, dt.timedelta) or start is None:
        return None
    zone = str(start.params.get("TZID", "")).translate(_SAFE) or None
    try:
        return _shown(start.dt + duration, zone, zones, problems)
    except OverflowError:
        problems.append("DURATION: it ends after the year 9999")
        return None


def _rules(event: Event, name: str) -> list[str]:
    """The lines of a recurrence, as RFC 5545 writes them."""
    found = []
    for value in _all(event, name):
        zone = getattr(value, "params", {}).get("TZID")
        found.append(f"{name}{f';TZID={zone}' if zone else ''}:{value.to_ical().decode('utf-8', 'replace')}".translate(_SAFE))
    return found


def _mention(person: Any) -> dict[str, str]:
    address = str(person).translate(_SAFE).strip()
    if address[:7].lower() == "mailto:":
        address = address[7:]
    name = str(person.params.get("CN", "")).translate(_SAFE).strip() if hasattr(person, "params") else ""
    return {key: value for key, value in (("name", name), ("email", address)) if value}


def _attendee(person: Any) -> dict[str, str]:
    parameters = getattr(person, "params", {})
    more = (("status", parameters.get("PARTSTAT")), ("role", parameters.get("ROLE")))
    return {**_mention(person), **{key: str(value).lower() for key, value in more if value}}


def _categories(event: Event) -> list[str]:
    return [str(each).translate(_SAFE) for value in _all(event, "CATEGORIES") for each in getattr(value, "cats", [value])]
