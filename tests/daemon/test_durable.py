"""Runs outlive the daemon: killed in the middle, parked while they wait, paused over a restart, answered after days."""

import asyncio
import json
import re
import signal
import uuid
from dataclasses import replace

import pytest

from runloop.client import Client
from runloop.config import load
from runloop.events import NewEvent
from runloop.kb import Ledger
from runloop.runs.grants import FILE, StandingGrants
from runloop.runs.owners import Owner

HEAD = "from runloop_agent import *\nfrom runloop_agent import agent\n\n\n@agent\n"
MAILS = HEAD + "def run():\n    return {'out': mail.send([{'email': 'ada@example.org'}], subject='s', text='t').status}\n"
SLEEPS = HEAD + "def run():\n    emit.log('before')\n    timer.sleep(1.5)\n    return {'out': 'woken'}\n"
ASKS = HEAD + "def run():\n    return {'out': ask.person('Which?', options=['red', 'blue']).answer}\n"
PARKS = "runtime.park_after_ms"


async def submitted(link, opening, **fields):
    return (await link.ask("submit", opening=opening, request_id=str(uuid.uuid4()), **fields))["run_id"]


async def until(link, check):
    """Ask for the status until it is as wanted."""
    while not check(status := await link.ask("status")):
        await asyncio.sleep(0.02)
    return status


def one_is_parked(status):
    return status["runs"]["parked"] == 1


async def parked(link, opening, **fields):
    """Submit a run and wait until it has left the daemon's memory."""
    run_id = await submitted(link, opening, **fields)
    await until(link, one_is_parked)
    return run_id


async def was_parked(daemon, link, opening, **fields):
    """As :func:`parked`, of a run that a time may have brought back by now."""
    run_id = await submitted(link, opening, **fields)
    while "run.waiting" not in [record["kind"] for record in records(daemon, run_id)]:
        await asyncio.sleep(0.02)
    return run_id


def mailing(daemon, *, parks):
    """A daemon with an agent that asks before it sends a mail, and parks what waits after ``parks`` ms."""
    daemon.agent("mails", MAILS, "mail = true")
    daemon.opening("mails")
    daemon.settings[PARKS] = parks
    daemon.start()


def killed(daemon):
    """The daemon dies, and the next one begins."""
    daemon.stop(signal.SIGKILL)
    daemon.start()


async def test_a_run_that_waits_for_its_turn_after_a_restart_is_listed_as_what_it_is(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.agent("quick", words.quick)
    daemon.settings["runtime.max_runs"] = 1
    daemon.start()
    async with daemon.client() as link:
        begun = await link.submit(words.one("loop"))
        queued, paused = [await link.submit(words.one("quick")) for _ in range(2)]
        await link.ask("pause", run=paused["run_id"])
    killed(daemon)
    async with daemon.client() as link:
        listed = {each["run_id"]: (each["state"], each["waiting_for"]) for each in (await link.ask("list"))["runs"]}
        assert (listed[queued["run_id"]], listed[paused["run_id"]]) == (("queued", None), ("paused", "a resumption"))
        changed = [(await link.ask(verb, run=paused["run_id"]))["state"] for verb in ("resume", "pause", "resume")]
        assert changed == ["queued", "paused", "queued"]  # although the only place is taken
        await link.ask("cancel", run=queued["run_id"])
        assert (await ended(link, queued["run_id"]))["status"] == "cancelled"
        await link.ask("cancel", run=begun["run_id"])
        assert (await ended(link, paused["run_id"]))["status"] == "succeeded"


async def test_a_parked_run_is_changed_while_there_is_no_place_for_it(daemon, words):
    daemon.settings["runtime.max_runs"] = 1
    daemon.agent("loop", words.loop)
    mailing(daemon, parks=1)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
        begun = await link.submit(words.one("loop"))
        assert [(await link.ask(verb, run=run_id))["state"] for verb in ("pause", "resume")] == ["paused", "queued"]
        assert [each["run_id"] for each in await opened(link)] == [run_id]
        await link.ask("cancel", run=run_id)
        assert (await ended(link, run_id))["status"] == "cancelled"
        await link.ask("cancel", run=begun["run_id"])


@pytest.mark.parametrize("queued", [False, True])
async def test_an_answer_comes_on_record_while_there_is_no_place_for_the_run(daemon, words, queued):
    daemon.settings["runtime.max_runs"] = 1
    daemon.agent("loop", words.loop)
    mailing(daemon, parks=1)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
        begun = await link.submit(words.one("loop"))
        if queued:
            await link.ask("pause", run=run_id)
            await link.ask("resume", run=run_id)
        (asked,) = await opened(link)
        await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        assert "approval.decided" in [record["kind"] for record in records(daemon, run_id)]
        assert (await ended(link, run_id))["status"] == "succeeded"
        await link.ask("cancel", run=begun["run_id"])


async def opened(link):
    """What waits for a person, once something does."""
    while not (found := (await link.ask("approvals"))["open"]):
        await asyncio.sleep(0.02)
    return found


async def ended(link, run_id):
    """The last record of a run."""
    found = await link.ask("attach", run=run_id)
    async with asyncio.timeout(60):
        async for message in await link.client.subscribe(found["topic"], "durable", from_seq=1):
            if message.payload.get("kind") == "run.finished":
                return message.payload["meta"]
    raise AssertionError("the records ended without an end of the run")


def kinds(daemon, run_id):
    return [record["kind"] for record in map(json.loads, daemon.rlp("attach", run_id).stdout.splitlines())]


def records(daemon, run_id):
    """What is on record of a run that goes on."""
    with Ledger.open(daemon.state / "pog" / "events.sqlite", writable=False) as ledger:
        return [{"kind": event.kind, "ts_ms": event.ts_ms} for event in ledger.read_run(run_id)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_an_approval_outlives_the_daemon_and_the_message_goes_out_once(daemon, number):
    daemon.agent("mails", MAILS, "mail = true")
    daemon.opening("mails")
    daemon.settings[PARKS] = 60_000
    daemon.start("--set", "runtime.drain_grace_ms=0")
    async with daemon.client() as link:
        run_id = await submitted(link, "mails", patient=True)
        (asked,) = await opened(link)
    daemon.stop(number)
    daemon.start()
    async with daemon.client() as link:
        (again,) = await opened(link)
        assert (again["approval_id"], again["what"]) == (asked["approval_id"], asked["what"])
        await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        assert (await ended(link, run_id))["status"] == "succeeded"
    assert len(list((daemon.state / "outbox").glob("*.eml"))) == 1
    found = kinds(daemon, run_id)
    assert found.count("approval.requested") == found.count("node.started") == found.count("run.recovered") == 1


async def test_a_run_that_only_waits_is_parked_and_an_answer_brings_it_back(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
        (shown,) = (await link.ask("list"))["runs"]
        assert (shown["state"], shown["waiting_for"]) == ("waiting", "approval of mail.outbox")
        (asked,) = (await link.ask("approvals"))["open"]
        assert "ada@example.org" in asked["what"]
        killed(daemon)
    async with daemon.client() as link:
        await until(link, one_is_parked)
        assert (await link.ask("approvals"))["open"][0]["what"] == asked["what"]
        await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        assert (await ended(link, run_id))["status"] == "succeeded"
        assert (await link.ask("approvals"))["open"] == []
        with pytest.raises(AssertionError, match=r"approval\.unknown"):
            await link.ask("answer", approval_id=asked["approval_id"], approved=True)
    assert len(list((daemon.state / "outbox").glob("*.eml"))) == 1


async def test_a_parked_run_of_a_daemon_that_was_killed_waits_with_the_next_also_in_show(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
    daemon.stop(signal.SIGKILL)
    without = json.loads(daemon.rlp("show", run_id, "--json").stdout)["state"]
    daemon.start()
    assert (without, json.loads(daemon.rlp("show", run_id, "--json").stdout)["state"]) == ("unfinished", "waiting")


async def test_what_a_parked_run_asks_is_shown_as_the_run_itself_showed_it(daemon):
    (daemon.root / "read").mkdir()
    reads = MAILS.replace("    return", f"    files.list({str(daemon.root / 'read')!r})\n    return")
    daemon.agent("mails", reads, f"mail = true\nfs_ro = [{json.dumps(str(daemon.root / 'read'))}]")
    daemon.opening("mails")
    daemon.settings[PARKS] = 60_000
    daemon.start()
    async with daemon.client() as link:
        await submitted(link, "mails", patient=True)
        (live,) = await opened(link)
    assert live["reason"]
    assert live["taint"]
    daemon.stop()
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link:
        await until(link, one_is_parked)
        (parked,) = await opened(link)
        with pytest.raises(AssertionError, match="approved or rejected"):  # never taken for a no
            await link.ask("answer", approval_id=parked["approval_id"], answer="yes, send it")
    assert parked | {"asked_ms": 0} == live | {"asked_ms": 0}


GATED = "version: 0\nname: gated\nnodes: [{id: a, use: agent:says, gate: {ask: Good?, revise_to: a}}]\nedges: []\n"
OUTER = "version: 0\nname: outer\nnodes: [{id: o, use: opening:gated}]\nedges: []\n"


@pytest.mark.parametrize("opening", ["gated", "outer"], ids=["its own", "of a nested opening"])
async def test_a_run_that_only_waits_at_a_gate_is_parked_and_no_time_is_used_up(daemon, opening):
    daemon.agent("says", HEAD + "def run():\n    return {'out': 'a draft'}\n")
    daemon.opening("gated", GATED)
    daemon.opening("outer", OUTER)
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(25):
        run_id = await parked(link, opening, patient=True)
        assert (await link.ask("list"))["runs"][0]["until_ms"] is None
        (asked,) = await opened(link)
        assert asked["agent"] == "gated"  # its opening asks, as while it is in memory
    killed(daemon)
    async with daemon.client() as link, asyncio.timeout(25):
        (again,) = await opened(link)
        same = ("approval_id", "run_id", "asked_ms", "agent")
        assert [again[name] for name in same] == [asked[name] for name in same]
        assert {run["state"] for run in (await link.ask("list"))["runs"]} == {"waiting"}
        await link.ask("answer", approval_id=asked["approval_id"], answer="approve")
        assert (await ended(link, run_id))["status"] == "succeeded"


async def test_a_gate_that_is_asked_again_was_asked_when_it_was_asked_first(daemon):
    daemon.agent("says", HEAD + "def run():\n    return {'out': 'a draft'}\n")
    daemon.opening("gated", GATED)
    daemon.settings[PARKS] = "null"
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(25):
        run_id = await submitted(link, "gated", patient=True)
        (asked,) = await opened(link)
        requested = next(r for r in records(daemon, run_id) if r["kind"] == "approval.requested")
    killed(daemon)
    async with daemon.client() as link, asyncio.timeout(25):
        (again,) = await opened(link)
        assert (again["approval_id"], again["asked_ms"]) == (asked["approval_id"], requested["ts_ms"])
        assert (again["agent"], asked["agent"]) == ("gated", "gated")
        await link.ask("cancel", run=run_id)


async def test_a_run_whose_node_waits_for_a_time_is_said_to_wait_for_it(daemon):
    daemon.agent("says", HEAD + "def run():\n    return {'out': 'a draft'}\n")
    daemon.opening("later", "version: 0\nname: later\nnodes: [{id: a, use: agent:says, wait: {for: 2h}}]\nedges: []\n")
    daemon.settings[PARKS] = "null"
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(25):
        run_id = await submitted(link, "later")
        while (row := (await link.ask("list"))["runs"][0])["state"] in {"queued", "running"}:
            await asyncio.sleep(0.02)
        assert (row["run_id"], row["state"], row["waiting_for"]) == (run_id, "waiting", "a time")
        await link.ask("cancel", run=run_id)


async def test_a_parked_run_that_waits_for_a_time_tells_how_long_it_still_will(daemon):
    daemon.agent("says", HEAD + "def run():\n    return {'out': 'a draft'}\n")
    daemon.opening("later", "version: 0\nname: later\nnodes: [{id: a, use: agent:says, wait: {for: 2h}}]\nedges: []\n")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(25):
        run_id = await parked(link, "later")
        listed = await asyncio.to_thread(daemon.rlp, "runs", "--table")
        shown = await asyncio.to_thread(daemon.rlp, "show", "--table")
        assert re.search(r"\| (waits for )?a time, (2h00m|1h59m) left since ", listed.stdout)
        assert re.search(r"waits    for a time, (2h00m|1h59m) left, since ", shown.stdout)
        await link.ask("cancel", run=run_id)


async def test_a_question_of_a_parked_run_is_answered_with_its_options(daemon):
    daemon.agent("asks", ASKS, "ask = true")
    daemon.opening("asks")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link:
        run_id = await parked(link, "asks", patient=True)
        (asked,) = (await link.ask("approvals"))["open"]
        assert (asked["question"], asked["options"]) == ("Which?", ["red", "blue"])
        with pytest.raises(AssertionError, match="the answer to a question is one of"):
            await link.ask("answer", approval_id=asked["approval_id"], answer="green")
        await link.ask("answer", approval_id=asked["approval_id"], answer="blue")
        assert (await ended(link, run_id))["status"] == "succeeded"


async def test_a_time_brings_a_parked_run_back_also_when_it_passed_while_no_daemon_ran(daemon):
    daemon.agent("sleeps", SLEEPS, "time = true")
    daemon.opening("sleeps")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link:
        one = await was_parked(daemon, link, "sleeps")
        assert (await ended(link, one))["status"] == "succeeded"
        other = await was_parked(daemon, link, "sleeps")
    killed(daemon)
    async with daemon.client() as link:
        assert (await ended(link, other))["status"] == "succeeded"
    assert kinds(daemon, one).count("run.waiting") == 1


@pytest.mark.parametrize(("default", "code"), [(", default='blue'", None), ("", "ask.timeout")])
async def test_the_time_of_a_question_ends_it_also_where_its_run_was_parked_or_no_daemon_ran(daemon, default, code):
    daemon.agent("asks", ASKS.replace("])", f"]{default}, timeout_ms=1500)"), "ask = true")
    daemon.opening("asks")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link:
        one = await was_parked(daemon, link, "asks", patient=True)
        first = await ended(link, one)
        other = await was_parked(daemon, link, "asks", patient=True)
    killed(daemon)
    async with daemon.client() as link:
        second = await ended(link, other)
    assert [(each.get("error") or {}).get("code") for each in (first, second)] == [code, code]
    assert [kinds(daemon, run_id).count("run.waiting") for run_id in (one, other)] == [1, 1]


async def test_a_run_whose_agents_are_gone_says_so_to_who_answers_goes_on_once_they_are_back_and_can_be_cancelled(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link, asyncio.timeout(60):
        one, other = await submitted(link, "mails", patient=True), await submitted(link, "mails", patient=True)
        await until(link, lambda status: status["runs"]["parked"] == 2)
        kept = daemon.state / "pog" / "kept" / "bundles"
        kept.rename(daemon.root / "moved")
        asked = {each["run_id"]: each["approval_id"] for each in (await link.ask("approvals"))["open"]}
        for _ in range(2):
            with pytest.raises(AssertionError, match=r"run\.not_kept"):
                await link.ask("answer", approval_id=asked[one], approved=True)
        assert {each["approval_id"] for each in (await link.ask("approvals"))["open"]} == set(asked.values())
        (left,) = (await link.ask("status"))["left"]
        assert (left["run_id"], left["opening_name"], left["error"]["code"]) == (one, "mails", "run.not_kept")
        await link.ask("cancel", run=other)
        assert (await ended(link, other))["status"] == "cancelled"
        (daemon.root / "moved").rename(kept)
        await link.ask("answer", approval_id=asked[one], approved=True)
        assert (await ended(link, one))["status"] == "succeeded"


def taken_by_another(daemon, run_id):
    """Another process has this run now, says the record: the owner whose lock this one holds."""
    pog = daemon.state / "pog"
    owner = Owner.take(pog)
    with Ledger.open(pog / "events.sqlite") as ledger:
        *_, last = ledger.read_run(run_id)
        meta = {"why": "it comes back from its wait", "nodes": [], "effects_answered": 0, "owner": owner.id}
        payload = {**last.payload, "seq": last.payload["seq"] + 1, "level": "info", "message": "run taken up again", "meta": meta}
        ledger.append([NewEvent("run.recovered", payload, last.actor, last.scope, last.provenance)])
    return owner


async def test_a_run_that_another_process_took_up_is_none_that_cannot_be_taken_up_and_goes_on_here_once_that_died(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link, asyncio.timeout(60):
        run_id = await parked(link, "mails", patient=True)
        (asked,) = await opened(link)
        other = taken_by_another(daemon, run_id)
        with pytest.raises(AssertionError, match=r"run\.driven"):
            await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        status = await link.ask("status")
        assert (status["left"], status["active"], (await link.ask("approvals"))["open"]) == ([], [], [])
        other.close()  # it died
        assert (await link.ask("resume", all=True))["runs"] == 1
        await link.ask("answer", approval_id=(await opened(link))[0]["approval_id"], approved=True)
        assert (await ended(link, run_id))["status"] == "succeeded"


async def asked_as_another(daemon):
    """A run that waits to send a mail, under a daemon that would send it as somebody else than the one that asked."""
    daemon.agent("mails", MAILS, "mail = true")
    daemon.opening("mails")
    daemon.settings |= {PARKS: 0, "mail.from": "one@example.org"}
    daemon.start()
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
    daemon.stop(signal.SIGKILL)
    daemon.settings["mail.from"] = "two@example.org"
    daemon.start()
    return run_id


async def test_an_answer_to_what_has_changed_meanwhile_is_refused_and_it_is_asked_anew(daemon):
    run_id = await asked_as_another(daemon)
    async with daemon.client() as link:
        (asked,) = await opened(link)
        with pytest.raises(AssertionError, match=r"approval\.changed"):
            await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        (again,) = await opened(link)
        assert "two@example.org" in again["what"]
        await link.ask("answer", approval_id=again["approval_id"], approved=True)
        assert (await ended(link, run_id))["status"] == "succeeded"


async def test_a_no_to_what_has_changed_meanwhile_counts_for_what_is_asked_in_its_place(daemon):
    run_id = await asked_as_another(daemon)
    async with daemon.client() as link:
        (asked,) = await opened(link)
        await link.ask("answer", approval_id=asked["approval_id"], approved=False, rationale="not this week")
        assert (await ended(link, run_id))["status"] == "failed"
    records = [json.loads(line) for line in daemon.rlp("attach", run_id).stdout.splitlines()]
    ends = [
        (each["kind"], each["meta"].get("decision"), each["meta"].get("rationale"))
        for each in records
        if each["kind"] in {"approval.expired", "approval.decided"}
    ]
    assert ends == [("approval.expired", "changed", None), ("approval.decided", "rejected", "not this week")]
    assert list((daemon.state / "outbox").glob("*.eml")) == []


async def test_of_two_daemons_beside_one_ledger_only_the_one_that_took_a_run_up_drives_it(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
    killed(daemon)
    other = type(daemon)(daemon.root, daemon.env["XDG_CACHE_HOME"])
    socket = {"runtime.socket_path": str(daemon.root / "other.sock")}
    other.settings |= {**socket, PARKS: 60_000}
    other.start()
    try:
        async with daemon.client() as link, Client(settings=load(socket, env=other.env), reconnect_s=0, role="operator") as client:
            (asked,) = await opened(link)
            await type(link)(client).ask("pause", run=run_id)  # which takes it up
            with pytest.raises(AssertionError, match=r"run\.driven"):
                await link.ask("answer", approval_id=asked["approval_id"], approved=True)
    finally:
        other.stop()
    async with daemon.client() as link:
        await link.ask("resume", run=run_id)
        assert [each["approval_id"] for each in await opened(link)] == [asked["approval_id"]]
        await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        assert (await ended(link, run_id))["status"] == "succeeded"
    assert len(list((daemon.state / "outbox").glob("*.eml"))) == 1


async def test_a_time_of_a_nested_opening_counts_also_for_the_next_daemon(daemon):
    daemon.agent("sleeps", SLEEPS, "time = true")
    daemon.opening("sleeps")
    daemon.opening("outer", "version: 0\nname: outer\nnodes: [{id: o, use: opening:sleeps}]\nedges: []\n")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link:
        run_id = await was_parked(daemon, link, "outer")
    killed(daemon)
    async with daemon.client() as link, asyncio.timeout(25):
        assert (await ended(link, run_id))["status"] == "succeeded"


async def test_a_pause_and_a_parked_run_that_is_cancelled(daemon):
    mailing(daemon, parks=0)
    async with daemon.client() as link:
        run_id = await parked(link, "mails", patient=True)
        assert (await link.ask("pause", all=True))["runs"] == 1
        await until(link, one_is_parked)
    killed(daemon)
    async with daemon.client() as link:
        await until(link, one_is_parked)
        assert (await link.ask("list"))["runs"][0]["state"] == "paused"
        (asked,) = (await link.ask("approvals"))["open"]
        await link.ask("answer", approval_id=asked["approval_id"], approved=True)
        assert list((daemon.state / "outbox").glob("*.eml")) == []
        await link.ask("cancel", run=run_id)
        assert (await ended(link, run_id))["status"] == "cancelled"
    found = kinds(daemon, run_id)
    assert found.count("approval.decided") == 1
    assert found.count("effect.requested") == sum(kind in {"effect.completed", "effect.failed", "effect.unknown"} for kind in found)


async def test_who_attaches_to_a_run_that_is_not_in_memory_is_there_when_it_asks(daemon):
    daemon.agent("mails", MAILS.replace("    return", "    timer.sleep(4)\n    return"), "mail = true\ntime = true")
    daemon.opening("mails")
    daemon.settings[PARKS] = 0
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(40):
        run_id = await parked(link, "mails")
        await link.ask("attach", run=run_id, attended=True)
        ending = asyncio.create_task(ended(link, run_id))
        asking = asyncio.create_task(opened(link))
        await asyncio.wait({ending, asking}, return_when=asyncio.FIRST_COMPLETED)
        assert not ending.done(), ending.result()
        await link.ask("answer", approval_id=(await asking)[0]["approval_id"], approved=True)
        assert (await ending)["status"] == "succeeded"


async def two_parked(link):
    """Two runs that ask the same, and their approvals by run."""
    runs = [await submitted(link, "mails", patient=True) for _ in range(2)]
    await until(link, lambda status: status["runs"]["parked"] == 2)
    asked = {each["run_id"]: each["approval_id"] for each in await opened(link)}
    return [(run_id, asked[run_id]) for run_id in runs]


@pytest.mark.parametrize(("approved", "status", "mails"), [(False, "failed", 1), (True, "succeeded", 2)])
async def test_an_answer_counts_in_a_parked_run_though_a_grant_would_answer_by_now(daemon, approved, status, mails):
    mailing(daemon, parks=0)
    async with daemon.client() as link, asyncio.timeout(40):
        (other, theirs), (run_id, mine) = await two_parked(link)
        await link.ask("pause", run=run_id)
        await until(link, lambda status: status["runs"]["parked"] == 2)  # out of memory, it does not hear of the grant
        await link.ask("answer", approval_id=theirs, approved=True, scope="opening")
        assert (await ended(link, other))["status"] == "succeeded"
        await link.ask("answer", approval_id=mine, approved=approved, rationale="as I said")
        if approved:  # a no lets the guest go on to its end: it does nothing
            await link.ask("resume", run=run_id)
        assert (await ended(link, run_id))["status"] == status
    assert len(list((daemon.state / "outbox").glob("*.eml"))) == mails


@pytest.mark.parametrize("scope", ["opening", "always"])
async def test_a_parked_run_goes_on_with_what_is_granted_to_another(daemon, scope):
    mailing(daemon, parks=0)
    daemon.agent("mails_others", MAILS.replace("ada", "bo"), "mail = true")
    daemon.opening("mails_others")
    async with daemon.client() as link, asyncio.timeout(40):
        (other, theirs), (run_id, _) = await two_parked(link)
        not_meant = await submitted(link, "mails_others", patient=True)
        await until(link, lambda status: status["runs"]["parked"] == 3)
        await link.ask("answer", approval_id=theirs, approved=True, scope=scope)
        assert [(await ended(link, each))["status"] for each in (other, run_id)] == ["succeeded"] * 2
        assert [each["run_id"] for each in await opened(link)] == [not_meant]
    told = map(json.loads, daemon.rlp("attach", run_id).stdout.splitlines())
    (decided,) = [record["meta"] for record in told if record["kind"] == "approval.decided"]
    assert (decided["by"]["role"], theirs in decided["rationale"]) == ("grant", True)
    assert "run.recovered" not in [record["kind"] for record in records(daemon, not_meant)]


@pytest.mark.parametrize("given", ["while it is parked", "while it is in memory", "while there is no daemon"])
async def test_a_run_goes_on_with_what_another_process_grants(daemon, given):
    mailing(daemon, parks=60_000 if given == "while it is in memory" else 0)
    grants = StandingGrants(daemon.state / FILE)
    async with daemon.client() as link, asyncio.timeout(40):
        run_id = await submitted(link, "mails", patient=True)
        while not (asked := await opened(link)):
            await asyncio.sleep(0.02)
        await link.ask("answer", approval_id=asked[0]["approval_id"], approved=True, scope="always")
        assert (await ended(link, run_id))["status"] == "succeeded"
        (granted,) = grants.all()
        grants.revoke(granted.id)
        run_id = await submitted(link, "mails", patient=True)
        while not await opened(link):
            await asyncio.sleep(0.02)
        if given == "while it is parked":
            await until(link, one_is_parked)
    if given == "while there is no daemon":
        daemon.stop()
    grants.keep(replace(granted, id="of another"))
    if given == "while there is no daemon":
        daemon.start()
    async with daemon.client() as link, asyncio.timeout(40):
        assert (await ended(link, run_id))["status"] == "succeeded"
    told = map(json.loads, daemon.rlp("attach", run_id).stdout.splitlines())
    (decided,) = [record["meta"] for record in told if record["kind"] == "approval.decided"]
    assert (decided["by"]["role"], "grant of another" in decided["rationale"]) == ("grant", True)


async def test_what_waits_is_listed_of_a_run_that_another_one_started_and_of_no_other(daemon):
    mailing(daemon, parks=0)
    for name, nested in (("outer", "mails"), ("outermost", "outer")):
        daemon.opening(
            name, f"version: 0\nname: {name}\nnodes: [{{id: o, use: opening:{nested}}}, {{id: m, use: agent:mails}}]\nedges: []\n"
        )
    async with daemon.client() as link, asyncio.timeout(40):
        root = await submitted(link, "outermost", patient=True)
        await until(link, one_is_parked)
        rows = {each["opening_name"]: each["run_id"] for each in (await link.ask("list"))["runs"]}
        listed = {
            name: sorted(each["opening_name"] for each in (await link.ask("approvals", run=run_id))["open"])
            for name, run_id in rows.items()
        }
        await link.ask("cancel", run=root)
        assert (await ended(link, root))["status"] == "cancelled"
        assert (await link.ask("approvals", run=rows["mails"]))["open"] == []
    assert listed == {"outermost": ["mails", "outer", "outermost"], "outer": ["mails", "outer"], "mails": ["mails"]}


@pytest.mark.parametrize("parks", [0, 60_000], ids=["parked", "in memory"])
@pytest.mark.parametrize(("code", "answer"), [(MAILS, {"approved": True}), (ASKS, {"answer": "red"})], ids=["approval", "question"])
async def test_what_was_asked_of_somebody_who_attached_can_be_answered_after_a_restart(daemon, code, answer, parks):
    daemon.agent("asks", code.replace("    return", "    timer.sleep(4)\n    return"), "mail = true\ntime = true\nask = true")
    daemon.opening("asks")
    daemon.settings[PARKS] = parks
    daemon.start()
    async with daemon.client() as link:
        run_id = await submitted(link, "asks")
        await link.ask("attach", run=run_id, attended=True)
        await opened(link)
        if not parks:
            await until(link, one_is_parked)
    killed(daemon)
    async with daemon.client() as link, asyncio.timeout(40):
        await link.ask("pause", run=run_id)
        await link.ask("resume", run=run_id)
        (asked,) = await opened(link)
        await link.ask("answer", approval_id=asked["approval_id"], **answer)
        assert (await ended(link, run_id))["status"] == "succeeded"


async def test_a_run_that_is_paused_in_the_queue_leaves_memory_without_having_started_and_begins_when_it_is_resumed(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.agent("loop", words.loop)
    daemon.settings |= {"runtime.max_runs": 1, PARKS: 0}
    daemon.start()
    async with daemon.client() as link, asyncio.timeout(40):
        begun, queued = await link.submit(words.one("loop")), await link.submit(words.one("quick"))
        await link.ask("pause", run=queued["run_id"])
        await link.ask("cancel", run=begun["run_id"])
        await until(link, one_is_parked)
        assert [record["kind"] for record in records(daemon, queued["run_id"])] == ["run.submitted", "run.paused", "run.waiting"]
    killed(daemon)
    async with daemon.client() as link, asyncio.timeout(40):
        await until(link, one_is_parked)
        await link.ask("resume", run=queued["run_id"])
        assert (await ended(link, queued["run_id"]))["status"] == "succeeded"
    found = kinds(daemon, queued["run_id"])
    assert (found.count("run.started"), found.count("node.started")) == (1, 1)
