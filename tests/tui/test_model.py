from hypothesis import given
from hypothesis import strategies as st

from runloop.tui import model
from runloop.tui.board import SORTS, Board, arranged, matches
from runloop.tui.draw_run import ladder_page, plan_page, timeline_page
from runloop.tui.model import Crossing, NodeState, RunModel, gap, listed, take
from runloop.tui.sentences import said
from runloop.tui.views import Viewing

RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"


def folded(records):
    run = RunModel(records[0]["run_id"])
    for record in records:
        take(run, record)
    return run


def row(run_id="aaaa", state="running", **more):
    return {
        "run_id": run_id, "opening_name": "letter", "parent_run_id": None, "state": state, "waiting_for": None, "submitted_ms": 5,
        "first_event": 5,
        "started_ms": 6, "finished_ms": None, "ms": None, "tokens": 0, "usd": 0.0, "reason": None, "last_seq": 3, **more,
    }  # fmt: skip


def test_a_run_that_waits_says_for_what_and_how_far_it_is(waiting):
    run = folded(waiting)
    assert (run.shown_state, run.waits_for, run.progress) == ("waiting", "approval of mail.outbox (+1)", (2, 4))
    assert run.nodes["send"].waits_for == "approval of mail.outbox"


def test_a_pause_outlives_the_process_and_the_parking_of_a_run(waiting):
    later = [("run.paused", "lunch"), ("run.recovered", "its process ended"), ("run.waiting", "a time")]
    told = [
        {**waiting[-1], "event_id": waiting[-1]["event_id"] + n, "seq": waiting[-1]["seq"] + n, "kind": kind, "meta": {"why": why}}
        for n, (kind, why) in enumerate(later, 1)
    ]
    run = folded([*waiting, *told])
    assert (run.seq, run.state, run.why) == (told[-1]["seq"], "paused", "lunch")


def test_how_far_a_run_is_counts_nodes_that_have_not_begun(waiting):
    submitted = {**waiting[0], "meta": {**waiting[0]["meta"], "opening": {"source": "no opening"}}}
    assert (folded(waiting[:1]).progress, folded([submitted]).progress, folded([submitted, *waiting[1:18]]).progress) == (
        (0, 4),
        None,
        (2, 4),
    )


def test_a_run_that_ended_has_its_times_from_its_last_record(records):
    run = folded(records)
    assert (run.state, run.ms, run.elapsed_ms(0), run.waits_for, run.progress) == ("succeeded", 3114, 3114, "", (4, 4))
    assert all(end is not None for node in run.nodes.values() for _, end in node.lanes)


def test_a_run_has_used_what_was_asked_and_what_was_answered(waiting):
    run, last = folded(waiting), waiting[-1]
    for number in (1, 2):
        meta = {"node": "send", "attempt": 1, "call": 70 + number, "name": "model.complete", "tokens_in": 40, "tokens_out": 2}
        take(run, {**last, "seq": last["seq"] + number, "kind": "effect.completed", "meta": meta})
    assert run.spent_tokens() == 84


def test_a_run_is_under_way_since_it_was_submitted_until_it_starts(waiting):
    submitted = {**waiting[0], "meta": {**waiting[0]["meta"], "params": "not shown"}}
    run = folded([submitted])
    assert (run.submitted_ms, run.elapsed_ms(waiting[0]["ts_ms"] + 7), run.params) == (waiting[0]["ts_ms"], 7, {})


def test_what_a_run_cost_is_not_known_where_the_price_of_a_call_is_not(waiting):
    run, last = folded(waiting), waiting[-1]
    for number, usd in enumerate(({"usd": 0.25}, {}), 1):
        meta = {"node": "send", "attempt": 1, "call": 70 + number, "name": "model.complete", "tokens_in": 4, **usd}
        take(run, {**last, "seq": last["seq"] + number, "kind": "effect.completed", "meta": meta})
        assert run.spent_usd() == usd.get("usd")


def test_a_run_that_used_no_tokens_has_no_cost_while_it_goes_on_and_when_it_has_ended(records, waiting):
    ended = folded(records)

    assert (folded(waiting).spent_usd(), ended.tokens, ended.usd, ended.spent_usd()) == (None, 0, 0.0, None)
    ended.tokens = 7
    assert ended.spent_usd() == 0.0, "that is what a model costs whose price is nothing"


def test_crossings_hold_what_was_asked_and_what_was_answered(records):
    run = folded(records)
    assert [(each.name, each.state) for each in run.crossings.values()] == [
        ("ask.person", "ok"), ("approve mail.outbox", "ok"), ("mail.send", "ok"),
    ]  # fmt: skip
    sent = run.crossings["send/1/1"]
    assert (sent.asked["args"]["subject"], sent.answered["result"]["status"], sent.ms()) == ("The pier", "outbox", 16)


def asking(waiting, **more):
    """The records of a run that waits, with another question in place of its approval."""
    return [{**each, "meta": {**each["meta"], **more}} if each["kind"] == "approval.requested" else each for each in waiting]


def test_of_a_run_that_calls_all_day_the_newest_crossings_are_kept_and_what_is_under_way(waiting, monkeypatch):
    monkeypatch.setattr(model, "CROSSINGS", 5)
    run = folded(waiting)
    under_way = [key for key, each in run.crossings.items() if each.answered is None]
    for call in range(100, 120):
        for kind, meta in (("effect.requested", {"name": "http.fetch"}), ("effect.completed", {"result": call})):
            meta |= {"node": "send", "attempt": 1, "call": call}
            take(run, {**waiting[-1], "event_id": 1_000 + run.seq, "seq": run.seq + 1, "kind": kind, "meta": meta})
    answered = [each.call for each in run.crossings.values() if each.answered is not None]
    assert (len(run.crossings), set(under_way) <= set(run.crossings)) == (5, True)
    assert answered == list(range(120 - 5 + len(under_way), 120))
    page = ladder_page(run, 79, 0)
    assert run.gone == 20 + len(folded(waiting).crossings) - 5
    assert page.rows[0].plain == f"{run.gone} older ones are not kept here: `rlp trace 5a1d4c23` has them"
    assert [row.key for row in page.rows] == [None, *run.crossings]


def test_a_question_whether_a_call_happened_is_no_approval(waiting):
    approval_id = f"{RUN}/send/1/1/outcome/1"
    records = asking(waiting, approval_id=approval_id)
    run = folded(records)
    crossing = run.crossings[f"approval {approval_id}"]
    assert (run.nodes["send"].waits_for, crossing.name) == ("an answer whether mail.outbox happened", "mail.outbox happened")

    last = records[-1]
    for number, (decision, state) in enumerate([("it happened", "ok"), ("do it now", "ok"), ("give up", "failed")], start=1):
        meta = {"approval_id": approval_id, "node": "send", "decision": decision}
        take(run, {**last, "seq": last["seq"] + number, "kind": "approval.decided", "meta": meta})
        assert (crossing.state, run.nodes["send"].approvals) == (state, {})


def test_a_record_that_is_not_the_next_one_is_left(records):
    run = RunModel(RUN)
    assert (take(run, records[0]), take(run, records[2]), run.seq, gap(run, records[2])) == (True, False, 1, True)


@given(st.lists(st.integers(0, 24), max_size=80))
def test_whatever_comes_twice_or_out_of_order_the_run_is_a_prefix_of_its_records(records, picks):
    """What a subscription repeats, and what it dropped, changes nothing: only the next record counts."""
    run, known = RunModel(RUN), 0
    for pick in picks:
        take(run, records[pick])
        known += records[pick]["seq"] == known + 1
    assert run.seq == known
    expected = folded(records[:known]) if known else RunModel(RUN)
    assert (run.state, run.nodes, run.crossings, list(run.log)) == (
        expected.state, expected.nodes, expected.crossings, list(expected.log),
    )  # fmt: skip


@given(st.lists(st.integers(0, 24), max_size=60))
def test_a_board_fed_from_two_sides_ends_where_one_fed_in_order_does(records, lost):
    """A realtime subscription that drops, and the ledger that fills in: the same board."""
    board = Board()
    for number, record in enumerate(records):
        if number in lost:
            continue
        if not board.take(record):
            for missing in records[: number + 1]:
                board.take(missing)
    for record in records:
        board.take(record)
    assert board.run(RUN).log == folded(records).log


def test_live_records_change_a_run_and_do_not_count(records, waiting):
    run = folded(waiting[:8])
    live = {**waiting[8], "kind": "node.progress", "event_id": None, "seq": 8, "meta": {"node": "contact", "text": "half", "fraction": 0.5}}
    assert (take(run, live), run.seq, run.nodes["contact"].note, run.nodes["contact"].fraction) == (True, 8, "half", 0.5)
    assert take(folded(records), live) is False


def test_text_that_is_still_coming_is_kept_with_its_call(waiting):
    run = folded(waiting)
    delta = {
        **waiting[14],
        "kind": "effect.delta",
        "event_id": None,
        "meta": {"node": "colour", "attempt": 1, "call": 1, "text": "bl", "at": 0},
    }
    take(run, delta)
    take(run, {**delta, "meta": {**delta["meta"], "text": "ue", "at": 2}})
    assert run.crossings["colour/1/1"].coming == "blue"
    take(run, {**delta, "meta": {**delta["meta"], "text": "red"}})
    assert run.crossings["colour/1/1"].coming == "red"


def test_the_list_tells_only_what_no_record_told(waiting):
    run = folded(waiting)
    listed(run, row(RUN, state="running", waiting_for="model"))
    assert (run.shown_state, run.waits_for) == ("waiting", "approval of mail.outbox (+1)")
    listed(run, row(RUN, state="cancelled", ms=12, reason="by an operator"))
    assert (run.state, run.why, run.waits_for) == ("cancelled", "by an operator", "")
    fresh = RunModel("aaaa")
    listed(fresh, row(waiting_for="a timer"))
    assert (fresh.waits_for, fresh.progress, fresh.spent_tokens()) == ("a timer", None, None)


def test_a_node_that_failed_and_is_tried_again_is_not_over(waiting):
    run = folded(waiting[:8])
    failed = {**waiting[10], "seq": 9, "meta": {"node": "contact", "attempt": 1, "status": "error", "retry_ms": 5,
              "error": {"code": "x.y", "message": "\n \nno\nmore", "hint": "", "retryable": True}}}  # fmt: skip
    take(run, failed)
    node = run.nodes["contact"]
    assert (node.state, node.errors, node.note, run.progress) == ("ready", 1, "no", (0, 4))


def test_filters_take_words_and_keys(waiting):
    run = folded(waiting)
    assert [matches(run, words) for words in ("letter", "5a1d waiting", "state:wait", "state:run", "opening:let", "postcard")] == [
        True, True, True, False, True, False,
    ]  # fmt: skip


def test_every_order_is_turned_round_by_reverse():
    board = Board()
    board.list_runs([row("a", "running", first_event=1), row("b", "succeeded", first_event=2, tokens=5), row("c", "failed", first_event=3)])
    runs = board.runs.values()
    assert [run.run_id for run in arranged(runs, "", "newest", 9)] == ["c", "b", "a"]
    assert [run.run_id for run in arranged(runs, "", "state", 9)] == ["a", "c", "b"]
    assert [run.run_id for run in arranged(runs, "", "tokens", 9, reverse=True)][-1] == "b"


def test_the_newest_run_is_the_last_in_the_ledger_whatever_the_clock_said_and_one_without_a_record_is_newer():
    board = Board()
    board.list_runs([row("new", first_event=9, submitted_ms=1), row("old", first_event=2, submitted_ms=8)])
    board.run("newer")
    assert [run.run_id for run in arranged(board.runs.values(), "", "newest", 9)] == ["newer", "new", "old"]


def test_a_board_keeps_its_bound_by_letting_the_oldest_ended_run_go():
    board = Board()
    board.list_runs([row(f"r{number:04}", "succeeded", first_event=number) for number in range(1_001)])
    assert (len(board.runs), "r0000" in board.runs, "r1000" in board.runs) == (1_000, False, True)


def test_what_is_asked_comes_and_goes():
    board = Board()
    board.ask({"state": "open", "approval_id": "x", "asked_ms": 1})
    board.ask({"state": "closed", "approval_id": "x"})
    board.ask({"state": "closed", "approval_id": "never seen"})
    assert board.approvals == {}


def test_of_more_runs_than_are_kept_the_newest_that_ended_stay_and_no_run_is_there_of_which_nothing_is_known(monkeypatch):
    monkeypatch.setattr("runloop.tui.board.MAX_RUNS", 6)
    board = Board()
    waits = [row(f"wait{number}", "waiting", first_event=number) for number in range(4)]
    ended = [row(f"done{number}", "succeeded", first_event=100 - number) for number in range(5)]
    board.list_runs([*waits, *ended])
    assert [run.run_id for run in arranged(board.runs.values(), "", "newest", 0)] == ["done0", "done1", "wait3", "wait2", "wait1", "wait0"]


def test_the_run_that_somebody_looks_at_stays_however_old_it_is(monkeypatch):
    monkeypatch.setattr("runloop.tui.board.MAX_RUNS", 2)
    board = Board()
    board.list_runs([row("old", "succeeded", first_event=1), row("newer", "succeeded", first_event=2)])
    board.looked_at = "old"
    board.run("new")
    assert set(board.runs) == {"old", "new"}


def test_a_daemon_is_silent_when_it_has_not_measured_itself_for_three_times_as_long_as_it_should():
    board = Board()
    assert board.silent_ms(99_000) is None
    board.heard_ms = 1_000
    board.measure({"ts_ms": 1, "interval_ms": 4_000, "gauges": {}, "counters": {}})
    assert (board.silent_ms(13_000), board.silent_ms(13_001)) == (None, 12_001)
    board.lose("no daemon answers")
    assert board.silent_ms(99_000) is None


def test_a_daemon_that_hangs_is_silent_also_when_the_clock_is_put_back():
    board = Board()
    board.heard_ms = 7_200_000
    assert (board.silent_ms(7_201_000), board.silent_ms(3_600_000)) == (None, 3_600_000)


def test_a_node_with_items_works_from_the_first_of_them_on_and_waits_where_all_of_them_wait(waiting):
    run, ts_ms = RunModel(RUN), waiting[0]["ts_ms"]

    def record(kind, node, **meta):
        meta |= {"node": node}
        assert take(run, {**waiting[0], "seq": run.seq + 1, "event_id": run.seq + 1, "kind": kind, "ts_ms": ts_ms + run.seq, "meta": meta})

    take(run, {**waiting[0], "kind": "run.started", "meta": {}})
    record("node.ready", "each")
    for number in range(2):
        record("node.started", f"each[{number}]", attempt=1)
    each = run.nodes["each"]
    assert (each.state, each.attempt, each.lanes, run.shown_state) == ("running", 1, [(ts_ms + 2, None)], "running")

    for number in range(2):
        record("effect.requested", f"each[{number}]", attempt=1, call=1, name="ask.person", args={})
    assert (run.shown_state, run.waits_for) == ("waiting", "answer (+1)")

    for number in range(2):
        record("node.finished", f"each[{number}]", attempt=1, status="ok")
    record("node.finished", "each", attempt=1, status="ok")
    assert (each.state, each.attempt, each.lanes) == ("ok", 1, [(ts_ms + 2, ts_ms + 8)])

    record("node.ready", "each")
    record("node.started", "each[0]", attempt=2)
    assert (each.state, each.attempt, each.lanes[1:]) == ("running", 2, [(ts_ms + 10, None)])


def test_what_is_measured_leaves_out_by_how_much_the_clock_was_set(waiting):
    run, began, seconds = RunModel(RUN), waiting[0]["ts_ms"], 1_000
    set_ms = -3 * 3_600 * seconds

    def record(kind, after_ms, **meta):
        record = {**waiting[0], "seq": run.seq + 1, "event_id": run.seq + 1, "kind": kind, "ts_ms": began + after_ms, "meta": meta}
        assert take(run, record)

    record("run.started", 0)
    record("node.started", 5 * seconds, node="a", attempt=1)
    record("approval.requested", 6 * seconds, node="a", approval_id=f"{RUN}/a/1/1", action="mail.smtp", what="it")
    record("run.paused", 7 * seconds, why="a look at it")
    record("run.clock_set", set_ms + 8 * seconds, by_ms=set_ms, set_ms=set_ms)
    now_ms = began + set_ms + 20 * seconds
    assert (run.state, run.why, run.elapsed_ms(now_ms)) == ("paused", "a look at it", 20 * seconds)
    assert "+20.0s" in timeline_page(run, 79, now_ms).head[1].plain
    assert said(board_of(run), Viewing(view="Plan", run_id=RUN), now_ms)[-1].startswith("a: waiting, attempt 1, 15.0s")
    assert "15.0s" in plan_page(run, 79, now_ms).rows[0].plain

    record("approval.decided", set_ms + 21 * seconds, node="a", approval_id=f"{RUN}/a/1/1", decision="approved")
    record("node.finished", set_ms + 22 * seconds, node="a", attempt=1, status="ok")
    (crossing,) = run.crossings.values()
    assert (run.nodes["a"].lanes, crossing.ms()) == ([(began + 5 * seconds, began + 22 * seconds)], None)
    record("run.finished", set_ms + 23 * seconds, status="succeeded", ms=23 * seconds)
    assert timeline_page(run, 79, now_ms).head[1].plain.endswith("+23.0s")


def board_of(run):
    board = Board()
    board.runs[run.run_id] = run
    return board


def test_runs_stand_in_each_order_with_the_newest_first_where_it_does_not_say():
    board = Board()
    board.list_runs(
        [
            row("a", "succeeded", first_event=1, opening_name="z", started_ms=0, finished_ms=9, ms=9, tokens=5, usd=0.5),
            row("b", "succeeded", first_event=2, opening_name="z", started_ms=0, finished_ms=3, ms=3, tokens=7, usd=0.1),
            row("c", "failed", first_event=3, opening_name="y", started_ms=0, finished_ms=6, ms=6, tokens=5, usd=0.9),
        ]
    )
    orders = {"newest": "cba", "state": "cba", "opening": "cba", "elapsed": "acb", "tokens": "bca", "cost": "cab"}
    assert set(orders) == set(SORTS)
    for sort, order in orders.items():
        for reverse in (False, True):
            shown = "".join(run.run_id for run in arranged(board.runs.values(), "", sort, 9, reverse=reverse))
            assert shown == (order[::-1] if reverse else order), (sort, reverse)


def test_what_is_asked_is_found_by_all_that_would_be_read():
    board, shared = Board(), {"approval_id": "q", "run_id": "r", "state": "open", "node": "colour", "agent": "ask", "asked_ms": 1}
    question = {**shared, "type": "question", "question": "Which?", "detail": "of the door", "options": ["red", 5]}
    approval = {**shared, "type": "approval", "action": "mail.smtp", "recipients": ["ada@example.org"], "what": {"to": "Ada"}}
    board.list_runs([row("r")])
    for words in ("which DOOR", "red 5", "colour ask letter", "question", "r"):
        assert board.asks(question, words), words
    for words in ("smtp", "ada@example.org 'to'", "approval letter"):
        assert board.asks(approval, words), words
    assert (board.asks(question, "which window"), board.asks({**question, "detail": None}, "door")) == (False, False)


def test_a_run_is_known_by_the_beginning_of_its_id_or_of_its_trace():
    board = Board()
    board.list_runs([row("abc1"), row("abd2")])
    assert [board.named(start) for start in ("trace:ABC", "ab", "", "trace:")] == [["abc1"], ["abc1", "abd2"], [], []]


def test_of_what_the_daemon_says_the_newest_is_kept():
    board = Board()
    for number in range(250):
        board.tell(str(number))
    assert board.events == [str(number) for number in range(50, 250)]


def test_an_approval_among_the_crossings_has_what_was_asked_and_how_it_was_decided(records):
    approval = folded(records).crossings[f"approval {RUN}/send/1/1"]
    asked = next(each["meta"] for each in records if each["kind"] == "approval.requested")
    decided = next(each["meta"] for each in records if each["kind"] == "approval.decided")
    assert approval.asked == {"args": asked["what"], "taint": asked.get("taint")}
    kept = ("decision", "scope", "by", "rationale")
    assert approval.answered == {"result": {name: decided[name] for name in kept if name in decided}}
    assert {"decision", "by"} <= approval.answered["result"].keys()


def test_a_run_is_catching_up_until_the_newest_record_of_the_list_is_there_and_stays_where_its_first_one_stands(waiting):
    run = RunModel(RUN)
    listed(run, row(RUN, last_seq=3, first_event=waiting[0]["event_id"]))
    seen = [run.catching_up]
    for record in waiting[:4]:
        take(run, record)
        seen.append(run.catching_up)
    assert (seen, run.first_event) == ([False, True, True, False, False], waiting[0]["event_id"])


def test_what_waits_for_a_person_is_named_first():
    run = RunModel(RUN, state="running")
    for name, waits in (("a", "model"), ("b", "an answer at a gate"), ("c", "approval of exec.run")):
        run.nodes[name] = NodeState(name, state="running", approvals={name: waits})
        expected = [waits, f"{waits} (+1)", f"{waits} (+2)"][len(run.nodes) - 1]
        assert run.waits_for == expected
    run.nodes["c"].approvals.clear()
    run.nodes["b"] = NodeState("b", state="running", calls={1: "http.fetch", 2: "ask.person"})
    assert run.waits_for == "answer (+1)"


def test_how_long_a_crossing_took_is_what_its_record_says():
    asked = {"name": "model.complete"}
    crossing = Crossing("a", 1, 1, "model.complete", 5, 1_000, asked)
    assert crossing.ms() is None
    crossing.answered, crossing.answered_ms = {"ms": 7}, 1_500
    assert crossing.ms() == 7
    crossing.answered = {}
    assert crossing.ms() == 500
