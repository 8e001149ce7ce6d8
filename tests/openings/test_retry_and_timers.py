"""Pauses, deadlines and accounts by themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.openings.budget import Account, least
from runloop.openings.model import Retry
from runloop.openings.retry import MAX_PAUSE_MS, MIN_PAUSE_MS, fraction, pause_ms
from runloop.openings.timers import Countdown, Timers


@pytest.mark.parametrize(
    ("retry", "attempt", "expected"),
    [
        (Retry(9, 100, None, 2.0, 0.0), 1, 100),
        (Retry(9, 100, None, 2.0, 0.0), 4, 800),
        (Retry(9, 100, 250, 2.0, 0.0), 4, 250),
        (Retry(9, 0, None, 2.0, 0.0), 3, 10),
        (Retry(9, 3, None, 2.0, 0.0), 1, 10),
        (Retry(9, 3, None, 2.0, 0.0), 3, 12),
        (Retry(9, 100, 4, 2.0, 0.0), 1, 10),
        (Retry(9, 100, None, 1.5, 0.0), 2, 150),
        (Retry(9, 100, None, 0.5, 0.0), 2, 50),
        (Retry(9, 100, None, 10.0, 0.0), 2_000_000_000, MAX_PAUSE_MS),
        (Retry(9, 2**53, None, 1e308, 0.0), 2, MAX_PAUSE_MS),
    ],
)
def test_the_pause_grows_from_the_initial_to_the_cap_and_never_below_ten(retry, attempt, expected):
    assert pause_ms(retry, b"", "a", attempt) == expected


@given(st.binary(max_size=40), st.text(max_size=10), st.integers(1, 50), st.floats(0, 1))
def test_jitter_stays_within_its_share(seed, node, attempt, jitter):
    pause = pause_ms(Retry(99, 1000, None, 1.0, jitter), seed, node, attempt)

    assert max(MIN_PAUSE_MS, round(1000 * (1 - jitter))) <= pause <= round(1000 * (1 + jitter))


def test_jitter_depends_on_seed_node_and_attempt_and_on_nothing_else():
    fractions = {fraction(seed, node, attempt) for seed in (b"", b"a", b"b") for node in ("", "a", "ab") for attempt in (1, 2)}

    assert len(fractions) == 18
    assert all(0 <= each < 1 for each in fractions)
    assert fraction(b"a", "b", 1) != fraction(b"", "ab", 1)


def test_jitter_is_the_same_in_every_process():
    code = "from runloop.openings.retry import fraction; print(fraction(b'seed', 'node', 3).hex())"
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }

    assert outputs == {fraction(b"seed", "node", 3).hex() + "\n"}


@given(st.lists(st.tuples(st.sampled_from(["set", "clear", "pop"]), st.integers(0, 4), st.integers(0, 50)), max_size=60))
def test_timers_agree_with_a_plain_dictionary(operations):
    timers, model = Timers(), {}
    for operation, key, at in operations:
        if operation == "set":
            timers.set(key, at)
            model[key] = at
        elif operation == "clear":
            assert timers.clear(key) == model.pop(key, None)
        else:
            key_due = timers.pop_due(at)
            due = {each for each, when in model.items() if when <= at}
            if key_due is None:
                assert not due
            else:
                earliest = min(model.values())
                assert model.pop(key_due) == earliest
                assert key_due in due
        assert timers.next() == min(model.values(), default=None)


def test_timers_can_be_shifted():
    timers = Timers()
    timers.set(1, 10)
    timers.set(1, 20)
    timers.shift(5)

    assert (timers.next(), timers.pop_due(24), timers.pop_due(25), timers.next()) == (25, None, 1, None)


def test_a_countdown_stands_still_while_it_is_held():
    countdown = Countdown(100)

    countdown.shift(7)
    countdown.hold(0)
    assert countdown.ends_ms is None
    countdown.run(50)
    assert countdown.ends_ms == 150
    countdown.run(60)
    assert countdown.ends_ms == 150
    countdown.hold(140)
    countdown.run(1000)
    assert countdown.ends_ms == 1010
    countdown.shift(5)
    assert countdown.ends_ms == 1015


def test_a_countdown_without_length_never_ends():
    countdown = Countdown(None)
    countdown.run(0)
    countdown.hold(5)
    countdown.run(9)

    assert countdown.ends_ms is None


def test_accounts_say_what_is_left_and_what_is_overdrawn():
    account = Account(100, 1_000_000)
    account.spend(100, 1_000_000)

    assert (account.tokens_left(), account.usd_left(), account.excess()) == (0, 0, "")
    account.spend(0, 1)
    assert account.excess() == "$1.000001 of $1.000000"
    account.spend(1, 0)
    assert (account.tokens_left(), account.excess()) == (0, "101 of 100 tokens")
    assert (Account(None, None).tokens_left(), Account(None, None).usd_left()) == (None, None)


@pytest.mark.parametrize(("limits", "expected"), [((None, None), None), ((1, None), 1), ((None, 0), 0), ((3, 2), 2)])
def test_the_least_of_two_limits(limits, expected):
    assert least(*limits) == expected
