"""`rlp run` from outside: parameters, exit codes, interruption, streams, and nothing left behind."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from textwrap import indent

import pytest

HEAD = "from runloop_agent import agent, emit\n\n\n@agent\ndef run(topic) -> dict:\n"
LOOP = HEAD + "    emit.log('in the loop')\n    while True:\n        pass\n"
FAIL = HEAD + "    raise ValueError('broken ' + topic)\n"
EVIL = HEAD + "    emit.log('a\\x1b[2J\\x07b')\n    return {'out': 'c\\x1b]0;x\\x07'}\n"


def stat(pid):
    """The fields of a process behind its name, or None where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def workers_of(pid):
    """Processes below ``pid``."""
    numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(number) for number in numbers if (fields := stat(number)) is not None and int(fields[1]) == pid]


def alive(pid):
    fields = stat(pid)
    return fields is not None and fields[0] != "Z"


def wait_until_gone(pids, seconds=10):
    until = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < until, f"still there: {pids}"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "no_such_opening"), "opening.not_found"),
        (("run", "compose_email", "--params", "[1]"), "run.params"),
        (("run", "compose_email", "--params", "{"), "run.params"),
        (("run", "compose_email", "--params", "[" * 5000), "run.params"),
        (("run", "compose_email", "--params", '{"topic": "a", "topic": "b"}'), "run.params"),
        (("run", "compose_email", "-p", "topic"), "run.params"),
        (("run", "compose_email", "-p", "topic=a", "-p", "topic=b"), "run.params"),
        (("run", "compose_email", "-p", "topik=a"), "opening.param"),
        (("run", "compose_email", "--trace-out", "/no/such/dir/t.json"), "run.trace_out"),
        (("run", "compose_email", "--trace-out", "/"), "run.trace_out"),
        (("run", "compose_email", "--trace-out", "-"), "run.trace_out"),
        (("trace", "ffffffff"), "run.no_ledger"),
        (("run",), "cli.usage"),
    ],
)
def test_bad_input_is_refused_with_a_code_and_nothing_is_recorded(empty_home, arguments, code):
    done = empty_home.rlp(*arguments, "--json")

    assert done.returncode == 2, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == code
    assert not (empty_home.state / "pog").exists()


def test_a_broken_opening_is_reported_at_the_line_and_column_of_the_mistake(empty_home):
    path = empty_home.root / "bad.yaml"
    path.write_text("version: 0\nname: é\nnodes:\n  - id: a\n    use: agent:writer\n    tiemout_ms: 5\nedges: []\n")

    done = empty_home.rlp("run", path)

    assert done.returncode == 2
    assert "bad.yaml:6:5" in done.stderr
    assert "timeout_ms" in done.stderr


def test_parameters_take_the_type_of_their_default(empty_home):
    empty_home.agent("typed", "from runloop_agent import agent\n\n\n@agent\ndef run(topic) -> dict:\n    return {'out': repr(topic)}\n")
    manifest = empty_home.state / "agents" / "typed" / "manifest.toml"
    manifest.write_text(re.sub(r"\[schemas\.with.*?(?=# The host caps)", "", manifest.read_text(), flags=re.DOTALL))
    assert empty_home.rlp("agent", "build", "typed").returncode == 0
    opening = empty_home.state / "openings" / "typed.yaml"
    text = opening.read_text()
    default = next(line for line in text.splitlines() if line.startswith("  topic:"))
    for given, value, shown in (("3", "41", "41"), ("[]", "[1, 2]", "[1, 2]"), ("text", "41", "'41'"), ("false", "true", "True")):
        opening.write_text(text.replace(default, f"  topic: {given}"))
        done = empty_home.rlp("run", "typed", "-p", f"topic={value}")
        finished = [record for record in empty_home.records(done) if record["kind"] == "node.finished"]
        assert finished[0]["meta"]["outputs"] == {"out": [shown]}, done.stderr


def test_a_failing_agent_ends_the_run_with_exit_code_one_and_its_line(empty_home, terminal):
    empty_home.agent("failing", FAIL)

    done = empty_home.rlp("run", "failing")

    assert done.returncode == 1
    last = empty_home.records(done)[-1]
    assert last["meta"]["reason"].endswith("ValueError: broken tea")
    error = next(record for record in empty_home.records(done) if record["kind"] == "node.finished")["meta"]["error"]
    assert 'File "agent.py", line 6, in run' in error["detail"]
    shown = empty_home.rlp("show", "last", "--table").stdout
    assert f"\nfailing_node, attempt 1:\n{indent(error['detail'], '  ')}" in shown
    watched = terminal(empty_home, "run", "failing", "--local")
    assert watched.end() == 1
    assert "  hint: look at agent.py, line 6: raise ValueError('broken ' + topic); `rlp show " in watched.shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_recorded_as_cancelled_and_leaves_no_process(empty_home, number):
    empty_home.agent("looping", LOOP)
    process = empty_home.start("run", "looping")
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["kind"] == "node.log":
            break
    children = workers_of(process.pid)
    process.send_signal(number)
    seen += [json.loads(line) for line in process.stdout]
    process.stdout.close()

    assert process.wait(timeout=30) == 130
    assert (seen[-1]["kind"], seen[-1]["meta"]["status"]) == ("run.finished", "cancelled")
    assert len(children) >= 1
    wait_until_gone(children)


def test_a_killed_command_takes_its_workers_with_it_and_the_ledger_stays_whole(empty_home):
    empty_home.agent("looping", LOOP)
    process = empty_home.start("run", "looping")
    for line in process.stdout:
        if json.loads(line)["kind"] == "node.log":
            break
    children = workers_of(process.pid)
    process.kill()
    process.wait()
    process.stdout.close()

    wait_until_gone(children)
    assert empty_home.rlp("kb", "verify").returncode == 0
    assert json.loads(empty_home.rlp("runs", "--json").stdout)[0]["status"] == "running"


def test_a_full_disk_under_the_output_cancels_the_run_and_is_said_in_one_line(empty_home):
    empty_home.agent("looping", LOOP)
    with Path("/dev/full").open("w") as full:
        done = empty_home.rlp("run", "looping", "--local", stdout=full)

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error[cli.output]: the output cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert json.loads(empty_home.rlp("runs", "--json").stdout)[0]["status"] == "cancelled"


def test_a_directory_of_agents_is_taken_as_it_is_called(empty_home):
    empty_home.agent("plain", "from runloop_agent import agent\n\n\n@agent\ndef run(topic) -> dict:\n    return {'out': topic}\n")
    odd = empty_home.root / "a $HOME $$ {x}"
    odd.mkdir()
    (empty_home.state / "agents" / "plain").rename(odd / "plain")

    done = empty_home.rlp("run", "plain", "--agents-dir", odd)

    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_cancels_the_run(empty_home):
    empty_home.agent("looping", LOOP)
    process = empty_home.start("run", "looping", "--local", stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()

    assert (process.wait(timeout=30), said) == (1, "")
    assert json.loads(empty_home.rlp("runs", "--json").stdout)[0]["status"] == "cancelled"


def test_terminal_escapes_of_an_agent_reach_no_terminal(empty_home, terminal):
    empty_home.agent("evil", EVIL)

    screen = terminal(empty_home, "run", "evil")

    assert screen.end() == 0
    assert "\x1b[2J" not in screen.shown
    assert "\x1b]0;" not in screen.shown
    assert "\\x1b[2J" in screen.shown


def test_who_watches_a_run_fail_reads_the_code_and_what_to_do(home, terminal):
    settings = ("--set", 'policy.deny_actions=["mail.outbox"]')
    shown = terminal(home, *settings, "run", "compose_email", "-p", "recipient=Sam Rivers", "-p", "topic=the pier", "--local")

    assert shown.end() == 4
    assert "capability denied: policy (action_denied) [policy.denied]" in shown.shown
    assert "  hint: `rlp config explain policy.deny_actions` says where it is forbidden" in shown.shown


def test_two_runs_at_once_share_one_ledger(empty_home):
    empty_home.agent("quick", "from runloop_agent import agent\n\n\n@agent\ndef run(topic: str) -> dict:\n    return {'out': topic}\n")
    processes = [empty_home.start("run", "quick") for _ in range(3)]
    ended = [(process.communicate(timeout=120)[0], process.returncode) for process in processes]

    assert [code for _, code in ended] == [0, 0, 0]
    assert empty_home.rlp("kb", "verify").returncode == 0
    assert {run["status"] for run in json.loads(empty_home.rlp("runs", "--json").stdout)} == {"succeeded"}


def test_the_first_run_makes_a_state_that_others_cannot_look_into_whatever_the_umask(empty_home):
    run = empty_home.start("run", "assistant", "--local", "-p", "question=what ran today?", "-p", "use_model=false", umask=0)
    assert run.communicate(timeout=120) is not None
    folders = [empty_home.state, *(path for path in empty_home.state.rglob("*") if path.is_dir())]
    assert (run.returncode, [str(each) for each in folders if each.stat().st_mode & 0o077]) == (0, [])


def test_a_home_that_cannot_be_written_is_an_error_that_says_where(empty_home):
    empty_home.state.mkdir()
    (empty_home.state / "pog").write_text("not a directory")

    done = empty_home.rlp("run", "compose_email", "--yes")

    assert done.returncode in {1, 2, 3}
    assert "pog" in done.stderr
    assert "runloop.internal" not in done.stderr


def test_a_node_that_fails_after_sending_and_is_repeated_sends_once(empty_home):
    code = (
        "from runloop_agent import agent, mail\n\n\n@agent\ndef run(topic) -> dict:\n"
        "    mail.send([{'email': 'zoe@harbour.example'}], subject='once', text='text')\n    raise ValueError('after sending')\n"
    )
    empty_home.agent("sender", code, caps="mail = true")
    opening = empty_home.state / "openings" / "sender.yaml"
    text = opening.read_text().replace("confirm_external: true", "confirm_external: true\n  approve_in_advance: [mail.outbox]")
    opening.write_text(text.replace("    timeout_ms: 30000", "    timeout_ms: 30000\n    retry: {max_attempts: 3, backoff_ms: 10}"))

    done = empty_home.rlp("run", "sender", "--yes")

    attempts = [record["meta"]["attempt"] for record in empty_home.records(done) if record["kind"] == "node.finished"]
    results = [record["meta"]["result"] for record in empty_home.records(done) if record["kind"] == "effect.completed"]
    assert (done.returncode, attempts, len(empty_home.outbox())) == (1, [1, 2, 3], 1), done.stderr
    assert [result["repeated"] for result in results] == [False, True, True]
    assert len({result["message_id"] for result in results}) == 1
    assert empty_home.rlp("logs", "last", "--table").stdout.count("mail.send answered: the message had gone out before") == 2
