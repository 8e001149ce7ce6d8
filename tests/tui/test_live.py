"""Against a real daemon: what it publishes, what is missing, what is decided, and a daemon that goes away and comes back."""

import asyncio
import contextlib
import re
import signal
import subprocess
import sys

import pytest

from runloop.errors import Denied, InvalidInput, Unavailable
from runloop.kb import Ledger
from runloop.tui.board import Board
from runloop.tui.changing import Change
from runloop.tui.deciding import Decision
from runloop.tui.live import LiveFeed, told
from runloop.tui.model import ENDED
from runloop.tui.ports import sought


@contextlib.asynccontextmanager
async def filled(daemon, mask=lambda value: value, **options):
    """A board that is being filled, and what waits until something is so."""
    feed, board, changes = LiveFeed(lambda: daemon.connection(**options), mask), Board(), asyncio.Condition()

    async def wake():
        async with changes:
            changes.notify_all()

    tasks = set()

    def changed():
        task = asyncio.ensure_future(wake())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def until(so):
        async with asyncio.timeout(60), changes:
            await changes.wait_for(so)

    filling = asyncio.create_task(feed.fill(board, changed))
    try:
        yield feed, board, until
    finally:
        filling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await filling


def open_of(board, run):
    """The ids of what waits in a run."""
    return [approval_id for approval_id, each in board.approvals.items() if each["run_id"] == run.id]


async def test_runs_that_went_on_before_and_runs_that_begin_are_both_whole(shared):
    async with shared.client() as link:
        before = await link.client.submit("asks", patient=True)
        async with filled(shared) as (feed, board, until):
            await until(lambda: before.id in board.runs and board.runs[before.id].waits_for == "answer" and open_of(board, before))
            after = await link.client.submit("done")
            await until(lambda: after.id in board.runs and board.runs[after.id].state == "succeeded")
            assert [line.seq for line in board.runs[before.id].log] == list(range(1, board.runs[before.id].seq + 1))
            assert [line.seq for line in board.runs[after.id].log] == list(range(1, board.runs[after.id].seq + 1))
            await feed.answer(open_of(board, before)[0], Decision(answer="blue"))
            await until(lambda: board.runs[before.id].state == "succeeded" and not open_of(board, before))
            assert board.runs[before.id].nodes["a"].outputs == {"out": [{"answer": "blue", "by": "operator"}]}


async def test_a_run_without_an_end_is_listed_however_many_came_after_it_and_an_older_one_is_found_by_name(shared, monkeypatch):
    monkeypatch.setattr("runloop.tui.live.LISTED", 2)
    async with shared.client() as link:
        old = await link.client.submit("done")
        await old.result()
        waits = await link.client.submit("asks", patient=True)
        for _ in range(2):
            await (await link.client.submit("done")).result()
        async with filled(shared) as (feed, board, until):
            await until(lambda: waits.id in board.runs and open_of(board, waits))
            assert (old.id in board.runs, board.older, board.runs[waits.id] in board.active()) == (False, True, True)
            assert await sought(board, feed, old.id[:8]) == [old.id]
            assert (board.runs[old.id].opening, board.runs[old.id].state) == ("done", "succeeded")
            assert await sought(board, feed, "zz") == []
            await feed.answer(open_of(board, waits)[0], Decision(answer="blue"))


async def test_an_ended_run_is_fetched_when_somebody_looks_at_it(shared):
    async with shared.client() as link:
        run = await link.client.submit("done")
        await run.result()
        async with filled(shared) as (feed, board, until):
            await until(lambda: run.id in board.runs)
            assert (board.runs[run.id].state, board.runs[run.id].seq) == ("succeeded", 0)
            await asyncio.gather(feed.know(run.id), feed.know(run.id))  # by two views at once, as a screen and its start
            assert board.runs[run.id].seq == board.runs[run.id].log[-1].seq > 0


async def test_the_daemon_is_measured_and_its_library_known(asking):
    async with filled(asking) as (_, board, until):
        await until(lambda: board.series.gauge("ledger_bytes") and board.library)
        entries = {(each["what"], each["name"]): each for each in board.library["entries"]}
        assert (entries["agent", "done"]["version"], entries["agent", "done"]["error"]) == ("1.0.0", None)
        asking.opening("done", "version: 0\nname: done\nnodes: [\n")
        await until(lambda: any("opening done: broken" in text for text in board.events))
        await until(lambda: any(each["error"] for each in board.library["entries"]))


async def test_a_daemon_that_is_killed_and_comes_back_costs_no_record(asking):
    async with filled(asking) as (feed, board, until):
        async with asking.client() as link:
            run = await link.client.submit("asks", patient=True)
            await until(lambda: bool(board.approvals))
        asking.stop(signal.SIGKILL)
        await until(lambda: not board.status)
        asking.start()
        await until(lambda: bool(board.status) and bool(board.approvals))
        await feed.answer(next(iter(board.approvals)), Decision(answer="red"))
        await until(lambda: board.runs[run.id].state in ENDED)
        assert (board.runs[run.id].state, [line.seq for line in board.runs[run.id].log]) == (
            "succeeded", list(range(1, board.runs[run.id].seq + 1)),
        )  # fmt: skip


async def test_what_is_shown_is_masked_and_what_is_approved_is_not(shared):
    async with shared.client() as link:
        run = await link.client.submit("asks", patient=True)
        async with filled(shared, lambda value: {**value, "message": "masked"} if isinstance(value, dict) else value) as (_, board, until):
            await until(lambda: open_of(board, run) and board.runs[run.id].seq > 3)
            assert {line.text for line in board.runs[run.id].log} <= {"masked", "before"}
            assert board.approvals[open_of(board, run)[0]]["question"] == "Which colour?"


async def test_who_is_no_operator_is_told_why(shared):
    feed = LiveFeed(lambda: shared.connection(role="client"), lambda value: value)
    with pytest.raises(Denied) as caught:
        await feed.fill(Board(), lambda: None)
    assert caught.value.code == "tui.operator"


async def test_without_a_daemon_it_says_so_and_waits(daemon):
    async with filled(daemon) as (_, board, until):
        await until(lambda: "rlp up" in board.link)


def test_what_the_daemon_says_becomes_a_line():
    error = {"code": "x.y", "message": "m"}
    assert told({"what": "agent", "name": "a", "state": "broken", "error": error}) == "agent a: broken: m [x.y]"
    assert told({"state": "draining"}) == "the daemon is draining"
    assert told({"topic": "t", "dropped": 3}) == "topic=t dropped=3"


async def test_a_client_without_the_token_does_not_learn_what_is_loaded(shared):
    async with shared.client("client") as link:
        assert (await link.refused("library"))["code"] == "daemon.needs_operator"


async def test_the_past_has_the_runs_of_then_and_nothing_of_it_can_be_decided(asking):
    async with asking.client() as link:
        run = await link.client.submit("asks", patient=True)
        async with filled(asking) as (_, board, until):
            await until(lambda: bool(board.approvals) and run.id in board.runs and board.run(run.id).state == "waiting")
        with Ledger.open(asking.state / "pog" / "events.sqlite", writable=False) as ledger:
            then = ledger.head().id
        await link.ask("cancel", run=run.id)
    command = [sys.executable, "-P", "-m", "runloop.cli.agtop", "--plain", "--at", str(then)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=asking.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"as it was at .*, event {then}", done.stdout)
    assert f"asks {run.id[:8]} waiting, waits for answer" in done.stdout


async def test_runs_are_paused_resumed_and_cancelled_one_and_all(asking):
    async with asking.client() as link, filled(asking) as (feed, board, until):
        one, other = [await link.client.submit("asks", patient=True) for _ in range(2)]
        await until(lambda: open_of(board, one) and open_of(board, other))
        assert await feed.change(Change("pause", one.id)) == f"run {one.id[:8]} paused"
        await until(lambda: board.runs[one.id].state == "paused")
        assert (board.runs[one.id].why, board.runs[other.id].shown_state) == ("paused in agtop", "waiting")
        assert await feed.change(Change("pause", reason="lunch")) == "paused: 2 runs"
        await until(lambda: board.runs[other.id].why == "lunch")
        assert await feed.change(Change("resume")) == "resumed: 2 runs"
        await until(lambda: "paused" not in {board.runs[each.id].state for each in (one, other)})
        assert await feed.change(Change("cancel", one.id, "wrong one")) == f"run {one.id[:8]} cancelling"
        await until(lambda: board.runs[one.id].state == "cancelled")
        assert (board.runs[one.id].why, board.runs[other.id].state in ENDED) == ("wrong one", False)
        assert await feed.change(Change("cancel", one.id)) == f"run {one.id[:8]} cancelled"
        with pytest.raises(InvalidInput) as caught:
            await feed.change(Change("pause", one.id))
        assert caught.value.code == "run.ended"


async def test_nothing_is_changed_where_no_daemon_is():
    with pytest.raises(Unavailable) as caught:
        await LiveFeed(lambda: None).change(Change("pause", "x"))
    assert caught.value.code == "daemon.unavailable"


async def test_who_wants_something_while_there_is_no_connection_is_told_why():
    class OtherVersion:
        async def __aenter__(self):
            raise Unavailable("the daemon is another version", code="daemon.version", hint="restart it")

        async def __aexit__(self, *_error):
            raise AssertionError

    feed, changed = LiveFeed(OtherVersion), asyncio.Event()
    filling = asyncio.create_task(feed.fill(Board(), changed.set))
    await changed.wait()
    with pytest.raises(Unavailable) as caught:
        await feed.change(Change("pause", "x"))
    assert (caught.value.code, caught.value.hint) == ("daemon.version", "restart it")
    filling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await filling
