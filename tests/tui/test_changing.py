"""Pausing, resuming and cancelling in agtop, and what is told while a sheet hides the views."""

import asyncio

import pytest
from textual import events

from runloop.errors import Denied, InvalidInput
from runloop.tui.app import Agtop
from runloop.tui.changing import Change
from runloop.tui.deciding import Decision

RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"
OTHER = "ffff0000-0000-4000-8000-000000000000"


@pytest.fixture
async def screen(feed, desk, words):
    """The screen, keys, what stands on it, and what was said in passing."""

    class Screen:
        async def press(self, *keys):
            for key in keys:
                await self.pilot.press(key)
                await self.settled()

        async def settled(self):
            await self.pilot.pause()
            await self.app.workers.wait_for_complete([worker for worker in self.app.workers if worker.group != "default"])
            while self.app._due is not None:
                await self.pilot.pause(0.02)
            await self.pilot.pause()

        async def happens(self):
            feed.changed()
            await self.settled()

        @property
        def text(self):
            return words.text(self.app)

        @property
        def said(self):
            return " ".join(each.message for each in self.app._notifications)

    made = Screen()
    made.app = Agtop(feed, desk)
    made.app.animation_level = "none"
    async with made.app.run_test(size=(80, 24)) as made.pilot:
        await made.settled()
        yield made


async def test_the_chosen_run_is_paused_and_resumed_at_once(screen, feed):
    await screen.press("p")
    assert (feed.changed_runs, screen.said) == ([Change("pause", RUN)], "run 5a1d4c23 paused")
    await screen.press("6", "r", "enter", "escape", "2", "p")
    assert feed.changed_runs[1:] == [Change("resume", RUN), Change("pause", RUN)]


async def test_a_run_is_cancelled_by_the_word_for_it_and_enter(screen, feed):
    await screen.press("x")
    assert f"cancel run {RUN}" in screen.text
    assert "5a1d4c23 letter" in screen.text
    await screen.press("enter", *"yes", "enter", "x", "enter")
    assert (feed.changed_runs, "'yesx' is no answer to this" in screen.text) == ([], True)
    screen.app.screen.query_one("#decision").value = ""
    await screen.press(*"cancel wrong pier", "enter")
    assert feed.changed_runs == [Change("cancel", RUN, "wrong pier")]
    assert (len(screen.app.screen_stack), screen.said) == (1, "run 5a1d4c23 canceld")


@pytest.mark.parametrize(("keys", "words"), [("/pPxq", "pPxq"), ("g5Pa", "5Pa")])
async def test_letters_that_are_typed_at_once_behind_the_key_for_a_line_are_no_keys(screen, feed, keys, words):
    for key in keys:
        screen.app.post_message(events.Key("slash" if key == "/" else key, key))
    await screen.settled()
    assert (feed.changed_runs, len(screen.app.screen_stack), screen.app._line.value) == ([], 1, words)


async def test_what_is_typed_while_a_sheet_to_decide_on_opens_changes_no_run(screen, feed, monkeypatch):
    fetched = asyncio.Event()
    monkeypatch.setattr(feed, "whole", lambda _value: fetched.wait())
    await screen.press("6", "down")
    await screen.pilot.press("enter", *"pPxr")
    assert (feed.changed_runs, len(screen.app.screen_stack)) == ([], 1)
    fetched.set()
    await screen.settled()
    assert len(screen.app.screen_stack) == 2


async def test_what_was_typed_ahead_cancels_nothing(screen, feed):
    for key in ("x", *"cancel", "enter"):
        screen.app.post_message(events.Key(key, key if len(key) == 1 else None))
    await screen.settled()
    assert feed.changed_runs == []


@pytest.mark.parametrize(("key", "verb"), [("P", "pause"), ("R", "resume")])
async def test_every_run_is_paused_or_resumed_once_it_is_confirmed(screen, feed, records, key, verb):
    for state, beginning in (("running", "aaaa"), ("paused", "bbbb"), ("succeeded", "cccc")):
        row = {"run_id": beginning + OTHER[4:], "opening_name": "other", "state": state, "last_seq": 3}
        screen.app.board.list_runs([row])
    await screen.press("6", key)
    known = [name for name in ("5a1d4c23", "aaaa0000", "bbbb0000", "cccc0000") if name in screen.text]
    assert known == (["5a1d4c23", "aaaa0000", "bbbb0000"] if verb == "pause" else ["bbbb0000"])
    await screen.press(*verb, "enter")
    assert (feed.changed_runs, screen.said) == ([Change(verb)], f"{verb}d: 3 runs")


async def test_of_two_runs_of_an_opening_the_chosen_one_is_meant(screen, feed, records):
    feed.board.take({**records[0], "run_id": OTHER, "event_id": 9_999})
    await screen.happens()
    await screen.press("up", "p", "down", "p")
    assert [each.run_id for each in feed.changed_runs] == [OTHER, RUN]


async def test_a_run_that_has_ended_is_neither_paused_nor_cancelled(screen, feed, records):
    for record in records[18:]:
        feed.board.take(record)
    await screen.happens()
    await screen.press("p", "x")
    assert (feed.changed_runs, len(screen.app.screen_stack)) == ([], 1)
    assert screen.said.count(f"run.ended: run {RUN} has ended: succeeded.") == 2


async def test_where_no_run_is_looked_at_none_is_changed(screen, feed):
    await screen.press("enter", "7", "p", "x")
    assert (feed.changed_runs, len(screen.app.screen_stack)) == ([], 1)
    assert "choose the run to cancel in Runs" in screen.said


async def test_what_the_daemon_refuses_is_said_with_its_code(screen, feed):
    feed.problem = Denied("it is for operators", code="bus.not_allowed", hint="read the token")
    await screen.press("p")
    assert screen.said == "bus.not_allowed: it is for operators. read the token"
    await screen.press("x", *"cancel", "enter")
    assert "it is for operators. read the token" in " ".join(screen.text.split())
    feed.problem = InvalidInput(f"run {RUN} has ended: failed", code="run.ended", hint="look")
    await screen.press("enter")
    assert (len(screen.app.screen_stack), f"run {RUN} has ended: failed" in screen.said) == (1, True)


async def test_commands_have_names_in_the_palette(screen, feed):
    await screen.press("ctrl+p", *"Pause run")
    await screen.app.workers.wait_for_complete()
    await screen.press("enter", "enter")
    assert feed.changed_runs == [Change("pause", RUN)]


@pytest.mark.parametrize("keys", [["question_mark"], ["a"], ["x"], ["4", "enter"], ["w"]])
async def test_on_every_sheet_it_is_said_that_the_daemon_is_gone(screen, feed, keys):
    await screen.press(*keys)
    assert "NOT CONNECTED" not in screen.text
    feed.board.lose("no daemon answers: `rlp up` starts one")
    await screen.happens()
    assert "NOT CONNECTED: no daemon answers: `rlp up` starts one" in " ".join(screen.text.split())
    feed.board.know(link="connected")
    await screen.happens()
    assert "NOT CONNECTED" not in screen.text


@pytest.mark.parametrize("keys", [["a"], ["x"], ["4", "enter"], ["w"]])
async def test_on_a_sheet_about_a_run_it_is_said_that_it_has_ended(screen, feed, records, keys):
    await screen.press(*keys)
    for record in records[18:]:
        feed.board.take(record)
    await screen.happens()
    assert "run 5a1d4c23 has ended meanwhile: succeeded" in screen.text


async def test_who_reads_what_somebody_else_decides_is_told_and_who_decides_is_not(screen, feed):
    await screen.press("a")
    feed.board.ask({"state": "closed", "approval_id": f"{RUN}/colour/1/1"})
    await screen.happens()
    assert "somebody decided it meanwhile" in screen.text
    await screen.press("escape", "a")
    assert "meanwhile" not in screen.text
    await screen.press(*"yes", "enter")
    assert feed.decided == [(f"{RUN}/send/1/1", Decision(approved=True, scope="once", rationale="approved in agtop"))]


async def test_a_view_that_is_held_still_says_that_the_daemon_is_gone_and_what_waits(screen, feed):
    await screen.press("full_stop")
    before = screen.text.splitlines()[1:-2]
    feed.board.list_approvals([*feed.opened, {**feed.opened[0], "approval_id": "third"}])
    feed.board.lose("no daemon answers: `rlp up` starts one")
    await screen.happens()
    status = screen.text.splitlines()[-2]
    assert ("NOT CONNECTED" in status, "3 WAIT FOR YOU" in status, "VIEW PAUSED (.)" in status) == (True, True, True)
    assert screen.text.splitlines()[1:-2] == before


async def test_a_narrow_screen_has_room_to_say_that_the_daemon_is_gone(screen, feed):
    await screen.pilot.resize_terminal(30, 10)
    feed.board.lose("no daemon answers: `rlp up` starts one")
    await screen.happens()
    assert screen.text.splitlines()[-2].startswith(" NOT CONNECTED ")
    await screen.pilot.resize_terminal(80, 24)
    feed.board.lose(
        "the daemon is Runloop 0.2.0 and this program is 0.1.0: use the program that was installed with the daemon, or restart it"
    )
    await screen.happens()
    assert screen.text.splitlines()[-2].endswith("  the daemon is Runloop 0.2.0 and this progr…")


async def test_a_long_option_is_there_whole_and_passes_for_no_other(screen, feed):
    feed.opened[0]["options"] = ["red " * 20 + "2) blue", "green"]
    feed.board.list_approvals(feed.opened)
    await screen.press("a")
    page = [row.plain for row in screen.app.screen.query_one("Panel").page.rows]
    assert "".join(each.strip() for each in page).count("red") == 20
    assert [each[:5] for each in page if each.strip()[:2] in {"1)", "2)"}] == ["  1) ", "  2) "]


@pytest.mark.parametrize("size", [(40, 10), (80, 24)])
@pytest.mark.parametrize("which", ["colour", "send"])
async def test_however_much_may_be_typed_what_it_is_about_can_be_read_and_answered(screen, feed, size, which):
    feed.opened[0]["options"] = [f"the option of the number {number}" for number in range(1, 21)]
    feed.opened[1]["scopes"] = ["once", "run", "opening", "always"]
    feed.board.list_approvals([each for each in feed.opened if each["node"] == which])
    await screen.pilot.resize_terminal(*size)
    await screen.settled()
    await screen.press("a")
    assert screen.app.screen.query_one("Panel").size.height >= size[1] // 3
    assert ("1 to 20" if which == "colour" else "yes") in screen.text
    assert "your decision" in screen.text
