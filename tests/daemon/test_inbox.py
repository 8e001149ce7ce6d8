"""What waits is listed and decided from another terminal, with and without a daemon."""

import json

import pytest

MAILS = "def run() -> dict:\n    mail.send([{'email': 'zo@harbour.example'}], subject='Pier', text='Open.')\n    return {'out': 'sent'}\n"
ASKS = "def run() -> dict:\n    return {'out': ask.person('Which colour?', options=['red', 'blue'])}\n"


@pytest.fixture
def asking(daemon, words):
    daemon.agent("curious", words.head + ASKS, "ask = true")
    daemon.opening("curious")
    daemon.agent("sender", words.head + MAILS, "mail = true")
    daemon.opening("sender")
    daemon.agent("says", words.head + "def run(revise=''):\n    return {'out': f'a draft {revise}'}\n")
    daemon.opening("says", "version: 0\nname: says\nnodes: [{id: a, use: agent:says, gate: {ask: Good?, revise_to: a}}]\nedges: []\n")
    daemon.start()
    return daemon


def waiting(daemon, count):
    """What `rlp inbox` lists, once there is as much as that."""
    while len(found := json.loads(daemon.rlp("inbox", "--json").stdout)) != count:
        pass
    return found


def decided(daemon, run_id):
    lines = daemon.rlp("attach", run_id).stdout.splitlines()
    return [record["meta"] for record in map(json.loads, lines) if record["kind"] == "approval.decided"]


def test_approvals_questions_and_gates_are_listed_and_decided_by_their_short_names(asking):
    for name in ("sender", "curious", "says"):
        assert asking.rlp("run", name, "--detach").returncode == 0
    found = {each["opening_name"]: each for each in waiting(asking, 3)}
    assert {name: (each["type"], each["id"]) for name, each in found.items()} == {
        "sender": ("approval", found["sender"]["run_id"][:8]),
        "curious": ("question", found["curious"]["run_id"][:8]),
        "says": ("gate", found["says"]["run_id"][:8]),
    }
    table = asking.rlp("inbox", "--table").stdout
    assert "mail.outbox: " in table or "mail.send: " in table
    assert "Which colour?" in table

    refused = asking.rlp("approve", found["sender"]["id"], "--scope", "forever")
    assert (refused.returncode, "use once, run, opening, always" in refused.stderr) == (2, True)
    assert "has no scope" in asking.rlp("approve", found["says"]["id"], "--scope", "run").stderr
    assert asking.rlp("approve", found["sender"]["id"], "--scope", "opening", "--reason", "it is ours").returncode == 0
    assert asking.rlp("revise", found["says"]["id"], "shorter,", "please").returncode == 0
    assert "one of 'red', 'blue'" in asking.rlp("deny", found["curious"]["id"]).stderr
    assert asking.rlp("approve", found["curious"]["id"], "--answer", "blue").returncode == 0
    (gate,) = waiting(asking, 1)
    assert asking.rlp("deny", "last", "--reason", "no more").stdout.startswith("reject: ")
    assert [meta["decision"] for meta in decided(asking, gate["run_id"])] == ["revise", "reject"]
    assert asking.rlp("approve", "last").returncode == 2

    assert decided(asking, found["sender"]["run_id"])[0]["rationale"] == "it is ours"
    assert asking.rlp("run", "sender").returncode == 0  # nobody is asked: the grant stands
    (grant,) = json.loads(asking.rlp("inbox", "--grants", "--json").stdout)
    assert (grant["scope"], grant["opening_name"], grant["targets"]) == ("opening", "sender", ["zo@harbour.example"])
    assert asking.rlp("inbox", "--revoke", grant["id"][:4]).returncode == 0
    assert asking.rlp("run", "sender").returncode == 4
    assert asking.rlp("inbox", "--revoke", grant["id"]).returncode == 2


def test_without_a_daemon_the_runs_that_wait_are_listed_with_what_takes_them_up(asking):
    assert asking.rlp("run", "sender", "--detach").returncode == 0
    waiting(asking, 1)
    asking.stop()
    (left,) = waiting(asking, 1)
    assert (left["approval_id"], left["state"], left["opening_name"]) == (None, "unfinished", "sender")
    assert "rlp up" in left["line"]
    assert asking.rlp("approve", "last").returncode == 3
