"""What a person is asked, in a few words; how texts and times are shown is tested where they are."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.text import asked, awaited, broken, clock, clock_ms, date_clock, day, display_width, fitted, sort_of


@pytest.mark.parametrize(
    ("approval_id", "action", "sort", "waits_for", "question"),
    [
        ("run/send/1/1", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1/1795249952553", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1", None, "approval", "an answer", "approve an action"),
        ("run/outcome/1/1", "mail.smtp", "approval", "approval of mail.smtp", "approve mail.smtp"),
        ("run/send/1/1/outcome/1", "mail.smtp", "outcome", "an answer whether mail.smtp happened", "mail.smtp happened"),
        ("run/send[3]/1/1/outcome-2/1", "mail.smtp", "outcome", "an answer whether mail.smtp happened", "mail.smtp happened"),
        ("run/draft/gate/1/1", "gate", "gate", "an answer at a gate", "gate"),
    ],
)
def test_the_id_says_whether_something_may_be_done_did_happen_or_how_it_goes_on(approval_id, action, sort, waits_for, question):
    assert (sort_of(approval_id), awaited(approval_id, action), asked(approval_id, action)) == (sort, waits_for, question)


@pytest.fixture
def travelling(monkeypatch):
    """Says where this machine is from now on, as whoever travels does under the programs that are open."""
    with monkeypatch.context() as here:
        yield lambda zone: here.setenv("TZ", zone)
    time.tzset()


def test_a_zone_that_changes_while_a_program_is_open_counts_from_then_on(travelling):
    shown = []
    for zone in ("UTC", "East-9", "West+5"):
        travelling(zone)
        shown.append([clock(0), date_clock(0), day(0), clock_ms(0)])

    assert shown == [
        ["01-01 00:00:00", "1970-01-01 00:00:00", "1970-01-01", "00:00:00.000"],
        ["01-01 09:00:00", "1970-01-01 09:00:00", "1970-01-01", "09:00:00.000"],
        ["12-31 19:00:00", "1969-12-31 19:00:00", "1969-12-31", "19:00:00.000"],
    ]


@pytest.mark.parametrize("zone", ["UTC", "East-14", "West+12", "Far-24", "Far+24"])
def test_a_time_that_no_date_can_say_is_shown_as_the_nearest_one(travelling, zone):
    travelling(zone)
    shown = [date_clock(ms)[:4] for ms in (-(2**63), -62_135_596_800_000, 253_402_300_799_999, 2**63 - 1)]
    assert shown in (["1-01", "1-01", "9999", "9999"], ["0001", "0001", "9999", "9999"])


LETTERS = st.sampled_from("ab   漢é\u0301🜂👩\u200d\ufe0fกั#\u20e3") | st.characters(exclude_categories=["Cs"])


@given(st.text(LETTERS, max_size=60), st.integers(1, 20))
def test_a_line_that_a_person_decides_about_is_broken_without_losing_anything_and_fits(line, room):
    pieces = broken(line, room)
    assert "".join(pieces) == line
    assert all(display_width(piece) <= room or display_width(piece[0]) > room for piece in pieces)
    for piece in pieces[:-1]:  # a word is cut where no blank stands in the second half
        assert piece.endswith(" ") or piece.rfind(" ") < room // 2


@given(st.text(LETTERS, max_size=60), st.integers(1, 20))
def test_what_is_cut_is_the_beginning_as_far_as_it_fits_and_says_so(text, size):
    found = fitted(text, size)
    assert display_width(found) <= size
    if display_width(text) <= size:
        assert found == text
    else:
        assert found == text[: len(found) - 1] + "…"
        assert display_width(text[: len(found)]) > size - 1
