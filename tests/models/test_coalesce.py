"""What goes out of an answer while it comes is seldom and small, and is always a piece of the answer at the place that it says."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from runloop.models.coalesce import INTERVAL_S, MAX_BYTES, Coalescer

STEPS = st.lists(st.tuples(st.floats(0, 0.3), st.text(max_size=3) | st.text("ä😀x", min_size=1000, max_size=3000)), max_size=30)


@given(STEPS)
def test_pieces_are_seldom_small_and_of_the_answer(steps):
    coalescer, now, answer, given_at = Coalescer(), 0.0, "", []
    for passed, text in steps:
        now += passed
        coalescer.take(len(answer), text)
        answer += text
        if coalescer.wait_s(now) == 0:
            at, piece = coalescer.give(now)
            given_at.append((now, at, piece))

    for _, at, piece in given_at:
        assert answer[at : at + len(piece)] == piece != ""
        assert len(piece.encode()) <= MAX_BYTES
    for (before, at, piece), (after, next_at, _) in itertools.pairwise(given_at):
        assert after - before >= INTERVAL_S - 1e-9
        assert next_at >= at + len(piece)


def test_nothing_to_give_waits_for_nothing():
    coalescer = Coalescer()
    assert coalescer.wait_s(5.0) is None

    coalescer.take(0, "one")
    assert (coalescer.wait_s(5.0), coalescer.give(5.0), coalescer.wait_s(5.0)) == (0.0, (0, "one"), None)


def test_what_comes_too_soon_waits_and_goes_with_the_next():
    coalescer = Coalescer()
    coalescer.take(0, "one")
    coalescer.give(0.0)
    coalescer.take(3, " two")
    coalescer.take(7, " three")

    assert (coalescer.wait_s(0.0), coalescer.wait_s(0.2)) == (INTERVAL_S, 0.0)
    assert coalescer.give(0.2) == (3, " two three")


def test_an_answer_that_begins_again_leaves_nothing_of_the_first():
    coalescer = Coalescer()
    coalescer.take(0, "first")
    coalescer.take(0, "second")

    assert coalescer.give(0.0) == (0, "second")
