from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from runloop_agent import Denied
from runloop_agent.testing import answering

CONTACT = {"name": "Maria Lee", "email": "maria@acme.example", "confidence": 0.98}
DRAFT = {
    "subject": "Q4 launch plan",
    "body": "Hello Maria,\n\n- " + "word " * 30 + "[1]\n\nSources:\n[1] a title (notes/plan.md, line 8)\n",
}
OK = {"ok": True, "summary": "", "suggestions": []}
SENT = {"message_id": "<1@runloop>", "status": "outbox", "path": "/o/1.eml", "recipients": ["maria@acme.example"]}


@pytest.fixture
def mailer(load: Any) -> ModuleType:
    return load("mailer")


def test_a_reviewed_draft_is_handed_over_and_what_became_of_it_is_told(mailer: ModuleType) -> None:
    with answering({"mail.send": SENT}) as calls:
        result = mailer.run(draft=DRAFT, contact=CONTACT, review=OK, topic="x")
    assert result == {"ok": True, "out": SENT}
    sent = dict(calls)["mail.send"]
    assert (sent["to"], sent["subject"]) == ([{"name": "Maria Lee", "email": "maria@acme.example"}], "Q4 launch plan")
    assert " ".join(sent["text"].split()) == " ".join(DRAFT["body"].split())


def test_lines_are_wrapped_with_bullets_indented(mailer: ModuleType) -> None:
    with answering({"mail.send": SENT}) as calls:
        mailer.run(draft=DRAFT, contact=CONTACT, review=OK)
    lines = dict(calls)["mail.send"]["text"].split("\n")
    assert (max(map(len, lines)) <= 76, lines[3].startswith("  word")) == (True, True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"review": None}, "nothing is sent unread"),
        ({"review": {"ok": "true"}}, "nothing is sent unread"),
        ({"draft": None}, "there is no draft to send"),
        ({"draft": {"body": " \n"}}, "there is no draft to send"),
        ({"draft": {"body": "x", "subject": " "}}, "no subject"),
        ({"contact": None}, "no usable e-mail address: ''"),
        ({"contact": {"email": "a b@x.example"}}, "no usable e-mail address"),
        ({"contact": {"email": "a@x.example\nBcc: evil@x.example"}}, "no usable e-mail address"),
        ({"contact": {"email": "a@x.example,evil@x.example"}}, "no usable e-mail address"),
        ({"contact": {"email": "nobody"}}, "no usable e-mail address"),
        ({"require_human_confirm": False}, "require_human_confirm cannot be false"),
    ],
)
def test_what_is_not_ready_is_not_sent(mailer: ModuleType, changes: dict[str, Any], message: str) -> None:
    with answering({"mail.send": SENT}) as calls, pytest.raises(ValueError, match=message):
        mailer.run(**{"draft": DRAFT, "contact": CONTACT, "review": OK, **changes})
    assert [name for name, _ in calls] == []


def test_a_rejected_draft_is_not_sent_and_the_error_is_one_line_with_the_suggestions(mailer: ModuleType) -> None:
    review = {
        "ok": False,
        "suggestions": [{"where": "line 1", "problem": "Wrong name.", "suggestion": "Greet Maria."}, {"where": "body", "problem": "Long."}],
    }
    with answering({"mail.send": SENT}) as calls, pytest.raises(ValueError, match="the review rejects") as failed:
        mailer.run(draft=DRAFT, contact=CONTACT, review=review)
    assert str(failed.value) == "the review rejects this draft, so it was not sent; line 1: Wrong name. Greet Maria. / body: Long."
    assert calls == []


def test_a_line_break_in_a_name_or_subject_starts_no_header(mailer: ModuleType) -> None:
    with answering({"mail.send": SENT}) as calls:
        mailer.run(draft={**DRAFT, "subject": "Plan\r\nBcc: evil@x.example"}, contact={**CONTACT, "name": "Maria\nLee"}, review=OK)
    sent = dict(calls)["mail.send"]
    assert (sent["subject"], sent["to"][0]["name"]) == ("Plan Bcc: evil@x.example", "Maria Lee")


def test_the_topic_is_the_subject_where_the_draft_has_none(mailer: ModuleType) -> None:
    with answering({"mail.send": SENT}) as calls:
        mailer.run(draft={"body": DRAFT["body"]}, contact={"email": "a@x.example"}, review=OK, topic="Q4 launch plan")
    assert (dict(calls)["mail.send"]["subject"], dict(calls)["mail.send"]["to"]) == ("Q4 launch plan", [{"email": "a@x.example"}])


def test_a_denied_approval_fails_the_node(mailer: ModuleType) -> None:
    with answering({"mail.send": Denied("declined by the operator")}), pytest.raises(Denied):
        mailer.run(draft=DRAFT, contact=CONTACT, review=OK)
