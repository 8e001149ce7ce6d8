"""The threads of a worker: one after the other, help where one takes long, and what is given back."""

from __future__ import annotations

import queue

import pytest

from runloop.sandbox.crew import LOOK_S, Crew


class Piece:
    """Work that ends when the test says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.go_on: queue.SimpleQueue[str] = queue.SimpleQueue()


class Shop:
    """A crew whose clock the test sets, and the names of what it begins and ends, in order."""

    def __init__(self, most: int) -> None:
        self.now_s = 0.0
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.crew: Crew[Piece] = Crew(self.perform, most, lambda: self.now_s)

    def perform(self, piece: Piece) -> None:
        self.said.put(f"{piece.name} begins")
        while piece.go_on.get() == "wait":
            self.crew.leave()
            self.said.put(f"{piece.name} waits")
            piece.go_on.get()
            self.crew.come_back()
        self.said.put(f"{piece.name} ends")

    def add(self, *names: str) -> list[Piece]:
        pieces = [Piece(name) for name in names]
        for piece in pieces:
            self.crew.add(piece)
        self.crew.call()
        return pieces

    def heard(self, count: int = 1) -> list[str]:
        return [self.said.get(timeout=20) for _ in range(count)]

    def look_after(self, seconds: float) -> list[str]:
        self.now_s += seconds
        return [piece.name for piece in self.crew.look()]


@pytest.fixture
def shop():
    return Shop(most=2)


def test_one_thread_takes_what_is_queued_in_its_order(shop):
    pieces = shop.add("a", "b", "c")
    for piece in pieces:
        piece.go_on.put("end")
    assert shop.heard(6) == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]
    assert not shop.crew.behind


def test_another_thread_helps_when_the_first_of_the_queue_has_stood_for_long(shop):
    a, b = shop.add("a", "b")
    assert shop.heard() == ["a begins"]
    assert shop.look_after(LOOK_S / 2) == []
    assert shop.said.empty()
    assert shop.look_after(LOOK_S) == []
    assert shop.heard() == ["b begins"]
    a.go_on.put("end")
    b.go_on.put("end")
    assert sorted(shop.heard(2)) == ["a ends", "b ends"]


def test_what_nobody_comes_to_is_given_back_oldest_first_and_not_begun(shop):
    a, b, *_ = shop.add("a", "b", "c", "d")
    shop.heard()
    shop.look_after(LOOK_S)
    assert shop.heard() == ["b begins"]
    assert shop.look_after(10) == ["c", "d"]
    assert not shop.crew.behind
    a.go_on.put("end")
    b.go_on.put("end")
    assert sorted(shop.heard(2)) == ["a ends", "b ends"]


def test_who_waits_for_somebody_leaves_the_place_to_the_next(shop):
    a, b = shop.add("a", "b")
    shop.heard()
    a.go_on.put("wait")
    assert sorted(shop.heard(2)) == ["a waits", "b begins"]
    a.go_on.put("answer")
    a.go_on.put("end")
    assert shop.heard() == ["a ends"]
    b.go_on.put("end")
    assert shop.heard() == ["b ends"]


def test_what_has_not_begun_can_be_taken_out(shop):
    a, b = shop.add("a", "b")
    shop.heard()
    assert (shop.crew.take_out(a), shop.crew.take_out(b)) == (False, True)
    a.go_on.put("end")
    assert shop.heard() == ["a ends"]


def test_work_that_comes_when_all_threads_rest_is_begun(shop):
    for name in "abcd":
        (piece,) = shop.add(name)
        piece.go_on.put("end")
        assert shop.heard(2) == [f"{name} begins", f"{name} ends"]


def test_the_calling_thread_takes_work_only_while_nobody_is_at_work(shop):
    a, b = Piece("a"), Piece("b")
    assert shop.crew.take() is None
    shop.crew.add(a)
    shop.crew.add(b)
    assert (shop.crew.take(), shop.crew.take()) == (a, None)
    shop.crew.call()
    assert shop.said.empty()  # somebody is at work: the calling thread
    shop.crew.rest()
    assert shop.crew.take() is b
    shop.crew.rest()


def test_who_took_work_gets_help_with_what_stands_behind_it_and_goes_on_with_the_rest(shop):
    taken, b, c = Piece("taken"), Piece("b"), Piece("c")
    for piece in (taken, b, c):
        shop.crew.add(piece)
    assert shop.crew.take() is taken
    assert shop.look_after(LOOK_S) == []
    assert shop.heard() == ["b begins"]
    c.go_on.put("end")
    shop.crew.go_on()
    assert shop.heard(2) == ["c begins", "c ends"]
    b.go_on.put("end")
    assert shop.heard() == ["b ends"]


def test_a_thread_that_was_lent_does_not_count_as_being_at_work(shop):
    shop.crew.lend(lambda: shop.said.put("lent"))
    assert shop.heard() == ["lent"]
    shop.crew.add(Piece("a"))
    assert shop.crew.take() is not None
