"""Requests that wait for their turn: whose comes next, and how many begin together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bus.lines import Lines
from runloop.bus.publishing import Call
from runloop.bus.session import Peer, Session
from runloop.bus.together import Side

NOBODY = Peer(1000, 1000, 1)


def calls(*names):
    sessions = {name[0]: Session(name[0], NOBODY) for name in names}
    return [Call(name, b"", NOBODY, None, 0, sessions[name[0]], Side(), 0) for name in names]


def turns(lines):
    while found := lines.turn():
        yield [call.topic for call in found]


def test_the_lines_take_turns_and_each_keeps_its_order():
    lines = Lines()
    lines.join(calls("a1", "a2", "a3", "b1"))
    assert lines.turn()[0].topic == "a1"
    lines.join(calls("c1", "b2"))
    assert len(lines) == 5
    assert [*turns(lines)] == [["b1"], ["a2"], ["c1"], ["b2"], ["a3"]]
    assert len(lines) == 0


@pytest.mark.parametrize(
    ("took_ms", "sizes"),
    [((0.1, 0.1, 0.1), [1, 2, 4, 8]), ((0.1, 0.1, 2.0), [1, 2, 4, 4]), ((0.1, 0.1, 5.0), [1, 2, 4, 2]), ((5.0, 5.0, 5.0), [1, 1, 1, 1])],
)
def test_as_many_begin_together_as_are_worked_on_quickly(took_ms, sizes):
    lines = Lines()
    lines.join(calls(*(f"a{number}" for number in range(100))))
    found = [len(lines.turn())]
    for each in took_ms:
        lines.took(each)
        found.append(len(lines.turn()))
    assert found == sizes


def test_never_more_than_a_few_begin_together():
    lines = Lines()
    lines.join(calls(*(f"a{number}" for number in range(300))))
    for _ in range(20):
        lines.took(0.0)
    assert [len(found) for found in turns(lines)] == [64, 64, 64, 64, 44]


@given(st.lists(st.lists(st.sampled_from("abcd"))), st.lists(st.floats(0, 10)))
def test_everybody_who_joins_begins_once_and_in_the_order_of_the_line(joining, took):
    lines, asked, begun = Lines(), [], []
    took = iter(took)
    for number, names in enumerate(joining):
        joined = calls(*(f"{name}{number}.{place}" for place, name in enumerate(names)))
        asked += [call.topic for call in joined]
        lines.join(joined)
        begun += [call.topic for call in lines.turn()]
        lines.took(next(took, 0.0))
    begun += [topic for found in turns(lines) for topic in found]
    for name in "abcd":
        assert [topic for topic in begun if topic[0] == name] == [topic for topic in asked if topic[0] == name]
