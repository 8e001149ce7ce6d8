"""What a run asks of a person while the daemon hosts it: at the terminal of `rlp run`, and from another one."""

import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import tty

import pytest

ASKS = "def run() -> dict:\n    return {'out': ask.person('Which colour?', options=['red', 'blue']).answer}\n"
MAILS = """def run() -> dict:
    to = [{'name': 'Zo', 'email': 'zo@harbour.example'}]
    return {'out': mail.send(to=to, subject='Pier', text='The pier is open.').status}
"""


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, daemon, *arguments, hangup=signal.SIG_DFL):
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, hangup)
            os.chdir(daemon.root)
            os.execve(sys.executable, [sys.executable, "-P", "-m", "runloop", *arguments], {**daemon.env, "TERM": "xterm-256color"})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))

    def expect(self, text, seconds=60):
        until = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < until, self.shown
            if not self.read():
                break
        assert text in self.shown, self.shown

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self):
        ready, _, _ = select.select([self.fd], [], [], 60)
        assert ready, self.shown
        try:
            data = os.read(self.fd, 65_536)
        except OSError:
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def end(self):
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def asking(daemon, words):
    daemon.agent("curious", words.head + ASKS, "ask = true")
    daemon.opening("curious")
    daemon.agent("sender", words.head + MAILS, "mail = true")
    daemon.opening("sender")
    daemon.start()
    return daemon


def ended(daemon, kind):
    """The meta of the last run's first record of a kind."""
    lines = daemon.rlp("attach", "last").stdout.splitlines()
    return next(record["meta"] for record in map(json.loads, lines) if record["kind"] == kind)


@pytest.mark.parametrize("park_ms", [0, 60_000], ids=["parked", "in memory"])
def test_who_sends_back_a_draft_is_asked_what_should_change(daemon, words, park_ms):
    daemon.agent("says", words.head + "def run(revise=''):\n    return {'out': f'a draft {revise}'}\n")
    daemon.opening("says", "version: 0\nname: says\nnodes: [{id: a, use: agent:says, gate: {ask: Good?, revise_to: a}}]\nedges: []\n")
    daemon.settings["runtime.park_after_ms"] = park_ms
    daemon.start()
    assert daemon.rlp("run", "says", "--detach").returncode == 0
    terminal = Terminal(daemon, "attach", "last")
    for reply in ("2", "shorter", "1"):
        terminal.expect({"shorter": "What should change? "}.get(reply, "Number: "))
        terminal.shown = ""
        terminal.type(f"{reply}\n")
    assert terminal.end() == 0
    assert ended(daemon, "approval.decided")["rationale"] == "shorter"


def test_what_somebody_else_answered_first_does_not_end_the_list_of_rlp_approve(asking):
    for _ in range(2):
        assert asking.rlp("run", "curious", "--detach").returncode == 0
    while len(waiting := json.loads(asking.rlp("approve", "--json").stdout)) < 2:
        pass
    terminal = Terminal(asking, "approve")
    answer = waiting[0]["options"][0] if waiting[0]["options"] else "tea"
    terminal.expect(": ")
    assert asking.rlp("approve", waiting[0]["approval_id"], "--answer", answer).returncode == 0
    for said in ("approval.unknown", None):
        terminal.type("1\n" if waiting[0]["options"] else "tea\n")
        if said is not None:
            terminal.expect(said)
    assert terminal.end() == 0
    assert json.loads(asking.rlp("approve", "--json").stdout) == []


def test_a_prompt_that_is_answered_elsewhere_says_so(asking):
    assert asking.rlp("run", "curious", "--detach").returncode == 0
    terminal = Terminal(asking, "attach", "last")
    terminal.expect("Number: ")
    (waiting,) = json.loads(asking.rlp("approve", "--json").stdout)
    assert asking.rlp("approve", waiting["approval_id"], "--answer", "red").returncode == 0
    assert terminal.end() == 0
    assert "(no longer asked: it was decided elsewhere, its time is up, or the run was cancelled)\r\n" in terminal.shown


def test_who_interrupts_a_run_at_its_question_is_not_told_that_somebody_decided(asking):
    terminal = Terminal(asking, "run", "curious")
    terminal.expect("Number")
    terminal.type("\x03")
    terminal.expect("(no longer asked: interrupted at the terminal, so the run is cancelled)")
    assert terminal.end() == 130


def test_a_question_is_asked_at_the_terminal_of_rlp_run(asking):
    terminal = Terminal(asking, "run", "curious")
    terminal.expect("Which colour?")
    terminal.expect("Number")
    terminal.type("2\n")
    assert terminal.end() == 0
    assert ended(asking, "node.finished")["outputs"] == {"out": ["blue"]}


def test_an_approval_shows_everything_at_the_terminal_and_a_no_is_a_denial(asking):
    terminal = Terminal(asking, "run", "sender")
    terminal.expect("The pier is open.")
    terminal.expect("no: ")
    terminal.type("n\n")
    assert terminal.end() == 4
    decided = ended(asking, "approval.decided")
    assert (decided["decision"], decided["by"]) == ("rejected", {"role": "operator", "uid": os.getuid()})


def test_an_answer_from_another_terminal_takes_the_question_off_the_first(asking):
    terminal = Terminal(asking, "run", "sender")
    terminal.expect("no: ")
    (opened,) = json.loads(asking.rlp("approve", "--json").stdout)
    done = asking.rlp("approve", opened["approval_id"], "--reason", "looks right")
    assert (done.returncode, opened["recipients"]) == (0, ["zo@harbour.example"])
    assert terminal.end() == 0
    decided = ended(asking, "approval.decided")
    assert (decided["decision"], decided["rationale"]) == ("approved", "looks right")


@pytest.mark.parametrize("hangup", [signal.SIG_DFL, signal.SIG_IGN], ids=["with its signal", "before its signal"])
@pytest.mark.parametrize("command", ["run sender", "attach last", "approve"])
def test_a_terminal_that_is_closed_decides_nothing_and_the_run_goes_on(asking, command, hangup):
    if not command.startswith("run"):
        assert asking.rlp("run", "sender", "--detach").returncode == 0
        while not json.loads(asking.rlp("inbox", "--json").stdout):
            pass
    terminal = Terminal(asking, *command.split(), hangup=hangup)
    terminal.expect("no: ")
    os.close(terminal.fd)
    if hangup is signal.SIG_DFL:
        os.waitpid(terminal.pid, 0)
    (opened,) = json.loads(asking.rlp("approve", "--json").stdout)
    assert asking.rlp("approve", opened["approval_id"]).returncode == 0
    assert ended(asking, "approval.decided")["decision"] == "approved"
    if hangup is signal.SIG_IGN:
        os.kill(terminal.pid, signal.SIGKILL)
        os.waitpid(terminal.pid, 0)


def test_a_run_of_a_terminal_that_is_closed_can_be_resumed(asking):
    terminal = Terminal(asking, "run", "--local", "sender")
    terminal.expect("no: ")
    os.close(terminal.fd)
    os.waitpid(terminal.pid, 0)
    (left,) = json.loads(asking.rlp("runs", "--json").stdout)
    assert left["state"] == "unfinished"
    assert asking.rlp("resume", "last").returncode == 0
    while not (opened := [each for each in json.loads(asking.rlp("approve", "--json").stdout) if each["approval_id"]]):
        pass  # before the daemon asks, the ledger says that the run waits elsewhere
    assert asking.rlp("approve", opened[0]["approval_id"]).returncode == 0
    assert (ended(asking, "approval.decided")["decision"], ended(asking, "run.finished")["status"]) == ("approved", "succeeded")


def test_no_record_is_printed_into_the_line_that_is_typed(asking):
    assert asking.rlp("run", "sender", "--detach").returncode == 0
    terminal = Terminal(asking, "attach", "last")
    terminal.expect("no: ")
    for verb in ("pause", "resume"):
        assert asking.rlp(verb, "last").returncode == 0
    terminal.type("y\n")
    assert terminal.end() == 0
    typed, _, after = terminal.shown.partition("no: ")
    assert after.startswith("y\r\n")
    assert ("paused" in typed, "paused" in after) == (False, True)


def test_keys_for_a_program_behind_a_pipe_that_has_the_terminal_decide_nothing(asking):
    terminal = Terminal(asking, "run", "sender")
    terminal.expect("no: ")
    (opened,) = json.loads(asking.rlp("approve", "--json").stdout)
    tty.setraw(terminal.fd)
    terminal.type("a")
    assert asking.rlp("approve", opened["approval_id"], "--reason", "read whole").returncode == 0
    assert terminal.end() == 0
    assert ended(asking, "approval.decided")["rationale"] == "read whole"


def test_without_a_terminal_an_approval_is_refused_at_once_as_in_the_own_process(asking):
    there, here = asking.rlp("run", "sender"), asking.rlp("run", "--local", "sender")
    codes = [json.loads(done.stdout.splitlines()[-1])["meta"]["error"]["code"] for done in (there, here)]
    assert (there.returncode, here.returncode, codes) == (4, 4, ["approval.nobody", "approval.nobody"])


def test_what_a_detached_run_asks_is_answered_at_the_terminal_of_rlp_attach_also_by_the_next_daemon(asking):
    submitted = Terminal(asking, "run", "sender", "--detach")
    submitted.expect("`rlp approve` decides what it asks")
    assert submitted.end() == 0
    follower = Terminal(asking, "attach", "last")
    follower.expect("no: ")
    asking.stop(signal.SIGKILL)
    asking.start()
    while follower.shown.count("no: ") < 2:  # asked again: what was typed for the one that is gone does not count
        assert follower.read()
    follower.type("y\n")
    assert follower.end() == 0
    assert ended(asking, "approval.decided")["decision"] == "approved"


async def test_an_approval_may_wait_for_somebody_to_come(daemon, words):
    daemon.settings["security.approval_wait_ms"] = 600_000
    daemon.agent("sender", words.head + MAILS, "mail = true")
    daemon.start()
    async with daemon.client() as link:
        requests = await link.client.subscribe("action.request")
        running = asyncio.create_task(link.run(words.one("sender")))
        opened = (await anext(requests)).payload
        await link.ask("answer", approval_id=opened["approval_id"], approved=True)
        records = await running
    assert records[-1]["meta"]["status"] == "succeeded"


def test_a_run_that_waits_for_the_guest_to_be_compiled_says_so_and_then_begins(daemon, words):
    daemon.env["XDG_CACHE_HOME"] = str(daemon.root / "empty")
    daemon.agent("quick", words.head + "def run() -> dict:\n    return {'out': 'done'}\n")
    daemon.opening("quick")
    daemon.start()
    terminal = Terminal(daemon, "run", "quick")
    terminal.expect("note: the daemon prepares the Python guest, once per machine; the run begins then")
    terminal.expect("succeeded", 400)
    assert terminal.end() == 0
