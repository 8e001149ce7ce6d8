"""What lies below and above a node: each step once, however many ways lead to it."""

from __future__ import annotations

from itertools import pairwise

from runloop.openings.graph import below, link_up, losers

DIAMONDS = "a.out -> b.x\na.out -> c.x\nb.out -> d.x\nc.out -> d.y\nd.out -> e.x\nd.out -> f.x\ne.out -> g.x\nf.out -> g.y"


def ids(steps):
    return [step.id for step in steps]


def test_what_depends_on_a_node_over_several_ways_is_below_it_once_and_after_what_it_depends_on(opening):
    steps = link_up(opening({name: {} for name in "abcdefgh"}, DIAMONDS))

    assert ids(below(steps[0])) == list("abcdefg")
    assert ids(below(steps[4])) == list("eg")


def test_what_leads_to_a_node_over_several_ways_is_a_loser_once(opening):
    steps = link_up(opening({name: {} for name in "abcdefgh"}, DIAMONDS))

    assert ids(losers(steps[6])) == list("abcdef")


def test_a_ladder_of_many_rungs_is_walked_once(opening):
    names = [f"{side}{rung}" for rung in range(60) for side in "lr"]
    edges = [f"{a}{rung}.out -> {b}{rung + 1}.{a}" for rung in range(59) for a in "lr" for b in "lr"]
    last = ["l59.out -> z.x", "r59.out -> z.y"]
    steps = link_up(opening({name: {} for name in [*names, "z"]}, "\n".join(edges + last)))

    assert len(below(steps[0])) == 120
    assert len(losers(steps[-1])) == 120


def test_a_long_way_that_is_lost_is_walked_once(opening):
    looked = []

    class Counted(list):
        def __iter__(self):
            looked.append(1)
            return super().__iter__()

    names = [f"n{number}" for number in range(60)]
    chain = "\n".join(f"{one}.out -> {other}.in" for one, other in pairwise(names))
    steps = link_up(opening({**{name: {} for name in names}, "z": {"merge": "first_ok"}}, f"{chain}\n{names[-1]}.out -> z.text"))
    for step in steps:
        step.incoming, step.outgoing = Counted(step.incoming), Counted(step.outgoing)
    assert [step.id for step in losers(steps[-1])] == names
    assert len(looked) <= 2 * len(steps)
