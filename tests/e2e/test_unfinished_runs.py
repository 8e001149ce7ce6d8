"""Runs whose process ended before they did: listed, shown, taken up, cancelled, without a daemon."""

import json
import os
import signal

import pytest

HEAD = "from runloop_agent import agent, ask, emit, timer\n\n\n@agent\ndef run(topic) -> dict:\n"
SLEEPS = HEAD + "    emit.log('before\\nthe nap')\n    timer.sleep(5)\n    emit.log('after', level='warn')\n    return {'out': topic}\n"
LOOPS = HEAD + "    emit.log('in the loop')\n    while True:\n        pass\n"
ASKS = HEAD + "    return {'out': ask.person('Which colour?', options=['red', 'blue']).answer}\n"


def killed(home, opening, kind="node.log", **params):
    """The id of a run whose process was killed after its first record of a kind."""
    given = [word for name, value in params.items() for word in ("-p", f"{name}={value}")]
    process = home.start("run", opening, "--local", *given)
    for line in process.stdout:
        record = json.loads(line)
        if record["kind"] == kind:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    return record["run_id"]


def listed(home, *arguments):
    done = home.rlp("runs", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {each["run_id"]: each for each in json.loads(done.stdout)}


def error_of(done):
    return json.loads(done.stderr.splitlines()[-1])["error"]


@pytest.fixture
def napping(empty_home):
    empty_home.agent("napping", SLEEPS, caps="time = true")
    return empty_home


def test_a_run_whose_process_was_killed_is_unfinished_until_it_is_resumed(napping):
    run_id = killed(napping, "napping", kind="effect.requested", topic="tea")
    (before,) = listed(napping, "--state", "unfinished").values()
    table = napping.rlp("runs", "--table").stdout
    resumed = napping.rlp("resume", run_id[:8])
    records = napping.records(resumed)
    (after,) = listed(napping).values()

    assert (before["run_id"], before["status"], before["waiting_for"]) == (run_id, "running", "a time")
    assert "unfinished" in table
    assert "a time since " in table
    assert (resumed.returncode, records[0]["kind"], records[-1]["meta"]["status"]) == (0, "run.recovered", "succeeded"), resumed.stderr
    assert (after["state"], listed(napping, "--state", "unfinished")) == ("succeeded", {})
    shown = json.loads(napping.rlp("show", run_id, "--json").stdout)
    assert ([each["why"] for each in shown["recovered"]], shown["state"]) == (["its process ended"], "succeeded")
    assert "taken up once, last " in napping.rlp("show", run_id, "--table").stdout


def test_a_run_that_a_process_drives_is_not_taken_from_it(empty_home):
    empty_home.agent("looping", LOOPS)
    process = empty_home.start("run", "looping", "--local")
    for line in process.stdout:
        if json.loads(line)["kind"] == "node.log":
            break
    refused = [empty_home.rlp(verb, "last", "--json") for verb in ("resume", "cancel")]
    ((run_id, row),) = listed(empty_home).items()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.stdout.close()

    assert row["state"] == "running"
    for done in refused:
        assert (done.returncode, error_of(done)["code"]) == (3, "run.driven")
        assert error_of(done)["message"] == f"run {run_id} is driven by process {process.pid}"
    assert process.wait(timeout=30) == 130


def test_every_unfinished_run_is_taken_up_at_once(napping):
    first, second = killed(napping, "napping", topic="tea"), killed(napping, "napping", topic="milk")

    done = napping.rlp("resume", "--all")
    again = napping.rlp("resume", "--all")

    ended = {record["run_id"]: record["meta"]["status"] for record in napping.records(done) if record["kind"] == "run.finished"}
    assert (done.returncode, ended) == (0, {first: "succeeded", second: "succeeded"}), done.stderr
    assert (again.returncode, again.stdout) == (0, "no run is unfinished\n")
    assert json.loads(napping.rlp("resume", "--all", "--json").stdout) == {"runs": 0}
    assert list(listed(napping, "--text", "MILK")) == [second]


def test_a_question_without_a_terminal_leaves_the_run_unfinished_and_is_asked_on_one(empty_home, terminal):
    empty_home.agent("curious", ASKS, caps="ask = true")
    first = terminal(empty_home, "run", "curious", "--local")
    first.expect("Number")

    os.kill(first.pid, signal.SIGKILL)
    first.end()
    alone = empty_home.rlp("resume", "last", "--json")
    (row,) = listed(empty_home).values()
    second = terminal(empty_home, "resume", "last")
    second.expect("Number")
    second.type("2\n")

    assert (alone.returncode, error_of(alone)["code"]) == (4, "run.needs_person")
    assert "Which colour?" in error_of(alone)["message"]
    assert (row["state"], row["waiting_for"]) == ("unfinished", "an answer")
    assert second.end() == 0
    (row,) = listed(empty_home).values()
    assert row["state"] == "succeeded"


def test_an_interrupted_resumption_leaves_the_run_unfinished(empty_home):
    empty_home.agent("looping", LOOPS)
    run_id = killed(empty_home, "looping")
    process = empty_home.start("resume", run_id)
    seen = [json.loads(process.stdout.readline())]
    process.send_signal(signal.SIGINT)
    seen += [json.loads(line) for line in process.stdout]
    process.stdout.close()

    assert process.wait(timeout=30) == 130
    assert seen[0]["kind"] == "run.recovered"
    assert "run.finished" not in [record["kind"] for record in seen]
    assert listed(empty_home)[run_id]["state"] == "unfinished"


def test_an_unfinished_run_is_cancelled_with_an_outcome_for_every_call(napping):
    run_id = killed(napping, "napping", kind="effect.requested")

    done = napping.rlp("cancel", run_id, "--reason", "enough")
    records = napping.records(napping.rlp("attach", run_id))

    assert (done.returncode, done.stdout) == (0, f"run {run_id} cancelled\n")
    assert [record["kind"] for record in records if record["kind"].startswith("effect.")] == ["effect.requested", "effect.failed"]
    assert (records[-1]["meta"]["status"], records[-1]["meta"]["reason"]) == ("cancelled", "enough")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("resume",), 2, "cli.usage"),
        (("resume", "last", "--all"), 2, "cli.usage"),
        (("pause",), 2, "cli.usage"),
        (("resume", "last"), 2, "run.no_ledger"),
        (("cancel", "last"), 2, "run.no_ledger"),
        (("pause", "--all"), 3, "daemon.unavailable"),
        (("runs", "--state", "busy"), 2, "cli.usage"),
        (("runs", "--since", "yesterday"), 2, "cli.time"),
        (("runs", "--imported", "--text", "tea"), 2, "cli.usage"),
        (("logs", "last", "--level", "loud"), 2, "cli.usage"),
        (("run", "compose_email", "--detach"), 3, "daemon.unavailable"),
        (("run", "compose_email", "--detach", "--local"), 2, "cli.usage"),
    ],
)
def test_bad_input_is_refused_with_a_code(empty_home, arguments, exit_code, code):
    done = empty_home.rlp(*arguments, "--json")
    assert (done.returncode, error_of(done)["code"]) == (exit_code, code), done.stderr


def test_what_a_run_said_is_shown_by_node_and_level_while_it_is_unfinished_and_after(napping):
    run_id = killed(napping, "napping", kind="effect.requested")
    before = napping.rlp("logs", run_id)
    attached = napping.rlp("attach", run_id, "--from", "4", "--json")
    napping.rlp("resume", run_id)
    warnings = napping.rlp("logs", run_id, "--level", "warn")
    node = napping.rlp("logs", run_id, "--node", "napping_node", "--json")
    other = napping.rlp("logs", run_id, "--node", "nobody")
    followed = napping.rlp("logs", run_id, "--follow", "--level", "debug")

    said = before.stdout.splitlines()
    (first,) = [number for number, line in enumerate(said) if line.endswith("info   napping_node: before")]
    assert (said[first + 1].strip(), "after" in before.stdout) == ("the nap", False)
    assert (attached.returncode, error_of(attached)["code"]) == (3, "daemon.unavailable")
    assert napping.records(attached)[0]["seq"] == 4
    assert [line.split("  ", 1)[1] for line in warnings.stdout.splitlines()] == ["warn   napping_node: after"]
    assert {record["meta"]["node"] for record in napping.records(node)} == {"napping_node"}
    assert (other.returncode, other.stdout) == (0, "")
    assert followed.stdout.splitlines()[-1].endswith("run succeeded")
