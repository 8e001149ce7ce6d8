from __future__ import annotations

import pytest

from runloop.policy import Capabilities
from runloop.policy.names import NameGrants


@pytest.mark.parametrize(
    ("grants", "domain", "reason"),
    [
        (NameGrants(), "contacts", "namespace_not_permitted"),
        (NameGrants(everything=True), "contacts", None),
        (NameGrants(everything=True), "contacts_raw", "namespace_not_permitted"),
        (NameGrants(names=frozenset({"contacts"})), "contacts", None),
        (NameGrants(names=frozenset({"contacts"})), "contacts_raw", "namespace_not_permitted"),
        (NameGrants(names=frozenset({"contacts"})), "contact", "namespace_not_permitted"),
        (NameGrants(names=frozenset({"contacts_raw"})), "contacts_raw", None),
    ],
)
def test_a_domain_is_read_when_it_is_granted_and_unmasked_contacts_only_by_name(grants, domain, reason):
    denial = Capabilities(kb_read=grants).check_kb(domain)
    assert (denial and denial.reason) == reason


def test_reading_and_writing_are_granted_apart():
    caps = Capabilities(kb_write=NameGrants(names=frozenset({"artifacts"})))
    assert caps.check_kb("artifacts", write=True) is None
    assert caps.check_kb("artifacts").cap == "kb.read"
    assert caps.check_kb("events", write=True).cap == "kb.write"


@pytest.mark.parametrize(
    ("granted", "kind", "missing"),
    [
        ("contacts", "contact.upserted", None), ("facts", "fact.remembered", None), ("fact", "fact.remembered", None),
        ("artifacts", "fact.remembered", "facts"), ("contacts", "account.upserted", "accounts"),
    ],
)  # fmt: skip
def test_what_may_be_proposed_is_granted_under_the_name_that_reading_it_has(granted, kind, missing):
    denial = Capabilities(kb_write=NameGrants(names=frozenset({granted}))).check_propose(kind)
    assert (denial and denial.target) == missing
    assert missing is None or f'add "{missing}" to kb_write' in denial.hint


def test_the_hint_for_unmasked_contacts_says_that_true_is_not_enough():
    assert "'true' does not include it" in Capabilities(kb_read=NameGrants(everything=True)).check_kb("contacts_raw").hint


def test_everything_cut_by_a_list_is_the_list_without_what_was_not_granted():
    listed = NameGrants(names=frozenset({"notes", "contacts_raw"}))
    assert NameGrants(everything=True).intersect(listed) == NameGrants(names=frozenset({"notes"}))


@pytest.mark.parametrize(
    ("ref", "granted"), [("agent:writer", True), ("agent:writer@fast", False), ("opening:writer", False), ("writer", False)]
)
def test_only_the_exact_reference_is_spawned(ref, granted):
    caps = Capabilities(spawn=NameGrants(names=frozenset({"agent:writer"})))
    assert (caps.check_spawn(ref) is None) is granted


@pytest.mark.parametrize(
    ("check", "flag", "cap", "op"),
    [
        ("check_model", "model", "model.use", "model_complete"),
        ("check_mail", "mail", "mail.send", "mail_send"),
        ("check_ask", "ask", "ask.person", "ask_person"),
        ("check_time", "time", "timer.sleep", "timer_sleep"),
    ],
)
def test_a_flag_grants_its_capability_and_its_absence_says_what_to_write(check, flag, cap, op):
    assert getattr(Capabilities(**{flag: True}), check)() is None
    denial = getattr(Capabilities(), check)()
    assert (denial.cap, denial.op, denial.reason) == (cap, op, "cap_missing")
    assert denial.message == f"capability denied: {cap} (cap_missing)"
    assert denial.code == f"denied.{cap}.cap_missing"
    assert f"{flag} = true" in denial.hint


def test_a_refused_secret_is_named_only_by_its_hash():
    caps = Capabilities(secrets=frozenset({"runloop/a/b"}))
    assert caps.check_secret("runloop/a/b") is None
    denial = caps.check_secret("runloop/bank/pin")
    assert denial.target == "secret#f48d7f4dbd470de3193f6f6a6c4c61b6bf6c62a3140036c2ba4fe2ea258b0066"
    assert "bank" not in str(denial.to_dict())
    assert caps.check_secret("\ud800").reason == "secret_not_permitted"


def test_a_denial_has_a_code_a_message_and_a_hint():
    denial = Capabilities().check_exec(["git"])
    assert denial.code == "denied.exec.spawn.cap_missing"
    assert denial.message == "capability denied: exec.spawn (cap_missing) for git"
    assert denial.hint == "list the command: exec = { commands = [[...]] } in policy.caps"
