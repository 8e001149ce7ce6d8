from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.importers.mail.html import to_text
from runloop.kb.importers.mail.message import read_message
from runloop.kb.importers.mail.mime import MAX_DEPTH, MAX_PARTS, take_apart
from runloop.kb.importers.mail.words import clean


def message(*headers, body="text\n"):
    return "\n".join((*headers, "", body)).encode()


def payload(raw):
    return read_message(raw if isinstance(raw, bytes) else raw.encode()).payload


def test_headers_are_decoded_and_people_are_mentions():
    read = payload(
        message(
            "From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.de>",
            'To: "Lovelace, Ada" <ada@example.com>,',
            "\tgrace@navy.example",
            "Subject: =?iso-8859-1?Q?Gr=FC=DFe?= aus",
            " Berlin",
            "Date: Fri, 20 Nov 2026 10:00:00 +0100",
            "Message-ID: <2@x>",
            "In-Reply-To: <1@x>",
            "References: <0@x>",
            " <1@x>",
        )
    )
    assert read["sender"] == [{"name": "Jörg Müller", "email": "joerg@example.de"}]
    assert read["to"] == [{"name": "Lovelace, Ada", "email": "ada@example.com"}, {"email": "grace@navy.example"}]
    assert (read["subject"], read["text"], read["message_id"]) == ("Grüße aus Berlin", "text", "2@x")
    assert (read["in_reply_to"], read["references"], read["sent_ms"]) == ("1@x", ["0@x", "1@x"], 1795165200000)
    assert "problems" not in read


def test_a_header_cannot_pose_as_another_one():
    read = payload(message("Subject: =?utf-8?q?a=0D=0ABcc=3A_eve=40x=00=1B[31m?=", "From: a@x"))
    assert read["subject"] == "a Bcc: eve@x\ufffd [31m"
    assert "cc" not in read


@pytest.mark.parametrize(
    ("date", "ms", "problem"),
    [
        ("Thu, 01 Jan 1970 00:00:00 +0000", 0, None),
        ("Wed, 31 Dec 1969 23:59:59 +0000", -1000, None),
        ("Mon, 4 Jul 1904 12:00:00 -0500", -2066799600000, None),
        ("Sat, 1 Jan 12026 00:00:00 +0000", None, "date 'Sat, 1 Jan 12026 00:00:00 +0000' cannot be read"),
        ("yesterday", None, "date 'yesterday' cannot be read"),
        ("Fri, 45 Nov 2026 10:00:00 +0000", None, "date 'Fri, 45 Nov 2026 10:00:00 +0000' cannot be read"),
    ],
)
def test_dates_outside_of_what_clocks_show_are_read_or_named(date, ms, problem):
    read = payload(message("From: a@x", f"Date: {date}"))
    assert (read.get("sent_ms"), read["date"], read.get("problems")) == (ms, date, None if problem is None else [problem])


def test_plain_text_goes_before_the_same_as_html_and_attachments_are_name_size_and_hash():
    raw = message(
        "From: a@x",
        "Content-Type: multipart/mixed; boundary=out",
        body="preamble\n--out\nContent-Type: multipart/alternative; boundary=in\n\n--in\n\nplain\n"
        "--in\nContent-Type: text/html\n\n<p>rich</p>\n"
        "--in--\n--out\nContent-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.pdf\n"
        "Content-Transfer-Encoding: base64\n\naGVsbG8=\n--out--\nepilogue\n",
    )
    read = read_message(raw, keep=True)
    assert read.payload["text"] == "plain"
    assert read.payload["attachments"] == [
        {
            "type": "application/pdf",
            "bytes": 5,
            "hash": "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
            "name": "résumé.pdf",
            "kept": True,
        }
    ]
    assert read.blobs == (b"hello",)
    assert read_message(raw).blobs == ()
    assert read_message(raw).payload["message"] == read.payload["message"]


def test_an_attached_message_is_an_attachment_and_its_text_is_read():
    read = payload(message("Content-Type: message/rfc822", body="Subject: inner\n\ninner text\n"))
    assert read["text"] == "inner text"
    assert [each["type"] for each in read["attachments"]] == ["message/rfc822"]


@pytest.mark.parametrize(
    ("headers", "body", "text", "problems"),
    [
        (["Content-Type: text/plain; charset=klingon"], b"caf\xe9", "café",
         ["character set 'klingon' is unknown", "bytes that are not UTF-8; read as cp1252"]),
        (["Content-Type: text/plain; charset=punycode"], b"ab-cd", "ab-cd", ["character set 'punycode' is unknown"]),
        (["Content-Type: text/plain; charset=us-ascii"], "café".encode(), "café", None),
        (["Content-Type: text/plain; charset=utf-16"], b"\xff\xfea\0b\0", "ab", None),
        (["Content-Type: text/plain; charset=utf-8"], b"\xe9t\xe9 \0", "été \ufffd", ["bytes that are not utf-8; read as cp1252"]),
        (["Content-Transfer-Encoding: base64"], b"aGk*=!", "hi", None),
        (["Content-Transfer-Encoding: base64"], b"aGkhI", "hi!", ["base64 that ends too early"]),
        (["Content-Transfer-Encoding: quoted-printable"], b"=zz =E2=82=AC=", "=zz €", None),
        (["Content-Transfer-Encoding: rot13"], b"uv", "uv", ["transfer encoding 'rot13' is unknown; taken as it is"]),
        (["Content-Type: multipart/mixed"], b"x", "", ["multipart/mixed without a boundary; read as one part"]),
        (["Content-Type: multipart/mixed; boundary=b"], b"--b\n\none\n", "one", ["multipart/mixed without its closing boundary"]),
        (["not a header", "Subject: x"], b"t", "t", ["a header line without a name"]),
        (["Content-Type: ;;;==; charset"], b"t", "t", None),
        ([], b"t", "t", ["no headers"]),
    ],
)  # fmt: skip
def test_what_is_broken_is_named_and_the_rest_is_read(headers, body, text, problems):
    read = payload("\n".join(headers).encode() + b"\n\n" + body)
    assert (read["text"], read.get("problems")) == (text, problems)


def test_deep_and_wide_messages_are_bounded_and_say_so():
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20_000))
    assert payload(deep)["problems"][0] == "multipart/mixed without its closing boundary"
    assert f"parts are nested deeper than {MAX_DEPTH}; the innermost are kept as one attachment" in payload(deep)["problems"]
    wide = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50_000
    assert f"more than {MAX_PARTS} parts; only those were read" in payload(wide)["problems"]
    assert len(take_apart(wide if isinstance(wide, bytes) else wide.encode()).parts) == MAX_PARTS
    letters = b"Content-Type: message/rfc822\n\n" * 5000
    assert any("nested deeper" in problem for problem in payload(letters)["problems"])


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a" * 200_000,
        b"Subject: " + b"=?utf-8?q?a?= " * 70_000,
        b"To: " + b"a@b, <" * 150_000,
        b"Content-Type: text/html\n\n" + b"<p &#x" * 100_000,
    ],
)
def test_what_would_take_long_is_bounded(raw):
    assert len(payload(raw)["message"]) == 64


def test_too_many_addresses_are_named():
    read = payload(message("To: " + "ada@example.com, " * 20_000))
    assert read["problems"] == ["more than 131072 bytes of addresses in a header; only those were read"]


def test_marks_of_mail_programs_do_not_make_another_message():
    plain = message("From: a@x", "Subject: s")
    marked = message("Status: RO", "X-UID: 7", "From: a@x", "Subject: s")
    assert payload(plain)["message"] == payload(marked)["message"]
    assert payload(plain)["message"] != payload(message("From: a@x", "Subject: t"))["message"]


PIECES = [
    *(b"Content-Type: multipart/mixed; boundary=b", b"--b", b"--b--", b"", b"Subject: =?utf-8?b?//8=?=", b"From: <a@x"),
    *(b"Content-Transfer-Encoding: base64", b"Date: 99 Jan 0000", b" \xff"),
]


@given(st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"\n".join))
def test_any_bytes_are_a_message(raw):
    read = read_message(raw, keep=True)
    assert "\0" not in read.payload["text"] + read.payload["subject"]
    assert len(read.payload["message"]) == 64


@given(st.binary(max_size=200))
def test_parts_lie_within_the_message_and_do_not_overlap(body):
    taken = take_apart(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + body.replace(b"a", b"\n--b\n"))
    at = 0
    for part in taken.parts:
        assert at <= part.start <= part.end
        at = part.end


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<html><head><title>t</title></head><body><p>Hello&nbsp;<b>you</b></p><p>and&amp;me</p>", "Hello you\n\nand&me"),
        ("3 < 4 and 5 > 2<br>next", "3 < 4 and 5 > 2\nnext"),
        ("a<script>if (a<b) x()</SCRIPT>b<style>p{}</style>c", "abc"),
        ("a<!-- <p> -->b<img src='https://x.example/pixel'>", "ab"),
        ("a<p", "a<p"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("İ<style>x</style>y", "İy"),
    ],
)
def test_html_becomes_the_words_that_a_reader_sees(html, text):
    assert to_text(html) == text


@given(st.text("<>!-/ascript &;#x\n", max_size=60))
def test_any_text_is_html(html):
    assert "\0" not in to_text(html)


def test_a_base64_body_of_any_length_is_read():
    for size in range(7):
        data = bytes(range(65, 65 + size))
        raw = message("Content-Transfer-Encoding: base64", body=base64.b64encode(data).decode())
        assert payload(raw)["text"] == data.decode()


@pytest.mark.parametrize("beside", ["text/calendar", "text/html", "application/x-nothing"])
def test_a_text_that_is_there_in_html_alone_is_read_whatever_else_stands_beside_it(beside):
    body = f"--b\nContent-Type: text/html\n\n<p>the words</p>\n--b\nContent-Type: {beside}\n\n<i>other</i>\n--b--\n"
    assert "the words" in payload(message("Content-Type: multipart/alternative; boundary=b", body=body))["text"]


def test_a_message_without_headers_is_all_body():
    for empty in ("\n", "\r\n"):
        found = take_apart(f"{empty}a\nb".encode())
        assert [(part.start, part.end) for part in found.parts] == [(len(empty), len(empty) + 3)]


def test_a_boundary_may_stand_at_the_beginning_of_the_body():
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"
    assert [raw[part.start : part.end] for part in take_apart(raw).parts] == [b"one"]


def test_what_is_no_character_is_replaced_and_line_ends_are_those_of_unix():
    assert clean("ä\ud800b\r\nd\re") == "ä\ufffdb\nd\ne"
    assert clean("b\0c") == "b\ufffdc"
