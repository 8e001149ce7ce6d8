"""What was erased does not come back by an import of a file that was moved or changed, unless that is asked for."""

from __future__ import annotations

import subprocess

import pytest

from runloop.events import NewEvent
from runloop.kb import forgetting
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.git import import_git
from runloop.kb.importers.intake import How
from runloop.kb.importers.mail.importing import import_mail
from runloop.kb.importers.notes import import_notes
from runloop.kb.importers.shell.importing import import_shell

CARD = "BEGIN:VCARD\nVERSION:4.0\nFN:Ada Lovelace\nEMAIL:ada@x.example\nIMPP:xmpp:ada@jabber.example\n{more}END:VCARD\n"
NOTE = "# Trip\n\nTo the sea with Ada Lovelace.\n\n# Work\n\nThe engine.\n"
MAIL = "From a@x Fri Nov 20 09:30:00 2026\nSubject: piers\nFrom: Ada Lovelace <ada@x.example>\n\ntext\n\n"
DATE = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1@x\nSUMMARY:tea with Ada Lovelace{more}\nEND:VEVENT\nEND:VCALENDAR\n"
FILES = {
    "contacts": ("a.vcf", CARD),
    "notes": ("a.md", NOTE),
    "mail": ("a.mbox", MAIL),
    "calendar": ("a.ics", DATE),
    "shell": ("h", "mail ada@x.example\n"),
}
IMPORTERS = {
    "contacts": lambda kb, path, how: import_contacts(kb, [path], how),
    "notes": import_notes,
    "mail": lambda kb, path, how: import_mail(kb, [path], how),
    "calendar": lambda kb, path, how: import_calendar(kb, [path], how),
    "shell": lambda kb, path, how: import_shell(kb, [path], how, shell="bash"),
    "git": import_git,
}


def make(folder, sort, more=""):
    folder.mkdir()
    if sort != "git":
        name, text = FILES[sort]
        (folder / name).write_text(text.replace("{more}", more))
        return folder / name
    for words in (
        ("init", "-q"),
        (
            "-c",
            "user.name=Ada Lovelace",
            "-c",
            "user.email=ada@x.example",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "piers",
            "--date=2026-01-01T00:00Z",
        ),
    ):
        subprocess.run(
            ["git", "-C", folder, *words],
            check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_COMMITTER_DATE": "2026-01-01T00:00Z"},
        )
    return folder


def forget(kb):
    return forgetting.carry_out(kb, forgetting.plan(kb, "Ada Lovelace", ["ada@x.example"]))


def said(kb):
    """The kinds of the stored events that mention her."""
    texts = [(event.kind, str(kb.ledger.full(event).payload).lower()) for event in kb.ledger.read(limit=1000)]
    return [kind for kind, text in texts if "ada lovelace" in text or "ada@" in text]


@pytest.mark.parametrize("sort", sorted(IMPORTERS))
def test_what_was_erased_is_refused_by_its_place_wherever_it_is_read_again_and_taken_where_that_is_asked_for(kb, tmp_path, sort):
    take = IMPORTERS[sort]
    first = make(tmp_path / "first", sort)
    assert take(kb, first, How()).taken
    erasure = forget(kb)
    assert said(kb) == []
    moved = make(tmp_path / "moved", sort)
    again = take(kb, moved, How())
    assert said(kb) == []
    assert [reason for *_, reason in again.refused] == [f"was erased (event {erasure.event_id}); --take-erased takes it again"]
    assert again.refused[0].file == str(moved)
    assert take(kb, first, How()).taken == 0
    assert kb.verify(views=True).ok
    assert take(kb, moved, How(take_erased=True)).taken
    assert said(kb)
    assert take(kb, moved, How()).refused == []
    assert kb.verify(views=True).ok


@pytest.mark.parametrize(("sort", "more"), [("contacts", "NICKNAME:Countess\n"), ("calendar", " at five")])
def test_a_record_that_was_changed_since_it_was_erased_is_still_the_same_one(kb, tmp_path, sort, more):
    IMPORTERS[sort](kb, make(tmp_path / "first", sort), How())
    forget(kb)
    report = IMPORTERS[sort](kb, make(tmp_path / "second", sort, more), How())
    assert (report.taken, len(report.refused)) == (0, 1)
    assert said(kb) == []


def test_a_contact_whose_other_address_stands_first_now_is_still_the_same_one(kb, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("name,email\nAda Lovelace,ada@x.example\n")
    import_contacts(kb, [table])
    forget(kb)
    table.write_text("name,email,email 2\nA. L.,al@y.example,ADA@x.example\nBo,bo@x.example,\n")
    report = import_contacts(kb, [table])
    assert (report.taken, [(each.line, each.reason[:10]) for each in report.refused]) == (1, [(2, "was erased")])
    assert said(kb) == []
    assert import_contacts(kb, [table], How(take_erased=True)).taken == 1


def test_of_a_changed_note_everything_else_is_taken_and_the_erased_passage_is_named_by_its_line(kb, tmp_path):
    file = make(tmp_path / "first", "notes")
    import_notes(kb, file.parent)
    forget(kb)
    file.write_text("# New\n\nA beginning.\n\n" + file.read_text())
    report = import_notes(kb, file.parent)
    assert report.taken == 2
    assert [(each.line, each.reason.partition(" (")[0]) for each in report.refused] == [(5, "was erased")]
    assert {hit.title for hit in kb.search("beginning OR engine", ["notes"])} == {"New", "Work"}
    assert said(kb) == []
    assert import_notes(kb, file.parent).refused == []


def test_another_persons_contact_without_her_name_comes_back_only_with_other_content(kb, tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("name,email,company\nBo,bo@x.example,Ada Lovelace\n")
    import_contacts(kb, [table])
    forget(kb)
    table.rename(tmp_path / "b.csv")
    assert import_contacts(kb, [tmp_path / "b.csv"]).refused
    assert said(kb) == []
    table.write_text("name,email,company\nBo,bo@x.example,Engines\n")
    assert import_contacts(kb, [table]).taken == 1
    assert [hit.title for hit in kb.search("Engines", ["contacts"])] == ["Bo"]


def test_queries_do_not_show_by_what_erased_records_are_known(kb, tmp_path):
    import_contacts(kb, [make(tmp_path / "first", "contacts")])
    forget(kb)
    with kb.reading() as db:
        assert db.execute("SELECT count(*) FROM erased_records").get == 2
    assert "erased_records" not in {table.name for table in kb.tables()}


@pytest.mark.parametrize("payload", [{"name": 5}, {"email": 5}, {"email": "a@x", "name": {"$blob": "0" * 64}}])
def test_an_event_that_cannot_be_read_as_its_kind_is_erased_nevertheless(kb, payload):
    [event] = kb.ledger.append([NewEvent("contact.upserted", payload, "user")], check=False)
    kb.erase([event.id])
    assert kb.ledger.get(event.id).payload.keys() == {"$erased"}
    assert kb.ledger.verify().ok


def test_who_lost_another_s_name_before_stays_out_as_well(kb, tmp_path):
    def card(more):
        path = tmp_path / "bob.vcf"
        path.write_text(f"BEGIN:VCARD\nVERSION:4.0\nFN:Bob Reed\nEMAIL:bob@x.example\nORG:{more}\nEND:VCARD\n")
        return import_contacts(kb, [path])

    card("Office of Ada Lovelace")
    forget(kb)
    forgetting.carry_out(kb, forgetting.plan(kb, "bob@x.example"))
    for more in ("Office of Ada Lovelace", "Another"):
        report = card(more)
        assert (report.taken, [each.reason for each in report.refused]) == (0, ["was erased (event 4); --take-erased takes it again"])
