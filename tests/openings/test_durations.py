"""Durations and moments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings.clauses import Wait
from runloop.openings.durations import MAX_DURATION_MS, duration_text, moment_text, parse_duration, parse_moment


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2d", 172_800_000),
        ("36h", 129_600_000),
        ("1h 30m", 5_400_000),
        ("1h30m", 5_400_000),
        (" 90s ", 90_000),
        ("500ms", 500),
        ("5m", 300_000),
        ("1s 5ms", 1005),
        ("1d 1h 1m 1s 1ms", 90_061_001),
        ("3650d", MAX_DURATION_MS),
    ],
)
def test_durations(text, ms):
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "  ", "2", "d", "1m 1h", "1h 1h", "-1h", "1.5h", "1 h", "1h,30m", "1H", "٣d", "9" * 16 + "d"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "3651d", "3650d 1ms", "999999999999999d"])
def test_durations_have_bounds(text):
    with pytest.raises(ValueError, match="must be between 1ms and 3650d"):
        parse_duration(text)


@given(st.integers(1, MAX_DURATION_MS))
def test_a_duration_comes_back(ms):
    assert parse_duration(duration_text(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000_000),
        ("2027-01-15t08:00:00z", 1_800_000_000_000),
        ("2027-01-15 08:00:00.25Z", 1_800_000_000_250),
        ("2027-01-15T08:00:00.1239-00:30", 1_800_001_800_123),
    ],
)
def test_moments(text, ms):
    assert parse_moment(text) == ms


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-01-15", "2027-01-15T08:00:00", "2027-01-15T08:00Z", "1800000000", "20270115T080000Z"]
)
def test_what_is_no_moment(text):
    with pytest.raises(ValueError, match="is not an RFC 3339 time with a zone"):
        parse_moment(text)


@pytest.mark.parametrize(
    "text",
    ["2027-13-01T00:00:00Z", "2027-01-01T24:00:01Z", "0000-01-01T00:00:00Z", "2027-01-01T00:00:00+99:00", "2027-01-01T00:00:00+01:60"],
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time: "):
        parse_moment(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_a_moment_is_one_in_utc_too(text):
    with pytest.raises(ValueError, match="is not a time: date value out of range"):
        parse_moment(text)


@given(st.integers(0, 4_102_444_800_000))
def test_a_moment_comes_back(ms):
    assert parse_moment(moment_text(ms)) == ms


def test_a_wait_says_what_it_waits_for():
    assert [str(Wait(for_ms=5000)), str(Wait(until_ms=1_800_000_000_250))] == ["for 5s", "until 2027-01-15T08:00:00.250Z"]
