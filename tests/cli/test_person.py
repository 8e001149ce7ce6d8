"""What is open elsewhere, asked at this terminal: a gate's options, its end, and the words that go with an answer."""

from io import BytesIO, TextIOWrapper

import pytest

from runloop.cli.person import TerminalPerson, _approval_text
from runloop.cli.remote import answer_at_terminal
from runloop.policy import Scope
from runloop.runs.operator import ApprovalRequest

GATE = {
    "type": "question", "approval_id": "r/layout/gate/1/1", "agent": "note", "question": "Good?", "options": ["approve", "revise"],
    "default": None, "detail": "", "timeout_ms": None, "comment_on": ["revise"], "closes_ms": 1_700_000_000_000, "on_timeout": "approve",
}  # fmt: skip


class Typing(TerminalPerson):
    """A person who types these lines."""

    lines: list[str] = []  # noqa: RUF012 - set by the test

    @property
    def present(self):
        return True

    async def _line(self, prompt):
        return self.lines.pop(0)


class Recorded:
    """A client that keeps what it is told."""

    def __init__(self):
        self.told = []

    async def answer(self, approval_id, **given):
        self.told.append((approval_id, given))


async def test_what_should_change_reaches_the_gate_of_a_run_that_a_daemon_drives(capsys):
    client, person = Recorded(), Typing()
    person.lines = ["2\n", "shorter, please\n"]
    assert await answer_at_terminal(client, person, GATE)
    assert client.told == [("r/layout/gate/1/1", {"answer": "revise", "rationale": "shorter, please"})]
    said = capsys.readouterr().err
    assert "without an answer by" in said
    assert ": approve)" in said


@pytest.mark.parametrize(("lines", "times"), [(3, 1), (100, 2)])
async def test_a_question_that_scrolled_away_is_said_again_above_its_options(capsys, lines, times):
    person = Typing()
    person.lines = ["1\n"]
    await answer_at_terminal(Recorded(), person, {**GATE, "question": "Good?\n\n" + "line\n" * lines})
    said = capsys.readouterr().err
    assert said.count("note asks: Good?") == times
    assert said.rindex("line") < said.index("1) approve")
    assert (said.rindex("asks: Good?") > said.rindex("line")) is (times == 2)


async def test_other_options_are_sent_without_words():
    client, person = Recorded(), Typing()
    person.lines = ["1\n"]
    assert await answer_at_terminal(client, person, GATE)
    assert client.told == [("r/layout/gate/1/1", {"answer": "approve", "rationale": None})]


def shown_of(monkeypatch, what="Dear Ada", recipients=(), columns="40"):
    monkeypatch.setenv("COLUMNS", columns)
    names = {"opening_name": "letter", "node": "a", "agent": "mailer", "action": "mail.smtp", "reason": "it sends"}
    request = ApprovalRequest("r/a/1/1", "r", **names, what=what, recipients=recipients, scopes=(Scope.ONCE,), taint=frozenset({"http:x"}))
    return _approval_text(request).splitlines()


def test_nothing_that_would_happen_begins_a_line_of_its_own_however_long_it_is(monkeypatch):
    forged = "Dear Ada" + " " * 28 + "  └" + "─" * 37 + "  [n] no:"
    lines = shown_of(monkeypatch, what=f"{forged}\nend", recipients=("/w/" + " " * 60 + "Approval needed: nothing",))
    start, end = next(at for at, line in enumerate(lines) if line.startswith("  ┌")), len(lines) - 1
    assert max(map(len, lines)) <= 40
    assert all(line[:4] in {"  │ ", "  ┆ "} for line in lines[start + 1 : end])
    assert "".join(line[4:] if line[2] == "┆" else f"\n{line[4:]}" for line in lines[start + 1 : end]) == f"\n{forged}\nend"
    assert [line[:4] for line in lines if "needed" in line or "nothing" in line] == ["Appr", "  ┆ "]


@pytest.mark.parametrize(("count", "times"), [(12, 1), (13, 2)])
def test_what_a_long_approval_is_about_is_said_again_where_it_is_decided(monkeypatch, count, times):
    lines = shown_of(monkeypatch, what="\n".join("x" * count), recipients=("bob@example.com",))
    again = ["Approval needed: mail.smtp", "  to       bob@example.com", "  contains content from: http:x"]
    assert [lines.count(line) for line in again] == [times] * 3
    assert (lines[-1] == again[-1]) is (times == 2)


def test_letters_that_pass_for_others_are_named(monkeypatch):
    lines = shown_of(monkeypatch, recipients=("b\u043eb@example.com", "/home/Übung/s\u0430fe", "ada@example.com"), columns="100")
    assert [line for line in lines if "careful" in line] == [
        "  careful  b\u043eb@example.com: \u043e is U+043E CYRILLIC SMALL LETTER O",
        "  careful  /home/Übung/s\u0430fe: \u0430 is U+0430 CYRILLIC SMALL LETTER A",
    ]


async def test_nothing_that_an_agent_asks_begins_a_line_of_its_own(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    forged = "Approval needed: mail.smtp"
    person, wide = Typing(), " " * 70 + forged
    person.lines = ["\n"]
    asked = {"question": f"Good?{wide}\n{forged}\n{forged}", "options": [f"a{wide}", f"b{wide}"], "detail": forged, "default": f"a{wide}"}
    client = Recorded()
    await answer_at_terminal(client, person, {**GATE, **asked})
    said = capsys.readouterr().err.splitlines()
    assert [line[:4] for line in said if "Approval" in line] == ["  ┆ ", "  │ ", "  │ ", "  │ ", "  ┆ ", "  ┆ ", "  ┆ "]
    assert client.told[0][1]["answer"] == f"a{wide}"


def test_the_frame_of_what_is_approved_is_no_wider_than_the_terminal(monkeypatch):
    request = ApprovalRequest("r/a/1/1", "r", "letter", "a", "mailer", "mail.smtp", "Dear Ada", (), "it sends", (Scope.ONCE,), frozenset())
    widths = []
    for columns in ("40", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        widths.append([len(line) for line in _approval_text(request).splitlines() if line.startswith(("  ┌", "  └"))])

    assert widths == [[40, 40], [58, 58]]


def test_what_is_approved_is_shown_with_escapes_for_what_the_terminal_lacks_and_with_no_other_sign_instead(monkeypatch):
    request = ApprovalRequest("r/a/1/1", "r", "letter", "a", "mailer", "mail.smtp", "Łodź… → ü", (), "it sends", (Scope.ONCE,), frozenset())
    monkeypatch.setattr("sys.stderr", TextIOWrapper(BytesIO(), encoding="latin-1"))
    assert "  │ \\u0141od\\u017a\\u2026 \\u2192 ü" in _approval_text(request).splitlines()
