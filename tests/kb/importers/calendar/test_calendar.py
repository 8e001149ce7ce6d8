from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.importers.calendar.blocks import MAX_DEPTH, blocks
from runloop.kb.importers.calendar.importing import import_calendar

ZONE = (
    "BEGIN:VTIMEZONE",
    "TZID:Europe/Berlin",
    "BEGIN:STANDARD",
    "DTSTART:19701025T030000",
    "RRULE:FREQ=SECONDLY",
    "END:STANDARD",
    "END:VTIMEZONE",
)


def calendar(*lines, end="\r\n"):
    return end.join(("BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR", "")).encode()


def event(*lines, uid="1@x"):
    return ("BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT")


def stored(kb):
    with kb.reading() as db:
        return db.execute("SELECT summary, starts, starts_ms, ends_ms, zone, line FROM appointments ORDER BY summary, starts").fetchall()


def payloads(kb):
    return [each.payload for each in kb.ledger.read(kinds=["appointment.imported"])]


@pytest.fixture
def file(tmp_path):
    return lambda data, name="a.ics": (tmp_path / name, (tmp_path / name).write_bytes(data))[0]


def test_appointments_have_times_zones_rules_and_people(kb, file):
    path = file(
        calendar(
            *ZONE,
            *event(
                "DTSTART;TZID=Europe/Berlin:20261120T093000",
                "DURATION:PT1H30M",
                "RRULE:FREQ=WEEKLY;BYDAY=FR",
                "EXDATE;TZID=Europe/Berlin:20261127T093000",
                "SUMMARY:Plan\\, review",
                "DESCRIPTION:A long li",
                " ne\\nand another",
                'ORGANIZER;CN="Lovelace, Ada":mailto:ada@example.com',
                "ATTENDEE;CN=Grace;PARTSTAT=ACCEPTED;ROLE=CHAIR:MAILTO:grace@navy.example",
                "CATEGORIES:Work,Home",
                "STATUS:CONFIRMED",
                "BEGIN:VALARM",
                "SUMMARY:ring",
                "END:VALARM",
            ),
        )
    )
    report = import_calendar(kb, [path])
    [read] = payloads(kb)
    assert read == {
        "appointment": read["appointment"],
        "uid": "1@x",
        "path": str(path),
        "line": 10,
        "summary": "Plan, review",
        "description": "A long line\nand another",
        "starts": {"at": "2026-11-20T09:30:00", "zone": "Europe/Berlin", "ms": 1795163400000},
        "ends": {"at": "2026-11-20T11:00:00", "zone": "Europe/Berlin", "ms": 1795168800000},
        "rules": ["RRULE:FREQ=WEEKLY;BYDAY=FR", "EXDATE;TZID=Europe/Berlin:20261127T093000"],
        "organizer": {"name": "Lovelace, Ada", "email": "ada@example.com"},
        "attendees": [{"name": "Grace", "email": "grace@navy.example", "status": "accepted", "role": "chair"}],
        "categories": ["Work", "Home"],
        "status": "confirmed",
    }
    assert (report.taken, report.refused, report.remarks) == (1, [], [])


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("DTSTART;VALUE=DATE:20261120", {"at": "2026-11-20", "ms": 1795132800000}),
        ("DTSTART:20261120T093000Z", {"at": "2026-11-20T09:30:00", "zone": "UTC", "ms": 1795167000000}),
        ("DTSTART:20261120T093000", {"at": "2026-11-20T09:30:00", "ms": 1795167000000}),
        ("DTSTART;TZID=Custom Zone 7:20261120T093000", {"at": "2026-11-20T09:30:00", "zone": "Custom Zone 7"}),
        (
            "DTSTART;TZID=/freeassociation.sourceforge.net/Europe/Vienna:20261120T093000",  # Evolution's
            {"at": "2026-11-20T09:30:00", "zone": "/freeassociation.sourceforge.net/Europe/Vienna", "ms": 1795163400000},
        ),
        ("DTSTART;VALUE=DATE:18991231", {"at": "1899-12-31", "ms": -2209075200000}),
        ("DTSTART:99991231T235959Z", {"at": "9999-12-31T23:59:59", "zone": "UTC", "ms": 253402300799000}),
        ("DTSTART:tomorrow", None),
        ("DTSTART;VALUE=DATE:100000101", None),
    ],
)
def test_every_sort_of_start_is_kept_as_it_stands_with_its_moment_where_that_is_known(kb, file, line, starts):
    report = import_calendar(kb, [file(calendar(*event(line, "SUMMARY:s")))])
    assert (report.taken, payloads(kb)[0].get("starts")) == (1, starts)
    assert bool(report.remarks) == (starts is None or "ms" not in starts)


def test_a_changed_occurrence_is_an_appointment_of_its_own(kb, file):
    path = file(
        calendar(
            *event("DTSTART:20261120T093000Z", "RRULE:FREQ=DAILY", "SUMMARY:daily"),
            *event("DTSTART:20261121T100000Z", "RECURRENCE-ID:20261121T093000Z", "SUMMARY:later"),
        )
    )
    assert import_calendar(kb, [path]).taken == 2
    assert payloads(kb)[1]["occurrence"] == "2026-11-21T09:30:00 UTC"


def test_changes_replace_and_what_is_gone_is_forgotten(kb, file):
    path = file(calendar(*event("SUMMARY:one"), *event("SUMMARY:two", uid="2@x")))
    assert import_calendar(kb, [path]).taken == 2
    head = kb.ledger.head().id
    assert import_calendar(kb, [path]).known == 2
    assert kb.ledger.head().id == head
    file(calendar(*event("SUMMARY:new")))
    report = import_calendar(kb, [path])
    assert (report.taken, report.changed, report.removed) == (1, 1, 1)
    assert [row[0] for row in stored(kb)] == ["new"]
    file(calendar(*event("SUMMARY:one")))
    assert import_calendar(kb, [path]).changed == 1
    assert [row[0] for row in stored(kb)] == ["one"]


def test_a_broken_file_gives_its_good_appointments_and_the_line_of_every_other(kb, file):
    text = calendar(
        "BEGIN:VEVENT",
        "UID:cut@x",
        *event("SUMMARY:good", "this is no property", uid="2@x"),
        *event("SUMMARY:CAFE", uid="3@x"),
        *("BEGIN:VTODO", "SUMMARY:task", "END:VTODO", "BEGIN:VEVENT", "UID:open@x"),
        end="\n",
    )
    path = file(b"\xef\xbb\xbf" + text.replace(b"CAFE", b"caf\xe9") + b"BEGIN:VEVENT\nEND:VEVENT\nrest\n")
    report = import_calendar(kb, [path])
    assert [(each.line, each.reason) for each in report.refused] == [
        (3, "no END:VEVENT before the next one on line 5"),
        (10, "not UTF-8 text: byte 0xe9; name its encoding with --encoding"),
        (17, "no END:VEVENT before the end of the calendar on line 19"),
        (20, "not inside of a calendar: no BEGIN:VCALENDAR before it"),
        (22, "not a calendar: no BEGIN:VCALENDAR before it"),
    ]
    assert [row[0] for row in stored(kb)] == ["good"]
    assert [each.reason for each in report.remarks if each.line is None] == ["1 × VTODO: only appointments (VEVENT) are taken"]
    assert import_calendar(kb, [path], encoding="cp1252").taken == 1


def test_a_uid_that_stands_there_twice_counts_once(kb, file):
    report = import_calendar(kb, [file(calendar(*event("SUMMARY:a"), *event("SUMMARY:a"), *event("SUMMARY:b")))])
    assert (report.taken, report.known) == (1, 1)
    assert [(each.line, each.reason) for each in report.refused] == [
        (11, "stands in this import already, with other content; the first one counts")
    ]


def test_an_appointment_without_a_uid_is_known_by_its_content(kb, file):
    path = file(calendar("BEGIN:VEVENT", "SUMMARY:a", "END:VEVENT"))
    assert import_calendar(kb, [path]).taken == 1
    assert import_calendar(kb, [path]).known == 1


def test_files_that_cannot_be_read_are_named(kb, tmp_path, file):
    report = import_calendar(kb, [tmp_path / "missing.ics", "/dev/null", file(b"\0\1" * 50, "binary.ics"), file(b"", "empty.ics")])
    assert [(each.line, each.reason) for each in report.refused] == [
        (None, "No such file or directory"),
        (None, "not a regular file"),
        (1, "not a calendar: no BEGIN:VCALENDAR before it"),
    ]


PIECES = [b":".join((word, name)) for word in (b"BEGIN", b"END") for name in (b"VCALENDAR", b"VEVENT", b"VALARM", b"VTIMEZONE")]
PIECES += [b"SUMMARY:a", b"", b"\xff"]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_lines_are_taken_apart_and_each_beginning_is_answered_for(lines):
    found = list(blocks(enumerate(lines, 1)))
    assert all(each.problem is not None or each.data.startswith(b"BEGIN:") for each in found)
    assert [each.line for each in found] == sorted(each.line for each in found)


def test_deep_nesting_is_bounded():
    lines = [b"BEGIN:VCALENDAR", b"BEGIN:VEVENT", *[b"BEGIN:X"] * 5000]
    assert next(blocks(enumerate(lines, 1))).problem == f"components are nested deeper than {MAX_DEPTH}"


def test_a_file_in_a_directory_that_nobody_may_look_into_is_refused_by_name(kb, closed):
    report = import_calendar(kb, [closed / "a.ics"])
    assert [each.reason for each in report.refused] == ["No such file or directory"]


def test_a_line_that_is_no_property_is_quoted_without_the_name_that_it_has_not(kb, file):
    report = import_calendar(kb, [file(calendar(*event("DTSTART:20260101T100000Z", "SUMMARY:a", "=20more")))])
    assert [reason.split(":")[0] for _, _, reason in report.remarks] == ["Content line could not be parsed into parts"]


@pytest.mark.parametrize("zone", ["Europe", "America/Argentina", "..", "A" * 300, "Europe/Berlin/x"])
def test_a_zone_whose_name_is_that_of_no_file_costs_only_its_moment(kb, file, zone):
    lines = (*event(f"DTSTART;TZID={zone}:20260101T100000", "SUMMARY:a"), *event("DTSTART:20260101T100000Z", "SUMMARY:b", uid="2@x"))
    report = import_calendar(kb, [file(calendar(*lines))])
    assert (report.taken, report.refused) == (2, [])
    assert [reason for _, _, reason in report.remarks] == [f"time zone {zone[:80]!r} is not known"]
    assert [each["starts"].get("ms") for each in payloads(kb)] == [None, 1767261600000]


OUTLOOK = (  # as Exchange writes a zone that somebody made himself
    "BEGIN:VTIMEZONE",
    "TZID:Office\\, with summer time",
    "BEGIN:STANDARD",
    "DTSTART:16010101T030000",
    "TZOFFSETFROM:+0200",
    "TZOFFSETTO:+0100",
    "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BY",
    " MONTH=10",
    "END:STANDARD",
    "BEGIN:DAYLIGHT",
    "DTSTART:16010101T020000",
    "TZOFFSETFROM:+0100",
    "TZOFFSETTO:+0200",
    "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3",
    "END:DAYLIGHT",
    "END:VTIMEZONE",
)
NAMED = '"Office, with summer time"'


def test_a_zone_that_only_the_calendar_defines_gives_its_times_their_moment(kb, file):
    events = (
        *event(f"DTSTART;TZID={NAMED}:20261120T093000", "SUMMARY:winter"),
        *event(f"DTSTART;TZID={NAMED}:20260720T093000", "DURATION:PT1H", "SUMMARY:summer", uid="2@x"),
    )
    report = import_calendar(kb, [file(calendar(*OUTLOOK, *events))])
    assert (report.taken, report.remarks) == (2, [])
    assert [(each["starts"]["ms"], each.get("ends", {}).get("ms")) for each in payloads(kb)] == [
        (1795163400000, None),
        (1784532600000, 1784536200000),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [line.replace("YEARLY", "SECONDLY") for line in OUTLOOK],  # would take for ever
        [line.replace("INTERVAL=1", "BYHOUR=1,2,3") for line in OUTLOOK],
        [line.replace(";BYMONTH=3", "") for line in OUTLOOK],
        [*OUTLOOK[:-1], *OUTLOOK[2:9] * 120, OUTLOOK[-1]],
        [line.replace("+0100", "soon") for line in OUTLOOK],
        [OUTLOOK[0], *OUTLOOK[2:]],
        [*OUTLOOK[:-1], *["X-MORE:" + "x" * 1000] * 100, OUTLOOK[-1]],
    ],
)
def test_a_definition_that_is_none_or_takes_long_costs_only_the_moment(kb, file, lines):
    report = import_calendar(kb, [file(calendar(*lines, *event(f"DTSTART;TZID={NAMED}:20261120T093000", "SUMMARY:s")))])
    assert (report.taken, [reason.startswith("time zone") for _, _, reason in report.remarks]) == (1, [True])
    assert payloads(kb)[0]["starts"] == {"at": "2026-11-20T09:30:00", "zone": NAMED.strip('"')}


def test_a_directory_is_read_as_khal_and_radicale_keep_it_and_what_is_gone_from_it_is_forgotten(kb, tmp_path):
    home, cache = tmp_path / "cal" / "home", tmp_path / "cal" / ".Radicale.cache"
    for folder in (home, cache):
        folder.mkdir(parents=True)
        for name in "abc":
            (folder / f"{name}.ics").write_bytes(
                calendar(*event("DTSTART:20260101T100000Z", f"SUMMARY:{name}", uid=f"{name}@{folder.name}"))
            )
    (home / "color").write_text("#ff0000")
    (home / "again").symlink_to(home)
    first = import_calendar(kb, [tmp_path / "cal"])
    (home / "b.ics").unlink()
    second = import_calendar(kb, [tmp_path / "cal"])

    assert (first.taken, [(place, reason) for place, _, reason in first.refused]) == (
        3,
        [(str(home / "again"), "a link to a directory; not followed")],
    )
    assert (second.taken, second.known, second.removed) == (0, 2, 1)
    assert [row[0] for row in stored(kb)] == ["a", "c"]


def test_a_directory_without_calendars_says_what_it_looked_for(kb, tmp_path):
    (tmp_path / "notes.md").write_text("x")

    assert [reason for _, _, reason in import_calendar(kb, [tmp_path]).remarks] == ["no file in it ends in .ics"]
