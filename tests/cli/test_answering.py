"""Naming what waits, and what is an answer to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli.answering import answer_for, chosen, kind_of, line_of, short_ids
from runloop.errors import InvalidInput

APPROVAL = {"type": "approval", "approval_id": "3f2a91c0-1/send/2/1", "action": "mail.send", "what": "to a@b.example:\n  hello\x1b[2J"}
GATE = {"type": "question", "approval_id": "3f2a91c0-1/draft/gate/1", "question": "Good?", "options": ["approve", "revise", "reject"]}
CHOICE = {"type": "question", "approval_id": "77aa0000-2/ask/0/1", "question": "Which colour?", "options": ["red", "blue"]}
OPEN = {"type": "question", "approval_id": "77aa0000-2/ask/1/1", "question": "Who?", "options": []}
LISTED = [APPROVAL, GATE, CHOICE, OPEN]


def test_what_waits_is_named_by_its_run_and_by_more_only_where_that_is_needed():
    names = short_ids([each["approval_id"] for each in LISTED])
    assert list(names.values()) == ["3f2a91c0/send", "3f2a91c0/draft", "77aa0000/ask/0", "77aa0000/ask/1"]
    assert short_ids([CHOICE["approval_id"]]) == {CHOICE["approval_id"]: "77aa0000"}


@given(
    st.sets(
        st.tuples(st.sampled_from(["aaaaaaaabb", "aaaaaaaacc", "dddddddd"]), st.sampled_from("ab"), st.integers(0, 11), st.integers(1, 2)),
        min_size=1,
    )
)
def test_every_listed_name_means_exactly_what_it_stands_beside(parts):
    listed = [{"approval_id": f"{run}/{node}/{call}/{attempt}"} for run, node, call, attempt in sorted(parts)]
    for approval_id, name in short_ids([each["approval_id"] for each in listed]).items():
        assert chosen(name, listed)["approval_id"] == approval_id


def test_many_that_wait_are_named_without_comparing_each_with_each(monkeypatch):
    compared = []
    monkeypatch.setattr("runloop.cli.answering._named", lambda ref, other: compared.append(other) or other.startswith(ref))
    ids = [f"{number:08x}-0000/one/1/1" for number in range(300)]
    assert list(short_ids(ids).values()) == [each[:8] for each in ids]
    assert len(compared) == 300


@pytest.mark.parametrize(("ref", "at"), [("3f2a/s", 0), ("3f/dr/gate", 1), ("last", 3), ("77aa0000-2/ask/0/1", 2)])
def test_a_name_may_be_short_and_last_is_the_newest(ref, at):
    assert chosen(ref, LISTED) is LISTED[at]


@pytest.mark.parametrize(
    ("ref", "code"), [("77", "approval.ambiguous"), ("88", "approval.unknown"), ("", "approval.unknown"), ("last", None)]
)
def test_a_name_that_means_none_or_several_is_refused_with_the_names_to_use(ref, code):
    listed = LISTED if code else []
    with pytest.raises(InvalidInput) as raised:
        chosen(ref, listed)
    assert raised.value.code == (code or "approval.unknown")
    assert raised.value.message == "nothing waits for a person" or listed
    if code == "approval.ambiguous":
        assert "77aa0000/ask/0 or 77aa0000/ask/1" in raised.value.hint


def test_kinds_and_lines_are_what_a_list_shows():
    assert [kind_of(each) for each in LISTED] == ["approval", "gate", "question", "question"]
    assert line_of(APPROVAL) == "mail.send: to a@b.example: hello\\x1b[2J"


@pytest.mark.parametrize(
    ("shown", "word", "text", "told"),
    [
        (APPROVAL, "approve", None, {"approved": True}),
        (APPROVAL, "reject", None, {"approved": False}),
        (GATE, "approve", None, {"answer": "approve"}),
        (GATE, "revise", None, {"answer": "revise"}),
        (CHOICE, "approve", "blue", {"answer": "blue"}),
        (CHOICE, "approve", "1", {"answer": CHOICE["options"][0]}),
        ({**CHOICE, "options": ["2", "1"]}, "approve", "1", {"answer": "1"}),
        (OPEN, "approve", "Zo", {"answer": "Zo"}),
    ],
)
def test_a_word_becomes_the_answer_that_fits(shown, word, text, told):
    assert answer_for(shown, word, text) == told


@pytest.mark.parametrize(
    ("shown", "word", "text"),
    [
        (APPROVAL, "revise", None),
        (APPROVAL, "approve", "x"),
        (CHOICE, "approve", None),
        (CHOICE, "approve", "green"),
        (CHOICE, "approve", "0"),
        (CHOICE, "approve", str(1 + len(CHOICE["options"]))),
        (OPEN, "reject", None),
    ],
)
def test_a_word_that_is_no_answer_here_is_refused_with_what_is(shown, word, text):
    with pytest.raises(InvalidInput) as raised:
        answer_for(shown, word, text)
    assert raised.value.code == "approval.answer"


def test_a_gate_whose_revisions_are_used_up_says_so():
    with pytest.raises(InvalidInput, match="this gate takes no revision, or none any more: the answer is one of 'approve', 'reject'"):
        answer_for({**GATE, "options": ["approve", "reject"]}, "revise")
