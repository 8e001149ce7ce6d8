from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.pruning.choice import RunSummary, families, held_back, may_go, stretches

NAMES = st.sampled_from("abcdefghij")
ENDS = st.one_of(st.just((None, None)), st.tuples(st.integers(0, 9), st.sampled_from(["succeeded", "failed", "cancelled"])))
RUNS = st.lists(
    st.builds(
        lambda name, parent, forked, at, end: RunSummary(name, "o", parent, forked, at, *end),
        NAMES,
        st.none() | NAMES,
        st.none() | NAMES,
        st.integers(0, 9),
        ENDS,
    ),
    unique_by=lambda run: run.run_id,
)


@given(RUNS)
def test_every_run_is_in_one_family_with_all_that_it_is_related_to(runs):
    found = families(runs)
    place = {run.run_id: number for number, family in enumerate(found) for run in family}
    assert sorted(run.run_id for family in found for run in family) == sorted(run.run_id for run in runs)
    for run in runs:
        for other in (run.parent_run_id, run.forked_from):
            assert other not in place or place[other] == place[run.run_id]


@given(RUNS)
def test_families_are_no_larger_than_they_must_be(runs):
    for family in families(runs):
        reached = {family[0].run_id}
        for _ in family:
            for run in family:
                related = {run.run_id, run.parent_run_id, run.forked_from} - {None}
                reached |= related if related & reached else set()
        assert {run.run_id for run in family} <= reached


@given(RUNS, st.integers(0, 10), st.booleans())
def test_a_family_goes_when_its_last_run_ended_before(runs, before, keep_failed):
    for family in families(runs):
        ends = [run.finished_ms for run in family]
        well = all(run.status == "succeeded" for run in family)
        assert may_go(family, before, keep_failed=keep_failed) == (None not in ends and max(ends) < before and (well or not keep_failed))


@given(st.sets(st.integers(1, 40)))
def test_stretches_are_the_ids_again_with_a_gap_between_any_two(ids):
    found = list(stretches(sorted(ids)))
    assert [number for first, last in found for number in range(first, last + 1)] == sorted(ids)
    assert all(one.last + 1 < other.first for one, other in pairwise(found))


@given(st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)), st.dictionaries(st.integers(1, 12), st.lists(st.integers(1, 12))))
def test_what_is_held_back_is_closed_under_naming_and_nothing_else(named, candidates, names):
    held = held_back(named, candidates, names)
    assert named & candidates <= held <= candidates
    assert all(set(names.get(each, ())) & candidates <= held for each in held)
    assert all(each in named or any(each in names.get(other, ()) for other in held) for each in held)
