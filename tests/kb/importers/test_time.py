"""Readers take time in proportion to what they read, whatever it is: each of these took minutes where something went with the square."""

from __future__ import annotations

import io

from runloop.kb.importers import csvfile, vcard
from runloop.kb.importers.calendar.zones import Zones
from runloop.kb.importers.mail import mbox
from runloop.kb.importers.mail.message import read_message
from runloop.kb.importers.passages import split_passages
from runloop.kb.importers.shell.histories import READERS
from runloop.kb.importers.shell.scrub import LONGEST

MANY = 200_000


def test_a_card_with_many_accounts_and_nicknames_keeps_each_once():
    lines = (f"{name}{number // 2}\n" for number in range(MANY) for name in ("NICKNAME:n", "URL:x.example/"))
    (card,) = vcard.read_cards(["BEGIN:VCARD\n", "VERSION:4.0\n", *lines, "END:VCARD\n"])
    assert (len(card.nicknames), len(card.accounts)) == (MANY // 2, MANY // 2)


def test_a_row_with_many_addresses_keeps_each_once():
    cells = ",".join(f'"{";".join(f"{number % 10_000}@x" for number in range(15_000))}"' for _ in range(8))
    header = ",".join(("name", *(f"e-mail {number}" for number in range(8))))
    (row,) = csvfile.read_rows([f"{header}\n", f"Ada,{cells}\n"])
    assert len(row.emails) == 10_000


def test_a_command_without_an_end_is_as_long_as_it_needs_to_be_to_be_refused():
    for shell, lines in (("zsh", [b"a\\"] * (10 * MANY)), ("bash", [b"#1700000000", *([b"a"] * (10 * MANY))])):
        (entry,) = READERS[shell](enumerate(lines, 1))
        assert LONGEST < len(entry.text) < 10 * MANY


def test_lines_that_look_like_separators_almost_up_to_their_end():
    line = b"\nFrom " + b"1:1111" * 140 + b"x" * 100 + b"\n"
    messages = list(mbox.split(io.BytesIO(b"From a@x Mon Jan  1 00:00:00 2024\n\n" + line * 20_000).read, 1 << 26))
    assert [message.line for message in messages] == [1]


def test_parts_with_thousands_of_parameters_are_read():
    part = b'--b\nContent-Type: text/plain; name="' + b";" * 8000 + b"\nContent-Disposition: attachment" + b";" * 8000 + b"\n\nx\n"
    payload = read_message(b"Content-Type: multipart/mixed; boundary=b\n\n" + part * 1000 + b"--b--\n").payload
    assert len(payload["attachments"]) == 1000


def test_the_blank_lines_of_fenced_code_and_short_paragraphs_are_counted_once():
    assert len(split_passages("```\n" + "\n" * (10 * MANY) + "x\n```\n", markdown=True)) == 2
    assert len(split_passages("a\n\n" * (2 * MANY), markdown=False)) == 1000


def test_headings_end_in_signs_and_blanks_that_are_looked_at_once():
    for tail, title in (("#" * MANY, "a"), (" " * MANY, "a"), (" #" * MANY, "a" + " #" * (MANY - 1))):
        for end, said in (("b", f"a{tail}b"), ("", title)):
            (passage,) = split_passages(f"# a{tail}{end}", markdown=True)
            assert passage.title == said


def test_a_paragraph_of_many_lines_and_underlines_is_looked_through_once_for_what_is_no_title():
    passages = split_passages("a\n" * MANY + "> b\n" + "=\n" * MANY, markdown=True)
    assert {each.title for each in passages} == {None}


def test_encoded_words_that_never_end_stay_as_they_stand():
    word = b"=?a?q?]="
    raw = b"Subject: " + word * 8000 + b"\n" + b"".join(b'To: "' + word * 15_000 + b'" <a@x>\n' for _ in range(8)) + b"\nx\n"
    assert read_message(raw).payload["subject"] == (word * 8000).decode()


def test_zones_without_a_known_name_are_read_once():
    zones = Zones()
    for number in range(200):
        zones.note(b"BEGIN:VTIMEZONE\nTZID:%d" % number + b" " * 60_000 + b"x\nEND:VTIMEZONE")
    assert {zones.find(str(number)) for number in range(10_000)} == {None}
