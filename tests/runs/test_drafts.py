"""How long nodes took, as their records say it."""

from types import SimpleNamespace

from runloop.openings.states import NodeDone, NodeReady, NodeStarted, State
from runloop.runs.clock import Since
from runloop.runs.drafts import NodeBook

OPENING = SimpleNamespace(node=lambda name: SimpleNamespace(id=name.partition("[")[0], use="agent:one"))


def took(book, *nodes):
    return [book.done(NodeDone(node, 1, State.OK, {}, None, ""), frozenset()).meta.ms for node in nodes]


def test_a_node_with_items_takes_from_the_start_of_the_first_of_its_round_to_its_end():
    now = [1_000]
    book = NodeBook(OPENING, {}, Since(lambda: now[0], 50_000))
    for round_ms in (1_000, 9_000):
        book.ready("each")
        for number, at_ms in enumerate((0, 200, 300)):
            now[0] = round_ms + at_ms
            book.begins(f"each[{number}]", now[0])
        now[0] = round_ms + 700
        assert took(book, "each[0]", "each[2]", "each") == [700, 400, 700]
    book.ready("none")
    assert took(book, "none") == [None]


def test_a_run_that_is_taken_up_knows_by_its_records_when_the_items_of_the_round_began():
    events = [
        (10, NodeReady("each")),
        (20, NodeStarted("each[0]")),
        (30, NodeReady("each")),
        (40, NodeStarted("each[1]")),
        (50, NodeStarted("each[0]")),
    ]
    book = NodeBook(OPENING, {}, Since(lambda: 5_000, 100))
    book.restore(SimpleNamespace(events=events, attempts=[], results={}))
    assert took(book, "each[1]", "each[0]", "each") == [60, 50, 60]
