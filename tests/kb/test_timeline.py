from __future__ import annotations

import re

import pytest

from runloop.events import KINDS, RUN_KINDS, NewEvent, run_event
from runloop.events import records as r
from runloop.kb.derived import contact_key
from runloop.kb.timeline import _SAY, Span

ADA = f"contact:{contact_key('ada@example.com')}"


@pytest.fixture
def told(kb, contact, run):
    note = {"path": "/n/a.md", "line": 2, "end_line": 4, "text": "x", "file_hash": "c" * 64, "part": 0, "parts": 1, "title": "Plan"}
    started = r.RunStarted("d", {}, r.Versions("1"), "local")
    kb.ledger.append(
        [
            contact("Ada", ts_ms=1000),
            NewEvent("note.imported", note, "user", ts_ms=2000),
            run_event(run, 1, "run.submitted", started, "run of compose_email submitted", ts_ms=3000),
            run_event(run, 2, "node.started", r.NodeStarted("a", 1), "node a started", ts_ms=3100),
            run_event(run, 3, "run.finished", r.RunFinished("succeeded", 1), "run succeeded", ts_ms=3200),
            contact("Ada King", ts_ms=4000),
        ]
    )
    return kb


def said(kb, key=None, **span):
    return [(entry.event_id, entry.what) for entry in kb.timeline(key, Span(**span))[0]]


def test_everything_is_told_newest_last_without_the_details_of_runs(told):
    assert [number for number, _ in said(told)] == [1, 2, 3, 5, 6]
    assert [number for number, _ in said(told, detail=True)] == [1, 2, 3, 4, 5, 6]
    [_, note, begun, ended, _] = told.timeline(None, Span())[0]
    assert (note.what, note.who, note.source) == ("read lines 2 to 4: Plan", "user", "/n/a.md:2")
    assert (begun.what, begun.source) == ("run of compose_email submitted", "run:0f8fad5b")
    assert ended.what == "compose_email: run succeeded"


def test_an_entity_has_only_what_touched_it_and_addresses_are_masked(told):
    [first, second] = told.timeline(ADA, Span())[0]
    assert [first.event_id, second.event_id] == [1, 6]
    assert first.what.startswith("contact Ada <a")
    assert not re.search(r"\bada@example.com", first.what)


def test_times_bound_a_timeline_and_the_newest_are_kept(told):
    assert [number for number, _ in said(told, since_ms=2000, until_ms=4000)] == [2, 3, 5]
    entries, more = told.timeline(None, Span(limit=2))
    assert ([entry.event_id for entry in entries], more) == ([5, 6], True)
    assert told.timeline(None, Span(limit=5))[1] is False
    with told.at(3) as past:
        assert [number for number, _ in said(past)] == [1, 2, 3]


def test_what_was_read_without_masks_and_what_is_gone_is_told_as_that(told):
    read = {"what": "kb export", "subject": "jsonl", "reason": "moving house", "uid": 1000}
    gone = {"commit": "a" * 40, "repository": "/r", "reason": "gone"}
    told.ledger.append([NewEvent("privileged.read", read, "user"), NewEvent("commit.removed", gone, "user")])
    assert [what for _, what in said(told)[-2:]] == [
        "read without masks by kb export: jsonl (moving house)",
        "commit aaaaaaaaaaaa forgotten: it is gone from /r",
    ]


def test_every_kind_of_event_that_is_no_record_of_a_run_has_its_words():
    assert set(KINDS) - set(RUN_KINDS) - set(_SAY) == set()


def test_what_was_erased_is_told_as_that(told):
    told.erase([2])
    assert dict(said(told))[2] == "its content was erased"


def test_an_entity_is_shown_with_relations_and_history(told):
    found = told.entity("note:/n/a.md#0")
    assert (found["kind"], found["title"], found["properties"]["end_line"]) == ("note", "Plan", 4)
    assert [(each["relation"], each["direction"], each["key"]) for each in found["relations"]] == [("part_of", "to", "note:/n/a.md")]
    assert [entry["event_id"] for entry in found["history"]] == [2]
    assert told.entity("event:2")["key"] == "note:/n/a.md#0"
    assert told.entity("event:5")["kind"] == "event"
    assert told.entity("note:/n/a.md")["properties"]["passages"] == 1
    assert told.entity("run:0f8fad5b-d9cb-469f-a165-70867728950e")["properties"]["status"] == "succeeded"
    assert told.entity("contact:nobody") is None


def test_an_entity_of_the_past_is_as_it_was(told):
    with told.at(5) as past:
        assert past.entity(ADA)["title"] == "Ada"
    assert told.entity(ADA)["title"] == "Ada King"
    assert "@example.com" in told.entity(ADA)["properties"]["email"]
    assert not re.search(r"\bada@", str(told.entity(ADA)))
