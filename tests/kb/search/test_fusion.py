from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.kb.search.fusion import K, fuse

RANKING = st.lists(st.integers(0, 20), max_size=12, unique=True)


def order(rankings, weights=None):
    return [each.item for each in fuse(rankings, weights or dict.fromkeys(rankings, 1.0))]


def test_what_both_rankings_have_comes_before_what_one_of_them_puts_first():
    assert order({"text": ["a", "b", "c"], "vectors": ["d", "b", "e"]}) == ["b", "a", "d", "c", "e"]


def test_the_sum_is_that_of_the_paper_and_the_places_are_kept():
    [first, *_] = fuse({"text": ["x", "b"], "vectors": ["b"]}, {"text": 1.0, "vectors": 0.5})
    assert (first.item, first.places) == ("b", {"text": 2, "vectors": 1})
    assert first.score == pytest.approx(1 / (K + 2) + 0.5 / (K + 1), abs=1e-9)


def test_a_ranking_of_half_the_weight_adds_at_the_end_and_lifts_what_both_have():
    text = [f"t{place}" for place in range(20)]
    found = order({"text": text, "vectors": ["v1", "t7", "v2"]}, {"text": 1.0, "vectors": 0.5})
    assert found == ["t7", *(each for each in text if each != "t7"), "v1", "v2"]


def test_ties_go_to_the_earlier_ranking_and_then_by_name():
    assert order({"text": ["b"], "vectors": ["a"]}) == ["b", "a"]
    assert order({"one": ["b"], "two": ["a"], "three": ["b"], "four": ["a"]}) == ["b", "a"]


@given(RANKING, RANKING)
def test_every_item_comes_once_and_a_better_place_in_all_rankings_is_never_behind(one, two):
    fused = fuse({"one": one, "two": two}, {"one": 1.0, "two": 1.0})
    items = [each.item for each in fused]
    assert sorted(items) == sorted({*one, *two})
    for a in one:
        for b in one:
            if a in two and b in two and one.index(a) < one.index(b) and two.index(a) < two.index(b):
                assert items.index(a) < items.index(b)
