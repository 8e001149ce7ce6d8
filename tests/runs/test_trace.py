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


NODE = {"node": "n", "attempt": 1}
CALL = {**NODE, "call": 1, "name": "http.fetch", "ms": 5}
GATE = {"node": "n", "approval_id": "r/n/1/1"}
NONE = (None, None, None, None)
BACK, ASKS, SAYS = ("n", "runloop"), ("n", "network"), ("network", "n")


@pytest.mark.parametrize(
    ("kind", "meta", "source", "target", "what", "numbers", "note"),
    [
        ("node.started", {**NODE, "attempt": 2}, "runloop", "n", "start", NONE, "attempt 2"),
        ("node.finished", {**NODE, "status": "ok", "outputs": {}, "ms": 3, "tokens": 7, "usd": 0.5}, *BACK, "ok", (2, 3, 7, 0.5), ""),
        ("node.finished", {**NODE, "status": "ok", "ms": 3, "tokens": 0, "usd": 0.0}, "n", "runloop", "ok", (None, 3, None, None), ""),
        (
            "node.finished",
            {**NODE, "status": "failed", "error": {"message": "\nit broke\nbadly"}},
            "n", "runloop", "failed", NONE, "it broke",
        ),
        (
            "node.finished",
            {**NODE, "status": "failed", "error": {"message": " "}},
            "n", "runloop", "failed", NONE, "",
        ),
        ("effect.requested", {**CALL, "args": [], "taint": ["a", "b"]}, *ASKS, "http.fetch", (2, None, None, None), "from outside: a, b"),
        ("effect.completed", {**CALL, "result": 1, "usd": 1.0}, *SAYS, "http.fetch ok", (1, 5, None, None), ""),
        ("effect.completed", {**CALL, "tokens_out": 2, "usd": 1.0}, *SAYS, "http.fetch ok", (None, 5, 2, 1.0), ""),
        ("effect.completed", {**CALL, "given": True, "cached": True}, *SAYS, "http.fetch ok", (None, 5, None, None), "given in a fork"),
        (
            "effect.completed",
            {**CALL, "cached": True, "estimated": True, "taint": ["a"]},
            *SAYS, "http.fetch ok", (None, 5, None, None), "cached, tokens estimated",
        ),
        (
            "effect.failed",
            {**CALL, "error": {"kind": "denied", "message": "no"}},
            "network", "n", "http.fetch denied", (None, 5, None, None), "no",
        ),
        ("effect.failed", {**NODE, "error": {"message": "no"}}, "runloop", "n", " failed", NONE, "no"),
        (
            "effect.unknown",
            {**CALL, "error": {"kind": "timeout", "message": "lost"}},
            "network", "n", "http.fetch unknown", (None, 5, None, None), "lost",
        ),
        (
            "approval.requested",
            {**GATE, "action": "mail.send", "what": "To", "recipients": ["a@b", "c@d"]},
            "n", "person", "approve mail.send?", (4, None, None, None), "a@b, c@d",
        ),
        (
            "approval.decided",
            {**GATE, "decision": "approved", "by": {"role": "operator"}, "rationale": "fine"},
            "person", "n", "approved", NONE, "fine",
        ),
        ("approval.decided", {**GATE, "decision": "denied"}, "policy", "n", "denied", NONE, ""),
        ("approval.expired", {**GATE, "by": {"role": "nobody"}}, "nobody", "n", "expired", NONE, ""),
        (
            "artifact.created",
            {"node": "n", "kind": "text", "bytes": 9, "path": "a.md"},
            "n", "artifacts", "text", (9, None, None, None), "a.md",
        ),
    ],
)  # fmt: skip
def test_each_rung_says_who_said_what_to_whom(kind, meta, source, target, what, numbers, note):
    (hop,) = ladder(records((kind, "", meta)))
    assert hop.to_dict() == dict(
        zip(
            ("seq", "ts_ms", "from", "to", "kind", "bytes", "ms", "tokens", "usd", "note"),
            (1, 1001, source, target, what, *numbers, note),
            strict=True,
        )
    )


def test_what_happened_to_the_run_as_a_whole_is_told_only_where_it_is_wanted():
    own = records(
        ("run.paused", "run paused: by hand", {"by": {"role": "operator"}}),
        ("node.evicted", "node n left memory", {"node": "n"}),
        ("run.resumed", "run resumed", {}),
    )
    other = {**own[2], "run_id": "0123456789ab", "seq": 4, "ts_ms": 1004}
    told = [
        (1, 1001, "person", "run", "run.paused", "by hand"),
        (2, 1002, "runloop", "n", "node.evicted", ""),
        (3, 1003, "runloop", "run", "run.resumed", ""),
        (4, 1004, "runloop", "run 01234567", "run.resumed", ""),
    ]
    hops = ladder([*own, other], control=True)
    assert [(hop.seq, hop.ts_ms, hop.source, hop.target, hop.what, hop.note) for hop in hops] == told
    assert run_trace([*own, other], control=True)["ladder"] == [hop.to_dict() for hop in hops]
    assert (ladder([*own, other]), run_trace([])["ladder"]) == ([], [])


def test_a_node_that_failed_stands_in_the_trace_with_what_it_said():
    failed = ("node.finished", "", {**NODE, "status": "failed", "error": {"message": "it broke"}})
    attempt = {"attempt": 1, "inputs": {"ports": {}}, "outputs": None, "output_hash": None, "error": "it broke"}
    (node,) = run_trace(records(failed))["nodes"]
    assert node == {"node_id": "n", "state": {"Failed": {"reason": "it broke"}}, "final_attempt": attempt}
