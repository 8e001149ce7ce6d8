"""What every importer has from the intake: each record once, in whatever order, however often, and whoever interrupts."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runloop.kb import KnowledgeBase
from runloop.kb.importers import contacts, intake
from runloop.kb.importers.calendar.importing import import_calendar
from runloop.kb.importers.contacts import import_contacts
from runloop.kb.importers.intake import How
from runloop.kb.importers.mail.importing import import_mail
from runloop.kb.importers.notes import import_notes
from runloop.kb.importers.report import ImportReport
from runloop.kb.importers.shell.importing import import_shell

SOURCES = {
    "contacts": lambda n: "name,email\n" + "".join(f"P{i},p{i}@x.example\n" for i in range(n)),
    "notes": lambda n: "\n\n".join(f"# Note {i}\n\ntext {i}" for i in range(n)),
    "mail": lambda n: "".join(f"From a@x Fri Nov 20 09:30:00 2026\nSubject: s{i}\nFrom: p{i}@x\n\ntext {i}\n\n" for i in range(n)),
    "calendar": lambda n: (
        "BEGIN:VCALENDAR\n" + "".join(f"BEGIN:VEVENT\nUID:{i}@x\nSUMMARY:s{i}\nEND:VEVENT\n" for i in range(n)) + "END:VCALENDAR\n"
    ),
    "shell": lambda n: "".join(f"command {i}\n" for i in range(n)),
}
NAMES = {"contacts": "a.csv", "notes": "a.md", "mail": "a.mbox", "calendar": "a.ics", "shell": ".bash_history"}


def take(kb, sort, path, how=None):
    if sort == "notes":
        return import_notes(kb, path, how)
    importer = {"contacts": import_contacts, "mail": import_mail, "calendar": import_calendar, "shell": import_shell}[sort]
    return importer(kb, [path], how)


def write(tmp_path, sort, count):
    path = tmp_path / NAMES[sort]
    path.write_text(SOURCES[sort](count))
    return path


def records(kb):
    return sum(not event.kind.startswith("import.") for event in kb.ledger.read(limit=100_000))


@pytest.mark.parametrize("sort", sorted(SOURCES))
def test_two_imports_of_one_file_at_the_same_moment_write_each_record_once(tmp_path, sort, monkeypatch):
    monkeypatch.setattr(intake, "_BATCH", 7)
    path = write(tmp_path, sort, 40)
    together, waited, events = threading.Barrier(2), set(), intake._Intake._events

    def wait_once(self, *args):  # both have looked at the base before either of them writes
        if id(self) not in waited:
            waited.add(id(self))
            together.wait(30)
        return events(self, *args)

    monkeypatch.setattr(intake._Intake, "_events", wait_once)
    reports = []

    def work():
        with KnowledgeBase.open(tmp_path / "pog") as kb:
            reports.append(take(kb, sort, path))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        assert records(kb) == 40
        assert sum(report.taken for report in reports) == 40
        assert [report.taken + report.known for report in reports] == [40, 40]


@pytest.mark.parametrize("sort", sorted(SOURCES))
def test_an_interrupted_import_keeps_what_it_took_and_the_next_one_goes_on(kb, tmp_path, sort, monkeypatch):
    monkeypatch.setattr(intake, "_BATCH", 5)
    monkeypatch.setattr(intake, "_TELL", 1)
    path = write(tmp_path, sort, 40)
    if sort == "notes":  # each file goes in whole
        path = tmp_path / "notes"
        path.mkdir()
        for number in range(40):
            (path / f"{number:02}.md").write_text(f"text {number}")
    calls = iter(range(100))

    def interrupt(report):
        if next(calls) == 20:
            raise KeyboardInterrupt

    first = take(kb, sort, path, How(progress=interrupt))
    assert first.interrupted
    assert 0 < first.taken < 40
    second = take(kb, sort, path)
    assert (second.interrupted, second.known, second.taken) == (False, first.taken, 40 - first.taken)
    assert records(kb) == 40


@pytest.mark.parametrize("sort", sorted(SOURCES))
def test_a_dry_run_counts_as_the_import_does_and_writes_nothing(kb, tmp_path, sort):
    path = write(tmp_path, sort, 3)
    dry = take(kb, sort, path, How(dry_run=True))
    assert kb.ledger.head().id == 0
    real = take(kb, sort, path)
    assert (dry.taken, dry.known, dry.refusals) == (real.taken, real.known, real.refusals) == (3, 0, 0)


@pytest.mark.parametrize("sort", sorted(SOURCES))
def test_the_import_is_an_event_with_its_counts(kb, tmp_path, sort):
    report = take(kb, sort, write(tmp_path, sort, 3))
    event = kb.ledger.read()[-1]
    assert (event.kind, event.payload["what"], event.payload["taken"], event.payload["files"]) == ("import.finished", sort, 3, 1)
    assert report.events == [(1, 3)]


@pytest.mark.parametrize("sort", sorted(SOURCES))
def test_progress_ends_with_all_bytes_read(kb, tmp_path, sort):
    path = write(tmp_path, sort, 3)
    seen = []
    take(kb, sort, path, How(progress=lambda report: seen.append((report.read, report.total))))
    assert seen[-1][0] == path.stat().st_size
    assert seen[-1][1] in {0, path.stat().st_size}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"name": "Bad", "email": "no address"}, "payload validation failed: "),
        ({"name": "\ud800", "email": "a@x"}, "text holds an unpaired surrogate"),
    ],
)
def test_one_record_that_cannot_be_stored_costs_only_itself(kb, bad, reason):
    payloads = [{"name": "Ada", "email": "ada@x.example"}, bad, {"name": "Grace", "email": "grace@x.example"}]
    items = [intake.Found(str(line), "a.csv", line, (payload,), "new") for line, payload in enumerate(payloads, 1)]
    report = intake.take_in(kb, contacts._SORT, items, ImportReport("contacts", "a.csv"), How())
    assert (report.taken, [(each.file, each.line) for each in report.refused]) == (2, [("a.csv", 2)])
    assert report.refused[0].reason.startswith(reason)
    with kb.reading() as db:
        assert db.execute("SELECT name FROM contacts ORDER BY name").fetchall() == [("Ada",), ("Grace",)]


STEPS = st.lists(
    st.tuples(st.sampled_from(["mail", "calendar", "shell", "notes"]), st.lists(st.integers(0, 5), max_size=5)), min_size=1, max_size=6
)


def source(sort, numbers):
    if sort == "mail":
        parts = (
            f"From a@x Fri Nov 20 09:30:00 2026\nSubject: s{i}\nMessage-ID: <{i}@x>\nIn-Reply-To: <{i // 2}@x>\n\nt\n\n" for i in numbers
        )
        return "".join(parts)
    if sort == "calendar":
        parts = (f"BEGIN:VEVENT\nUID:{i // 2}@x\nSUMMARY:s{i}\nATTENDEE:mailto:p{i}@x\nEND:VEVENT\n" for i in numbers)
        return "BEGIN:VCALENDAR\n" + "".join(parts) + "END:VCALENDAR\n"
    return "".join(f"text {i}\n" for i in numbers)


@settings(max_examples=15)
@given(STEPS)
def test_whatever_sources_become_the_tables_hold_what_they_say_now_and_equal_a_rebuild(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("steps")
    with KnowledgeBase.open(folder / "pog") as kb:
        last = {}
        for sort, numbers in steps:
            path = folder / NAMES[sort]
            path.write_text(source(sort, numbers))
            take(kb, sort, path)
            last[sort] = numbers
        with kb.reading() as db:
            for table, sort, column in (("messages", "mail", "subject"), ("appointments", "calendar", "uid")):
                found = {row[0] for row in db.execute(f"SELECT {column} FROM {table}")}
                assert found == {f"s{i}" if sort == "mail" else f"{i // 2}@x" for i in last.get(sort, [])}
        assert kb.verify(views=True).broken is None
