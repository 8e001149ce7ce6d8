"""Counting votes: whole truth tables, in integers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings.clauses import Vote, VoteRule
from runloop.openings.states import Failure
from runloop.openings.votes import count, decide, spread


def winner(vote, values):
    result = decide(vote, values)
    return result.code if isinstance(result, Failure) else result["winner"]


# yes : no : does "yes" win under majority, supermajority, unanimous, plurality?
TABLE = [
    (1, 0, True, True, True, True),
    (1, 1, False, False, False, False),
    (2, 0, True, True, True, True),
    (2, 1, True, True, False, True),
    (2, 2, False, False, False, False),
    (3, 0, True, True, True, True),
    (3, 1, True, True, False, True),
    (3, 2, True, False, False, True),
    (4, 1, True, True, False, True),
    (4, 2, True, True, False, True),
    (4, 3, True, False, False, True),
    (5, 2, True, True, False, True),
    (5, 3, True, False, False, True),
    (6, 3, True, True, False, True),
    (7, 4, True, False, False, True),
    (8, 4, True, True, False, True),
]


@pytest.mark.parametrize(("yes", "no", "majority", "supermajority", "unanimous", "plurality"), TABLE)
def test_two_values(yes, no, majority, supermajority, unanimous, plurality):
    votes = [True] * yes + [False] * no
    got = {rule: winner(Vote("x", rule=rule), votes) for rule in VoteRule}

    expected = {"majority": majority, "supermajority": supermajority, "unanimous": unanimous, "plurality": plurality}
    assert got == {rule: True if wins else "vote.undecided" for rule, wins in expected.items()}


@pytest.mark.parametrize(
    ("votes", "majority", "plurality"),
    [
        ("aab", "a", "a"),
        ("abc", None, None),
        ("aabc", None, "a"),
        ("aaabc", "a", "a"),
        ("aabb", None, None),
        ("abbcc", None, None),
        ("aabbcd", None, None),
        ("aaabbc", None, "a"),
        ("aaaabbc", "a", "a"),
    ],
)
def test_more_values(votes, majority, plurality):
    assert winner(Vote("x"), list(votes)) == (majority or "vote.undecided")
    assert winner(Vote("x", rule=VoteRule.PLURALITY), list(votes)) == (plurality or "vote.undecided")


def test_two_of_four_are_not_two_thirds_and_two_of_three_are():
    rule = Vote("x", rule=VoteRule.SUPERMAJORITY)

    assert winner(rule, ["a", "a", "b", "c"]) == "vote.undecided"
    assert winner(rule, ["a", "b", "a"]) == "a"


@pytest.mark.parametrize(("votes", "first"), [("ba", "b"), ("aabb", "a"), ("cbbcd", "c"), ("abc", "a")])
def test_on_a_tie_the_one_voted_first_can_win(votes, first):
    assert winner(Vote("x", first_on_tie=True), list(votes)) == first


def test_a_most_that_is_not_enough_is_no_tie():
    assert decide(Vote("x", first_on_tie=True), list("aabc")) == Failure(
        "vote.undecided", "no winner by the rule majority: the most is 2 of 4 votes"
    )


@pytest.mark.parametrize(("quorum", "result"), [(1, "a"), (2, "a"), (3, "vote.quorum")])
def test_a_quorum_counts_votes_that_were_cast(quorum, result):
    assert winner(Vote("x", quorum=quorum), ["a", None, "a"]) == result


def test_nobody_voted():
    assert decide(Vote("x"), [None]) == Failure("vote.quorum", "0 of 1 votes needed were cast")


@pytest.mark.parametrize(
    ("path", "values", "tally", "abstained"),
    [
        ((), ["a", "b", "a"], (("a", 2), ("b", 1)), 0),
        ((), [True, 1, 1.0, "1"], ((1, 2), (True, 1), ("1", 1)), 0),
        ((), [{"p": 1, "q": [2.0]}, {"q": [2], "p": 1.0}], (({"p": 1, "q": [2.0]}, 2),), 0),
        ((), [[1], [1, 2], [1]], (([1], 2), ([1, 2], 1)), 0),
        (("verdict",), [{"verdict": "a"}, {"other": 1}, "a", {"verdict": None}], (("a", 1),), 3),
        (("v", "w"), [{"v": {"w": 0.5}}, {"v": 1}], ((0.5, 1),), 1),
    ],
)
def test_what_is_a_vote_and_which_are_the_same(path, values, tally, abstained):
    counted = count(values, path)

    assert (counted.tally, counted.abstained) == (tally, abstained)
    assert [[type(value) for value, _ in counted.tally]] == [[type(value) for value, _ in tally]]


def test_a_list_spreads_into_its_elements_once():
    assert spread([1, [2, [3]], [], "x"]) == [1, 2, [3], "x"]


@given(st.lists(st.sampled_from("abc") | st.none(), max_size=30))
def test_every_rule_is_what_its_name_says(values):
    cast = [value for value in values if value is not None]
    for rule in VoteRule:
        result = winner(Vote("x", rule=rule), values)
        share = {value: Fraction(cast.count(value), len(cast)) for value in cast}
        enough = {
            VoteRule.MAJORITY: lambda part: part > Fraction(1, 2),
            VoteRule.SUPERMAJORITY: lambda part: part >= Fraction(2, 3),
            VoteRule.UNANIMOUS: lambda part: part == 1,
            VoteRule.PLURALITY: lambda part: part > 0,
        }[rule]
        winners = [value for value, part in share.items() if enough(part) and part == max(share.values())]
        assert result == (winners[0] if len(winners) == 1 else "vote.undecided" if cast else "vote.quorum")
