from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runloop.events import KINDS, LIVE_KINDS, RUN_KINDS, InvalidEvent, UnknownKind, kinds, validate
from runloop.events.schema import payload_schema, schemas

HASH = "a" * 64
CONTACT = {"name": "Ada", "email": "ada@example.com"}
NOTE = {"path": "/n/a.md", "line": 1, "end_line": 2, "text": "x", "file_hash": HASH, "part": 0, "parts": 1}
ARTIFACT = {"kind": "draft", "path": "a.md", "sha256": "A" * 64}
MAIL = {"to": ["ada@example.com"], "subject": "Hi", "artifact_id": 1}
AUDIT = {
    "agent": "a", "cap": "net", "op": "get", "target": "t", "args_hash": HASH, "decision": "deny", "severity": "warn", "reason": "r",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("contact.upserted", CONTACT),
        ("contact.upserted", {**CONTACT, "org": "X", "trust": 1, "evidence": [1, 2], "nicknames": ["A"], "emails": ["a@b"], "source": "f"}),
        ("contact.upserted", {**CONTACT, "org": None}),
        ("note.imported", NOTE),
        ("note.removed", {"path": "/n/a.md", "reason": "gone"}),
        ("artifact.created", ARTIFACT),
        ("artifact.created", {**ARTIFACT, "summary": "s", "citations": [1]}),
        ("email.sent", MAIL),
        ("email.sent", {**MAIL, "cc": ["b@c"], "message_id": "<x>", "status": "sent"}),
        ("cap.audit", AUDIT),
        ("import.finished", {"what": "notes", "source": "/n", "taken": 1, "known": 0, "refused": 0}),
        ("replay.reported", {"run": "r", "origin": "file", "matches": True, "attempts": [], "agents": {"a": HASH}, "archive": HASH}),
        ("files.putting_back", {"run": "r", "files": [{"path": "/n", "effect": 1, "written": HASH}]}),
        ("files.put_back", {"run": "r", "files": [{"path": "/n", "effect": 1, "written": HASH}]}),
        ("files.put_back", {"run": "r", "files": [{"path": "/n", "effect": 1, "written": HASH, "previous": HASH}]}),
        ("archive.imported", {"archive": HASH, "root": "r", "runs": ["r"], "ledger_id": "l", "signer": HASH}),
    ],
)
def test_a_good_payload_is_valid_for_the_type_and_for_the_schema(kind, payload):
    assert validate(kind, payload).name == kind
    Draft202012Validator(payload_schema(kind)).validate(payload)


@pytest.mark.parametrize(
    ("kind", "payload", "names"),
    [
        ("contact.upserted", {"name": "Ada"}, "email"),
        ("contact.upserted", {**CONTACT, "name": ""}, "name"),
        ("contact.upserted", {**CONTACT, "email": "no address"}, "email"),
        ("contact.upserted", {**CONTACT, "trust": 1.5}, "trust"),
        ("contact.upserted", {**CONTACT, "trust": True}, "trust"),
        ("contact.upserted", {**CONTACT, "evidence": [0]}, "evidence"),
        ("contact.upserted", {**CONTACT, "evidence": [1, 1]}, "evidence"),
        ("contact.upserted", {**CONTACT, "phone": "1"}, "phone"),
        ("artifact.created", {**ARTIFACT, "sha256": "g" * 64}, "sha256"),
        ("artifact.created", {"kind": "x", "path": "p"}, "sha256"),
        ("email.sent", {**MAIL, "to": []}, "to"),
        ("email.sent", {**MAIL, "artifact_id": 0}, "artifact_id"),
        ("email.sent", {**MAIL, "subject": ""}, "subject"),
        ("cap.audit", {**AUDIT, "decision": "maybe"}, "decision"),
        ("cap.audit", {**AUDIT, "args_hash": "A" * 64}, "args_hash"),
        ("note.imported", {**NOTE, "end_line": 0}, "end_line"),
        ("note.imported", {**NOTE, "line": 3}, "end_line"),
        ("note.imported", {**NOTE, "part": 1}, "part"),
        ("note.imported", {**NOTE, "text": 5}, "text"),
        ("note.removed", {"path": "p", "reason": "because"}, "reason"),
        ("import.finished", {"what": "dreams", "source": "s", "taken": 0, "known": 0, "refused": 0}, "what"),
    ],
)
def test_a_bad_payload_is_refused_with_the_name_of_what_is_wrong(kind, payload, names):
    with pytest.raises(InvalidEvent, match=names) as caught:
        validate(kind, payload)
    assert caught.value.message.startswith("payload validation failed: ")
    assert "docs/events.md" in caught.value.hint


def test_a_number_as_text_is_refused_the_first_time_and_afterwards(monkeypatch):
    monkeypatch.setattr(kinds, "_USED", set())
    for _ in range(2):
        with pytest.raises(InvalidEvent, match="part"):
            validate("note.imported", {**NOTE, "part": "0"})


def test_every_violation_is_named_and_not_only_the_first():
    with pytest.raises(InvalidEvent) as caught:
        validate("contact.upserted", {"name": "", "trust": 3, "phone": 1})
    assert all(word in caught.value.message for word in ("email", "name", "trust", "phone"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnknownKind, match="schema not found for kind dreamt"):
        validate("dreamt", {})


@pytest.mark.parametrize("kind", sorted(LIVE_KINDS))
def test_live_kinds_are_never_stored(kind):
    with pytest.raises(InvalidEvent) as caught:
        validate(kind, {})
    assert caught.value.code == "events.live_only"


def test_every_schema_is_a_valid_schema_and_closed():
    for name, schema in schemas().items():
        Draft202012Validator.check_schema(schema)
        closed = [each.get("additionalProperties") for each in schema["$defs"].values() if each.get("properties")]
        assert closed == [False] * len(closed), name


def test_the_kinds_of_the_contract_are_all_there():
    runs = {f"run.{each}" for each in ("submitted", "started", "waiting", "paused", "resumed", "recovered", "clock_set", "cancelling")}
    runs.add("run.finished")
    nodes = {f"node.{each}" for each in ("ready", "started", "evicted", "rebuilt", "progress", "log", "finished")}
    effects = {f"effect.{each}" for each in ("requested", "completed", "failed", "unknown", "delta")}
    approvals = {f"approval.{each}" for each in ("requested", "decided", "expired")}
    assert runs | nodes | effects | approvals | {"artifact.created", "divergence.found"} == RUN_KINDS
    facts = {"contact.upserted", "note.imported", "note.removed", "email.sent", "cap.audit", "import.finished"}
    facts |= {"replay.reported", "files.put_back", "archive.imported", "command.imported"}
    facts |= {"account.upserted", "fact.remembered", "fact.superseded", "fact.forgotten", "events.erased"}
    facts |= {f"{what}.{change}" for what in ("message", "appointment", "commit") for change in ("imported", "removed")}
    assert facts <= set(KINDS) - RUN_KINDS


JUNK = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.text("a@", max_size=3)
    | st.just(HASH)
    | st.just([])
    | st.just([1])
    | st.just(["a@b"])
)
PAYLOADS = {
    "contact.upserted": CONTACT,
    "artifact.created": ARTIFACT,
    "email.sent": MAIL,
    "cap.audit": AUDIT,
    "note.removed": {"path": "p", "reason": "gone"},
}


@given(st.sampled_from(sorted(PAYLOADS)), st.data())
@settings(max_examples=300)
def test_the_fast_check_and_the_published_schema_always_agree(kind, data):
    payload = copy.deepcopy(PAYLOADS[kind])
    names = [*payload, "evidence", "cc", "summary", "extra"]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=2)):
        if data.draw(st.booleans()):
            payload.pop(name, None)
        else:
            payload[name] = data.draw(JUNK)
    try:
        validate(kind, payload)
        fast = True
    except InvalidEvent:
        fast = False
    assert fast == Draft202012Validator(payload_schema(kind)).is_valid(payload)
