import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.errors import InvalidInput
from runloop.tui.deciding import Decision, choices, decide, needs_comment

APPROVAL = {"type": "approval", "scopes": ["once", "run"]}
QUESTION = {"type": "question", "options": ["red", "blue"], "default": "red", "comment_on": []}
GATE = {"type": "question", "options": ["approve", "revise"], "default": None, "comment_on": ["revise"]}
OPEN = {"type": "question", "options": [], "default": None, "comment_on": []}


@pytest.mark.parametrize(
    ("typed", "scope"),
    [("yes", "once"), (" YES ", "once"), ("run", "run")],
)
def test_an_approval_is_a_whole_word(typed, scope):
    decision = decide(APPROVAL, typed)
    assert (decision.approved, decision.scope) == (True, scope)


def test_a_refusal_may_have_a_reason():
    assert decide(APPROVAL, "no wrong person") == Decision(approved=False, rationale="wrong person")
    assert decide(APPROVAL, "no").approved is False


@pytest.mark.parametrize("typed", ["", "y", "n", "ye", "always", "opening", "yes please", "1", "yesyes"])
def test_anything_else_decides_nothing_and_says_what_would(typed):
    with pytest.raises(InvalidInput) as caught:
        decide(APPROVAL, typed)
    assert (caught.value.code, caught.value.hint) == ("tui.answer", "type one of: yes, run, no [reason]")


@given(st.characters())
def test_no_single_key_ever_approves(key):
    try:
        assert decide({"type": "approval", "scopes": ["once", "run", "opening", "always"]}, key).approved is False
    except InvalidInput as error:
        assert error.code == "tui.answer"  # noqa: PT017


def test_only_the_scopes_that_are_offered_can_be_chosen():
    assert [word for word, _ in choices({"type": "approval", "scopes": ["once"]})] == ["yes", "no [reason]"]
    assert decide({"type": "approval", "scopes": ["always"]}, "always").scope == "always"


@pytest.mark.parametrize(("typed", "answer"), [("2", "blue"), ("blue", "blue"), ("", "red")])
def test_a_question_takes_a_number_an_option_or_its_default(typed, answer):
    assert decide(QUESTION, typed).answer == answer


@pytest.mark.parametrize("typed", ["3", "0", "green", "blue please"])
def test_a_question_takes_nothing_else(typed):
    with pytest.raises(InvalidInput):
        decide(QUESTION, typed)


def test_a_revision_names_what_should_change():
    assert decide(GATE, "revise make it shorter") == Decision(answer="revise", rationale="make it shorter")
    assert needs_comment(GATE, decide(GATE, "revise"))
    assert not needs_comment(GATE, decide(GATE, "approve"))
    assert decide(GATE, "2 make it shorter").rationale == "make it shorter"


def test_an_open_question_takes_any_text_and_not_none():
    assert decide(OPEN, " forty two ").answer == "forty two"
    with pytest.raises(InvalidInput):
        decide(OPEN, "  ")


@pytest.mark.parametrize(
    ("typed", "options", "answer"),
    [
        ("1", ["red", "blue"], "red"),
        ("2 weeks", ["1 week", "2 weeks"], "2 weeks"),
        ("2 weeks", ["2 weeks", "1 week"], "2 weeks"),
        ("2", ["2 weeks", "1 week"], "1 week"),
        ("10", ["10", "20"], "10"),
        ("1", ["3", "2", "1"], "3"),
        ("red wine", ["red", "red wine"], "red wine"),
    ],
)
def test_an_option_that_begins_with_a_number_can_be_typed_and_a_number_alone_is_that_of_an_option(typed, options, answer):
    assert decide({**QUESTION, "options": options}, typed) == Decision(answer=answer)


def test_an_option_that_begins_with_a_number_takes_its_comment():
    shown = {**GATE, "options": ["2 weeks", "1 week"], "comment_on": ["2 weeks", "1 week"]}
    assert decide(shown, "2 weeks if it rains") == Decision(answer="2 weeks", rationale="if it rains")
    assert decide(shown, "2 if it rains") == Decision(answer="1 week", rationale="if it rains")


def test_what_may_be_typed_is_named_with_what_it_means():
    assert choices(QUESTION) == [("1", "red"), ("2", "blue")]
    assert choices(OPEN) == [("any text", "is the answer")]
    assert choices(APPROVAL) == [
        ("yes", "this once"), ("run", "and the like for the rest of this run"), ("no [reason]", "it does not leave"),
    ]  # fmt: skip
