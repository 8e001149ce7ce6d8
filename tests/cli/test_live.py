"""The live view folds records into rows that say what each node does and waits for."""

import io

from rich.console import Console

from runloop.cli.live import RunView, draw


def record(kind, ts_ms=1000, message="", **meta):
    return {"kind": kind, "ts_ms": ts_ms, "run_id": "0123456789", "opening_name": "o", "message": message, "meta": meta}


def view(*records):
    rows = RunView([("draft", "agent:writer"), ("send", "agent:mailer")])
    for each in records:
        rows.feed(each)
    return rows


def text_of(rows, now_ms=3000, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(draw(rows, now_ms, width))
    return console.file.getvalue()


def test_a_node_that_has_not_started_has_no_time():
    assert view().rows["draft"].elapsed_ms(5000) is None


def test_a_running_node_shows_what_its_call_waits_for():
    rows = view(record("node.started", node="draft", attempt=1), record("effect.requested", node="draft", call=1, name="model.complete"))
    assert rows.rows["draft"].detail == "waits for the model"


def test_an_answered_call_is_waited_for_no_longer_and_its_tokens_count():
    rows = view(
        record("node.started", node="draft", attempt=1),
        record("effect.requested", node="draft", call=1, name="model.complete"),
        record("effect.completed", node="draft", call=1, tokens_in=3, tokens_out=4),
    )
    assert (rows.rows["draft"].detail, rows.rows["draft"].tokens) == ("", 7)


def test_an_approval_is_what_the_node_waits_for_until_it_is_decided():
    asked = (
        record("node.started", node="send", attempt=1),
        record("approval.requested", node="send", approval_id="run/send/1/1", action="mail.outbox"),
    )
    assert view(*asked).rows["send"].detail == "waits for approval of mail.outbox"
    assert view(*asked, record("approval.decided", node="send")).rows["send"].detail == ""


def test_a_question_whether_a_call_happened_is_no_approval():
    asked = record("approval.requested", node="send", approval_id="run/send/1/1/outcome/1", action="mail.smtp")
    assert view(asked).rows["send"].detail == "waits for an answer whether mail.smtp happened"


def test_time_stops_when_the_node_ends_and_its_error_is_shown():
    rows = view(
        record("node.started", node="draft", attempt=2, ts_ms=1000),
        record("node.finished", node="draft", attempt=2, status="error", ts_ms=1500, error={"message": "ValueError: x\nmore"}),
    )
    assert (rows.rows["draft"].elapsed_ms(9999), rows.rows["draft"].note) == (500, "ValueError: x")


def test_the_time_of_a_second_attempt_counts_from_the_first():
    rows = view(record("node.started", node="draft", attempt=1, ts_ms=1000), record("node.started", node="draft", attempt=2, ts_ms=4000))
    assert rows.rows["draft"].elapsed_ms(6000) == 5000


def test_what_agents_say_cannot_drive_the_terminal():
    rows = view(record("node.started", node="draft", attempt=1), record("node.log", node="draft", text="a\x1b[2Jb"))
    assert "\x1b" not in text_of(rows)
    assert "\\x1b" in text_of(rows)


def test_an_error_without_words_leaves_the_view_standing():
    error = {"code": "guest.exception", "message": ""}
    rows = view(record("node.started", node="draft", attempt=1), record("node.finished", node="draft", status="error", error=error))
    assert (rows.rows["draft"].state, rows.rows["draft"].note) == ("error", "")


def test_a_log_of_blank_lines_does_not_take_the_note_away():
    rows = view(record("node.started", node="draft", attempt=1), record("node.log", node="draft", text="\n\nreading\n"))
    rows.feed(record("node.log", node="draft", text="\n"))
    assert rows.rows["draft"].note == "reading"


def test_a_node_of_many_items_says_how_far_they_are():
    rows = view(
        record("node.ready", node="draft"),
        record("node.started", node="draft[0]", attempt=1, ts_ms=1000),
        record("node.started", node="draft[1]", attempt=1, ts_ms=1000),
        record("effect.completed", node="draft[1]", call=1, tokens_in=3, tokens_out=4),
        record("node.finished", node="draft[0]", attempt=1, status="error", retry_ms=5, error={"message": "no"}),
        record("node.finished", node="draft[1]", attempt=1, status="ok", ts_ms=1500),
        record("node.started", node="draft[0]", attempt=2, ts_ms=1600),
    )
    row = rows.rows["draft"]
    assert (row.state, row.detail, row.elapsed_ms(2000), row.tokens) == ("running", "1 done, 1 at work", 1000, 7)
    rows.feed(record("node.finished", node="draft[0]", attempt=2, status="error", error={"message": "no"}))
    rows.feed(record("node.finished", node="draft", attempt=1, status="ok", ts_ms=3000))
    assert (row.state, row.detail, row.elapsed_ms(9999)) == ("ok", "1 done, 1 failed", 2000)


def test_a_node_that_is_brought_back_counts_on():
    ended = (record("node.started", node="draft", attempt=1), record("node.finished", node="draft", attempt=1, status="ok", ts_ms=2000))
    rows = view(*ended, record("node.started", node="draft", attempt=2, ts_ms=5000))
    assert rows.rows["draft"].elapsed_ms(9000) == 8000


def coming(*texts, **over):
    """A node that waits for a model, and what came of its answer."""
    pieces = [record("effect.delta", node="draft", call=1, at=at, text=text, **over) for at, text in texts]
    asked = record("effect.requested", node="draft", call=1, name="model.complete")
    return view(record("node.started", node="draft", attempt=1), asked, *pieces)


def test_an_answer_is_shown_while_it_comes():
    assert "Dear Ada, thank you" in text_of(coming((0, "Dear Ada,\n"), (10, "thank you")))


def test_of_a_long_answer_the_end_is_shown():
    shown = next(line for line in text_of(coming((0, "word " * 100), (500, "and the end")), width=80).splitlines() if "draft" in line)

    assert shown.rstrip().endswith("word and the end")
    assert "…" in shown


def test_a_long_word_takes_no_room_from_the_other_columns():
    rows = view(
        record("node.started", node="draft", attempt=3, ts_ms=1000),
        record("node.progress", node="draft", text="outbox: /home/somebody/" + "x" * 300),
        record("node.finished", node="draft", attempt=3, status="ok", ts_ms=1500),
    )
    shown = next(line for line in text_of(rows, width=80).splitlines() if "draft" in line)

    assert shown.split()[:5] == ["✔", "draft", "agent:writer", "3", "0.50s"]


def test_an_answer_that_begins_again_takes_the_place_of_the_first_try():
    shown = text_of(coming((0, "First try"), (0, "Second")))

    assert ("Second" in shown, "First" in shown) == (True, False)


def test_an_answer_that_is_there_is_not_shown_as_coming():
    rows = coming((0, "Dear Ada"))
    rows.feed(record("effect.completed", node="draft", call=1, tokens_in=3, tokens_out=4))

    assert "Dear Ada" not in text_of(rows)
    assert rows.rows["draft"].written == {}


def test_what_an_answer_says_cannot_drive_the_terminal():
    shown = text_of(coming((0, "\x1b]0;title\x07 \x1b[2J"), (12, "\u202e"), (13, "done")))

    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "done" in shown
