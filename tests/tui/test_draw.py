import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop import __version__
from runloop.errors import InvalidInput
from runloop.text import clean_line, display_width
from runloop.tui.board import SORTS, Board
from runloop.tui.dialogs import failure
from runloop.tui.draw_run import crossing_lines, graph_rows
from runloop.tui.draw_runs import SORT_OF, approvals_page, asked_lines, runs_page
from runloop.tui.model import LOG_LINES, NodeState, RunModel, take
from runloop.tui.page import count, money, paragraphs, size
from runloop.tui.sentences import said
from runloop.tui.sheets import tree_lines
from runloop.tui.views import NAMES, Viewing, page_of, status_text

RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"
ASKED = {
    "type": "approval", "approval_id": f"{RUN}/send/1/1", "run_id": RUN, "node": "send", "agent": "mails", "action": "mail.send",
    "recipients": ["ada@example.org"], "reason": "it leaves", "scopes": ["once"], "taint": ["web"], "asked_ms": 0,
    "what": "To: ada@example.org",
}  # fmt: skip


def board_of(records):
    board = Board()
    for record in records:
        assert board.take(record)
    return board


def texts(page):
    return [row.plain for row in (*page.head, *page.rows)]


def page(board, view, width=80, now_ms=0, **viewing):
    return page_of(board, Viewing(view=view, run_id=RUN, **viewing), width, now_ms)


def test_the_list_of_runs_says_what_each_waits_for(waiting):
    board = board_of(waiting)
    (line,) = [text for text in texts(page(board, "Runs", 120, waiting[-1]["ts_ms"])) if text.startswith("5a1d4c23")]
    assert line.split() == ["5a1d4c23", "letter", "◆", "waiting", "2/4", "1.20s", "approval", "of", "mail.outbox", "(+1)", "0", "–"]


def test_a_run_that_waits_for_a_time_says_how_long_it_still_will(waiting):
    board = board_of(waiting)
    run = board.runs[RUN]
    parked = {
        **waiting[-1],
        "event_id": 99,
        "seq": run.seq + 1,
        "kind": "run.waiting",
        "meta": {"why": "a time", "until_ms": 9_000_000, "owner": "o"},
    }
    run.nodes.clear()
    assert board.take(parked)
    (listed,) = [text for text in texts(page(board, "Runs", 120, 1_000_000)) if text.startswith("5a1d4c23")]
    assert "a time, 2h13m left" in listed
    assert " waits for a time, 2h13m left " in texts(page(board, "Plan", 120, 1_000_000))[0]


def test_a_run_whose_agent_sleeps_says_how_long_it_still_will(waiting):
    board, last = Board(), waiting[0]
    meta = {"node": "a", "attempt": 1, "call": 1, "name": "timer.sleep", "args": {"ms": 9}}
    records = [
        ("run.started", {}), ("node.started", {"node": "a", "attempt": 1}), ("effect.requested", meta),
        ("run.waiting", {"why": "a time", "until_ms": 3_600_000}),
    ]  # fmt: skip
    board.take(last)
    for seq, (kind, more) in enumerate(records, last["seq"] + 1):
        board.take({**last, "seq": seq, "event_id": seq, "kind": kind, "meta": more})
    assert "a time, 55m00s left" in runs_page(board, 99, 300_000).rows[0].plain


def test_a_narrow_inbox_says_what_is_asked_and_a_wide_one_in_which_opening_too(waiting, opened):
    board = Board()
    board.take(waiting[0])
    board.list_approvals(opened)
    shown = {width: approvals_page(board, width, opened[0]["asked_ms"]).rows[0].plain for width in (39, 79, 119)}
    assert {width: [word in text for word in ("letter", "question", " colour ", "Which colour?")] for width, text in shown.items()} == {
        39: [False, False, False, True],
        79: [False, True, True, True],
        119: [True, True, True, True],
    }


def test_where_no_daemon_answers_an_empty_list_says_so_and_not_that_there_are_no_runs(waiting):
    board = Board()
    first = texts(page(board, "Runs"))
    board.lose("no daemon answers: `rlp up` starts one")
    lost = texts(page(board, "Runs"))
    board.list_runs([])
    board.know(status={"state": "ready"}, link="connected")
    there = texts(page(board, "Runs"))
    assert [text[-1] for text in (first, lost, there)] == [
        "nothing is known yet", "no daemon answers: `rlp up` starts one", "no runs yet: `rlp run OPENING` begins one",
    ]  # fmt: skip
    board = board_of(waiting)
    board.lose("no daemon answers: `rlp up` starts one")
    assert "no runs match the filter" in texts(page(board, "Runs", filters={"Runs": "nothing like it"}))[-1]


def test_a_count_of_nodes_is_never_cut(waiting):
    board = board_of(waiting)
    board.runs[RUN].planned = 12_000
    assert " 2/12000 " in next(text for text in texts(page(board, "Runs", 80, waiting[-1]["ts_ms"])) if text.startswith("5a1d4c23"))


def test_a_long_name_of_an_opening_leaves_room_for_the_state(waiting):
    board = board_of([record | {"opening_name": "große Öffnung 長い名前 " * 9} for record in waiting])
    for view in ("Plan", "Time", "Ladder", "Log"):
        assert "◆ waiting" in texts(page(board, view, 80))[0][:80]


def test_the_plan_marks_each_box_of_the_drawing_with_what_its_node_does(waiting):
    shown = texts(page(board_of(waiting), "Plan"))
    assert "│✔contact    │  │✔notes      │  │◆colour    │" in shown
    assert "     │◆send             │" in shown


def test_a_plan_for_ascii_has_no_boxes_of_lines(waiting):
    drawing = "\n".join(texts(page(board_of(waiting), "Plan", ascii_only=True))[7:])
    assert "|✔contact" in drawing  # its signs are changed where it is painted
    assert "│" not in drawing


def test_lanes_stand_where_their_attempts_ran(records):
    rows = {row.plain.split()[0]: row.plain for row in page(board_of(records), "Time").rows}
    assert rows["contact"] == "contact ███"
    assert rows["colour"].startswith("colour  ███████")
    assert rows["send"].startswith("send       █")


def test_the_log_is_filtered_and_cleared(records):
    board = board_of(records)
    assert [row.plain[13:] for row in page(board, "Log", filters={"Log": "reading"}).rows] == [
        "info  contact reading",
        "info  notes reading",
    ]
    assert page(board, "Log", cleared={RUN: 24}).rows[0].plain.endswith("run succeeded")


def test_a_crossing_shows_all_that_crossed(records):
    board = board_of(records)
    shown = "\n".join(row.plain for row in crossing_lines(board.runs[RUN].crossings["send/1/1"], 80))
    assert '"subject": "The pier"' in shown
    assert '"status": "outbox"' in shown


def test_without_measurements_there_are_dashes_and_no_zeros():
    shown = texts(page(Board(), "Metrics"))[1:]
    assert all(text.startswith("──") or text.endswith("–") for text in shown)


def test_measurements_are_shown_with_their_units():
    board = Board()
    board.measure({"ts_ms": 1_000, "gauges": {"rss_total_bytes": 110_010_368, "workers": 2}, "counters": {"msgs_recv_total": 0}})
    board.measure({"ts_ms": 2_000, "gauges": {"rss_total_bytes": 110_010_368, "workers": 2}, "counters": {"msgs_recv_total": 25_000}})
    shown = {text[:16].strip(): text[16:30].strip() for text in texts(page(board, "Metrics"))}
    assert (shown["frames in"], shown["memory"], shown["processes"], shown["dropped"]) == ("25.0k /s", "104.9 MiB", "2", "–")


def test_a_daemon_of_another_version_than_the_installed_one_says_so():
    board = Board()
    board.know(status={"state": "ready", "pid": 7, "version": "0.0.0", "uptime_ms": 1_000, "problems": []}, link="connected")
    assert [f"runloopd 0.0.0: ready, process 7, up 1.00s; {__version__} is installed and" in " ".join(texts(page(board, view)))
            for view in ("Metrics", "Library")] == [True, True]  # fmt: skip
    board.status["version"] = __version__
    assert not [view for view in ("Metrics", "Library") if "is installed" in " ".join(texts(page(board, view)))]


def test_the_library_names_versions_and_what_could_not_be_loaded():
    board = Board()
    error = {
        "code": "opening.unknown_key",
        "message": "no key 'nod'",
        "hint": "did you mean nodes?",
        "where": {"file": "a.yaml", "line": 3},
    }
    board.know(library={"entries": [
        {"what": "agent", "name": "writer", "version": "1.2.0", "digest": "ab" * 32, "error": None},
        {"what": "opening", "name": "bad", "version": None, "digest": None, "error": error},
    ]})  # fmt: skip
    shown = texts(page(board, "Library"))
    assert shown[1].split() == ["agent", "writer", "1.2.0", "abababababab", "loaded"]
    assert shown[2].split() == ["opening", "bad", "–", "–", "broken"]
    assert shown[3:5] == ["  no key 'nod' [opening.unknown_key] at a.yaml:3", "  hint: did you mean nodes?"]


def test_what_is_asked_stands_there_whole_and_harmless():
    what = "To: ada@example.org\n\n" + "word " * 200 + "\x1b[2J\u202eend"
    shown = [row.plain for row in asked_lines({**ASKED, "what": what}, 60)]
    inside = "".join(text[1:] for text in shown if text.startswith("│"))
    assert "".join(inside.split()) == "To:ada@example.org" + "word" * 200 + "\\x1b[2J\\u202eend"
    assert "content from outside: web" in shown


@given(st.text(max_size=400), st.integers(10, 100))
def test_paragraphs_lose_nothing_and_fit(text, width):
    rows = paragraphs(text, width)
    assert all(display_width(row.plain) <= width for row in rows)
    kept = "".join(char for row in rows for piece, _ in row.pieces for char in piece)
    assert all(char in kept for char in text if char.isalnum())


@given(st.integers(20, 220), st.sampled_from(NAMES), st.integers(1, 25), st.booleans())
def test_no_view_is_wider_than_its_screen(records, width, view, known, ascii_only):
    board = board_of(records[:known])
    board.ask({"state": "open", **ASKED})
    shown = page_of(board, Viewing(view=view, run_id=RUN, ascii_only=ascii_only), max(width, 40), records[known - 1]["ts_ms"])
    tables = [*shown.head[1:], *(row for row in shown.rows if row.key is not None and view not in {"Log", "Search"})]
    assert all(display_width(row.plain) <= max(width, 40) for row in tables)


def test_numbers_for_people():
    assert [count(each) for each in (None, 0, 950, 12_345, 4_500_000, 7e9)] == ["–", "0", "950", "12.3k", "4.5M", "7.0G"]
    assert [size(each) for each in (None, 5, 2048, 3 << 20, 5 << 30)] == ["–", "5 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert [money(each) for each in (None, 0.0, 0.01234)] == ["–", "0.0000", "0.0123"]


def test_a_port_that_has_the_name_of_a_node_is_not_marked_as_one():
    source = """version: 0
name: twice
nodes: [{id: draft, use: "agent:a"}, {id: send, use: "agent:b"}]
edges: [{from: draft.out, to: send.draft}]
"""
    run = RunModel(RUN)
    run.source = source
    run.nodes = {name: NodeState(name) for name in ("draft", "send")}

    drawing = [row.plain for row in graph_rows(run, 80)]

    assert [text for text in drawing if "draft ←" in text] == [text for text in drawing if "│ draft ← draft.out" in text] != []


def test_the_plan_of_a_failed_run_says_what_can_be_done(waiting):
    last, error = waiting[-1], {"code": "guest.exception", "message": "KeyError: 'tea'", "hint": "look at agent.py, line 4: {}['tea']"}
    ends = [
        ("node.finished", {"node": "send", "attempt": 1, "status": "error", "error": error}),
        ("run.finished", {"status": "failed", "ms": 5, "reason": "node 'send' failed: KeyError: 'tea'"}),
    ]
    more = [{**last, "seq": last["seq"] + at, "kind": kind, "meta": meta} for at, (kind, meta) in enumerate(ends, start=1)]
    shown = texts(page(board_of([*waiting, *more]), "Plan"))
    at = next(number for number, each in enumerate(shown) if each.startswith("failed: node 'send' failed"))
    assert shown[at + 1].rstrip() == "hint: look at agent.py, line 4: {}['tea']"


def test_an_error_in_a_sheet_is_whole_in_a_narrow_terminal():
    hint = "run it as the daemon's user, who can read the token, and outside of a sandbox"
    rows = failure(InvalidInput("this is not for you", code="tui.operator", hint=hint))(30)
    assert max(len(row.plain) for row in rows) <= 30
    assert " ".join(row.plain.strip() for row in rows) == f"tui.operator: this is not for you {hint}"


EVIL = "\x1b[2J\u202e\x9b日\u200b\n"


def texts_of(value, path=()):
    """Where texts stand in a record."""
    if isinstance(value, str):
        yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from texts_of(each, (*path, key))


def replaced(value, path, change):
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], change)
    return copy


def test_nothing_that_a_record_says_can_drive_the_terminal(records):
    """Whoever made a file of records: any text of it may be anything."""
    kinds = {record["kind"]: at for at, record in enumerate(records)}
    for at in kinds.values():
        for path in texts_of(records[at]):
            if path[0] in {"kind", "run_id"}:
                continue
            told = [replaced(record, path, lambda text: EVIL + text) if number == at else record for number, record in enumerate(records)]
            for view in NAMES:
                for text in texts(page(board_of(told), view)):
                    assert text == clean_line(text), (view, path)


def test_the_id_of_a_run_cannot_drive_the_terminal(records):
    board = board_of([{**record, "run_id": EVIL + record["run_id"]} for record in records])
    viewing = Viewing(run_id=EVIL + RUN)
    for name in NAMES:
        viewing.view = name
        shown = [*texts(page_of(board, viewing, 80, 0)), *(text for text, _ in status_text(board, viewing, "FILE", 200, 0, paused=False))]
        assert shown == [clean_line(text) for text in shown]


def test_of_a_long_log_it_is_said_how_many_lines_are_not_there(records):
    board = board_of(records)
    run, last = board.runs[RUN], records[-1]
    run.state = "running"
    known = len(run.log)
    for number in range(1, LOG_LINES + 3 - known):
        assert take(run, {**last, "seq": last["seq"] + number, "kind": "node.log", "meta": {"node": "send", "text": f"line {number}"}})
    told = f"2 older ones are not kept here: `rlp logs {RUN[:8]}` has them"
    assert page(board, "Log").rows[0].plain == told
    assert said(board, Viewing(view="Log", run_id=RUN), 0)[1] == told
    assert (len(run.log), run.log_gone) == (LOG_LINES, 2)


def test_lanes_are_there_in_the_narrowest_terminal_too(records):
    assert "nothing has begun" not in "".join(texts(page(board_of(records), "Time", 18)))


@pytest.mark.parametrize("width", [79, 119])
@pytest.mark.parametrize("sort", SORTS)
def test_the_order_of_the_runs_can_be_seen(waiting, sort, width):
    for reverse, mark in ((False, "▼"), (True, "▲")):
        head, *_ = texts(page(board_of(waiting), "Runs", width, sort=sort, reverse=reverse))
        heading = next(heading for heading, name in SORT_OF.items() if name == sort)
        assert (f"{heading}{mark}" in head, display_width(head) <= width) == (True, True), head


def test_what_goes_on_in_a_tree_stands_under_its_text():
    tree = ("mail of Ada", "├─ made by a node", "│  └─ in a run of letter", "   by hand")
    told = [row.plain for line in tree for row in tree_lines(line, 14)]
    assert told == ["mail of Ada", "├─ made by a", "│  node", "│  └─ in a", "│     run of", "│     letter", "   by hand"]
