import asyncio
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.cli.output import record_line
from runloop.errors import Denied, InvalidInput
from runloop.tui.board import Board
from runloop.tui.deciding import Decision
from runloop.tui.recorded import PastFeed, StreamFeed, read_record


def ndjson(records):
    return "".join(record_line(record) + "\n" for record in records).encode()


def line_of(**more):
    """A third record of a run, with something else in it."""
    record = {
        "v": 1,
        "seq": 3,
        "ts_ms": 5,
        "run_id": "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd",
        "opening_name": "letter",
        "parent_run_id": None,
    }
    return ndjson([{**record, "kind": "node.log", "level": "info", "message": "hello", "meta": {}, "event_id": 3, **more}]).rstrip()


async def filled(feed):
    board = Board()
    await feed.fill(board, lambda: None)
    return board


async def test_a_file_is_shown_to_its_end_and_as_of_its_last_record(records):
    feed = StreamFeed(io.BytesIO(ndjson(records)), "letter.ndjson")
    board = await filled(feed)
    (run,) = board.runs.values()
    assert (run.state, board.approvals, feed.now_ms()) == ("succeeded", {}, records[-1]["ts_ms"])


async def test_what_was_open_when_a_file_ends_is_in_the_inbox(waiting):
    board = await filled(StreamFeed(io.BytesIO(ndjson(waiting)), "x"))
    question, asked = board.approvals.values()
    assert (asked["agent"], asked["action"], asked["scopes"]) == ("mails", "mail.outbox", [])
    assert (question["approval_id"], question["agent"]) == (f"{waiting[0]['run_id']}/colour/1/1", "ask")
    assert (question["question"], question["options"]) == ("Which colour?", ["red", "blue"])


async def test_a_question_that_was_answered_when_a_file_ends_is_not_open(records):
    answered = [each for each in records if each["seq"] <= 19]
    board = await filled(StreamFeed(io.BytesIO(ndjson(answered)), "x"))
    assert [each["type"] for each in board.approvals.values()] == ["approval"]


@pytest.mark.parametrize("named", ["send/1/1/outcome/1", "send/gate/1/1"])
async def test_a_question_that_was_open_when_a_file_ends_is_no_approval(waiting, named):
    meta = {"approval_id": f"run/{named}", "options": ["it happened", "give up"]}
    records = [{**each, "meta": {**each["meta"], **meta}} if each["kind"] == "approval.requested" else each for each in waiting]
    _, shown = (await filled(StreamFeed(io.BytesIO(ndjson(records)), "x"))).approvals.values()
    assert (shown["type"], shown["options"], "The pier" in shown["question"]) == ("question", ["it happened", "give up"], True)


async def test_a_file_may_begin_in_the_middle_of_a_run(records):
    board = await filled(StreamFeed(io.BytesIO(ndjson(records[9:])), "x"))
    (run,) = board.runs.values()
    assert (run.state, run.seq, [line.seq for line in run.log]) == ("succeeded", 25, list(range(10, 26)))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "no run record"),
        (b'{"v": 2}', "no run record"),
        (b'{"v": 1, "meta": {}}', "it lacks seq, ts_ms"),
        (line_of(seq="1", level=None), "of another type than in a record: seq, level"),
        (line_of(meta=[]), "of another type than in a record: meta"),
        (line_of(kind="effect.requested", meta={"node": "a"}), "its meta is none of effect.requested"),
        (line_of(kind="node.finished", meta={"node": "a", "error": 5}), "its meta is none of node.finished"),
    ],
)
async def test_a_line_that_is_no_record_is_named(records, line, why):
    data = ndjson(records[:2]) + line + b"\n"
    with pytest.raises(InvalidInput) as caught:
        await filled(StreamFeed(io.BytesIO(data), "bad.ndjson"))
    error = caught.value
    assert (error.code, error.where.file, error.where.line) == ("tui.input", "bad.ndjson", 3)
    assert why in error.message


@given(st.binary(max_size=200))
def test_whatever_a_line_is_it_is_a_record_or_our_error(line):
    try:
        read_record(line, 1, "x")
    except InvalidInput as error:
        assert error.code == "tui.input"  # noqa: PT017


async def test_nothing_is_decided_in_what_is_over(waiting):
    with pytest.raises(Denied) as caught:
        await StreamFeed(io.BytesIO(b""), "x").answer("id", Decision(approved=True))
    assert caught.value.code == "tui.recorded"


async def test_the_past_has_the_runs_and_what_was_open_then(waiting):
    row = {"run_id": waiting[0]["run_id"], "opening_name": "letter", "state": "waiting", "submitted_ms": 1}
    for older in (False, True):
        feed = PastFeed([row], lambda _run_id: waiting, waiting[-1]["ts_ms"], "as it was", older=older)
        board = await filled(feed)
        assert (board.link, len(board.approvals), board.run(row["run_id"]).seq, board.older) == ("as it was", 2, 18, older)


async def test_masks_come_before_everything_that_is_shown(waiting):
    feed = StreamFeed(io.BytesIO(ndjson(waiting)), "x", mask=lambda record: {**record, "opening_name": "masked"})
    (run,) = (await filled(feed)).runs.values()
    assert run.opening == "masked"


async def test_a_line_of_a_pipe_is_shown_before_the_next_one_comes(waiting):
    reading, writing = os.pipe()
    lines = ndjson(waiting).splitlines(keepends=True)
    board, came = Board(), asyncio.Event()
    with os.fdopen(reading, "rb") as stream:
        filling = asyncio.create_task(StreamFeed(stream, "a pipe").fill(board, came.set))
        for number, line in enumerate(lines[:4], start=1):
            os.write(writing, line[:40])
            os.write(writing, line[40:])
            async with asyncio.timeout(30):
                while not board.runs or board.run(waiting[0]["run_id"]).seq < number:
                    came.clear()
                    await came.wait()
        os.write(writing, lines[4].rstrip())
        os.close(writing)
        await filling
    assert (board.run(waiting[0]["run_id"]).seq, board.link) == (5, "a pipe: 5 lines, to the end")


@pytest.mark.parametrize("more", [{"refused": True}, {"args": {"question": None}}, {"args": {"question": 5, "options": [None]}}])
async def test_what_no_person_was_asked_is_not_open(waiting, more):
    records = [{**each, "meta": {**each["meta"], **more}} if each["kind"] == "effect.requested" else each for each in waiting]
    board = await filled(StreamFeed(io.BytesIO(ndjson(records)), "run.ndjson"))
    assert [each["type"] for each in board.approvals.values()] == ["approval"]
