"""Runs that a daemon hosts: the same bytes as in a process of one's own, stopped at once, fair, and never twice."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager

import pytest

from runloop.bus.errors import BadFrame
from runloop.daemon.backlog import READY
from runloop.daemon.control import VERBS
from runloop.errors import RunloopError
from runloop.kb import Ledger

NOTED = "def run() -> dict:\n    emit.progress('half', 0.5)\n    emit.log('a line')\n    return {'out': {'b': 1.0, 'a': [1, 2.5]}}\n"
WAITS_FOR_MODEL = "def run() -> dict:\n    return {'out': model.complete('hi').text}\n"
ASKS = "def run() -> dict:\n    return {'out': ask.person('Which one?', options=['red', 'blue']).answer}\n"
ASK_CAPS = "ask = true"
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def normalised(text):
    """NDJSON without what differs between any two runs: ids, times, the seed; and without the one word that tells the modes apart."""
    text = IDS.sub("ID", text)
    text = re.sub(r'"(ts_ms|ms|start_ms|event_id)": \d+', r'"\1": 0', text)
    text = re.sub(r'"seed": "[0-9a-f]{64}"', '"seed": "S"', text)
    text = re.sub(r'"owner": "[0-9a-f]{32}"', '"owner": "O"', text)
    return re.sub(r'"mode": "(local|daemon)"', '"mode": "M"', text)


def test_the_daemon_and_the_own_process_print_the_same_bytes(daemon, words):
    daemon.agent("noted", words.head + NOTED)
    daemon.agent("quick", words.quick)
    path = daemon.root / "two.yaml"
    path.write_text(
        "version: 0\nname: two\nparams: {word: hi, n: 1}\nnodes:\n  - {id: a, use: agent:noted}\n  - {id: b, use: agent:quick}\n"
        "edges:\n  - {from: a.out, to: b.in}\nartifacts:\n  save: [b.out]\n"
    )
    daemon.start()
    there = daemon.rlp("run", "two.yaml", "-p", "n=2")
    here = daemon.rlp("run", "--local", "two.yaml", "-p", "n=2")
    run_id = json.loads(there.stdout.splitlines()[0])["run_id"]
    attached = daemon.rlp("attach", run_id)
    assert (there.returncode, here.returncode, there.stderr, here.stderr) == (0, 0, "", "")
    assert normalised(there.stdout) == normalised(here.stdout)
    assert [line for line in there.stdout.splitlines() if '"event_id": null' not in line] == attached.stdout.splitlines()
    kinds = [json.loads(line)["kind"] for line in there.stdout.splitlines()]
    assert "node.progress" in kinds


def test_without_a_daemon_it_says_so_and_runs_here(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    done = daemon.rlp("run", "quick")
    assert (done.returncode, done.stderr) == (0, "note: running in this process: no daemon answers (`rlp up` starts one)\n")


def test_what_is_refused_has_the_same_code_and_place_as_in_the_own_process(daemon):
    daemon.opening("bad", "version: 0\nname: bad\nnodes:\n  - {id: a, use: agent:nowhere}\nedges: []\n")
    daemon.start()
    there, here = daemon.rlp("run", "bad"), daemon.rlp("run", "--local", "bad")
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout) == (2, "")
    assert there.stderr.splitlines()[0].split("]")[0] == here.stderr.splitlines()[0].split("]")[0]


async def test_a_guest_in_an_endless_loop_stops_when_its_run_is_cancelled(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.start()
    async with daemon.client() as link:
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("loop"), request_id=run_id)
        await words.until(records, "node.log")
        await link.ask("cancel", run=run_id[:8], reason="enough")
        rest = await words.to_end(records)
        status = await link.ask("status")
        again = await link.ask("cancel", run=run_id)
    meta = rest[-1]["meta"]
    assert (meta["status"], meta["reason"], status["workers"]["lost_total"], again["state"]) == ("cancelled", "enough", 0, "cancelled")
    assert (again["run_id"], again["trace_id"]) == (run_id, f"trace:{run_id}")
    daemon.stop()
    assert daemon.rlp("cancel", run_id).stdout == f"run {run_id} cancelled\n"


async def test_a_guest_that_waits_for_a_model_stops_when_its_run_is_cancelled(daemon, words):
    accepted = asyncio.Event()

    async def silent(reader, writer):
        await reader.read(1)
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    daemon.configure(
        f"""
        models:
          default: here:m
          broker:
            providers: [{{id: here, kind: http_ollama, base_url: "http://127.0.0.1:{port}"}}]
        """
    )
    daemon.agent("asks", words.head + WAITS_FOR_MODEL, "model = true")
    daemon.start()
    async with daemon.client() as link:
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("asks"), request_id=run_id)
        async with asyncio.timeout(60):
            await accepted.wait()
        nodes = (await link.ask("status"))["nodes"]
        await link.ask("cancel", run=run_id)
        found = await words.to_end(records)
    daemon.stop()
    server.close()
    await server.wait_closed()
    assert (found[-1]["meta"]["status"], nodes["at_work"]) == ("cancelled", 0)


async def test_a_queued_run_is_cancelled_without_having_started(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.settings["runtime.max_runs"] = 1
    daemon.start()
    async with daemon.client() as link:
        first = await link.submit(words.one("loop"))
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        queued = await link.submit(words.one("loop"), request_id=run_id)
        await link.ask("cancel", run=run_id)
        found = await words.to_end(records)
        await link.ask("cancel", run=first["run_id"])
    kinds = [record["kind"] for record in found]
    assert (queued["state"], kinds, found[-1]["meta"]["status"]) == (
        "queued",
        ["run.submitted", "run.cancelling", "node.finished", "run.finished"],
        "cancelled",
    )


async def test_200_runs_on_two_workers_all_end(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.settings["sandbox.workers"] = 2
    daemon.start()
    async with daemon.client() as link:
        ends = await asyncio.gather(*(link.run(words.one("quick")) for _ in range(200)))
        status = await link.ask("status")
    assert {records[-1]["meta"]["status"] for records in ends} == {"succeeded"}
    assert (status["runs"]["succeeded"], status["runs"]["running"], status["runs"]["queued"]) == (200, 0, 0)
    assert (status["nodes"]["at_work"], status["nodes"]["waiting"], status["bus"]["connections"]) == (0, 0, 1)


async def test_runs_end_beside_others_in_endless_loops_however_many(daemon, words):
    daemon.agent("loop", words.head + "def run() -> dict:\n    while True:\n        pass\n")
    daemon.agent("quick", words.quick)
    daemon.settings["sandbox.workers"] = 2
    daemon.start()
    async with daemon.client() as link:
        loops = [await link.submit(words.one("loop")) for _ in range(10)]
        ends = [await link.run(words.one("quick")) for _ in range(5)]
        status = await link.ask("status")
        while (await link.ask("status"))["nodes"] != {"at_work": 4, "waiting": 6, "limit": 6}:
            await asyncio.sleep(0.05)  # each has been tried
        for run in loops:
            await link.ask("cancel", run=run["run_id"])
    assert {records[-1]["meta"]["status"] for records in ends} == {"succeeded"}
    assert status["runs"]["running"] == 10


async def test_a_full_daemon_refuses_with_a_time_to_try_again(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.settings |= {"runtime.max_runs": 1, "runtime.max_queued_runs": 1}
    daemon.start()
    async with daemon.client() as link:
        runs = [await link.submit(words.one("loop")) for _ in range(2)]
        error = await link.refused("submit", request_id=str(uuid.uuid4()), opening_source=words.one("loop"))
        for run in runs:
            await link.ask("cancel", run=run["run_id"])
    assert (error["code"], error["exit_code"], error["retryable"], error["retry_after_ms"] >= 100) == ("daemon.busy", 3, True, True)


async def test_records_are_followed_under_their_own_topic_and_another_says_which_one_that_is(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    daemon.start()
    run_id = str(uuid.uuid4())
    async with daemon.client() as link:
        records = await link.follow(run_id.upper())
        with pytest.raises(RunloopError) as capitals:
            await anext(records)
        shown = await link.ask("submit", opening="quick", request_id=run_id.upper())
        ended = await words.to_end(await link.follow(run_id))
    daemon.stop()
    daemon.start()
    wrong = f"rlp/runs/run:{run_id}/events"
    async with daemon.client() as link:
        with pytest.raises(RunloopError) as other:
            await anext(await link.client.subscribe(wrong, "durable", from_seq=1))
        stored = await words.to_end(await link.follow(run_id))
    assert (capitals.value.code, "lower case" in capitals.value.hint) == ("bus.not_durable", True)
    assert (shown["run_id"], stored) == (run_id, ended)
    assert (other.value.code, other.value.message) == ("bus.not_durable", f"the records of this run are not published on {wrong!r}")
    assert other.value.hint.startswith(f"subscribe to rlp/runs/trace:{run_id}/events")


async def test_a_submission_counts_once_also_after_a_restart(daemon, words):
    daemon.agent("quick", words.quick)
    request_id, source = str(uuid.uuid4()), words.one("quick")
    daemon.start()
    async with daemon.client() as link:
        answers = await asyncio.gather(*(link.submit(source, request_id=request_id) for _ in range(3)))
        await words.to_end(await link.follow(request_id))
        ended = await link.submit(source, request_id=request_id)
    assert daemon.stop() == 0
    daemon.start()
    async with daemon.client() as link:
        later = await link.submit(source, request_id=request_id)
        other = await link.refused("submit", request_id=request_id, opening_source=source, params={"x": 1})
        another = await link.refused("submit", request_id=request_id, opening_source=source.replace("name: quick", "name: other"))
        listed = await link.ask("list")
    ids = {(each["run_id"], each["opening_id"]) for each in [*answers, ended, later]}
    assert [each["repeated"] for each in answers].count(False) == 1
    assert (len(ids), ended["state"], later["state"], len(listed["runs"])) == (1, "succeeded", "succeeded", 1)
    assert another["code"] == "run.request_reused"
    assert other["code"] in ("run.request_reused", "opening.param")


async def test_a_paused_run_begins_nothing_and_goes_on_when_it_is_resumed(daemon, words):
    daemon.agent(
        "loop",
        words.head
        + "def run() -> dict:\n    emit.log('x')\n    n = 0\n    for _ in range(6_000_000):\n        n += 1\n    return {'out': n}\n",
    )
    daemon.agent("quick", words.quick)
    two = (
        "version: 0\nname: two\nnodes:\n  - {id: a, use: agent:loop}\n  - {id: b, use: agent:quick}\nedges:\n  - {from: a.out, to: b.in}\n"
    )
    daemon.start()
    async with daemon.client() as link:
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(two, request_id=run_id)
        await words.until(records, "node.log")
        paused = await link.ask("pause", run=run_id, reason="lunch")
        seen = await words.until(records, "node.started")  # b is due, and recorded as such
        listed = (await link.ask("list"))["runs"][0]["state"]
        await link.ask("resume", run=run_id)
        rest = await words.to_end(records)
    kinds = [record["kind"] for record in [*seen, *rest]]
    assert (paused["state"], listed, rest[-1]["meta"]["status"]) == ("paused", "paused", "succeeded")
    assert kinds.index("run.paused") < kinds.index("run.resumed") < len(kinds) - 1
    finished = [number for number, record in enumerate([*seen, *rest]) if record["kind"] == "node.finished"]
    assert finished[1] > kinds.index("run.resumed")


@pytest.mark.parametrize("letters", [None, 4], ids=["last", "four letters"])
async def test_a_run_in_memory_is_paused_and_resumed_however_it_is_named(daemon, words, letters):
    daemon.agent("loop", words.loop)
    daemon.start()
    async with daemon.client() as link:
        run_id = (await link.submit(words.one("loop")))["run_id"]
        ref = run_id[:letters] if letters else "last"
        states = [(await link.ask(verb, run=ref))["state"] for verb in ("pause", "resume", "pause")]
        await link.ask("cancel", run=ref)
        ended = (await words.to_end(await link.follow(run_id)))[-1]["meta"]["status"]
    assert (states, ended) == (["paused", "running", "paused"], "cancelled")


async def test_a_queued_run_that_was_paused_and_resumed_begins_when_it_is_its_turn(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.agent("quick", words.quick)
    daemon.settings["runtime.max_runs"] = 1
    daemon.start()
    async with daemon.client() as link:
        first, queued = await link.submit(words.one("loop")), await link.submit(words.one("quick"))
        states = [(await link.ask(verb, run=queued["run_id"]))["state"] for verb in ("pause", "resume")]
        await link.ask("cancel", run=first["run_id"])
        assert (await words.to_end(await link.follow(queued["run_id"])))[-1]["meta"]["status"] == "succeeded"
    assert states == ["paused", "queued"]


async def test_a_paused_run_can_be_cancelled(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.start()
    async with daemon.client() as link:
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("loop"), request_id=run_id)
        await words.until(records, "node.log")
        await link.ask("pause", run=run_id)
        await link.ask("cancel", run=run_id)
        found = await words.to_end(records)
        nodes = (await link.ask("status"))["nodes"]
    assert (found[-1]["meta"]["status"], nodes["at_work"], nodes["waiting"]) == ("cancelled", 0, 0)


async def test_a_question_is_answered_from_another_connection_and_the_first_answer_counts(daemon, words):
    daemon.agent("curious", words.head + ASKS, ASK_CAPS)
    daemon.start()
    async with daemon.client() as link, daemon.client() as other:
        requests = await other.client.subscribe("action.request")
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("curious"), request_id=run_id, attended=True)
        opened = (await anext(requests)).payload
        wrong = await other.refused("answer", approval_id=opened["approval_id"], answer="green")
        await other.ask("answer", approval_id=opened["approval_id"], answer="blue")
        late = await link.refused("answer", approval_id=opened["approval_id"], answer="red")
        found = await words.to_end(records)
    outputs = [record["meta"]["outputs"] for record in found if record["kind"] == "node.finished"]
    assert (opened["question"], wrong["code"], wrong["where"], late["code"], outputs) == (
        "Which one?",
        "approval.answer",
        {"key": "answer"},
        "approval.unknown",
        [{"out": ["blue"]}],
    )


async def test_a_question_that_nobody_can_answer_is_told_to_the_agent(daemon, words):
    daemon.agent("curious", words.head + ASKS, ASK_CAPS)
    daemon.start()
    async with daemon.client() as link:
        found = await link.run(words.one("curious"))
    assert found[-1]["meta"]["error"]["code"] == "ask.nobody"


async def test_when_the_person_who_follows_leaves_the_question_stays_open_for_others(daemon, words):
    daemon.agent("curious", words.head + ASKS, ASK_CAPS)
    daemon.start()
    async with daemon.client() as link:
        requests = await link.client.subscribe("action.request")
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        async with daemon.client() as person:
            await person.submit(words.one("curious"), request_id=run_id, attended=True)
            await anext(requests)
        (opened,) = (await link.ask("approvals"))["open"]
        await link.ask("answer", approval_id=opened["approval_id"], answer=opened["options"][0] if opened["options"] else "yes")
        found = await words.to_end(records)
    assert found[-1]["meta"]["status"] == "succeeded"


async def test_a_client_without_the_token_learns_and_changes_nothing(daemon):
    daemon.start()
    request_id = str(uuid.uuid4())
    fields = {"run": "last", "request_id": request_id, "opening_source": "x", "approval_id": "x", "blob": "f" * 64}
    verbs = sorted(set(VERBS) - {"describe_agents", "status", "metrics", "route"})
    async with daemon.client("client") as link:
        errors = [await link.refused(verb, **fields) for verb in verbs]
        submitted = await link.raw({"RunSubmit": {"request_id": request_id, "opening_yaml": "x", "agent_digests": []}})
        cancelled = await link.raw({"RunCancel": {"trace_id": f"trace:{request_id}"}})
        status = await link.ask("status")
    assert [(each["code"], each["exit_code"]) for each in errors] == [("daemon.needs_operator", 4)] * len(verbs)
    assert ["needs the operator role" in each["RunRejected"]["reason"] for each in (submitted, cancelled)] == [True, True]
    assert status["state"] == "ready"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "ctrl.verb"),
        ({"verb": "fly"}, "ctrl.verb"),
        ({"verb": ["submit"]}, "ctrl.verb"),
        ({"verb": "submit"}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "request_id": "7"}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "opening": "y", "request_id": str(uuid.uuid4())}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "request_id": str(uuid.uuid4()), "params": [1]}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "request_id": str(uuid.uuid4()), "workdir": "rel"}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "request_id": str(uuid.uuid4()), "params": 0}, "ctrl.invalid"),
        ({"verb": "submit", "opening_source": "x", "request_id": str(uuid.uuid4()), "workdir": "/a\0b"}, "ctrl.invalid"),
        ({"verb": "submit", "opening": "assistant", "request_id": str(uuid.uuid4()), "params": {"question": b"x"}}, "opening.param"),
        ({"verb": "submit", "opening": "none", "request_id": str(uuid.uuid4()), "opening_file": 5}, "ctrl.invalid"),
        ({"verb": "fork", "run": "last", "request_id": str(uuid.uuid4()), "agents": 5}, "ctrl.invalid"),
        ({"verb": "fork", "run": "last", "request_id": str(uuid.uuid4()), "agents": [{"name": "x", "path": "/a\0b"}]}, "ctrl.invalid"),
        ({"verb": "submit", "opening": "none", "request_id": str(uuid.uuid4())}, "opening.not_found"),
        ({"verb": "list", "limit": 0}, "ctrl.invalid"),
        ({"verb": "list", "text": "word " * 205}, "ctrl.invalid"),
        ({"verb": "attach", "run": "f" * 65}, "ctrl.invalid"),
        ({"verb": "approvals", "run": "f" * 65}, "ctrl.invalid"),
        (
            {
                "verb": "submit",
                "opening": "assistant",
                "request_id": str(uuid.uuid4()),
                "agent_digests": [{"name": "x", "digest": "y"}] * 1001,
            },
            "ctrl.invalid",
        ),
        ({"verb": "list", "state": "odd"}, "ctrl.invalid"),
        ({"verb": "attach", "run": "ffffffff"}, "run.unknown"),
        ({"verb": "attach", "run": "last", "from_seq": 0}, "run.unknown"),
        ({"verb": "cancel", "run": "ffffffff"}, "run.unknown"),
        ({"verb": "answer", "approval_id": "x", "scope": "ever"}, "ctrl.invalid"),
        ({"verb": "answer", "approval_id": "x", "approved": True, "rationale": "x" * 16_385}, "ctrl.invalid"),
        ({"verb": "cancel", "run": "ffffffff", "reason": "x" * 16_385}, "ctrl.invalid"),
        ({"verb": "cancel", "run": "ffffffff", "reason": "x" * 16_384}, "run.unknown"),
        ({"verb": "submit", "opening": "none", "request_id": str(uuid.uuid4()), "workdir": "/" + "x" * 256}, "ctrl.invalid"),
        ({"verb": "submit", "opening": "none", "request_id": str(uuid.uuid4()), "workdir": "/x" * 2049}, "ctrl.invalid"),
        ({"verb": "answer", "approval_id": "x"}, "approval.unknown"),
        ({"verb": "describe_agents"}, "ctrl.invalid"),
        ({"verb": "describe_agents", "agents": [{"name": "nowhere"}] * 1001}, "ctrl.invalid"),
        ({"verb": "describe_agents", "agents": [{"name": "nowhere"}]}, "bundle.not_found"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_with_a_code(running, fields, code):
    async with running.client() as link:
        answer = await link.raw(fields)
    assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    ("verb", "needed", "optional", "code"),
    [
        ("submit", {"request_id": str(uuid.uuid4()), "opening_source": "version: 0"},
         "opening opening_file params agent_digests workdir yes attended patient traceparent", "opening.missing"),
        ("fork", {"request_id": str(uuid.uuid4()), "run": "ffffffff"}, "yes attended patient at answers params agents", "run.unknown"),
        ("list", {}, "state opening text since_ms until_ms limit offset roots", None),
        ("cancel", {"run": "ffffffff"}, "reason", "run.unknown"),
        ("pause", {"run": "ffffffff"}, "all reason", "run.unknown"),
        ("resume", {"run": "ffffffff"}, "all reason", "run.unknown"),
        ("attach", {"run": "ffffffff"}, "from_seq attended", "run.unknown"),
        ("blob", {"blob": "f" * 64}, "offset limit", "ledger.blob_missing"),
        ("approvals", {}, "run after", None),
        ("answer", {"approval_id": "x"}, "approved answer scope rationale", "approval.unknown"),
        ("route", {"line": "ls", "facts": {"commands": [], "files": []}}, "brief", None),
    ],
)  # fmt: skip
async def test_a_field_that_may_be_left_out_may_be_nil(running, verb, needed, optional, code):
    async with running.client() as link:
        answer = await link.raw({"verb": verb, **needed, **dict.fromkeys(optional.split())})
    assert answer.get("error", {}).get("code") == code, answer


async def test_an_error_over_the_bus_names_the_field_that_it_is_about_and_no_option_of_a_command(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.start()
    opening, ended, new = words.one("quick"), str(uuid.uuid4()), str(uuid.uuid4())
    async with daemon.client() as link:
        await link.run(opening, request_id=ended)
        told = [
            await link.refused(verb, **fields)
            for verb, fields in (
                *((verb, {"run": "ffffffff"}) for verb in ("cancel", "pause", "resume", "attach", "approvals")),
                ("fork", {"request_id": new, "run": "ffffffff", "at": "a"}),
                ("cancel", {"run": ended}),
                ("submit", {"request_id": ended, "opening_source": f"# another\n{opening}"}),
                ("submit", {"request_id": new, "opening_source": opening, "agent_digests": [{"name": "x", "digest": "0"}]}),
                ("submit", {"request_id": new, "opening_source": opening, "agent_digests": [{"name": "quick", "digest": "0"}]}),
                ("blob", {"blob": "f" * 64}),
                ("fork", {"request_id": new, "run": ended}),
                ("fork", {"request_id": new, "run": ended, "at": "nowhere"}),
                ("fork", {"request_id": new, "run": ended, "answers": {"a/9/9": 1}}),
            )
        ]
    assert [(each["code"], each["where"].get("key")) for each in told] == [
        *[("run.unknown", "run")] * 6, ("run.ended", "run"), ("run.request_reused", "request_id"),
        ("run.agent_digests", "agent_digests"), ("run.agent_digests", "agent_digests"), ("ledger.blob_missing", "blob"),
        ("fork.point", "at"), ("fork.point", "at"), ("fork.call", "answers"),
    ]  # fmt: skip
    options = ("--at", "--answer", "--param", "--agent")
    assert not [each for each in told if any(option in f"{each['message']}{each['hint']}" for option in options)]


@pytest.mark.parametrize("verb", [True, 7, ["submit"], None, b"submit"])
async def test_a_verb_that_is_no_text_is_none(running, verb):
    async with running.client() as link:
        answer = await link.raw({"verb": verb})
    assert answer["error"]["message"] == "the request names no verb"


async def test_a_field_that_is_missing_is_told_from_one_that_is_wrong(running):
    async with running.client() as link:
        told = [await link.refused("attach", **fields) for fields in ({}, {"run": 7}, {"run": ""})]
    assert [(each["message"], each["where"]["key"]) for each in told] == [
        ("run is missing", "run"), ("run cannot be used", "run"), ("run cannot be used", "run"),
    ]  # fmt: skip


async def test_a_frame_of_another_type_is_no_request(running):
    async with running.client() as link:
        answers = [
            (await link.client.request("rlp/ctrl", type_, {"verb": "status"}, 60_000)).payload
            for type_ in ("observation.generic.v1", "intent.control.v1", "toolresult.ctrl.response.v1")
        ]
    assert [(each["error"]["code"], each["error"]["where"]["key"], each["error"]["exit_code"]) for each in answers] == [
        ("ctrl.schema", "type", 2)
    ] * 3
    assert "observation.generic.v1" in answers[0]["error"]["message"]


async def test_a_request_that_does_not_say_where_its_answer_goes_is_refused_and_nothing_happens(running):
    async with running.client() as link:
        for verb in ({"verb": "drain"}, {"verb": "status"}, {"DescribeAgents": {"request_id": "1", "agents": []}}):
            with pytest.raises(BadFrame) as refused:
                await link.client.publish("rlp/ctrl", "intent.ctrl.request.v1", verb, ack=True)
            assert (refused.value.code, "says where its answer goes" in refused.value.message) == ("bus.invalid", True)
        there = {"reply_to": "rlp/ctrl"}
        with pytest.raises(BadFrame, match="'rlp/ctrl' takes requests, and no answers"):
            await link.client.bus.publish("rlp/ctrl", "intent.ctrl.request.v1", {"verb": "status"}, ack=True, meta=there)
        assert (await link.ask("status"))["state"] == "ready"


async def test_the_words_of_upstream_are_understood(daemon, words):
    bundle = daemon.agent("quick", words.quick)
    daemon.start()
    request_id = str(uuid.uuid4())
    async with daemon.client() as link:
        odd = [await link.raw({"RunSubmit": {"request_id": request_id, "opening_yaml": "x", "agent_digests": each}}) for each in (5, [1])]
        described = await link.raw({"DescribeAgents": {"request_id": request_id, "agents": [{"name": "quick"}]}})
        agent = described["AgentsDescribed"]["agents"][0]
        submit = {
            "request_id": request_id,
            "opening_yaml": words.one("quick"),
            "agent_digests": [{"reference": {"name": "quick"}, "digest": agent["digest"]}],
        }
        accepted = await link.raw({"RunSubmit": submit})
        wrong = await link.raw(
            {
                "RunSubmit": {
                    **submit,
                    "request_id": str(uuid.uuid4()),
                    "agent_digests": [{"reference": {"name": "quick"}, "digest": "0" * 64}],
                }
            }
        )
        broken = await link.raw({"RunSubmit": {**submit, "opening_yaml": words.one("quick").replace("agent:", "tool:")}})
        await words.to_end(await link.follow(request_id))
        cancelled = await link.raw({"RunCancel": {"trace_id": f"trace:{request_id}"}})
    assert (accepted["RunAccepted"]["trace_id"], agent["ports"]) == (f"trace:{request_id}", {"in": [], "out": ["out"]})
    assert [each["RunRejected"]["reason"] for each in odd] == ["agent_digests cannot be used"] * 2
    assert "digest mismatch" in wrong["RunRejected"]["reason"]
    assert broken["RunRejected"]["reason"] == "line 4:18, node 'a', key 'use': unknown use prefix 'tool'"
    assert "has ended" in cancelled["RunRejected"]["reason"]
    assert bundle.is_dir()


@contextmanager
def rlp_run(daemon, opening):
    """`rlp run` at a terminal of its own, from when the agent says something on."""
    command = [sys.executable, "-P", "-m", "runloop", "run", opening]
    with subprocess.Popen(command, env=daemon.env, cwd=daemon.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if json.loads(line)["kind"] == "node.log":
                break
        yield process


def test_interrupting_rlp_run_cancels_the_run_in_the_daemon(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.opening("loop")
    daemon.start()
    with rlp_run(daemon, "loop") as process:
        process.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in process.stdout]
    assert (process.returncode, rest[-1]["kind"], rest[-1]["meta"]["status"]) == (130, "run.finished", "cancelled")


def test_a_daemon_that_is_killed_leaves_no_client_waiting(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.opening("loop")
    daemon.start()
    with rlp_run(daemon, "loop") as process:
        daemon.stop(signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, "the daemon is away: waiting 10 s" in errors, "error[daemon.lost]" in errors) == (3, True, True)


def test_rlp_run_goes_on_where_the_daemon_is_killed_and_started_again(daemon, words):
    daemon.agent("naps", words.head + "def run():\n    emit.log('before')\n    timer.sleep(4)\n    return {'out': 1}\n", "time = true")
    daemon.opening("naps")
    daemon.start()
    with rlp_run(daemon, "naps") as process:
        daemon.stop(signal.SIGKILL)
        away = process.stderr.readline()
        daemon.start()
        rest, errors = process.communicate(timeout=60)
    kinds = [json.loads(line)["kind"] for line in rest.splitlines()]
    assert (process.returncode, kinds.count("run.recovered"), kinds[-1]) == (0, 1, "run.finished")
    assert ("the daemon is away: waiting 10 s" in away, errors) == (True, "the daemon is back\n")


def test_attaching_from_a_later_record_shows_the_rest(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.opening("quick")
    daemon.start()
    whole = daemon.rlp("run", "quick").stdout.splitlines()
    assert daemon.rlp("attach", "last", "--from", "4").stdout.splitlines() == whole[3:]
    daemon.stop()
    daemon.start()
    assert daemon.rlp("attach", "last").stdout.splitlines() == whole


async def test_a_run_that_an_earlier_daemon_left_goes_on(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.start()
    async with daemon.client() as link:
        run_id = str(uuid.uuid4())
        records = await link.follow(run_id)
        await link.submit(words.one("loop"), request_id=run_id)
        seen = await words.until(records, "node.log")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    async with daemon.client() as link:
        again = await link.submit(words.one("loop"), request_id=run_id)
        records = await link.follow(run_id)
        await link.ask("cancel", run=run_id)
        found = await words.to_end(records)
    assert (again["state"] in {"running", "waiting"}, again["repeated"]) == (True, True)
    assert found[: len(seen)] == seen
    assert [record["seq"] for record in found] == list(range(1, len(found) + 1))
    assert (found[len(seen)]["kind"], found[-1]["meta"]["status"]) == ("run.recovered", "cancelled")


async def test_an_agent_runs_a_command_under_the_daemons_loop(daemon, words):
    daemon.agent(
        "runs", words.head + "def run() -> dict:\n    return {'out': exec.run(['echo', 'hi']).stdout}\n", 'exec = { commands = [["echo"]] }'
    )
    daemon.settings["security.confirm_external_actions"] = "false"
    daemon.start()
    async with daemon.client() as link:
        requests = await link.client.subscribe("action.request")

        async def approve():
            async for message in requests:
                if message.payload["state"] == "open":
                    await link.ask("answer", approval_id=message.payload["approval_id"], approved=True)

        approving = asyncio.create_task(approve())
        records = await link.run(words.one("runs"), attended=True)
        approving.cancel()
    outputs = [record["meta"]["outputs"] for record in records if record["kind"] == "node.finished"]
    assert outputs == [{"out": ["hi\n"]}]


async def test_queued_runs_that_are_left_to_the_ledger_are_queued_like_all_others(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.agent("quick", words.quick)
    daemon.settings["runtime.max_runs"] = 1
    daemon.start()
    ids, source = [str(uuid.uuid4()) for _ in range(READY + 20)], words.one("quick")
    cancelled, paused = ids[-10], ids[-5]
    async with daemon.client() as link:
        first = await link.submit(words.one("loop"))
        answers = [await link.submit(source, request_id=run_id) for run_id in ids]
        again = await link.submit(source, request_id=ids[-1])
        queued = (await link.ask("status"))["runs"]["queued"]
        listed = {each["run_id"]: each["state"] for each in (await link.ask("list", limit=1000))["runs"]}
        records, last = await link.follow(cancelled), await link.follow(ids[-1])
        await link.ask("cancel", run=cancelled)
        ended = await words.to_end(records)
        held = await link.ask("pause", run=paused)
        await link.ask("cancel", run=first["run_id"])
        assert (await words.to_end(last))[-1]["meta"]["status"] == "succeeded"
        await link.ask("resume", run=paused)
        assert (await words.to_end(await link.follow(paused)))[-1]["meta"]["status"] == "succeeded"
        status = (await link.ask("status"))["runs"]
    daemon.stop()
    with Ledger.open(daemon.state / "pog" / "events.sqlite", writable=False) as ledger:
        began = [event.payload["run_id"] for event in ledger.read(kinds=["run.started"], limit=1000)]
    assert {answer["state"] for answer in answers} == {"queued"}
    assert (again["repeated"], again["state"], queued, listed[ids[-1]], held["state"]) == (True, "queued", len(ids), "queued", "paused")
    assert [record["kind"] for record in ended] == ["run.submitted", "run.cancelling", "node.finished", "run.finished"]
    assert (status["succeeded"], status["cancelled"], status["queued"]) == (len(ids) - 1, 2, 0)
    assert [run_id for run_id in began[1:] if run_id != paused] == [run_id for run_id in ids if run_id not in {cancelled, paused}]


async def test_who_attaches_behind_the_last_record_hears_of_the_end(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.agent("asks", words.head + ASKS, ASK_CAPS)
    daemon.start()
    async with daemon.client() as link:
        ended = (await link.run(words.one("quick")))[-1]
        waits = await link.submit(words.one("asks"), patient=True)
        async with asyncio.timeout(60):
            handle = await link.client.attach(ended["run_id"], 1000)
            assert [record["seq"] async for record in handle.records()] == [ended["seq"]]
            while not (opened := (await link.ask("approvals"))["open"]):
                await asyncio.sleep(0.01)
            handle = await link.client.attach(waits["run_id"], 1000)
            await link.ask("answer", approval_id=opened[0]["approval_id"], answer="red")
            assert [record["kind"] async for record in handle.records()][-1] == "run.finished"
