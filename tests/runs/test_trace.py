"""The ladder names who said what to whom, how large it was, how long it took and what it cost."""

import pytest

from runloop.runs.trace import NO_RUNG, ladder, run_trace

OUTER = {"run_id": "r", "trace_id": "trace:r", "opening_id": "opening:o", "opening_name": "o"}


def records(*parts):
    return [
        {**OUTER, "kind": kind, "seq": n, "ts_ms": 1000 + n, "message": message, "meta": meta}
        for n, (kind, message, meta) in enumerate(parts, start=1)
    ]


STARTED = ("node.started", "", {"node": "draft", "attempt": 1, "inputs": {"a": [1]}})
ASKED = ("effect.requested", "", {"node": "draft", "attempt": 1, "call": 1, "name": "model.complete", "args": {"prompt": "p"}})
ANSWERED = (
    "effect.completed",
    "",
    {
        "node": "draft",
        "attempt": 1,
        "call": 1,
        "name": "model.complete",
        "result": {"$blob": "ab", "bytes": 20000},
        "ms": 12,
        "tokens_in": 3,
        "tokens_out": 4,
    },
)
ENDED = (
    "node.finished",
    "",
    {"node": "draft", "attempt": 1, "status": "ok", "outputs": {"out": ["x"]}, "outputs_hash": "h", "ms": 20, "tokens": 7},
)
SKIPPED = ("node.finished", "node send skipped: guard review.ok == true did not hold", {"node": "send", "attempt": 0, "status": "skipped"})
FINISHED = ("run.finished", "", {"status": "succeeded", "ms": 30, "final_hash": "f"})


def test_a_call_and_its_answer_are_two_hops_with_sizes_also_of_blobs():
    hops = ladder(records(STARTED, ASKED, ANSWERED))
    assert [(hop.source, hop.target, hop.what, hop.bytes) for hop in hops] == [
        ("runloop", "draft", "start", 9),
        ("draft", "model", "model.complete", 14),
        ("model", "draft", "model.complete ok", 20000),
    ]
    assert (hops[2].ms, hops[2].tokens) == (12, 7)


def test_tokens_that_nobody_counted_are_said_to_be_estimated():
    kind, message, meta = ANSWERED
    assert ladder(records((kind, message, {**meta, "estimated": True, "taint": ["web"]})))[0].note.endswith(", tokens estimated")


def test_an_unknown_cost_is_none_and_never_zero():
    assert [hop.usd for hop in ladder(records(STARTED, ASKED, ANSWERED, ENDED))] == [None] * 4


def test_a_skipped_node_says_why():
    assert ladder(records(SKIPPED))[0].note == "guard review.ok == true did not hold"


def test_the_trace_has_the_shape_of_the_specification():
    trace = run_trace(records(STARTED, ENDED, SKIPPED, FINISHED))
    assert (trace["success"], trace["final_hash"], trace["trace_id"]) == (True, "f", "trace:r")
    assert trace["nodes"] == [
        {
            "node_id": "draft",
            "state": "Succeeded",
            "final_attempt": {
                "attempt": 1,
                "inputs": {"ports": {"a": [1]}},
                "outputs": {"ports": {"out": ["x"]}},
                "output_hash": "h",
                "error": None,
            },
        },
        {"node_id": "send", "state": "Skipped", "final_attempt": None},
    ]


def test_a_node_that_was_tried_again_stands_where_it_ended_last():
    again = ("node.finished", "", {**ENDED[2], "attempt": 2})
    trace = run_trace(records(STARTED, ENDED, SKIPPED, STARTED, again, FINISHED))
    assert [(node["node_id"], (node["final_attempt"] or {}).get("attempt")) for node in trace["nodes"]] == [("send", None), ("draft", 2)]


@pytest.mark.parametrize("kind", sorted(NO_RUNG))
def test_what_agents_say_changes_neither_trace_nor_ladder(kind):
    said = (kind, "draft: hello", {"node": "draft", "attempt": 1, "text": "hello"})
    plain, chatty = records(STARTED, ENDED, FINISHED), records(STARTED, ENDED, FINISHED, said)
    assert ladder(chatty) == ladder(plain)
    assert run_trace(chatty) == run_trace(plain)
    assert ladder(chatty, control=True)[-1].what == kind
