"""What agents get: masked by what they were granted, whatever people set for themselves."""

from __future__ import annotations

import json

import pytest

from runloop.events import NewEvent
from runloop.kb import KnowledgeBase, StateDelta
from runloop.kb.errors import InvalidDelta
from runloop.kb.redaction import NOTHING

TEXT = "Ask ada@example.com, +49 170 1234567, card 4111 1111 1111 1111, password=hunter2"


@pytest.fixture(params=["as it comes", "with every mask switched off"])
def kb(tmp_path, request):
    rules = {} if request.param == "as it comes" else {"rules": NOTHING}
    with KnowledgeBase.open(tmp_path / "pog", salt="test", **rules) as opened:
        note = {"path": "/n.md", "line": 1, "end_line": 1, "text": TEXT, "title": TEXT, "file_hash": "a" * 64, "part": 0, "parts": 1}
        opened.ledger.append([NewEvent("contact.upserted", {"name": "Ada", "email": "ada@example.com"}, "user")])
        opened.ledger.append([NewEvent("note.imported", note, "user")])
        opened.ledger.append(
            [NewEvent("artifact.created", {"kind": "draft", "path": "/a.md", "sha256": "b" * 64, "summary": TEXT}, "user")]
        )
        opened.propose(StateDelta("fact.remembered", {"subject": "Ada", "predicate": "says", "value": TEXT}, "user"))
        yield opened


def answers(kb, *, raw):
    hits = [hit.to_dict() for query in ("Ada", "Ask", "password", "ada@example.com") for hit in kb.search(query, raw_contacts=raw)]
    rows = [kb.query(f"SELECT * FROM {table}", for_agents=True).rows for table in ("contacts", "notes", "artifacts", "facts", "events")]
    found = [kb.get(hit["key"], raw_contacts=raw) for hit in hits]
    events = [kb.get(f"event:{number}", raw_contacts=raw) for number in (1, 2, 3, 4)]
    assert {hit["domain"] for hit in hits} >= {"contacts", "notes", "artifacts", "facts"}
    assert None not in [*found, *events]
    return json.dumps([hits, found, events, [] if raw else rows])


def test_an_agent_without_the_capability_gets_masks_everywhere(kb):
    text = answers(kb, raw=False)
    for secret in ("ada@example.com", "1234567", "4111 1111", "hunter2"):
        assert secret not in text
    assert '"masked": true' in text


def test_an_agent_that_may_see_contacts_gets_addresses_and_numbers_and_still_no_card_or_key(kb):
    text = answers(kb, raw=True)
    assert "ada@example.com" in text
    assert "+49 170 1234567" in text
    for secret in ("4111 1111", "hunter2"):
        assert secret not in text
    assert '"masked": true' not in text


def test_a_mask_that_an_agent_was_shown_stays_the_same_wherever_it_comes_back(tmp_path):
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        people = [("Ada", "ada@example.com"), ("J", "johnson@acme.com")]
        kb.ledger.append([NewEvent("contact.upserted", {"name": name, "email": email}, "user") for name, email in people])
        told = [kb.search(email)[0].data["email"] for _, email in people]
    with KnowledgeBase.open(tmp_path / "pog") as kb:
        for (_, email), mask in zip(people, told, strict=True):
            assert kb.redactor.text(f"wrote to {mask} and {email}") == f"wrote to {mask} and {mask}"
            assert kb.query(f"SELECT count(*) FROM contacts WHERE email = '{mask}'").rows == [(1,)]
        assert "johnson" not in kb.redactor.text("johnson@acme.com")
        assert "michael" not in kb.redactor.text("michael@acme.com")  # has the form of a mask, and is none


def test_no_agent_can_say_that_it_read_without_masks(kb):
    with pytest.raises(InvalidDelta, match=r"privileged\.read cannot be proposed"):
        kb.propose(StateDelta("privileged.read", {"what": "x", "subject": "x", "reason": "x", "uid": 0}, "agent:x"))
