"""Every importer fed broken, huge and wrongly encoded sources: what is good is taken, what is not is named, and memory stays small."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runloop.kb import KnowledgeBase
from runloop.kb.importers import csvfile, intake, notes, vcard
from runloop.kb.importers.calendar import blocks
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.git import import_git
from runloop.kb.importers.intake import How
from runloop.kb.importers.mail import importing as mail
from runloop.kb.importers.shell import importing as shell

if TYPE_CHECKING:
    from collections.abc import Callable

BAD = "Jörg".encode("latin-1")  # no UTF-8
SMALL = 2_000  # bytes that a record may have in these tests


PIECES = [b"", b"\0", b"\xff\xfe", b'"', b"\n", b"\r", b"BEGIN:VCARD\n", b"=\n", b" "]


def card(number: int, name: bytes = b"", more: bytes = b"") -> bytes:
    return b"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:%b\r\nEMAIL:p%d@x.example\r\n%bEND:VCARD\r\n" % (name or b"P%d" % number, number, more)


def row(number: int, name: bytes = b"", more: bytes = b"") -> bytes:
    return b"%b,p%d@x.example,%b\n" % (name or b"P%d" % number, number, more)


def letter(number: int, name: bytes = b"", more: bytes = b"") -> bytes:
    return b"Subject: s%d %b\nFrom: p%d@x.example\nDate: Fri, 20 Nov 2026 09:30:00 +0000\n\ntext %b\n\n" % (number, name, number, more)


def event(number: int, name: bytes = b"", more: bytes = b"") -> bytes:
    return b"BEGIN:VEVENT\r\nUID:%d@x\r\nSUMMARY:s%d %b\r\nDESCRIPTION:%b\r\nEND:VEVENT\r\n" % (number, number, name, more)


def command(number: int, name: bytes = b"", more: bytes = b"") -> bytes:
    return b"command %d %b%b\n" % (number, name, more)


@dataclass(frozen=True)
class Source:
    """How records look in a file, how they are imported, and what limits one; ``lenient``: bytes that are no text cost nothing."""

    name: str
    record: Callable[..., bytes]
    take: Callable
    limit: tuple[object, str]
    before: bytes = b""
    between: bytes = b""
    after: bytes = b""
    broken: bytes = b""
    lenient: bool = False

    def file(self, *records: bytes) -> bytes:
        return self.before + b"".join(self.between + each for each in records) + self.after


SOURCES = {
    "vCard": Source("a.vcf", card, import_contacts, (vcard, "MAX_CARD"), broken=b"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Half\r\n"),
    "CSV": Source("a.csv", row, import_contacts, (csvfile, "MAX_RECORD"), before=b"name,email,notes\n", broken=b'"half,h@x.example,\n'),
    "mbox": Source(
        "a.mbox",
        letter,
        mail.import_mail,
        (mail, "MAX_BYTES"),
        between=b"From a@x Fri Nov 20 09:30:00 2026\n",
        broken=b"Content-Type: multipart/mixed; boundary=b\nSubject: half\n\n--b\n\n",
        lenient=True,
    ),
    "iCalendar": Source(
        "a.ics",
        event,
        import_calendar,
        (blocks, "MAX_BYTES"),
        before=b"BEGIN:VCALENDAR\r\n",
        after=b"END:VCALENDAR\r\n",
        broken=b"BEGIN:VEVENT\r\nUID:half\r\n",
    ),
    "history": Source("h", command, partial(shell.import_shell, shell="bash"), (shell, "LONGEST"), broken=b"\xff\xfe\n", lenient=True),
}


def records(kb):
    return sum(".imported" in each.kind or each.kind == "contact.upserted" for each in kb.ledger.read(limit=1000))


@pytest.mark.parametrize("sort", SOURCES)
def test_a_broken_a_huge_and_a_wrongly_encoded_record_cost_only_themselves_and_are_named(kb, tmp_path, monkeypatch, sort):
    source = SOURCES[sort]
    owner, limit = source.limit
    monkeypatch.setattr(owner, limit, SMALL)
    path = tmp_path / source.name
    path.write_bytes(
        source.file(
            source.record(1),
            source.record(2, name=BAD),
            source.record(3, more=(b"X-A:" if sort == "vCard" else b"") + b"x" * 50 * SMALL + b"\r\n" * (sort == "vCard")),
            source.record(4),
            source.broken,
            source.record(5),
        )
    )
    report = source.take(kb, [path])
    told = {each.line for each in (*report.refused, *report.remarks)}
    assert all(each.file == str(path) and each.reason for each in (*report.refused, *report.remarks))
    assert len(told) == 3 or (sort == "mbox" and len(told) == 2)
    assert records(kb) == 3 + (2 if sort == "mbox" else 2 if source.lenient else 0)
    again = source.take(kb, [path])
    assert (again.taken, [each.line for each in again.refused]) == (0, [each.line for each in report.refused])
    assert kb.verify(views=True).ok


@pytest.mark.parametrize("sort", SOURCES)
def test_links_that_lead_in_a_circle_are_refused_by_name(kb, tmp_path, sort):
    path = tmp_path / SOURCES[sort].name
    path.symlink_to(path)
    assert [(each.file, each.reason) for each in SOURCES[sort].take(kb, [path]).refused] == [
        (str(path), "Too many levels of symbolic links")
    ]


@pytest.mark.parametrize("sort", SOURCES)
def test_a_file_of_any_size_takes_little_memory(tmp_path, monkeypatch, sort):
    monkeypatch.setattr(intake, "_BATCH_BYTES", 200_000)
    monkeypatch.setattr(intake, "_BATCH", 5)
    source = SOURCES[sort]
    count = 120 if sort in {"iCalendar", "history"} else 400  # what is slow under the tracer
    path = tmp_path / source.name
    text = b"word " * 2_000
    more = b"X-A:%b\r\n" % text if sort == "vCard" else text
    with path.open("wb") as file:
        file.write(source.before)
        for number in range(count):
            file.write(source.between + source.record(number, more=more))
        file.write(source.after)
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        source.take(kb, [path], How(dry_run=True))  # what is made once
        tracemalloc.start()
        try:
            report = source.take(kb, [path], How(dry_run=True))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (report.taken, report.refused) == (count, [])
    assert most < (3 << 20 if sort == "mbox" else path.stat().st_size / 2)  # mbox files are read in pieces of 1 MiB


@pytest.mark.parametrize("sort", SOURCES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_was_cut_off_or_damaged_anywhere_is_read_as_far_as_it_goes(tmp_path_factory, sort, data):
    source = SOURCES[sort]
    whole = source.file(*(source.record(number) for number in range(6)))
    at = data.draw(st.integers(0, len(whole)))
    piece = data.draw(
        st.sampled_from([b"", b"\0", b"\xff\xfe", b'"', b"\n", b"\r", b"BEGIN:VCARD\n", b"=\n", b" "]) | st.binary(max_size=4)
    )
    cut = data.draw(st.sampled_from(["cut", "insert", "replace"]))
    rest = {"cut": b"", "insert": whole[at:], "replace": whole[at + len(piece) :]}[cut]
    folder = tmp_path_factory.mktemp("cut")
    path = folder / source.name
    path.write_bytes(whole[:at] + piece + rest)
    with KnowledgeBase.open(folder / "pog") as kb:
        report = source.take(kb, [path])
        before = sum(whole[:at].count(each) for each in (source.record(number) for number in range(6)))
        assert report.taken + bool(report.refused) >= min(before, report.taken + 1)
        assert report.taken + len(report.refused) + len(report.remarks) > 0 or not path.read_bytes().strip() or at < 40
        assert source.take(kb, [path]).taken == 0


def test_a_maildir_of_broken_huge_and_wrongly_encoded_messages_gives_what_can_be_read(kb, tmp_path, monkeypatch):
    monkeypatch.setattr(mail, "MAX_BYTES", SMALL)
    for name in ("cur", "new", "tmp"):
        (tmp_path / "box" / name).mkdir(parents=True)
    for number, data in enumerate((letter(1), letter(2, name=BAD), letter(3, more=b"x" * 50 * SMALL), b"\0\0\0", b"", letter(4))):
        (tmp_path / "box" / "cur" / f"{number}:2,S").write_bytes(data)
    report = mail.import_mail(kb, [tmp_path / "box"])
    assert [Path(each.file).name for each in report.refused if "limit" in each.reason] == ["2:2,S"]
    with kb.reading() as db:
        subjects = [row[0] for row in db.execute("SELECT subject FROM messages ORDER BY subject")]
    assert {each.split()[0] for each in subjects if each} == {"s1", "s2", "s4"}
    assert mail.import_mail(kb, [tmp_path / "box"]).taken == 0


def test_notes_that_are_broken_huge_or_wrongly_encoded_are_named_and_the_others_taken(kb, tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "MAX_BYTES", SMALL)
    texts = {
        "a.md": b"good",
        "b.md": b"line\n" + BAD,
        "c.md": b"x" * 2 * SMALL,
        "d.txt": b"a\0b",
        "e.md": "schön".encode("utf-16"),
        "f.md": b"",
    }
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
    report = notes.import_notes(kb, tmp_path)
    assert [(Path(each.file).name, each.line, each.reason.partition(":")[0]) for each in report.refused] == [
        ("b.md", 2, "not UTF-8 text"),
        ("c.md", None, f"{2 * SMALL} bytes; the limit is {SMALL}"),
        ("d.txt", 1, "binary, not text"),
    ]
    assert report.taken == 2
    assert notes.import_notes(kb, tmp_path, encoding="latin-1").taken == 1


def test_commits_in_other_encodings_and_of_any_length_are_taken(kb, tmp_path):
    date = "@1700000000 +0000"
    where = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
    person = ("-c", "user.name=J\udcf6rg", "-c", "user.email=j@x.example")
    latin, long = ("-c", "i18n.commitEncoding=latin1"), b"long\n\n" + b"x " * 500_000
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True, env=where)
    for message, more in (("Straße".encode("latin-1"), latin), (b"odd \xff", ()), (long, ())):
        words = ["git", "-C", tmp_path / "repo", *person, *more, "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-F", "-"]
        subprocess.run(words, input=message, check=True, env=where, stderr=subprocess.DEVNULL)
    report = import_git(kb, tmp_path / "repo")
    assert (report.taken, report.refused) == (3, [])
    with kb.reading() as db:
        assert "Straße" in [row[0] for row in db.execute("SELECT subject FROM commits")]
