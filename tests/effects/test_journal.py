"""The journal of one attempt: answers from the record, names the first divergence, knows where the record ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.effects.journal import Crossing, Diverged, Failure, Journal, Live, Recorded
from runloop.errors import VerificationFailed


def crossing(call, name="kb.search", args_hash="a" * 64, **over):
    return Crossing(call, name, args_hash, **over)


def test_an_empty_record_makes_every_call_live_and_numbers_them_from_one():
    journal = Journal("draft", 1)

    answers = [journal.ask("model.complete", "h1"), journal.ask("model.complete", "h2")]

    assert answers == [Live(1), Live(2)]


def test_a_recorded_call_is_answered_from_the_record_and_the_next_one_is_live():
    first = crossing(1, result={"hits": []})
    journal = Journal("draft", 1, [first])

    assert journal.replaying
    assert journal.ask("kb.search", "a" * 64) == Recorded(first)
    assert not journal.replaying
    assert journal.ask("kb.search", "a" * 64) == Live(2)


def test_a_recorded_refusal_is_an_answer_like_any_other():
    refused = crossing(1, failure=Failure("denied", "no", "grant it"))

    assert Journal("draft", 1, [refused]).ask("kb.search", "a" * 64) == Recorded(refused)


def test_a_request_without_an_outcome_is_live_and_shows_what_was_pending():
    pending = crossing(1, "mail.send", "b" * 64, answered=False)

    assert Journal("send", 1, [pending]).ask("mail.send", "b" * 64) == Live(1, pending)


@pytest.mark.parametrize(("name", "args_hash"), [("kb.get", "a" * 64), ("kb.search", "c" * 64)])
def test_another_call_at_a_recorded_place_is_a_divergence_that_names_both(name, args_hash):
    with pytest.raises(Diverged) as caught:
        Journal("draft", 2, [crossing(1)]).ask(name, args_hash)

    error = caught.value
    assert (error.node, error.attempt, error.call) == ("draft", 2, 1)
    assert error.expected == "kb.search aaaaaaaaaaaa"
    assert error.actual == f"{name} {args_hash[:12]}"
    assert error.exit_code == 5


def test_a_divergence_shows_the_beginning_of_long_arguments_and_how_long_they_are():
    asked = '{"query": "' + "x" * 5000 + '"}'
    with pytest.raises(Diverged) as caught:
        Journal("draft", 1, [crossing(1)]).ask("kb.search", "c" * 64, asked)

    assert caught.value.actual == f"kb.search {asked[:1000]}… (5013 characters, cccccccccccc)"


def test_ending_before_the_record_ends_is_a_divergence():
    journal = Journal("draft", 1, [crossing(1), crossing(2)])
    journal.ask("kb.search", "a" * 64)

    with pytest.raises(Diverged, match="call 2"):
        journal.finish()


def test_ending_where_the_record_ends_is_fine():
    journal = Journal("draft", 1, [crossing(1)])
    journal.ask("kb.search", "a" * 64)

    journal.finish()

    assert journal.asked == 1


def test_a_record_with_a_gap_is_refused():
    with pytest.raises(VerificationFailed) as caught:
        Journal("draft", 1, [crossing(1), crossing(3)])

    assert caught.value.code == "run.journal_gap"


@given(
    st.lists(st.tuples(st.sampled_from(["kb.search", "model.complete", "http.fetch"]), st.text("abcdef", min_size=4, max_size=4))),
    st.data(),
)
def test_any_record_replays_whole_and_any_change_in_it_is_found_at_its_place(calls, data):
    record = [crossing(n, name, args) for n, (name, args) in enumerate(calls, start=1)]
    journal = Journal("n", 1, record)
    assert [journal.ask(name, args) for name, args in calls] == [Recorded(entry) for entry in record]
    journal.finish()
    if not calls:
        return

    place = data.draw(st.integers(0, len(calls) - 1))
    changed = Journal("n", 1, record)
    for name, args in calls[:place]:
        changed.ask(name, args)
    with pytest.raises(Diverged) as caught:
        changed.ask(calls[place][0], "changed")
    assert caught.value.call == place + 1
