"""Admission is deny > ask > allow; what takes rights away or adds suspicion never opens anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runloop.policy import AdmissionRequest, Capabilities, Grant, OpeningPolicy, Scope, admit, covers
from runloop.policy.admission import CLASSES, RULES

DENIAL = Capabilities().check_mail()
MAIL = AdmissionRequest(
    action="mail.smtp",
    klass="external",
    agent="digest",
    run_id="run",
    crossing="run/node/1",
    content_hash="content",
    targets=frozenset({"ada@example.org"}),
    opening=OpeningPolicy(digest="opening"),
    operator_present=True,
)
OUTBOX = replace(MAIL, action="mail.outbox", reversible=True, leaves_machine=False)
SEARCH = AdmissionRequest(action="kb.search", klass="read", external=False, leaves_machine=False)
EXEC = replace(OUTBOX, action="exec.run", targets=frozenset({"rm x"}), argv=("rm", "x"))
ALL_SCOPES = (Scope.ONCE, Scope.RUN, Scope.OPENING, Scope.ALWAYS)
ADVANCE = OpeningPolicy(digest="opening", approve_in_advance=frozenset({"mail.outbox", "mail.smtp", "exec.run"}))


@pytest.mark.parametrize(
    ("request_", "decision", "rule", "scopes"),
    [
        (SEARCH, "allow", "default", ()),
        (replace(SEARCH, denial=DENIAL), "deny", "capability", ()),
        (replace(SEARCH, klass="unheard-of"), "deny", "known_class", ()),
        (replace(SEARCH, taint=frozenset({"http"})), "allow", "default", ()),
        (replace(SEARCH, leaves_machine=True, taint=frozenset({"http"})), "deny", "nobody_to_ask", ()),
        (replace(SEARCH, leaves_machine=True, taint=frozenset({"http"}), operator_present=True), "ask", "tainted_departure", (Scope.ONCE,)),
        (OUTBOX, "ask", "external", ALL_SCOPES),
        (MAIL, "ask", "external", ALL_SCOPES[:3]),
        (replace(MAIL, denial=DENIAL), "deny", "capability", ()),
        (replace(MAIL, taint=frozenset({"http"})), "ask", "tainted_departure", (Scope.ONCE,)),
        (replace(MAIL, operator_present=False), "deny", "nobody_to_ask", ()),
        (replace(OUTBOX, confirm_external_actions=False), "allow", "default", ()),
        (replace(OUTBOX, confirm_external_actions=False, opening=OpeningPolicy(confirm_external=True)), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, confirm_external_actions=True, opening=OpeningPolicy(confirm_external=False)), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, external=False), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, klass="idempotent"), "ask", "external", ALL_SCOPES),
        (EXEC, "ask", "destructive_command", ALL_SCOPES[:2]),
        (replace(OUTBOX, targets=frozenset()), "ask", "external", ALL_SCOPES[:1]),
        (replace(EXEC, confirm_external_actions=False), "ask", "destructive_command", ALL_SCOPES[:2]),
        (replace(EXEC, argv=("git", "log")), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, yes=True), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, opening=ADVANCE), "ask", "external", ALL_SCOPES),
        (replace(OUTBOX, opening=ADVANCE, yes=True), "allow", "approved_in_advance", ()),
        (replace(OUTBOX, opening=ADVANCE, yes=True, operator_present=False), "allow", "approved_in_advance", ()),
        (replace(MAIL, opening=ADVANCE, yes=True, taint=frozenset({"http"})), "ask", "tainted_departure", (Scope.ONCE,)),
        (replace(MAIL, opening=ADVANCE, yes=True, taint=frozenset({"http"}), operator_present=False), "deny", "nobody_to_ask", ()),
        (replace(EXEC, opening=ADVANCE, yes=True, operator_present=False), "deny", "nobody_to_ask", ()),
        (replace(MAIL, opening=ADVANCE, yes=True, denial=DENIAL), "deny", "capability", ()),
    ],
)
def test_the_table_of_decisions(request_, decision, rule, scopes):
    admission = admit(request_)
    assert (admission.decision, admission.rule, admission.scopes) == (decision, rule, scopes)


def test_a_refusal_by_capability_carries_the_denials_words():
    admission = admit(replace(MAIL, denial=DENIAL))
    assert (admission.reason, admission.hint) == (DENIAL.message, DENIAL.hint)


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        (OUTBOX, "run it on a terminal, or list 'mail.outbox' under policy.approve_in_advance of the opening and pass --yes"),
        (replace(OUTBOX, opening=ADVANCE), "run it on a terminal, or pass --yes: the opening approves this action in advance"),
        (replace(MAIL, taint=frozenset({"http"})), "run it on a terminal: this is for a person to decide, --yes does not cover it"),
    ],
)
def test_an_ask_that_nobody_can_answer_says_how_somebody_could(request_, hint):
    assert admit(replace(request_, operator_present=False)).hint == hint


def test_where_the_taint_came_from_is_said():
    reason = admit(replace(MAIL, taint=frozenset({"http", "files"}))).reason
    assert reason == "content from outside (files, http) would leave this machine"


def test_a_rule_that_fails_is_a_deny():
    def broken(request):
        raise KeyError(request.action)

    admission = admit(SEARCH, (*RULES, ("broken", broken)))
    assert (admission.decision, admission.rule) == ("deny", "broken")
    assert admission.reason == "the rule broken failed (KeyError)"


def test_a_fact_of_the_wrong_type_is_a_deny_and_no_crash():
    assert admit(replace(EXEC, argv=(None,))).decision == "deny"


# -- grants


@pytest.mark.parametrize(
    ("scope", "change", "covered"),
    [
        (Scope.ONCE, {}, True),
        (Scope.ONCE, {"content_hash": "changed"}, False),
        (Scope.ONCE, {"crossing": "run/node/2"}, False),
        (Scope.ONCE, {"run_id": "other"}, False),
        (Scope.ONCE, {"crossing": ""}, False),
        (Scope.RUN, {"crossing": "run/node/2", "content_hash": "changed"}, True),
        (Scope.RUN, {"run_id": "other"}, False),
        (Scope.OPENING, {"run_id": "other", "content_hash": "changed"}, True),
        (Scope.OPENING, {"opening": OpeningPolicy(digest="edited")}, False),
        (Scope.OPENING, {"opening": OpeningPolicy()}, False),
        (Scope.ALWAYS, {"run_id": "other", "opening": OpeningPolicy(digest="edited")}, True),
        (Scope.ALWAYS, {"reversible": False}, False),
        (Scope.ALWAYS, {"argv": ("rm", "x")}, False),
        *((scope, {"agent": "rebuilt"}, False) for scope in ALL_SCOPES),
        *((scope, {"agent": ""}, False) for scope in ALL_SCOPES),
        *((scope, {"action": "mail.smtp"}, False) for scope in ALL_SCOPES),
        *((scope, {"targets": frozenset({"ada@example.org", "eve@example.org"})}, False) for scope in ALL_SCOPES[1:]),
        *((scope, {"targets": frozenset()}, False) for scope in ALL_SCOPES[1:]),
        *((scope, {"leaves_machine": True, "taint": frozenset({"http"})}, False) for scope in ALL_SCOPES[1:]),
        (Scope.ONCE, {"leaves_machine": True, "taint": frozenset({"http"})}, True),
    ],
)
def test_what_an_approval_covers(scope, change, covered):
    grant = Grant.for_request(OUTBOX, scope)
    assert covers(grant, replace(OUTBOX, **change)) is covered


@pytest.mark.parametrize(
    ("scope", "unknown"),
    [
        *((Scope.ONCE, {name: ""}) for name in ("run_id", "crossing", "content_hash")),
        (Scope.RUN, {"run_id": ""}),
        (Scope.OPENING, {"opening": OpeningPolicy()}),
        *((scope, {"targets": frozenset()}) for scope in ALL_SCOPES[1:]),
    ],
)
def test_an_approval_of_what_is_not_known_covers_nothing_not_even_the_same(scope, unknown):
    request = replace(OUTBOX, **unknown)
    assert covers(Grant.for_request(request, scope), request) is False


def test_an_approval_for_several_recipients_covers_some_of_them():
    grant = Grant.for_request(replace(OUTBOX, targets=frozenset({"ada@example.org", "bob@example.org"})), Scope.RUN)
    assert covers(grant, OUTBOX) is True


def test_a_covered_request_is_allowed_and_says_by_which_scope():
    admission = admit(replace(OUTBOX, grants=(Grant.for_request(MAIL, Scope.RUN), Grant.for_request(OUTBOX, Scope.RUN))))
    assert (admission.decision, admission.rule, admission.reason) == ("allow", "granted", "approved before (run)")


def test_a_scope_that_would_not_be_offered_does_not_count():
    assert admit(replace(EXEC, grants=(Grant.for_request(EXEC, Scope.OPENING),))).decision == "ask"
    assert admit(replace(EXEC, grants=(Grant.for_request(EXEC, Scope.RUN),))).decision == "allow"


# -- properties

STRENGTH = {"allow": 0, "ask": 1, "deny": 2}
words = st.sampled_from(["", "x", "y"])
openings = st.builds(
    OpeningPolicy,
    digest=words,
    confirm_external=st.sampled_from([None, True, False]),
    approve_in_advance=st.frozensets(st.sampled_from(["mail.smtp", "exec.run"])),
)
grants = st.builds(
    Grant,
    scope=st.sampled_from(Scope),
    action=st.sampled_from(["mail.smtp", "exec.run"]),
    agent=words,
    targets=st.frozensets(st.sampled_from(["a", "b"])),
    opening=words,
    run_id=words,
    crossing=words,
    content_hash=words,
)
requests = st.builds(
    AdmissionRequest,
    action=st.sampled_from(["mail.smtp", "exec.run"]),
    klass=st.sampled_from([*sorted(CLASSES), "other"]),
    agent=words,
    run_id=words,
    crossing=words,
    content_hash=words,
    targets=st.frozensets(st.sampled_from(["a", "b"])),
    denial=st.sampled_from([None, None, DENIAL]),
    external=st.booleans(),
    reversible=st.booleans(),
    leaves_machine=st.booleans(),
    taint=st.sampled_from([frozenset(), frozenset({"http"})]),
    argv=st.sampled_from([(), ("git", "log"), ("rm", "x")]),
    opening=openings,
    confirm_external_actions=st.booleans(),
    operator_present=st.booleans(),
    yes=st.booleans(),
    grants=st.lists(grants, max_size=3).map(tuple),
)


def strength(request: AdmissionRequest) -> int:
    return STRENGTH[admit(request).decision]


@pytest.mark.parametrize(
    "worse",
    [
        {"denial": DENIAL},
        {"taint": frozenset({"http"})},
        {"reversible": False},
        {"leaves_machine": True},
        {"external": True},
        {"klass": "external"},
        {"confirm_external_actions": True},
        {"operator_present": False},
        {"yes": False},
        {"grants": ()},
        {"argv": ("rm", "x")},
    ],
    ids=lambda worse: next(iter(worse)),
)
@given(request_=requests)
def test_taking_away_a_right_or_adding_a_danger_never_makes_it_easier(worse, request_):
    assume(request_.klass in CLASSES)
    assert strength(replace(request_, **worse)) >= strength(request_)


@given(requests)
def test_nothing_is_asked_where_nobody_can_answer_and_every_ask_offers_a_scope(request_):
    admission = admit(request_)
    assert (admission.decision == "ask") <= request_.operator_present
    assert (Scope.ONCE in admission.scopes) == (admission.decision == "ask")


@given(requests)
def test_what_is_offered_answers_for_the_same_the_next_time(request_):
    for scope in admit(request_).scopes:
        again = replace(request_, grants=(Grant.for_request(request_, scope),))
        known = all((again.agent, again.run_id, again.crossing, again.content_hash, again.opening.digest))
        assert admit(again).rule == "granted" or not known


@given(requests)
def test_tainted_content_leaves_the_machine_only_by_a_persons_answer_for_exactly_it(request_):
    request_ = replace(request_, leaves_machine=True, taint=frozenset({"http"}))
    if admit(request_).decision == "allow":
        assert any(grant.scope is Scope.ONCE and covers(grant, request_) for grant in request_.grants)


@given(requests)
def test_what_cannot_be_taken_back_is_never_offered_for_always(request_):
    admission = admit(request_)
    if request_.destructive:
        assert Scope.ALWAYS not in admission.scopes
        assert not any(grant.scope is Scope.ALWAYS and covers(grant, request_) for grant in request_.grants)


@given(requests)
def test_a_denied_capability_is_a_deny_whatever_else_is_said(request_):
    assert admit(replace(request_, denial=DENIAL)).decision == "deny"


def test_why_an_external_action_is_one_is_said_where_that_is_not_plain():
    request = replace(EXEC, argv=("git", "log"), operator_present=True)
    said = [admit(replace(request, because=because)).reason for because in ("", "git log is read-only, but not with -p")]
    assert said == ["it changes something outside Runloop", "git log is read-only, but not with -p"]
