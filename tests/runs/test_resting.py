"""How a run rests with its children: counted as they say it, whatever order they come, say it again and go in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.runs.resting import Rest, Rests
from runloop.runs.waits import Wait, Waits

NAMES = st.sampled_from("abcd")
MOVES = st.lists(st.tuples(st.sampled_from(["begins", "ends", "hears"]), NAMES, st.builds(Rest, st.booleans(), st.booleans())), max_size=40)


@given(MOVES)
def test_children_are_idle_and_quiet_exactly_where_all_that_are_under_way_last_said_so(moves):
    rests, children = Rests(), {}
    for move, child, rest in moves:
        if move == "begins":
            children[child] = Rest()
            rests.begins(child)
        elif move == "ends":
            children.pop(child, None)
            rests.ends(child)
        else:
            rests.hears(child, rest)
            children = {name: rest if name == child else before for name, before in children.items()}
        assert rests.all == Rest(all(each.idle for each in children.values()), all(each.quiet for each in children.values()))


@pytest.mark.parametrize("why", ["person", "child"])
def test_a_wait_that_is_begun_twice_is_one_and_one_that_ends_twice_is_none(why):
    waits = Waits()
    for _ in range(2):
        waits.begin("a", Wait(why))
        assert (waits.children, waits.covers({"a"}, set())) == (int(why == "child"), True)
    for _ in range(2):
        waits.end("a")
        assert (waits.children, waits.covers({"a"}, set())) == (0, False)


@pytest.mark.parametrize(
    ("nodes", "others", "covered"),
    [("", "", True), ("a", "", True), ("ab", "", False), ("ab", "b", True), ("ab", "bc", True), ("bc", "cd", False), ("bcd", "bcd", True)],
)
def test_nodes_wait_where_each_waits_or_is_one_of_the_others(nodes, others, covered):
    waits = Waits()
    waits.begin("a", Wait("timer"))
    assert waits.covers(set(nodes), set(others)) is covered
