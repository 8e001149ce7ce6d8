"""What a person does with agtop, screen by screen. The screens are kept in tests/data/tui/screens, as text: read them."""

import asyncio
import contextlib
import json

import pytest
from textual import events
from textual.color import Color

from runloop.errors import Denied, InvalidInput, Unavailable
from runloop.text import clean_line, display_width
from runloop.tui import draw_daemon
from runloop.tui.app import Agtop
from runloop.tui.deciding import Decision
from runloop.tui.panel import Panel
from runloop.tui.themes import styles_of
from runloop.tui.views import NAMES

SIZES = {"80x24": (80, 24), "200x60": (200, 60)}
RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"
_SCROLLBAR = " ▁▂▃▄▅▆▇█"


@contextlib.asynccontextmanager
async def at_the_screen(feed, desk, size=(80, 24), **options):
    app = Agtop(feed, desk, **options)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await settled(app, pilot)
        yield app, pilot


async def settled(app, pilot):
    """Everything that was asked for has been carried out and painted."""
    await pilot.pause()
    await app.workers.wait_for_complete([worker for worker in app.workers if worker.group != "default"])
    while app._due is not None:
        await pilot.pause(0.02)
    await pilot.pause()


def said(app):
    """What was said in passing."""
    return " ".join(each.message for each in app._notifications)


async def press(app, pilot, *keys):
    for key in keys:
        await pilot.press(key)
        await settled(app, pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_sees_what_runs_and_looks_into_it(feed, desk, same, size):
    async with at_the_screen(feed, desk, SIZES[size]) as (app, pilot):
        same(app, f"runs-{size}")
        await press(app, pilot, "enter")
        same(app, f"plan-{size}")
        for key, name in (("3", "time"), ("4", "ladder"), ("5", "log"), ("6", "inbox")):
            await press(app, pilot, key)
            same(app, f"{name}-{size}")
        await press(app, pilot, "question_mark")
        same(app, f"help-{size}")


@pytest.mark.parametrize("size", SIZES)
async def test_a_person_watches_the_daemon(feed, desk, same, size, monkeypatch):
    monkeypatch.setattr(draw_daemon, "__version__", "1.0")  # as the daemon's
    async with at_the_screen(feed, desk, SIZES[size]) as (app, pilot):
        for number in range(40):
            counters = {"msgs_recv_total": number**2, "cpu_seconds_total": number / 4, "broker_calls_total": number // 3}
            app.board.measure({"ts_ms": number * 1_000, "gauges": {"workers": 2, "rss_total_bytes": 1 << 27}, "counters": counters})
        error = {"code": "yaml.syntax", "message": "a bracket is not closed", "hint": "close it", "where": {"file": "x.yaml", "line": 3}}
        app.board.know(library={"entries": [
            {"what": "agent", "name": "writer", "version": "1.2.0", "digest": "ab" * 32, "error": None},
            {"what": "opening", "name": "letter", "version": None, "digest": "cd" * 32, "error": error},
        ]})  # fmt: skip
        app.board.tell("opening letter: broken")
        feed.now = 39_000
        await press(app, pilot, "7")
        same(app, f"metrics-{size}")
        await press(app, pilot, "8")
        same(app, f"library-{size}")


async def test_a_person_reads_the_mail_that_would_leave_and_approves_it(feed, desk, same):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        same(app, "asking-80x24")
        await press(app, pilot, *"yes", "enter")
        same(app, "approved-80x24")
    assert feed.decided == [(f"{RUN}/send/1/1", Decision(approved=True, scope="once", rationale="approved in agtop"))]


@pytest.mark.parametrize("name", ["[@click=app.quit]x[/]", "[/]", "[red]", "a\n\u202eb"])
async def test_what_others_called_something_is_no_markup_in_a_title(name, feed, desk):
    feed.records = json.loads(json.dumps(feed.records).replace("ask.person", json.dumps(name)[1:-1]))
    feed.opened[1]["approval_id"] = f"{RUN}/{name}/1/1"
    async with at_the_screen(feed, desk) as (app, pilot):
        for keys in (("6", "down", "enter"), ("escape", "4", "enter")):
            await press(app, pilot, *keys)
            title = app.screen.query_one("#sheet")._border_title
            assert clean_line(name) in title.plain
            assert title.spans == []


async def test_a_large_mail_is_fetched_and_shown_whole(feed, desk, words):
    feed.blobs["ab"] = "first line\n" + "x" * 5_000 + "\nlast line"
    feed.opened[1]["what"] = {"$blob": "ab", "bytes": 5_020}
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        assert "│ first line" in words.text(app)
        for _ in range(12):
            await press(app, pilot, "pagedown")
        assert "│ last line" in words.text(app)
        assert feed.decided == []


async def test_no_key_alone_decides_anything(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        for key in (*"yYnraoq1", "space", "tab"):
            await press(app, pilot, key, "enter")
            app.screen.query_one("#decision").value = ""
        assert (feed.decided, len(app.screen_stack)) == ([], 2)


async def test_what_was_typed_ahead_decides_nothing(feed, desk):
    """Keys that were already there when the content came onto the screen go nowhere."""
    async with at_the_screen(feed, desk) as (app, pilot):
        for key in ("6", "down", "enter", *"yes", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await settled(app, pilot)
        assert feed.decided == []
        await press(app, pilot, "escape")
        assert len(app.board.approvals) == 2


@pytest.mark.parametrize(
    ("keys", "decided"),
    [
        ([*"run", *["backspace"] * 3, *"yes", "enter"], [True]),
        ([*"yes", "home", "delete", "n", "end", "backspace", "backspace", "o", "enter"], [False]),
        ([*"yes", "escape", "enter"], []),
        ([*"no", "enter", *"yes", "enter"], [False]),
        ([*"ye", "enter", "s", "enter"], []),
    ],
)
async def test_keys_that_come_at_once_count_in_the_order_in_which_they_were_typed(feed, desk, keys, decided):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        for key in keys:
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await settled(app, pilot)
    assert [decision.approved for _, decision in feed.decided] == decided
    assert all(decision.scope in {None, "once"} for _, decision in feed.decided)


async def test_a_line_that_broke_off_or_was_wrong_can_be_typed_anew(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter", *"ye", "enter")
        assert "'ye' is no answer to this" in words.text(app)
        await press(app, pilot, "s", "enter")
        assert [decision.approved for _, decision in feed.decided] == [True]
        await press(app, pilot, "1", "slash", *"nothing", "escape", "slash", *"colour", "backspace", "enter")
        assert app.viewing.words == "colou"


async def test_who_opens_what_waits_twice_has_one_sheet_to_decide_it_on(feed, desk, monkeypatch):
    fetched, whole = asyncio.Event(), feed.whole

    async def late(value):
        await fetched.wait()
        return await whole(value)

    monkeypatch.setattr(feed, "whole", late)
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down")
        await pilot.press("enter", "enter", "enter")
        fetched.set()
        await settled(app, pilot)
        assert len(app.screen_stack) == 2


async def test_a_person_answers_a_question_by_its_number(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "a", "2", "enter")
    assert feed.decided == [(f"{RUN}/colour/1/1", Decision(answer="blue"))]


async def test_a_person_asks_for_a_change_in_a_second_line(feed, desk, words):
    feed.opened = [{**feed.opened[0], "options": ["approve", "revise"], "comment_on": ["revise"]}]
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "a", *"revise", "enter")
        assert "What should change?" in words.text(app)
        await press(app, pilot, *"shorter", "enter")
    assert feed.decided == [(f"{RUN}/colour/1/1", Decision(answer="revise", rationale="shorter"))]


async def test_who_is_second_is_told_and_nothing_breaks(feed, desk, words):
    feed.problem = InvalidInput("nothing with that id is open", code="approval.unknown", hint="somebody else may have answered")
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "a", "1", "enter")
        assert len(app.screen_stack) == 1
        assert "somebody else was first" in said(app)


async def test_who_decides_while_the_daemon_hangs_may_leave_and_is_told_what_became_of_it(feed, desk, words, monkeypatch):
    hangs, answer = asyncio.Event(), feed.answer

    async def late(*given):
        await hangs.wait()
        await answer(*given)

    monkeypatch.setattr(feed, "answer", late)
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        await pilot.press(*"yes", "enter")
        await pilot.pause()
        assert "the daemon has not answered yet" in words.text(app)
        await pilot.press("enter")
        await pilot.press("escape")
        await pilot.pause()
        assert (len(app.screen_stack), feed.decided) == (1, [])
        hangs.set()
        await settled(app, pilot)
        assert (len(feed.decided), said(app)) == (1, "approved")


async def test_who_left_a_decision_that_then_fails_is_told(feed, desk, monkeypatch):
    hangs = asyncio.Event()

    async def late(*_given):
        await hangs.wait()
        raise Unavailable("the connection broke", code="bus.disconnected", hint="look at the inbox")

    monkeypatch.setattr(feed, "answer", late)
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        await pilot.press(*"yes", "enter")
        await pilot.press("escape")
        await pilot.pause()
        hangs.set()
        await settled(app, pilot)
        assert said(app) == "not decided: the connection broke. look at the inbox"


async def test_a_daemon_that_hangs_is_said_to_be_silent(feed, desk, words):
    async with at_the_screen(feed, desk, (120, 24)) as (app, pilot):
        app.board.heard_ms = feed.now
        feed.now += 23_000
        app._tick()
        await settled(app, pilot)
        assert "DAEMON SILENT 23.0s" in words.text(app)


async def test_what_is_wrong_with_an_answer_stands_under_it(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "a", "9", "enter")
        assert "'9' is no answer to this. type one of: 1, 2" in words.text(app)


async def test_a_person_filters_holds_and_goes_on(feed, desk, words, records):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "slash", *"nothing", "enter")
        assert "no runs match the filter" in words.text(app)
        assert "FILTER nothing" in words.text(app)
        await press(app, pilot, "slash", "escape")
        assert "5a1d4c23 letter" in words.text(app)
        await press(app, pilot, "full_stop")
        for record in records[18:]:
            app.board.take(record)
        feed.changed()
        await settled(app, pilot)
        assert "PAUSED" in words.text(app)
        assert "succeeded" not in words.text(app)
        await press(app, pilot, "full_stop")
        assert "✔ succeeded" in words.text(app)


async def test_each_view_has_its_own_filter_and_the_ladder_has_one(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "slash", *"state:waiting", "enter", "4")
        assert "FILTER" not in words.text(app)
        assert "ask.person" in words.text(app)
        await press(app, pilot, "slash", *"MAIL", "enter")
        assert "ask.person" not in words.text(app)
        assert "approve mail" in words.text(app)
        await press(app, pilot, "5")
        assert "run started" in words.text(app)
        await press(app, pilot, "7", "slash")
        assert "nothing is filtered here" in said(app)
        await press(app, pilot, "1")
        assert "FILTER state:waiting" in words.text(app)


async def test_of_much_that_waits_a_person_finds_what_is_meant_by_words_of_what_would_leave(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6")
        assert ("Which colour?" in words.text(app), "mail.outbox" in words.text(app)) == (True, True)
        await press(app, pilot, "slash", *"Subject: MAILS", "enter")
        assert ("Which colour?" in words.text(app), "mail.outbox" in words.text(app)) == (False, True)
        await press(app, pilot, "slash", *"no such words", "enter")
        assert "nothing that waits matches the filter" in words.text(app)
        await press(app, pilot, "slash", "escape")
        assert ("Which colour?" in words.text(app), "mail.outbox" in words.text(app)) == (True, True)


async def test_from_a_node_a_person_goes_to_what_it_asked_for(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "enter", "down", "down", "enter")
        assert (app.viewing.view, "ask.person" in words.text(app), "approve mail" in words.text(app)) == ("Ladder", True, False)
        await press(app, pilot, "slash", "escape")
        assert "approve mail" in words.text(app)


async def test_on_a_narrow_screen_what_is_held_filtered_and_waited_for_is_still_said(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "enter", "1", "slash", *"state:waiting opening:letter", "enter", "full_stop")
        status = words.text(app).splitlines()[-2]
        assert status == " LIVE  2 WAIT FOR YOU (a)  VIEW PAUSED (.)  FILTER state:waiting opening:letter"


async def test_from_the_inbox_a_person_looks_into_the_run_that_asks(feed, desk, records, words):
    other = "ffff0000-0000-4000-8000-000000000000"
    feed.records.append({**records[0], "run_id": other})
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "g", *"ffff", "enter", "6", "2")
        assert app.viewing.run_id == RUN
        await press(app, pilot, "6", "w")
        assert desk.asked == [RUN]


async def test_a_long_line_of_the_log_is_there_whole(feed, desk, words, records):
    text = "word " * 40 + "end"
    feed.records.append({**records[17], "seq": 19, "kind": "node.log", "meta": {"node": "send", "text": text}})
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "5")
        shown = words.text(app)
        assert (shown.count("word"), "                   word word" in shown, "word end" in shown) == (40, True, True)


async def test_a_run_that_is_not_there_yet_is_said_to_be_missing(feed, desk):
    async with at_the_screen(feed, desk, run="zz") as (app, _):
        assert "no run begins with zz yet" in said(app)


async def test_a_person_jumps_to_a_run_and_is_told_when_there_is_none(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "g", *"zz", "enter")
        assert "no runs begin with zz" in said(app)
        await press(app, pilot, "g", *"5a1d", "enter")
        assert (app.viewing.view, app.viewing.run_id, feed.known[-1]) == ("Plan", RUN, RUN)


async def test_agtop_begins_with_the_run_that_was_named(feed, desk):
    async with at_the_screen(feed, desk, run="5a1d") as (app, _):
        assert (app.viewing.view, app.viewing.run_id) == ("Plan", RUN)


@pytest.mark.parametrize("begins", [None, "5a1d"])
async def test_the_run_that_is_named_is_shown_whichever_is_chosen_in_the_list(feed, desk, words, records, begins):
    feed.records.append({**records[0], "run_id": "ffff0000-0000-4000-8000-000000000000", "event_id": 9_999})
    async with at_the_screen(feed, desk, run=begins) as (app, pilot):
        if begins is None:
            await press(app, pilot, "g", *"5a1d", "enter")
        assert (app.viewing.view, app.viewing.run_id) == ("Plan", RUN)


async def test_a_person_opens_a_crossing_and_copies_it(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "4", "enter")
        assert '"question": "Which colour?"' in words.text(app)
        await press(app, pilot, "c")
        assert "Which colour?" in app.clipboard
        await press(app, pilot, "escape", "1", "c")
        assert app.clipboard == RUN


async def test_a_person_searches_and_asks_why(feed, desk, words, same):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "9", *"pier", "enter")
        same(app, "search-80x24")
        await press(app, pilot, "enter")
        assert "approved by operator" in words.text(app)
        await press(app, pilot, "escape", "1", "w")
        assert desk.asked == ["pier", "event:24", RUN]


async def test_a_failing_why_is_an_error_on_a_sheet(feed, desk, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        await app._show_why("nothing")
        await settled(app, pilot)
        assert "kb.unknown_entity: nothing is called so" in words.text(app)


async def test_keys_of_the_views_go_round(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        seen = []
        for _ in range(8):
            await press(app, pilot, "tab")
            seen.append(app.viewing.view)
        assert seen == ["Plan", "Time", "Ladder", "Log", "Inbox", "Metrics", "Library", "Search"]
        await press(app, pilot, "escape", "escape", "shift+tab", "escape")
        assert app.viewing.view == "Search"
        await press(app, pilot, "escape")
        assert app.viewing.view == "Runs"


async def test_the_log_is_cleared_and_goes_on(feed, desk, words, records):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "5", "exclamation_mark")
        assert "nothing was said" in words.text(app)
        app.board.take(records[18])
        feed.changed()
        await settled(app, pilot)
        assert "ask.person answered" in words.text(app)


async def test_the_mouse_goes_to_views_sorts_and_opens(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await pilot.click("#body", offset=(11, 0))
        assert (app.viewing.sort, app.viewing.reverse) == ("opening", False)
        await pilot.click("#body", offset=(11, 0))
        assert app.viewing.reverse is True
        await pilot.click("#body", offset=(11, 1), times=2)
        await settled(app, pilot)
        assert app.viewing.view == "Plan"
        await pilot.click("#tabs", offset=(2, 0))
        await settled(app, pilot)
        assert app.viewing.view == "Runs"


async def test_where_the_names_of_the_views_do_not_fit_all_views_are_still_there(feed, desk):
    async with at_the_screen(feed, desk, size=(40, 20)) as (app, pilot):
        await press(app, pilot, "2")
        bars = [str(bar.render()) for bar in (app._tabs, app._hints)]
        assert bars == [" 1[2 Plan] 3 4 5 6(2) 7 8 9", "Enter open  a approve  ? help  q leave"]
        await pilot.click("#tabs", offset=(24, 0))
        await settled(app, pilot)
        assert app.viewing.view == "Library"


async def test_what_a_key_does_is_not_cut_in_a_narrow_terminal(feed, desk, words):
    async with at_the_screen(feed, desk, size=(40, 20)) as (app, pilot):
        await press(app, pilot, "?")
        assert "open the chosen run, node," in words.text(app)


async def test_a_screen_that_becomes_wide_enough_names_all_views(feed, desk):
    async with at_the_screen(feed, desk, size=(40, 20)) as (app, pilot):
        await pilot.resize_terminal(80, 20)
        await settled(app, pilot)
        assert str(app._tabs.render()) == "[1 Runs] 2 Plan 3 Time 4 Ladder 5 Log 6 Inbox(2) 7 Metrics 8 Library 9 Search"


async def test_orders_and_themes_go_round(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "s", "S", "t")
        assert (app.viewing.sort, app.viewing.reverse, app.theme) == ("state", True, "dark")


async def test_every_command_has_a_name_in_the_palette(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "ctrl+p", *"inbox")
        await app.workers.wait_for_complete()
        await press(app, pilot, "enter", "enter")
        assert app.viewing.view == "Inbox"


@pytest.mark.parametrize("theme", ["mono", "dark", "light", "contrast"])
async def test_every_theme_tells_states_by_marks_too(feed, desk, words, theme):
    async with at_the_screen(feed, desk, theme=theme) as (app, _):
        assert "◆ waiting" in words.text(app)


@pytest.mark.parametrize("theme", ["mono", "dark", "light", "contrast"])
async def test_an_error_under_an_answer_looks_as_every_error_does(feed, desk, theme):
    async with at_the_screen(feed, desk, theme=theme) as (app, pilot):
        await press(app, pilot, "a", "x", "enter")
        shown, wanted = app.screen.query_one("#problem").styles.color, Color.parse(styles_of(theme)["error"].color.name)
        assert max(abs(one - other) for one, other in zip(shown.rgb, wanted.rgb, strict=True)) <= 2, "but for how Textual rounds"


async def test_without_colour_the_same_is_said(feed, desk, same, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with at_the_screen(feed, desk, (80, 24)) as (app, _):
        same(app, "runs-80x24")
        shown = [
            filtered
            for strip in app.screen._compositor.render_strips()
            for filtered in strip.apply_filter(app._filters[-1], Color(0, 0, 0))
        ]
        assert {each.style.color.is_default and each.style.bgcolor.is_default for each in shown} == {True}
        assert any(each.style.reverse and "letter" in each.text for each in shown)


async def test_a_terminal_without_unicode_shows_the_same_in_ascii(feed, desk, words):
    async with at_the_screen(feed, desk, ascii_only=True) as (app, pilot):
        await press(app, pilot, "enter")
        assert words.text(app).isascii()
        assert "|*send" in words.text(app)


@pytest.mark.parametrize(
    ("encoding", "written"), [("ascii", "\\u65e5 \\xe9 \\u2192"), ("latin-1", "\\u65e5 é \\u2192"), ("utf-8", "日 é \\u2192")]
)
async def test_in_a_terminal_without_unicode_what_would_leave_is_there_whole_and_exact(feed, desk, words, encoding, written):
    """What a terminal lacks would be as long as its escape there, and the end of the line beyond the edge."""
    text = "and so on: " + "日" * 90 + " to the end"
    feed.opened[1] |= {"what": f"To: ada@example.org\n日 é →\n{text}"}
    async with at_the_screen(feed, desk, ascii_only=True, encoding=encoding) as (app, pilot):
        await press(app, pilot, "question_mark")
        assert words.text(app).isascii()
        await press(app, pilot, "escape", "6", "down", "enter")
        shown = words.text(app)
        assert ("+- exactly this ---" in shown, f"| {written} " in shown) == (True, True)
        shown.encode(encoding)
        told = "".join(row.plain[2:] for row in app.screen.query_one(Panel).page.rows if row.plain.startswith("│ "))
        assert "".join(told.split()).endswith("".join((text if encoding == "utf-8" else text.replace("日", "\\u65e5")).split()))
        await press(app, pilot, *"yes", "enter")
        assert [approval_id for approval_id, _ in feed.decided] == [feed.opened[1]["approval_id"]]


async def test_a_screen_of_twenty_columns_and_one_that_changes_still_show_something(feed, desk, words):
    async with at_the_screen(feed, desk, (20, 6)) as (app, pilot):
        await pilot.resize_terminal(200, 60)
        await settled(app, pilot)
        assert "approval of mail.outbox (+1)" in words.text(app)


async def test_the_choice_stays_with_its_run_when_others_come(feed, desk, records, words):
    async with at_the_screen(feed, desk) as (app, pilot):
        app.board.take({**records[0], "run_id": "ffff0000-0000-4000-8000-000000000000", "event_id": 9_999})
        feed.changed()
        await settled(app, pilot)
        body = app.query_one("#body")
        assert ([row.key[:4] for row in body.page.rows], body.key) == (["ffff", "5a1d"], RUN)
        await press(app, pilot, "up", "enter")
        assert app.viewing.run_id.startswith("ffff")


async def test_only_lines_that_changed_are_painted(feed, desk, records):
    async with at_the_screen(feed, desk) as (app, pilot):
        for number in range(20):
            app.board.take({**records[0], "run_id": f"{number:08}-0000-4000-8000-000000000000", "ts_ms": 5 + number})
        feed.changed()
        await settled(app, pilot)
        body = app.query_one("#body")
        painted = []
        refresh = body.refresh
        body.refresh = lambda *regions, **more: (painted.extend(regions), refresh(*regions, **more))[1]
        app.board.take({**records[1], "run_id": "00000003-0000-4000-8000-000000000000", "ts_ms": feed.now})
        feed.changed()
        await settled(app, pilot)
        assert [region.height for region in painted] == [1]


async def test_a_daemon_that_refuses_ends_agtop_with_its_error(desk):
    class Refusing:
        mode = "LIVE"

        def now_ms(self):
            return 0

        async def fill(self, board, changed):
            raise Denied("for operators", code="tui.operator", hint="read the token")

    app = Agtop(Refusing(), desk)
    async with app.run_test() as pilot:
        await pilot.pause()
        await asyncio.sleep(0)
    assert app.return_value.code == "tui.operator"


async def test_leaving_is_one_key(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
        assert app._exit


async def test_in_the_smallest_terminal_what_would_leave_is_whole_and_the_line_to_decide_it_with_is_there(feed, desk, words):
    async with at_the_screen(feed, desk, size=(20, 5)) as (app, pilot):
        await press(app, pilot, "6", "down", "enter")
        assert "your decision" in words.text(app)
        panel = app.screen.query_one(Panel)
        told = [row.plain for row in panel.page.rows if row.plain.startswith("│ ")]
        assert "".join(text.removeprefix("│").replace(" ", "") for text in told) == feed.opened[1]["what"].replace(" ", "").replace(
            "\n", ""
        )
        assert max(display_width(text) for text in told) < panel.size.width
        await press(app, pilot, *"yse", "enter")
        assert ("'yse' is no" in words.text(app), feed.decided) == (True, [])


async def test_what_has_no_room_is_not_cut_without_a_sign(feed, desk, words):
    async with at_the_screen(feed, desk, size=(20, 12)) as (app, pilot):
        for number, name in enumerate(NAMES, start=1):
            await press(app, pilot, str(number), *(["escape"] if name == "Search" else []))
            tabs, *rows = words.text(app).split("\n")[:-3]
            assert f"[{number} {name}" in tabs
            assert [text for text in rows if display_width(text.rstrip(_SCROLLBAR)) >= 20 and not text.endswith("…")] == []


async def test_a_question_without_options_is_never_said_to_have_one(feed, desk, words):
    feed.opened[0] |= {"options": []}
    async with at_the_screen(feed, desk, size=(24, 7)) as (app, pilot):
        await press(app, pilot, "6", "enter")
        assert ("any text" in words.text(app), "option above" in words.text(app)) == (True, False)


@pytest.mark.parametrize("opened_by", ["question_mark", "a", "x", "slash"])
async def test_who_wants_to_leave_at_once_leaves_from_everywhere(feed, desk, opened_by):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, opened_by)
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert (app._exit, feed.decided, feed.changed_runs) == (True, [], [])


async def test_the_end_of_a_long_mail_is_one_key_away_and_so_is_its_beginning(feed, desk, words):
    feed.opened[1]["what"] = "first line\n" + "between\n" * 5_000 + "last line"
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "6", "down", "enter", "ctrl+end")
        assert "│ last line" in words.text(app)
        await press(app, pilot, "ctrl+home")
        assert ("│ first line" in words.text(app), feed.decided) == (True, [])


async def test_what_is_scrolled_away_is_not_what_keys_are_for(feed, desk, records):
    feed.records += [{**records[0], "run_id": f"ffff{at:04}-0000-4000-8000-000000000000", "event_id": 9_000 + at} for at in range(60)]
    async with at_the_screen(feed, desk) as (app, pilot):
        panel, ids = app._body, [row.key for row in app._body.page.rows]
        assert panel.key == ids[0]
        for key, seen in (("pagedown", 19), ("end", 60), ("pageup", 41), ("home", 0)):
            await press(app, pilot, key)
            assert (panel.key in ids[panel.scroll_offset.y :][:20], ids.index(panel.key)) == (True, seen), key
        await press(app, pilot, "pagedown", "p")
        assert [change.run_id for change in feed.changed_runs] == [ids[19]]
        await pilot._post_mouse_events([events.MouseScrollDown] * 12, "#body")
        await settled(app, pilot)
        assert panel.key in ids[panel.scroll_offset.y :][:20]


async def test_one_row_is_chosen_and_seen_to_be(feed, desk):
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "2", "down")
        strips = app.screen._compositor.render_strips()
        chosen = ["".join(segment.text for segment in strip) for strip in strips if all(part.style.reverse for part in strip if part.text)]
        assert [text.split()[0] for text in chosen] == ["notes"]


async def test_in_the_log_the_arrows_read_and_choose_nothing(feed, desk, records):
    async with at_the_screen(feed, desk, size=(80, 12)) as (app, pilot):
        await press(app, pilot, "5")
        end = app._body.scroll_offset.y
        await press(app, pilot, "up", "k", "down")
        assert (app._body.scroll_offset.y, app._body.key) == (end - 1, None)
        app.board.take(records[len(feed.records)])
        feed.changed()
        await settled(app, pilot)
        assert app._body.scroll_offset.y == end - 1, "who reads is not moved"
        await press(app, pilot, "end")
        end = app._body.scroll_offset.y
        app.board.take(records[len(feed.records) + 1])
        feed.changed()
        await settled(app, pilot)
        assert app._body.scroll_offset.y == end + 1, "who is at the end follows"


@pytest.fixture
def many(feed, records):
    """Sixty more runs, older ones below."""
    feed.records += [{**records[0], "run_id": f"ffff{at:04}-0000-4000-8000-000000000000", "event_id": 9_000 + at} for at in range(60)]
    return feed


async def test_who_goes_on_to_rows_beyond_the_screen_sees_them(many, desk):
    async with at_the_screen(many, desk) as (app, pilot):
        panel, ids = app._body, [row.key for row in app._body.page.rows]
        await press(app, pilot, *["down"] * 19)
        assert (panel.scroll_offset.y, panel.key) == (0, ids[19])
        await press(app, pilot, "j", "j")
        assert (panel.scroll_offset.y, panel.key) == (2, ids[21])
        await press(app, pilot, *["up"] * 20)
        assert (panel.scroll_offset.y, panel.key) == (1, ids[1])
        await press(app, pilot, "k", "k", "k")
        assert (panel.scroll_offset.y, panel.key) == (0, ids[0])
        await press(app, pilot, "end", "down")
        assert (panel.scroll_offset.y, panel.key) == (41, ids[60])


async def test_where_the_chosen_run_goes_the_one_at_its_place_is_chosen(many, desk):
    async with at_the_screen(many, desk) as (app, pilot):
        panel, ids = app._body, [row.key for row in app._body.page.rows]
        await press(app, pilot, *["down"] * 5)
        del app.board.runs[ids[5]]
        many.changed()
        await settled(app, pilot)
        assert panel.key == ids[6]


async def test_below_the_last_node_the_arrows_read_the_drawing_and_a_click_there_chooses_nothing(feed, desk, words):
    async with at_the_screen(feed, desk, size=(80, 12)) as (app, pilot):
        await press(app, pilot, "2", *["down"] * 3)
        assert (app._body.key, app._body.scroll_offset.y) == ("send", 0)
        await press(app, pilot, "down")
        assert (app._body.key, app._body.scroll_offset.y) == ("send", 1)
        await pilot.click("#body", offset=(5, 6))
        await settled(app, pilot)
        assert (app._body.key, app.viewing.view) == ("send", "Plan")


async def test_what_is_said_in_passing_is_no_markup_and_drives_nothing(feed, desk):
    name = "[on red]\x1b[2J\u202e"
    feed.records, feed.opened = [{**record, "run_id": name + record["run_id"]} for record in feed.records], []
    async with at_the_screen(feed, desk) as (app, pilot):
        await press(app, pilot, "c")
        assert said(app) == f"copied {clean_line(name)}{RUN}"
        assert [each.markup for each in app._notifications] == [False]
