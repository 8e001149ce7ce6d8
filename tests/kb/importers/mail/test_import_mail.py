from __future__ import annotations

import os
from pathlib import Path

import pytest

from runloop.kb.importers.intake import How
from runloop.kb.importers.mail import importing, sources
from runloop.kb.importers.mail.importing import import_mail

DATA = Path(__file__).parents[3] / "data" / "imports"


def letter(number, *headers, body="text"):
    return "\n".join((f"From: p{number}@x.example", f"Message-ID: <{number}@x>", f"Subject: s{number}", *headers, "", body, "")).encode()


def mbox(*letters):
    return b"".join(b"From a@x Fri Nov 20 09:30:00 2026\n" + each + b"\n" for each in letters)


def subjects(kb):
    with kb.reading() as db:
        return [subject for (subject,) in db.execute("SELECT subject FROM messages ORDER BY subject")]


def threads(kb):
    with kb.reading() as db:
        return dict(db.execute("SELECT message_id, thread FROM messages").fetchall())


def refusals(report):
    return [(Path(each.file).name, each.line, each.reason) for each in report.refused]


@pytest.fixture
def maildir(tmp_path):
    """A Maildir with a message in each of its folders; gives the path."""
    root = tmp_path / "Maildir"
    for folder in (root, root / ".Sent"):
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True)
    (root / "cur" / "1:2,S").write_bytes(letter(1))
    (root / "new" / "2").write_bytes(letter(2))
    (root / "tmp" / "3").write_bytes(letter(3))
    (root / ".Sent" / "cur" / "4:2,S").write_bytes(letter(4))
    return root


def test_an_mbox_gives_its_messages_with_their_lines(kb, tmp_path):
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1), letter(2, body="From here\n")))
    report = import_mail(kb, [path])
    found = [event.payload for event in kb.ledger.read(kinds=["message.imported"])]
    assert [(each["path"], each["mailbox"], each["line"], each["message_id"]) for each in found] == [
        (str(path), str(path), 1, "1@x"),
        (str(path), str(path), 8, "2@x"),
    ]
    assert (report.taken, report.files, report.refused, report.read) == (2, 1, [], path.stat().st_size)
    [hit] = kb.search("s2", ["messages"])
    assert (hit.path, hit.line, hit.event_id) == (str(path), 8, 2)


def test_a_second_import_takes_nothing_and_new_messages_are_taken_alone(kb, tmp_path):
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1)))
    import_mail(kb, [path])
    head = kb.ledger.head().id
    assert import_mail(kb, [path]).known == 1
    assert kb.ledger.head().id == head
    path.write_bytes(mbox(letter(1), letter(2)))
    report = import_mail(kb, [path])
    assert (report.taken, report.known) == (1, 1)


def test_a_maildir_is_read_with_the_folders_inside_and_what_moved_is_known(kb, maildir):
    assert import_mail(kb, [maildir]).taken == 3
    (maildir / "new" / "2").rename(maildir / "cur" / "2:2,RS")
    report = import_mail(kb, [maildir])
    assert (report.taken, report.known, report.removed) == (0, 3, 0)
    assert subjects(kb) == ["s1", "s2", "s4"]


def test_messages_that_are_gone_are_forgotten_only_where_their_mailbox_was_seen_whole(kb, maildir):
    import_mail(kb, [maildir])
    (maildir / ".Sent" / "cur" / "4:2,S").unlink()
    (maildir / "cur" / "1:2,S").unlink()
    os.mkfifo(maildir / "new" / "pipe")
    report = import_mail(kb, [maildir])
    assert (report.removed, refusals(report)) == (1, [("pipe", None, "not a regular file")])
    assert subjects(kb) == ["s1", "s2"]
    (maildir / "new" / "pipe").unlink()
    assert import_mail(kb, [maildir]).removed == 1
    assert subjects(kb) == ["s2"]
    (maildir / "cur" / "1:2,S").write_bytes(letter(1))
    assert import_mail(kb, [maildir]).taken == 1
    assert subjects(kb) == ["s1", "s2"]


def test_a_message_in_two_mailboxes_is_one_and_stays_when_only_one_loses_it(kb, tmp_path):
    one, two = tmp_path / "one.mbox", tmp_path / "two.mbox"
    one.write_bytes(mbox(letter(1)))
    two.write_bytes(mbox(letter(1)))
    report = import_mail(kb, [one, two])
    assert (report.taken, report.known) == (1, 1)
    one.write_bytes(b"")
    report = import_mail(kb, [one, two])
    assert (report.removed, subjects(kb)) == (0, ["s1"])


def test_messages_with_one_id_and_different_words_are_all_kept(kb, tmp_path):
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1, body="a"), letter(1, body="b"), letter(1, body="a")))
    report = import_mail(kb, [path])
    assert (report.taken, report.known) == (2, 1)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (3, 1, 2)])
def test_a_thread_goes_by_its_first_message_in_whatever_order_the_messages_come(kb, tmp_path, order):
    letters = {1: letter(1), 2: letter(2, "In-Reply-To: <1@x>"), 3: letter(3, "In-Reply-To: <2@x>")}
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(*(letters[number] for number in order)))
    import_mail(kb, [path])
    assert threads(kb) == {"1@x": "1@x", "2@x": "1@x", "3@x": "1@x"}


def test_people_are_mentions_and_not_contacts(kb, tmp_path):
    path = tmp_path / "a.eml"
    path.write_bytes(letter(1, "To: Ada <ada@example.com>"))
    import_mail(kb, [path])
    with kb.reading() as db:
        assert db.execute("SELECT count(*) FROM contacts").get == 0
        assert db.execute("SELECT relation, label FROM edges JOIN nodes ON node_key = target_key ORDER BY relation").fetchall() == [
            ("sent_by", "p1@x.example"),
            ("sent_to", "Ada"),
        ]


def test_attachments_are_kept_when_asked_also_later(kb, tmp_path):
    path = tmp_path / "a.eml"
    path.write_bytes(letter(1, "Content-Type: application/pdf; name=a.pdf", body="%PDF"))
    import_mail(kb, [path])
    report = import_mail(kb, [path], keep=True)
    assert (report.taken, report.changed) == (1, 1)
    assert import_mail(kb, [path]).known == import_mail(kb, [path], keep=True).known == 1
    [attachment] = kb.ledger.read(kinds=["message.imported"])[-1].payload["attachments"]
    assert kb.ledger.blob(attachment["hash"]) == b"%PDF\n"


def test_links_pipes_and_files_that_are_no_mail_are_named_or_passed_over(kb, maildir, tmp_path):
    (maildir / "loop").symlink_to(maildir, target_is_directory=True)
    (maildir / "cur" / "away").symlink_to(tmp_path / "gone")
    report = import_mail(kb, [maildir])
    assert sorted(refusals(report)) == [
        ("away", None, "No such file or directory"),
        ("loop", None, "a link to a directory; not followed"),
    ]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\0\0")
    (folder / "empty.mbox").write_bytes(b"")
    (folder / "binary.mbox").write_bytes(b"\0" * 5000)
    (folder / "kept").write_bytes(mbox(letter(7)))
    os.mkfifo(folder / "pipe.mbox")
    report = import_mail(kb, [folder, tmp_path / "missing"])
    assert refusals(report) == [
        ("binary.mbox", 1, "neither an mbox file nor a message"),
        ("pipe.mbox", None, "not a regular file"),
        ("missing", None, "No such file or directory"),
    ]
    assert report.taken == 1


def test_a_message_beyond_the_limit_is_refused_by_its_line_and_nothing_else_is_lost(kb, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "MAX_BYTES", 1000)
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1), letter(2, body="x" * 5000), letter(3)))
    report = import_mail(kb, [path])
    assert (report.taken, refusals(report)) == (2, [("in.mbox", 8, "a message of 5086 bytes; the limit is 1000")])


def test_a_file_that_grows_while_it_is_read_is_named_and_forgets_nothing(kb, tmp_path, monkeypatch):
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1), letter(2)))
    import_mail(kb, [path])
    path.write_bytes(mbox(letter(1)))
    real = sources.mbox.split

    def split(read, limit):
        for number, raw in enumerate(real(read, limit)):
            yield raw
            if number == 0:
                with path.open("ab") as file:
                    file.write(mbox(letter(3)))

    monkeypatch.setattr(sources.mbox, "split", split)
    report = import_mail(kb, [path])
    assert refusals(report) == [("in.mbox", None, "changed while it was read: import it again")]
    assert (report.removed, subjects(kb)) == (0, ["s1", "s2"])


def test_the_broken_corpus_is_read_as_far_as_it_goes(kb):
    report = import_mail(kb, [DATA / "mail"])
    assert refusals(report) == [("noise.mbox", 1, "neither an mbox file nor a message")]
    assert subjects(kb) == [
        "",
        "Grüße",
        "bare latin é",
        "boundary never",
        "dates",
        "dup",
        "dup",
        "nul \ufffd",
        "victim Bcc: everyone@x.example",
    ]
    assert sorted({each.reason for each in report.remarks}) == [
        "a header line without a name",
        "bytes that are not UTF-8; read as cp1252",
        "date 'Sat, 1 Jan 12026 00:00:00 +0000' cannot be read",
        "multipart/mixed whose boundary never stands in it; read as one part",
        "no headers",
    ]


def test_a_dry_run_says_what_would_be_taken_and_forgotten(kb, tmp_path):
    path = tmp_path / "in.mbox"
    path.write_bytes(mbox(letter(1)))
    import_mail(kb, [path])
    path.write_bytes(mbox(letter(2)))
    head = kb.ledger.head().id
    report = import_mail(kb, [path], How(dry_run=True))
    assert (report.taken, report.removed, kb.ledger.head().id) == (1, 1, head)


@pytest.mark.parametrize("text", ["BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nEND:VCARD\n", "key: value\nother: value\n", "note: buy milk\n"])
def test_a_file_that_only_looks_like_headers_is_no_message(kb, tmp_path, text):
    (tmp_path / "c.vcf").write_text(text)
    report = import_mail(kb, [tmp_path / "c.vcf"])
    assert (report.taken, [each.reason for each in report.refused]) == (0, ["neither an mbox file nor a message"])
