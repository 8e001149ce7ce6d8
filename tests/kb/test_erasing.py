from __future__ import annotations

import apsw
import pytest

from runloop.events import NewEvent, RunIdentity, canonical, run_event
from runloop.events import records as r
from runloop.kb import KnowledgeBase, Ledger, erasing, rebuilding
from runloop.kb.erasing import Left
from runloop.kb.errors import EraseRefused, LedgerError
from runloop.kb.proposing import StateDelta
from tests.kb.test_materialise import dump

SECRET = "Zyzzogeton Quux"


def files_with(root, text):
    """The files in which the text stands, as bytes."""
    return sorted(path.name for path in root.rglob("*") if path.is_file() and text.encode() in path.read_bytes())


def remember(kb, value, subject="ada@example.com", actor="user"):
    return kb.propose(StateDelta("fact.remembered", {"subject": subject, "predicate": "likes", "value": value}, actor)).id


def test_what_was_erased_stands_in_no_file_any_more_and_the_chain_verifies(kb, contact):
    kb.ledger.append([contact("A", "a@x")])
    fact = remember(kb, f"{SECRET} " * 2000)
    person = kb.ledger.append([contact(SECRET, "z@example.com", org="x" * 9000)])[0].id
    note = {"path": "/n.md", "line": 1, "end_line": 1, "text": SECRET, "file_hash": "a" * 64, "part": 0, "parts": 1}
    passage = kb.ledger.append([NewEvent("note.imported", note, "user")])[0].id
    kb.ledger.append([contact(f"P{number}", f"p{number}@x", org="y" * (number * 37 % 5000)) for number in range(200)])
    kb.sync()
    assert {"events.sqlite-wal", "pog.sqlite-wal"} <= set(files_with(kb.root, SECRET))

    erasure = kb.erase([fact, person, passage], reason="asked to")

    assert files_with(kb.root, SECRET) == []
    assert (erasure.events, erasure.remarks, len(erasure.blobs)) == ((fact, person, passage), (), 1)
    assert kb.verify(views=True).broken is None
    assert kb.search(SECRET) == []
    assert kb.ledger.get(person).payload.keys() == {"$erased"}


def test_a_blob_that_another_event_names_stays_and_is_reported(kb):
    data = b"the same bytes"
    events = [NewEvent("cap.audit", {"n": number}, "user", blobs=(data,)) for number in range(2)]
    first, second = kb.ledger.append(events, check=False)
    erased = kb.erase([first.id])
    assert (len(erased.remarks), erased.blobs) == (1, ())
    assert kb.verify().broken is None
    erased = kb.erase([second.id])
    assert (erased.remarks, len(erased.blobs)) == ((), 1)
    assert kb.verify().blobs == 0


def test_somebody_who_edits_the_file_to_pretend_an_erasure_is_found(kb, contact, behind):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])
    real = kb.erase([1])
    erasure = kb.ledger.get(1).payload["$erased"]
    path = kb.root / "events.sqlite"
    genuine = behind(path, "SELECT payload_json, provenance_json FROM events WHERE id = 1")[0]
    row, marker = "UPDATE events SET payload_json = ? WHERE id", canonical({"$erased": erasure}).decode()
    forgeries = {
        "an event that no erasure names": (f"{row} = 2", marker, 2),
        "an erasure that is not there": (f"{row} = 2", canonical({"$erased": "0" * 32}).decode(), 2),
        "something left beside it": (
            "UPDATE events SET payload_json = ? WHERE id = 1",
            canonical({"$erased": erasure, "x": 1}).decode(),
            1,
        ),
        "another provenance": ("UPDATE events SET provenance_json = ? WHERE id = 1", '{"trace_id":"x"}', 1),
        "another kind of event": ("UPDATE events SET kind = ? WHERE id = 3", "cap.audit", 1),
        "another list": ("UPDATE events SET payload_json = replace(payload_json, '\"id\":1', '\"id\":' || ?) WHERE id = 3", "2", 1),
    }
    before = {
        number: behind(path, "SELECT kind, payload_json, provenance_json FROM events WHERE id = ?", number)[0] for number in (1, 2, 3)
    }
    assert (real.event_id, kb.verify().broken) == (3, None)
    for what, (sql, value, where) in forgeries.items():
        behind(path, sql, value)
        report = kb.verify()
        assert (what, report.ok, report.broken and report.broken.event_id) == (what, False, where)
        for number, row in before.items():
            behind(path, "UPDATE events SET kind = ?, payload_json = ?, provenance_json = ? WHERE id = ?", *row, number)
    assert kb.verify().broken is None
    assert genuine == (marker, "{}")


def test_tables_after_an_erasure_equal_those_of_a_base_that_never_heard_of_it(tmp_path, contact):
    def fill(kb, *, whole):
        kb.ledger.append([contact("First", "a@x", ts_ms=1)])
        kb.ledger.append([contact(SECRET, "a@x", ts_ms=2) if whole else NewEvent("cap.audit", {}, "user", ts_ms=2)], check=False)
        kb.ledger.append([contact("Third", "c@x", ts_ms=3)])
        kb.sync()

    with KnowledgeBase.open(tmp_path / "a") as kb, KnowledgeBase.open(tmp_path / "b") as other:
        fill(kb, whole=True)
        kb.erase([2])
        fill(other, whole=False)
        mine, theirs = dump(kb)[0], dump(other)[0]
    for tables in (mine, theirs):
        del tables["documents"], tables["clock"]  # numbers that were given out, and the time of the erasure
        del tables["erased_records"]  # by which an importer would know it again
    assert mine == theirs
    assert [row[1] for row in mine["contacts"]] == ["First", "Third"] or [row[1] for row in mine["contacts"]] == ["Third", "First"]


def test_a_process_that_had_the_content_in_its_tables_makes_them_anew(tmp_path, contact):
    with KnowledgeBase.open(tmp_path) as one, KnowledgeBase.open(tmp_path) as two:
        one.ledger.append([contact(SECRET, "z@x"), contact("B", "b@x")])
        assert [hit.title for hit in two.search("Zyzzogeton")] == [SECRET]
        erasing.erase(one.ledger, [Left(1)])  # and this process ends here
        assert two.search("Zyzzogeton") == []
        assert [hit.title for hit in two.search("B")] == ["B"]
    assert files_with(tmp_path, SECRET) == []


def test_tables_that_never_held_the_content_go_on_without_being_made_anew(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    kb.ledger.append([contact(SECRET, "z@x")])
    erasing.erase(kb.ledger, [Left(2)])
    monkeypatch.setattr(rebuilding, "built", lambda *_, **__: pytest.fail("made anew"))
    assert kb.sync().applied == 2
    kb.settle()
    assert [hit.title for hit in kb.search("A")] == ["A"]


RUN = RunIdentity(
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "trace:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "opening:16fd2706-8baf-433b-82eb-8c7fada847da",
    "compose_email",
)


def test_a_record_of_a_run_loses_texts_and_stays_a_record(kb):
    started = run_event(RUN, 1, "run.started", r.RunStarted("d", {"to": SECRET}, r.Versions("0"), "local"), f"for {SECRET}")
    long = run_event(RUN, 2, "node.finished", r.NodeFinished("n", 1, "ok", {"out": [SECRET * 4000]}), "done")
    kb.ledger.append([started, long])
    payloads = [kb.ledger.full(event).payload for event in kb.ledger.read()]
    lefts = [Left(n, erasing.without_texts(p, lambda text: text.replace(SECRET, "[erased]"))) for n, p in enumerate(payloads, 1)]
    with pytest.raises(EraseRefused, match="has not ended"):
        kb.erase(lefts)
    with pytest.raises(EraseRefused, match="is a record of run"):
        kb.erase([1])
    kb.ledger.append([run_event(RUN, 3, "run.finished", r.RunFinished("succeeded", 1), "done")])
    kb.sync()

    kb.erase(lefts)

    assert files_with(kb.root, SECRET) == []
    assert kb.verify(views=True).broken is None
    row = kb.run(RUN.run_id)
    assert (row["status"], row["opening_name"]) == ("succeeded", "compose_email")
    records = list(kb.read_run(RUN.run_id))
    assert [event.payload["seq"] for event in records] == [1, 2, 3]
    assert records[0].payload["message"] == "for [erased]"


def test_a_record_that_loses_a_text_keeps_its_large_values(kb):
    params = {"to": "x" * 20_000}
    started = run_event(RUN, 1, "run.started", r.RunStarted("d", params, r.Versions("0"), "local"), f"for {SECRET}")
    kb.ledger.append([started, run_event(RUN, 2, "run.finished", r.RunFinished("succeeded", 1), "done")])
    payload = kb.ledger.full(kb.ledger.get(1)).payload
    erased = kb.erase([Left(1, erasing.without_texts(payload, lambda text: text.replace(SECRET, "[erased]")))])
    left = kb.ledger.full(kb.ledger.get(1)).payload
    assert (left["message"], left["meta"]["params"], erased.blobs) == ("for [erased]", params, ())
    assert kb.verify().broken is None


def test_what_somebody_else_erased_meanwhile_is_not_erased_over_that(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x")])
    said = erasing._said

    def after_another(*args):
        monkeypatch.undo()
        erasing.erase(kb.ledger, [Left(1)])
        return said(*args)

    monkeypatch.setattr(erasing, "_said", after_another)
    with pytest.raises(LedgerError) as caught:
        kb.erase([1])
    assert (caught.value.code, kb.ledger.head().id, kb.verify().broken) == ("kb.erase_raced", 2, None)


def test_what_cannot_be_erased_is_refused_and_nothing_is_erased(kb, contact):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])
    with pytest.raises(EraseRefused, match="there is no event 9"):
        kb.erase([1, 9])
    assert kb.ledger.get(1).payload["name"] == "A"
    erased = kb.erase([1])
    with pytest.raises(EraseRefused, match="nothing to erase"):
        kb.erase([1])
    with pytest.raises(EraseRefused, match="is an erasure"):
        kb.erase([erased.event_id])


def test_an_erasure_that_fails_half_way_leaves_everything_as_it_was(kb, contact, monkeypatch):
    kb.ledger.append([contact("A", "a@x"), contact("B", "b@x")])

    def fails(db, changes, blobs, path):
        erasing_take(db, changes[:1], blobs, path)
        raise apsw.ConstraintError("no")

    erasing_take = erasing._take
    monkeypatch.setattr(erasing, "_take", fails)
    with pytest.raises(Exception, match="no"):
        kb.erase([1, 2])
    monkeypatch.undo()
    assert (kb.ledger.head().id, [event.payload["name"] for event in kb.ledger.read()]) == (2, ["A", "B"])
    assert kb.verify().broken is None


def test_a_large_erasure_is_several_events_in_one_transaction(kb, contact, monkeypatch):
    monkeypatch.setattr(erasing, "NAMED", 2)
    kb.ledger.append([contact(f"P{number}", f"p{number}@x") for number in range(5)])
    erased = kb.erase(range(1, 6))
    assert (erased.event_id, erased.events) == (8, (1, 2, 3, 4, 5))
    assert kb.verify(views=True).broken is None
    assert all(event.payload.keys() == {"$erased"} for event in kb.ledger.read(limit=5))


def test_erased_content_leaves_a_ledger_that_no_knowledge_base_has_open(tmp_path, contact):
    with Ledger.open(tmp_path / "events.sqlite") as ledger:
        ledger.append([contact(SECRET, "z@x")])
        erasing.erase(ledger, [Left(1)])
        assert files_with(tmp_path, SECRET) == []


MALFORMED = [
    ("events.erased", {}),
    ("events.erased", {"events": [{"id": None}]}),
    ("events.erased", {"events": 5}),
    ("events.erased", {"$v": 9, "events": []}),
    ("runs.archived", {}),
    ("runs.archived", {"runs": [{"run": "x"}]}),
    ("runs.archived", {"runs": {"$blob": "00" * 32, "bytes": 3}}),
]


@pytest.mark.parametrize(("kind", "payload"), MALFORMED)
def test_an_erasure_or_a_prune_that_cannot_be_read_is_set_aside_and_stops_nothing(kb, contact, kind, payload):
    kb.ledger.append([contact("A", "a@x")])
    kb.sync()
    kb.ledger.append([NewEvent(kind, payload, "user")], check=False)
    assert kb.sync().set_aside == 1
    kb.ledger.append([contact("Bea", "b@x")])
    assert [hit.title for hit in kb.search("Bea")] == ["Bea"]
    assert [(each["event_id"], each["kind"]) for each in kb.problems()] == [(2, kind)]
    assert kb.verify(quick=True).checks[0].broken is None
