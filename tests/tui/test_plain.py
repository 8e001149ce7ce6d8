"""`agtop --plain`: sentences, and commands by name."""

import asyncio
import io

import pytest

from runloop.errors import InvalidInput
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
        plain.changed()
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
    assert "│ To: Ada <ada@example.org>" in shown
    assert "answer 2 yes: this once" in shown
    assert "approved" in await told("answer 2 yes")
    assert [(name, decision.scope) for name, decision in feed.decided] == [(f"{RUN}/send/1/1", "once")]


async def test_a_run_is_chosen_and_looked_at(told):
    with pytest.raises(InvalidInput) as caught:
        await told("ladder")
    assert caught.value.code == "tui.no_run"
    assert any("waits for answer" in line for line in await told("run 5a1d"))
    assert any("ask.person" in line for line in await told("ladder"))
    assert '  "question": "Which colour?",' in await told("crossing 1")
    assert any("run started" in line for line in await told("log"))


async def test_the_knowledge_base_is_asked(told):
    assert await told("search pier") == ["messages The pier 2026-11-20: the pier is repaired [event:24]"]
    assert await told("why event:24") == ["why event:24", "└─ approved by operator"]


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
    plain.changed()
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
    assert "✔ succeeded" in said
    assert "tui.command: there is no command 'bogus'" in said
