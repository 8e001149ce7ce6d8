"""`agtop --plain`: sentences, and commands by name."""

import asyncio
import io

import pytest

from runloop.errors import InvalidInput
from runloop.tui.changing import Change
from runloop.tui.plain import Plain, follow
from runloop.tui.recorded import StreamFeed

RUN = "5a1d4c23-5bb3-4352-b1ac-2ae2ce6ad2cd"


@pytest.fixture
def said():
    return []


@pytest.fixture
async def plain(feed, desk, said):
    made = Plain(feed, desk, say=said.append)
    await feed.fill(made.board, made.changed)
    made.tell()
    return made


@pytest.fixture
def told(plain, said):
    """What a command says."""

    async def tell(line):
        said.clear()
        await plain.command(line)
        return said

    return tell


async def test_what_happens_is_told_in_sentences_and_once(plain, said, records):
    assert said == [
        "connected",
        "letter 5a1d4c23 waiting, waits for approval of mail.outbox (+1)",
        "waits for you: question of ask: Which colour?. `inbox` lists it",
        "waits for you: approval of mails: mail.outbox. `inbox` lists it",
    ]
    said.clear()
    for record in records[18:]:
        plain.board.take(record)
        plain.tell()
    assert said == [
        "letter 5a1d4c23 running, waits for approval of mail.outbox",
        "letter 5a1d4c23 running",
        "letter 5a1d4c23 running, waits for mail",
        "letter 5a1d4c23 waiting, waits for mail",
        "letter 5a1d4c23 running",
        "letter 5a1d4c23 succeeded",
    ]


async def test_an_approval_is_decided_only_after_it_was_shown(plain, told, feed):
    with pytest.raises(InvalidInput) as caught:
        await told("answer 2 yes")
    assert (caught.value.code, feed.decided) == ("tui.not_shown", [])
    shown = await told("show 2")
    assert "    To: Ada <ada@example.org>" in shown
    assert [text for text in shown if not text.isascii()] == []
    assert "answer 2 yes: this once" in shown
    assert "approved" in await told("answer 2 yes")
    assert [(name, decision.scope) for name, decision in feed.decided] == [(f"{RUN}/send/1/1", "once")]


async def test_a_large_mail_is_fetched_and_said_whole_before_it_can_be_approved(plain, told, feed):
    feed.blobs["ab"] = "first line\n" + "x" * 5_000 + "\nlast line"
    plain.board.approvals[f"{RUN}/send/1/1"] = {**plain.board.approvals[f"{RUN}/send/1/1"], "what": {"$blob": "ab", "bytes": 5_020}}
    shown = [line.strip() for line in await told("show 2")]
    assert ("first line" in shown, "last line" in shown, sum(line.count("x" * 20) > 0 for line in shown) > 1) == (True, True, True)


async def test_a_run_is_chosen_and_looked_at(told):
    with pytest.raises(InvalidInput) as caught:
        await told("ladder")
    assert caught.value.code == "tui.no_run"
    assert await told("run 5a1d") == [
        "letter 5a1d4c23: waiting, 2 of 4 nodes, 1.70s, 0 tokens, cost –, waits for approval of mail.outbox (+1)",
        "contact by read: ok, attempt 1, 0.17s: reading",
        "notes by read: ok, attempt 1, 0.17s: reading",
        "colour by ask: waiting, attempt 1, 1.70s, waits for answer",
        "send by mails: waiting, attempt 1, 1.53s, after contact, notes, waits for approval of mail.outbox",
    ]
    assert (await told("ladder"))[1].startswith("1. ask.person of colour at 17:01:53.818: waiting: {")
    assert "send, attempt 1: began after 0.17s, is under way" in await told("time")
    assert '  "question": "Which colour?",' in await told("crossing 1")
    assert any("run started" in line for line in await told("log"))


async def test_the_knowledge_base_is_asked(told):
    assert await told("search pier") == ["messages The pier 2026-11-20: the pier is repaired [event:24]"]
    assert await told("search moon") == ["nothing found"]
    assert await told("why event:24") == ["why event:24", "  approved by operator"]


@pytest.mark.parametrize("line", ["dance", "run zz", "show 9", "crossing 1", "why", "answer 0 yes"])
async def test_a_command_that_cannot_be_carried_out_says_why(plain, line):
    with pytest.raises(InvalidInput) as caught:
        await plain.command(line)
    assert caught.value.hint


async def test_help_names_every_command_and_each_is_one(plain, told):
    names = [part.split()[0] for line in await told("help") for part in line.partition(":")[0].split(", ")]
    for name in names:
        if name == "quit":
            assert await plain.command(name) is False
            continue
        try:
            await plain.command(name)
        except InvalidInput as error:
            assert "there is no command" not in error.message  # noqa: PT017


async def test_held_it_says_nothing_until_it_goes_on(plain, told, said, records):
    await told("hold")
    for record in records[18:]:
        plain.board.take(record)
    plain.tell()
    assert said == []
    assert await told("go") == ["letter 5a1d4c23 succeeded"]


def test_a_file_is_told_to_its_end(records, desk, capsys):
    from runloop.cli.output import record_line

    lines = "".join(record_line(record) + "\n" for record in records).encode()
    assert follow(StreamFeed(io.BytesIO(lines), "letter.ndjson"), desk, None) == 0
    assert capsys.readouterr().out.splitlines() == ["letter 5a1d4c23 succeeded", "letter.ndjson: 25 lines, to the end"]


def test_commands_come_from_a_file_as_well_and_wait_until_something_is_known(records, desk, capsys, tmp_path):
    from runloop.cli.output import record_line

    lines = "".join(record_line(record) + "\n" for record in records).encode()
    path = tmp_path / "commands"
    path.write_text("run 5a1d\nbogus\nquit\n")

    class Patient(StreamFeed):
        async def fill(self, board, changed):
            await super().fill(board, changed)
            await asyncio.Event().wait()

    with path.open("rb") as commands:
        assert follow(Patient(io.BytesIO(lines), "letter.ndjson"), desk, commands) == 0
    said = capsys.readouterr().out
    assert "letter 5a1d4c23: succeeded, 4 of 4 nodes" in said
    assert "tui.command: there is no command 'bogus'" in said


def test_the_end_of_what_somebody_types_leaves(desk, records):
    class Typed(io.BytesIO):
        def isatty(self):
            return True

    class Endless(StreamFeed):
        async def fill(self, board, changed):
            await super().fill(board, changed)
            await asyncio.Event().wait()

    assert follow(Endless(io.BytesIO(), "letter.ndjson"), desk, Typed(b"help\n")) == 0


async def test_what_passes_at_once_is_told_as_it_is_afterwards(plain, said, records):
    said.clear()
    for record in records[18:]:
        plain.board.take(record)
        plain.changed()
    assert said == []
    while not said:
        await asyncio.sleep(0)
    assert said == ["letter 5a1d4c23 succeeded"]


async def test_records_of_what_was_before_are_not_told_as_if_they_happened_now(desk, said, records, words):
    plain = Plain(words.Feed([]), desk, say=said.append)
    row = {"run_id": RUN, "opening_name": "letter", "state": "waiting", "waiting_for": "approval of mail.outbox", "last_seq": 18}
    plain.board.list_runs([row])
    plain.tell()
    for record in records[:18]:
        plain.board.take(record)
        plain.tell()
    assert said == ["letter 5a1d4c23 waiting, waits for approval of mail.outbox", said[-1]]
    assert said[-1].startswith("letter 5a1d4c23 waiting, waits for approval of mail.outbox")


async def test_no_view_draws_or_cuts_anything(plain, told):
    await told("run 5a1d")
    for view in ("runs", "plan", "time", "ladder", "log", "inbox", "metrics", "library"):
        assert [text for text in await told(view) if set("│┌└─├█…▁✔◆▶") & set(text)] == []


async def test_the_inbox_says_the_numbers_that_its_commands_take(told):
    assert await told("inbox") == [
        "1. question of ask, node colour, run 5a1d4c23, for 1.51s: Which colour?",
        "2. approval of mails, node send, run 5a1d4c23, for 1.50s: mail.outbox to ada@example.org",
        "`show N` says exactly what would leave",
    ]


async def test_what_is_found_in_the_inbox_keeps_its_number(told):
    assert await told("inbox ADA@example") == [
        "2. approval of mails, node send, run 5a1d4c23, for 1.50s: mail.outbox to ada@example.org",
        "`show N` says exactly what would leave",
    ]
    assert await told("inbox no such words") == ["nothing that waits has these words"]


async def test_the_run_that_was_named_is_chosen_and_one_that_is_not_there_is_missed_once(feed, desk, said, words):
    plain = Plain(feed, desk, "5a1d", say=said.append)
    await feed.fill(plain.board, plain.tell)
    assert (plain.viewing.run_id, said[-1]) == (RUN, "letter 5a1d4c23 is chosen: `plan` says what it does")
    other = words.Feed([])
    said.clear()
    missing = Plain(other, desk, "zz", say=said.append)
    await other.fill(missing.board, missing.tell)
    missing.tell()
    await missing._seeking
    assert said == ["connected", "no run begins with zz yet; it is chosen when it comes"]


async def test_runs_are_paused_resumed_and_cancelled_by_their_names(plain, told, feed, records):
    assert await told("pause 5a1d lunch time") == ["run 5a1d4c23 paused"]
    assert await told("resume all") == ["resumed: 3 runs"]
    assert await told("cancel 5a1d") == ["run 5a1d4c23 canceld"]
    assert feed.changed_runs == [Change("pause", RUN, "lunch time"), Change("resume"), Change("cancel", RUN)]


@pytest.mark.parametrize("line", ["cancel", "cancel all", "pause", "pause zz"])
async def test_nothing_is_changed_without_the_name_of_a_run(plain, told, feed, line):
    with pytest.raises(InvalidInput) as caught:
        await told(line)
    assert (caught.value.code, feed.changed_runs) == ("tui.no_run", [])


async def test_a_run_that_has_ended_is_not_changed(plain, told, feed, records):
    for record in records[18:]:
        plain.board.take(record)
    with pytest.raises(InvalidInput) as caught:
        await told("cancel 5a1d")
    assert (caught.value.code, feed.changed_runs) == ("run.ended", [])


async def test_a_crossing_keeps_its_number_when_older_ones_are_not_kept_any_more(plain, told):
    await told("run 5a1d")
    run = plain.board.runs[RUN]
    number = len(run.crossings)
    listed, last = list(await told("ladder"))[1:], list(await told(f"crossing {number}"))
    del run.crossings[next(iter(run.crossings))]
    run.gone = 1
    assert (await told("ladder"))[1:] == ["1 older ones are not kept here: `rlp trace 5a1d4c23` has them", *listed[1:]]
    assert await told(f"crossing {number}") == last
    with pytest.raises(InvalidInput) as caught:
        await told("crossing 1")
    assert caught.value.hint == f"use a number from 2 to {number}"


async def test_who_meant_what_somebody_else_has_decided_does_not_decide_what_has_its_number_now(plain, told, feed):
    """Both were shown; the first one is decided elsewhere, and what is typed then was meant for it."""
    feed.opened = [{**feed.opened[1], "asked_ms": 1}, {**feed.opened[1], "approval_id": "another", "asked_ms": 2}]
    plain.board.list_approvals(feed.opened)
    for line in ("show 1", "show 2"):
        await told(line)
    plain.board.ask({"state": "closed", "approval_id": feed.opened[0]["approval_id"]})
    with pytest.raises(InvalidInput) as caught:
        await told("answer 1 yes")
    assert (caught.value.code, feed.decided) == ("tui.not_shown", [])
    await told("show 1")
    await told("answer 01 yes")
    assert [approval_id for approval_id, _ in feed.decided] == ["another"]
