from __future__ import annotations

import pytest

from runloop.events import InvalidEvent, NewEvent, UnknownKind
from runloop.kb import StateDelta
from runloop.kb.errors import InvalidDelta, KeyConflict

ADA = {"name": "Ada", "email": "ada@example.com"}


def delta(payload=ADA, kind="contact.upserted", **more):
    return StateDelta(kind, payload, "agent:writer", **more)


def test_a_proposal_is_in_the_ledger_and_visible_to_the_next_read(kb):
    event = kb.propose(delta(rationale="he said so"))
    assert (event.id, event.scope, event.provenance) == (1, "user", {"rationale": "he said so"})
    assert [hit.event_id for hit in kb.search("Ada")] == [1]


def test_evidence_is_kept_and_explains_the_event(kb):
    first = kb.propose(delta())
    second = kb.propose(delta({**ADA, "name": "Ada L.", "evidence": [1]}))
    third = kb.propose(delta({**ADA, "name": "Ada Lovelace"}, evidence=(second.id,)))
    assert third.provenance["evidence"] == "2"
    assert kb.why("event:3") == [first, second, third]


def test_a_kind_that_is_not_there_gets_the_nearest_or_those_that_can_be_proposed(kb):
    hints = []
    for kind in ("fact.remembred", "fact"):
        with pytest.raises(UnknownKind) as refused:
            kb.propose(delta({}, kind=kind))
        hints.append(refused.value.hint)
    assert (hints[0], "fact.remembered" in hints[1], "run.started" in hints[1]) == ("did you mean 'fact.remembered'?", True, False)


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (delta(scope="invalid", kind="dreamt"), InvalidDelta, "invalid scope 'invalid'"),
        (delta(scope="agent:", kind="dreamt"), InvalidDelta, "invalid scope"),
        (delta({"name": "x", "evidence": [999]}, kind="dreamt"), UnknownKind, "schema not found for kind dreamt"),
        (delta({"name": "x", "evidence": [999]}), InvalidEvent, "email"),
        (delta({**ADA, "evidence": [999]}), InvalidDelta, "referential integrity failed for evidence id 999"),
        (delta(evidence=(999,)), InvalidDelta, "999"),
        (delta(evidence=(2**70,)), InvalidDelta, "referential integrity"),
        (delta({"kind": "k", "path": "p", "sha256": "a" * 64, "citations": [7]}, "artifact.created"), InvalidDelta, "7"),
        (StateDelta("email.sent", {"to": ["a@b"], "subject": "s", "artifact_id": 8}, "user"), InvalidDelta, "8"),
    ],
)
def test_the_checks_come_in_the_order_of_the_specification(kb, bad, error, match):
    with pytest.raises(error, match=match):
        kb.propose(bad)
    assert kb.ledger.read() == []


@pytest.mark.parametrize(
    "kind",
    [
        "run.finished",
        "effect.completed",
        "node.log",
        "cap.audit",
        "import.finished",
        "replay.reported",
        "archive.imported",
        "approval.decided",
    ],
)
def test_what_only_the_host_may_say_cannot_be_proposed(kb, kind):
    with pytest.raises(InvalidDelta, match="cannot be proposed") as caught:
        kb.propose(delta({}, kind))
    assert "contact.upserted" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("email.sent", {"to": ["boss@example.com"], "subject": "I resign", "artifact_id": 1}),
        ("note.imported", {"path": "/n.md", "line": 1, "end_line": 1, "text": "forged", "file_hash": "b" * 64, "part": 0, "parts": 1}),
        ("note.removed", {"path": "/n.md", "reason": "gone"}),
    ],
)
def test_an_agent_does_not_say_what_was_sent_and_what_stands_in_files(kb, kind, payload):
    note = {"path": "/n.md", "line": 1, "end_line": 1, "text": "tea at five", "file_hash": "a" * 64, "part": 0, "parts": 1}
    kb.ledger.append([NewEvent("note.imported", note, "user")])
    with pytest.raises(InvalidDelta) as refused:
        kb.propose(delta(payload, kind))
    assert refused.value.code == "kb.not_proposable"
    assert [hit.data["text"] for hit in kb.search("tea")] == ["tea at five"]
    assert kb.propose(StateDelta(kind, payload, "user")).kind == kind  # a person's own tools may


def test_a_forged_run_record_cannot_be_proposed_as_an_artifact(kb, run):
    forged = {"v": 1, "seq": 1, "run_id": run.run_id, "meta": {}}
    with pytest.raises(InvalidDelta, match="cannot be proposed"):
        kb.propose(delta(forged, "artifact.created"))


def test_a_repeated_proposal_under_its_key_is_the_first_one(kb):
    assert kb.propose(delta(key="run/node/0")) == kb.propose(delta(key="run/node/0"))
    with pytest.raises(KeyConflict):
        kb.propose(delta({**ADA, "name": "Eve"}, key="run/node/0"))
