"""Labels of content from outside, along the edges of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runloop.openings import parse_opening
from runloop.runs.taint import Taint

SOURCE = """
version: 0
name: lines
nodes:
  - {id: one, use: agent:a}
  - {id: one_more, use: agent:a}
  - {id: many, use: agent:a}
  - {id: last, use: agent:a}
edges:
  - {from: one.out, to: many.in}
  - {from: many.out, to: last.in}
  - {from: one_more.out, to: last.also}
"""
OPENING = parse_opening(SOURCE)
WEB, MAIL = frozenset({"web"}), frozenset({"mail"})


def test_a_node_inherits_from_the_run_and_from_what_is_connected_to_it_and_from_nothing_else():
    taint = Taint(OPENING, MAIL)
    taint.put("one", WEB)
    assert taint.inherited("many") == WEB | MAIL
    assert taint.inherited("last") == MAIL  # many has put nothing out yet
    assert taint.inherited("one") == MAIL


def test_what_a_node_with_items_put_out_has_the_labels_of_all_items_and_one_with_a_longer_name_has_none_of_them():
    taint = Taint(OPENING, frozenset())
    taint.put("one[0]", WEB)
    taint.put("one[1]", MAIL)
    assert taint.of("one") == WEB | MAIL
    assert taint.of("one[1]") == MAIL
    assert taint.of("one_more") == frozenset()
    assert taint.inherited("many") == WEB | MAIL


def test_an_attempt_that_succeeded_replaces_the_labels_of_the_one_before():
    taint = Taint(OPENING, frozenset())
    taint.put("one", WEB)
    taint.put("one", MAIL)
    assert (taint.of("one"), taint.everywhere()) == (MAIL, MAIL)


NAMES = st.sampled_from(["one", "one[0]", "one[1]", "one_more", "many", "many[0]", "many[10]", "last"])


@given(st.frozensets(st.sampled_from("ab")), st.lists(st.tuples(NAMES, st.frozensets(st.sampled_from("cdef")))))
def test_it_says_what_looking_through_everything_says(base, put):
    taint, known = Taint(OPENING, base), {}
    for name, labels in put:
        taint.put(name, labels)
        known[name] = labels
    for name in ("one", "one[0]", "one[1]", "one_more", "many", "last", "other"):
        assert taint.of(name) == frozenset().union(*(known[each] for each in known if each == name or each.startswith(f"{name}[")))
    for node in OPENING.nodes:
        before = [edge.source.node for edge in OPENING.edges if edge.target.node == node.id]
        assert taint.inherited(node.id) == base.union(*map(taint.of, before))
    assert taint.everywhere() == base.union(*known.values())
