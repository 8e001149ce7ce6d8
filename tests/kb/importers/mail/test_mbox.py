from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.importers.mail import mbox

SEPARATOR = b"From ada@example.com Fri Nov 20 09:30:00 2026\n"
LIMIT = 1 << 20
LINES = st.sampled_from(
    [
        b"",
        b"From ada@example.com Fri Nov 20 09:30:00 2026",
        b"From here on",
        b">From x 1:00 2026",
        b">>From ",
        b"Subject: x",
        b"text",
        b"\xff\0",
    ]
)
TEXTS = st.lists(LINES, max_size=8).map(lambda lines: b"\n".join([b"Subject: a", b"", *lines, b"end", b""]))


def reader(data, sizes=()):
    """A file that gives as many bytes at a time as it is told."""
    file, wanted = io.BytesIO(data), iter(sizes)
    return lambda size: file.read(min(size, next(wanted, size)))


def split(data, limit=LIMIT, sizes=()):
    return list(mbox.split(reader(data, sizes), limit))


def quoted(text):
    """As mboxrd writes it."""
    return re.sub(rb"^(>*From )", rb">\1", text, flags=re.MULTILINE)


def file_of(texts):
    return b"".join(SEPARATOR + quoted(text) + b"\n" for text in texts)


@given(st.lists(TEXTS, max_size=6), st.lists(st.integers(1, 40), max_size=200))
def test_messages_come_back_as_they_were_written_whatever_the_sizes_of_the_reads(texts, sizes):
    found = split(file_of(texts), sizes=sizes)
    assert [each.data for each in found] == texts
    lines = file_of(texts).split(b"\n")
    assert all(lines[each.line - 1] + b"\n" == SEPARATOR for each in found)


@given(st.binary(max_size=300), st.lists(st.integers(1, 20), max_size=100))
def test_any_bytes_are_taken_apart_the_same_however_they_are_read(data, sizes):
    assert split(data, sizes=sizes) == split(data)


@given(st.lists(TEXTS, max_size=6), st.integers(1, 120), st.lists(st.integers(1, 40), max_size=200))
def test_a_message_beyond_the_limit_costs_only_itself(texts, limit, sizes):
    data = file_of(texts)
    whole = split(data)
    for each, full in zip(split(data, limit, sizes), whole, strict=True):
        assert each == (full if full.size <= limit else full._replace(data=None))


def test_a_separator_needs_an_empty_line_before_it_and_a_date():
    text = b"Subject: a\n\nbefore\nFrom ada Fri Nov 20 09:30:00 2026\n\nFrom then on\n\nFrom me to you\n"
    assert [each.data for each in split(SEPARATOR + text)] == [text]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_both_line_ends_are_read(end):
    data = (SEPARATOR + b"Subject: a\n\none\n\n" + SEPARATOR + b"Subject: b\n\ntwo\n").replace(b"\n", end)
    assert [(each.line, each.data) for each in split(data)] == [
        (1, b"Subject: a\n\none\n".replace(b"\n", end)),
        (6, b"Subject: b\n\ntwo\n".replace(b"\n", end)),
    ]


def test_an_empty_file_has_no_messages():
    assert split(b"") == split(b"\n\n") == []


def test_empty_lines_before_the_first_message_count():
    assert [each.line for each in split(b"\n\n" + file_of([b"a\n", b"b\n"]), sizes=[1] * 9)] == [3, 6]
