"""Forks through the daemon: a run of its own that is followed, repeated safely, taken up after a restart, and an operator's only."""

import json
import signal
import uuid

import pytest

from runloop.daemon.backlog import READY

STEPS = "def run(topic: str = 'tea') -> dict:\n    return {'out': [topic, kb.search(topic), checkpoint.mark('after')] and topic}\n"
CAPS = 'kb_read = ["notes"]'
OPENING = """version: 0
name: two
params: {topic: tea}
nodes:
  - {id: one, use: "agent:steps", with: {topic: "{{params.topic}}"}}
  - {id: two, use: "agent:steps", with: {topic: "{{params.topic}}"}}
edges: [{from: one.out, to: two.in}]
"""


def recorded(daemon, words):
    """A run that has ended, in a daemon that is up; its id."""
    daemon.agent("steps", words.head + STEPS, CAPS)
    daemon.opening("two", OPENING)
    daemon.start()
    done = daemon.rlp("run", "two", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])["run_id"]


def test_a_fork_is_followed_here_as_a_run_is(daemon, words):
    run_id = recorded(daemon, words)

    done = daemon.rlp("fork", run_id, "--at", "two", "-p", "topic=rum", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["seq"] for record in records if record["event_id"] is not None] == list(range(1, records[-1]["seq"] + 1))
    assert (records[0]["kind"], records[-1]["kind"], records[-1]["meta"]["status"]) == ("run.submitted", "run.finished", "succeeded")
    assert records[0]["meta"]["forked_from"]["run_id"] == run_id
    assert {record["meta"]["node"] for record in records if record["kind"] == "node.started"} == {"two"}
    assert daemon.rlp("replay", records[0]["run_id"]).returncode == 0


def test_a_detached_fork_goes_on_in_the_daemon_and_is_followed_later(daemon, words):
    run_id = recorded(daemon, words)

    done = daemon.rlp("fork", run_id, "--at", "two", "--detach")

    fork_id = json.loads(done.stdout)["run_id"]
    assert (done.returncode, str(uuid.UUID(fork_id))) == (0, fork_id)
    followed = daemon.rlp("attach", fork_id)
    assert (followed.returncode, json.loads(followed.stdout.splitlines()[-1])["kind"]) == (0, "run.finished")


@pytest.mark.parametrize("at", ["", " ", "-1", "nowhere"])
def test_a_point_that_is_none_is_told_in_the_same_words_with_a_daemon_and_without(daemon, words, at):
    run_id = recorded(daemon, words)

    there = daemon.rlp("fork", run_id, "--at", at)
    daemon.stop()
    here = daemon.rlp("fork", run_id, "--at", at)

    told = [f"error[fork.point]: no node '{at}' started in the run", "  at key '--at'", "  hint: these did: one, two"]
    assert (there.returncode, there.stderr.splitlines()) == (2, told)
    assert (here.returncode, here.stderr.splitlines()[-3:]) == (2, told)


def test_without_a_daemon_nothing_can_be_left_to_it(daemon, words):
    run_id = recorded(daemon, words)
    daemon.stop()
    assert daemon.rlp("fork", run_id, "--at", "two", "--detach").returncode == 3
    assert "running in this process" in daemon.rlp("fork", run_id, "--at", "two").stderr


async def test_the_same_request_again_is_the_same_fork_also_after_a_restart(daemon, words):
    run_id, wanted = recorded(daemon, words), str(uuid.uuid4())
    for restart in (False, False, True):
        if restart:
            daemon.stop()
            daemon.start()
        async with daemon.client() as link:
            found = await link.ask("fork", request_id=wanted, run=run_id, at="two")
            assert found["run_id"] == wanted
    listed = json.loads(daemon.rlp("runs", "--json").stdout)
    assert sorted(each["run_id"] for each in listed) == sorted([run_id, wanted])


@pytest.mark.parametrize(("before", "restarts"), [(READY, False), (0, True)])
async def test_a_queued_fork_keeps_what_it_shares_also_where_it_was_left_to_the_ledger(daemon, words, before, restarts):
    daemon.agent("loop", words.loop)
    daemon.agent("quick", words.quick)
    daemon.settings["runtime.max_runs"] = 1
    run_id, wanted = recorded(daemon, words), str(uuid.uuid4())
    async with daemon.client() as link:
        first = await link.submit(words.one("loop"))
        for _ in range(before):
            await link.submit(words.one("quick"))
        assert (await link.ask("fork", request_id=wanted, run=run_id, at="two"))["state"] == "queued"
    if restarts:
        daemon.stop(signal.SIGKILL)
        daemon.start()
    async with daemon.client() as link:
        await link.ask("cancel", run=first["run_id"])
        records = await words.to_end(await link.follow(wanted))
    assert [record["meta"]["node"] for record in records if record["kind"] == "node.started"] == ["two"]


async def test_an_id_that_stands_for_another_run_is_refused(daemon, words):
    run_id = recorded(daemon, words)
    async with daemon.client() as link:
        refused = await link.refused("fork", request_id=run_id, run=run_id, at="two")
    assert refused["code"] == "run.request_reused"


async def test_an_id_that_stands_for_another_fork_is_refused_and_a_fork_is_no_submission(daemon, words):
    run_id, wanted = recorded(daemon, words), str(uuid.uuid4())
    asked = {"request_id": wanted, "run": run_id, "answers": {"one/1/1": {"hits": []}}, "params": {"topic": "rum"}}
    async with daemon.client() as link:
        first = await link.ask("fork", **asked)
        again = await link.ask("fork", **asked)
        others = ({"answers": {}, "at": "two"}, {"params": {}}, {"params": {"topic": "gin"}}, {"answers": {"one/1/1": {"hits": [1]}}})
        codes = [(await link.refused("fork", **{**asked, **other}))["code"] for other in others]
        none = await link.refused("fork", **{**asked, "at": "nowhere"})
        submitted = await link.refused("submit", request_id=wanted, opening="two", params={"topic": "rum"})
    assert (first["repeated"], again["repeated"], again["run_id"]) == (False, True, wanted)
    assert (codes, none["code"], submitted["code"]) == (["run.request_reused"] * 4, "fork.point", "run.request_reused")


async def test_only_an_operator_may_fork(daemon, words):
    run_id = recorded(daemon, words)
    async with daemon.client(role="client") as link:
        refused = await link.refused("fork", request_id=str(uuid.uuid4()), run=run_id, at="two")
    assert refused["code"] == "daemon.needs_operator"


async def test_code_for_an_agent_is_taken_from_a_directory_and_only_as_it_was_seen(daemon, words):
    run_id = recorded(daemon, words)
    place = daemon.agent("steps", words.head + STEPS.replace("and topic}", "and topic.upper()}"), CAPS)
    async with daemon.client() as link:
        agents = [{"name": "steps", "path": str(place), "digest": "0" * 64}]
        refused = await link.refused("fork", request_id=str(uuid.uuid4()), run=run_id, at="two", agents=agents)
        agents[0]["digest"] = ["0" * 64]
        odd = await link.refused("fork", request_id=str(uuid.uuid4()), run=run_id, at="two", agents=agents)
    assert [(each["code"], each["where"]["key"]) for each in (refused, odd)] == [("ctrl.invalid", "agents"), ("ctrl.invalid", "digest")]
    done = daemon.rlp("fork", run_id, "--at", "two", "--agent", f"steps={place}", "--json")
    outputs = [json.loads(line)["meta"]["outputs"] for line in done.stdout.splitlines() if '"node.finished"' in line]
    assert (done.returncode, outputs) == (0, [{"out": ["TEA"]}])
