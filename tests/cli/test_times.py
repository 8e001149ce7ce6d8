"""Times as people give and read them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runloop.cli.times import moment, span
from runloop.errors import InvalidInput

NOW = int(datetime(2026, 11, 20, 13, 30).astimezone().timestamp() * 1000)


def at(*parts):
    return int(datetime(*parts).astimezone().timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("90s", NOW - 90_000),
        ("15m", NOW - 900_000),
        ("2h", NOW - 7_200_000),
        (" 2d ", NOW - 172_800_000),
        ("1w", NOW - 604_800_000),
        ("9:05", at(2026, 11, 20, 9, 5)),
        ("09:05:30", at(2026, 11, 20, 9, 5, 30)),
        ("9:05:30", at(2026, 11, 20, 9, 5, 30)),
        ("2026-11-18", at(2026, 11, 18)),
        ("2026-11-18T07:00", at(2026, 11, 18, 7)),
        ("2026-11-18 07:00:01", at(2026, 11, 18, 7, 0, 1)),
        ("2026-11-18T07:00:00Z", 1_794_985_200_000),
        ("2026-11-18T07:00:00+02:00", 1_794_978_000_000),
        ("1900-01-01", 0),
        ("999999w", 0),
    ],
)
def test_a_time_is_so_long_ago_or_a_clock_or_a_date(text, found):
    assert moment(text, NOW, "--since") == found


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(["+00:00", "Z", "+05:45", "-11:30"]))
@example(1_085_826_953_268, "Z")
def test_a_time_to_the_millisecond_is_that_millisecond(ms, zone):
    offset = timedelta() if zone == "Z" else datetime.strptime(zone, "%z").utcoffset()
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms) + offset).replace(tzinfo=None)
    assert moment(local.isoformat(timespec="milliseconds") + zone, NOW, "--since") == ms


@pytest.mark.parametrize("text", ["", "yesterday", "2", "2y", "-2d", "9999999d", "25:00", "2026-13-01"])
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(InvalidInput) as caught:
        moment(text, NOW, "--until")
    assert (caught.value.code, caught.value.where.key) == ("cli.time", "--until")
    assert "--until 2d" in caught.value.hint


def test_times_are_short_for_people():
    shown = ["–", "–", "0.00s", "0.42s", "12.3s", "3m05s", "2h10m", "3d4h"]
    assert [span(ms) for ms in (None, -1_000, -999, 420, 12_340, 185_000, 7_800_000, 273_600_000)] == shown


@pytest.fixture
def far_zone(monkeypatch):
    """A zone that is further from UTC than a day."""
    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC+25")
        time.tzset()
        yield
    time.tzset()


def test_in_a_zone_that_there_cannot_be_a_span_is_read_and_a_date_is_refused(far_zone):
    assert moment("2d", 10 * 86_400_000, "--since") == 8 * 86_400_000
    for text in ("yesterday", "09:30"):
        with pytest.raises(InvalidInput) as caught:
            moment(text, 10 * 86_400_000, "--since")
        assert caught.value.code == "cli.time"
