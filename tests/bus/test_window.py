"""What a window remembers, and for how long."""

from runloop.bus.limits import DEDUPE_KEYS, DEDUPE_MS
from runloop.bus.window import Window, forget_most


def remembering(older, newer):
    made = Window(0)
    made.old = {bytes([1, number]): (1, 0) for number in range(older)}
    made.cur = {bytes([2, number]): (1, 0) for number in range(newer)}
    return made


def test_a_message_is_remembered_until_its_time_is_over_and_its_key_goes_after_two_such_times():
    window = Window(1_000)
    window.cur[b"a"] = (3, 1_000)
    window.turn(999 + DEDUPE_MS)
    assert (list(window.cur), window.last(b"a", 999 + DEDUPE_MS)) == ([b"a"], 3)
    window.turn(1_000 + DEDUPE_MS)
    assert (list(window.cur), list(window.old), window.last(b"a", 1_000 + DEDUPE_MS)) == ([], [b"a"], -1)
    window.turn(1_000 + 2 * DEDUPE_MS)
    assert len(window) == 0


def test_a_full_window_begins_anew_beside_what_it_has():
    window = Window(0)
    window.cur = {number.to_bytes(4, "big"): (1, 0) for number in range(DEDUPE_KEYS - 1)}
    window.turn(1)
    assert len(window.cur) == DEDUPE_KEYS - 1
    window.cur[b"last"] = (1, 0)
    window.turn(1)
    assert (len(window.cur), len(window.old), window.last(b"last", 1)) == (0, DEDUPE_KEYS, 1)


def test_of_all_windows_the_largest_forget_their_older_half_and_no_more_than_they_must():
    small, large = remembering(2, 1), remembering(5, 3)
    forget_most([small, large], 11)
    assert (len(small), len(large)) == (3, 8)
    forget_most([small, large], 7)
    assert (len(small), list(large.old), large.cur) == (3, [bytes([2, number]) for number in range(3)], {})
