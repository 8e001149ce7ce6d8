"""Runs as a program submits and follows them, at a real daemon."""

import asyncio
import signal
import uuid

import pytest

from runloop.bus.errors import Disconnected, NotAllowed
from runloop.client import RunHandle
from runloop.client import client as client_module
from runloop.errors import Denied, InvalidInput, RunloopError, Unavailable

ECHO = "def run(word: str = 'none') -> dict:\n    emit.log('working')\n    return {'out': word}\n"
BIG = "def run() -> dict:\n    return {'out': 'x' * 40_000}\n"
FAILS = "def run() -> dict:\n    raise ValueError('no')\n"
CHATTY = "def run() -> dict:\n    for n in range(1500):\n        emit.log(f'line {n}')\n    return {'out': 'done'}\n"
ASKS = "def run() -> dict:\n    return {'out': ask.person('Which one?', options=['red', 'blue']).answer}\n"
MAILS = "def run() -> dict:\n    return {'out': mail.send([{'email': 'ada@example.org'}], subject='s', text='t').status}\n"
WORD = "version: 0\nname: echo\nparams: {word: hi}\nnodes:\n  - {id: a, use: agent:echo, with: {word: '{{params.word}}'}}\nedges: []\n"


@pytest.fixture
def home(daemon, words):
    """A daemon that runs, with agents for all of this file."""
    daemon.agent("quick", words.quick)
    daemon.agent("loop", words.loop)
    daemon.agent("big", words.head + BIG)
    daemon.agent("fails", words.head + FAILS)
    daemon.agent("chatty", words.head + CHATTY)
    daemon.agent("curious", words.head + ASKS, "ask = true")
    daemon.start()
    return daemon


async def test_a_run_is_submitted_followed_from_its_first_record_and_has_outputs(home, words):
    async with home.connection() as client:
        run = await client.submit(source=words.one("quick"))
        records = [record async for record in run.records()]
        result = await run.result()
        assert (client.role, result.ok, result.outputs, await run.outputs()) == ("operator", True, {"a": {"out": ["done"]}}, result.outputs)
        assert [record["seq"] for record in records if record["event_id"] is not None] == list(range(1, len(records) + 1))
        assert (records[0]["kind"], records[-1]["kind"], records[-1]) == ("run.submitted", "run.finished", result.record)
        assert (run.opening_name, await run.state(), run.id in repr(run)) == ("quick", "succeeded", True)
        later = await client.attach(run.id[:8], from_seq=3)
        assert [record["seq"] async for record in later.records()] == [record["seq"] for record in records[2:]]


async def test_an_opening_is_given_by_name_by_file_or_as_text_and_exactly_once(home, words):
    path = home.opening("quick")
    async with home.connection() as client:
        assert (await (await client.submit("quick")).result()).ok
        for file in (path, str(path)):
            run = await client.submit(file, agent_digests={"quick": (await client.describe_agents(["quick"]))[0]["digest"]})
            assert (await run.result()).ok
        for given in ({}, {"opening": "quick", "source": "x"}, {"opening": home.root / "none.yaml"}):
            with pytest.raises(InvalidInput) as caught:
                await client.submit(**given)
            assert (caught.value.code, bool(caught.value.hint)) == ("client.opening", True)
        with pytest.raises(InvalidInput) as caught:
            await client.submit("quick", agent_digests={"quick": "0" * 64})
        assert caught.value.code == "run.agent_digests"
        with pytest.raises(InvalidInput) as caught:
            await client.submit("quick", agent_digests={"quick": "0" * 64, "other@b": "0" * 64})
        assert caught.value.hint == "the opening uses quick; digests were given of other@b, quick"
        with pytest.raises(InvalidInput) as caught:
            await client.submit("quick", [("topic", "tea")])
        assert "params" in caught.value.message
        with pytest.raises(InvalidInput) as caught:
            await client.submit(source="version: 0\nname: two\nnodes: 7\nbad: 1\n", file="two.yaml")
        assert (caught.value.where.file, caught.value.where.line is not None, len(caught.value.others) > 0) == ("two.yaml", True, True)


async def test_the_same_request_id_is_the_same_run_and_another_opening_is_refused(home, words):
    request_id = str(uuid.uuid4())
    async with home.connection() as client:
        runs = [await client.submit(source=words.one("quick"), request_id=request_id) for _ in range(2)]
        assert [run.id for run in runs] == [request_id, request_id]
        with pytest.raises(InvalidInput) as caught:
            await client.submit(source=words.one("loop"), request_id=request_id)
        assert caught.value.code == "run.request_reused"
        assert len(await client.runs()) == 1


async def test_a_large_output_is_whole(home, words, monkeypatch):
    async with home.connection() as client:
        run = await client.submit(source=words.one("big"))
        finished = [record async for record in run.records() if record["kind"] == "node.finished"]
        assert "$blob" in finished[0]["meta"]["outputs"]
        assert await run.outputs() == {"a": {"out": ["x" * 40_000]}}
        part = await client.ask("blob", blob=finished[0]["meta"]["outputs"]["$blob"], offset=3, limit=5)
        assert (part["offset"], part["data"], part["bytes"]) == (3, b'ut":[', 40_012)
        monkeypatch.setattr(client_module, "_BLOB_BYTES", 9_999)
        assert await run.outputs() == {"a": {"out": ["x" * 40_000]}}
        for name in ("f" * 64, "zz", ""):
            with pytest.raises(RunloopError):
                await client.blob(name)


async def test_a_failed_run_is_a_result_and_its_outputs_raise_its_error(home, words):
    async with home.connection() as client:
        run = await client.submit(source=words.one("fails"))
        result = await run.result()
        assert (result.ok, result.status, result.code == result.error.code != "") == (False, "failed", True)
        with pytest.raises(RunloopError) as caught:
            await run.outputs()
        assert caught.value.code == result.code


async def test_a_run_is_paused_resumed_and_cancelled(home, words):
    async with home.connection() as client:
        run = await client.submit(source=words.one("loop"))
        assert (await run.pause("lunch"))["state"] == "paused"
        assert (await run.resume())["state"] != "paused"
        await run.cancel("enough")
        result = await run.result()
        assert (result.status, result.reason, result.ok) == ("cancelled", "enough", False)
        assert (await run.cancel())["state"] == "cancelled"
        with pytest.raises(InvalidInput) as caught:
            await run.pause()
        assert caught.value.code == "run.ended"


async def test_what_a_run_asks_is_listed_and_answered(home, words):
    async with home.connection() as client:
        asked, other = await client.subscribe("action.request"), await client.submit(source=words.one("quick"))
        run = await client.submit(source=words.one("curious"), attended=True)
        opened = (await anext(asked)).payload
        assert [each["approval_id"] for each in await client.approvals(run.id)] == [opened["approval_id"]]
        assert await client.approvals(other.id) == []
        found = await client.ask("attach", run=run.id, from_seq=1000)
        assert found["from_seq"] == found["last_seq"] + 1
        with pytest.raises(InvalidInput):
            await client.answer(opened["approval_id"], answer="green")
        assert await client.answer(opened["approval_id"], answer="blue") == {"approval_id": opened["approval_id"], "run_id": run.id}
        assert await run.outputs() == {"a": {"out": ["blue"]}}
        found = await client.ask("attach", run=run.id, from_seq=1000)
        assert (found["state"], found["from_seq"]) == ("succeeded", found["last_seq"])
        assert await client.approvals() == []


async def test_an_answer_that_neither_approves_nor_rejects_is_refused_and_decides_nothing(home, words):
    home.agent("mails", words.head + MAILS, "mail = true")
    async with home.connection() as client:
        asked = await client.subscribe("action.request")
        run = await client.submit(source=words.one("mails"), attended=True)
        opened = (await anext(asked)).payload
        with pytest.raises(InvalidInput) as caught:
            await client.answer(opened["approval_id"], rationale="looks right")
        assert (caught.value.code, [each["approval_id"] for each in await client.approvals()]) == (
            "approval.answer",
            [opened["approval_id"]],
        )
        decided = await client.answer(opened["approval_id"], approved=False)
        assert decided == {"approval_id": opened["approval_id"], "run_id": run.id, "approved": False}


async def test_status_metrics_and_runs_are_what_the_daemon_says(home, words):
    async with home.connection() as client:
        results = [await (await client.submit(source=words.one("quick"))).result() for _ in range(2)]
        old, new = [each.run_id for each in results]
        listed = await client.runs(state="succeeded", opening="quick")
        assert [(run["run_id"], run["opening_name"], run["state"]) for run in listed] == [
            (new, "quick", "succeeded"), (old, "quick", "succeeded"),
        ]  # fmt: skip
        begun_ms = listed[0]["submitted_ms"]
        shown = [{"limit": 1}, {"offset": 1}, {"until_ms": begun_ms}, {"since_ms": begun_ms}, {"opening": "loop"}]
        found = [[run["run_id"] for run in (await client.ask("list", **each))["runs"]] for each in shown]
        assert found == [[new], [old], [old], [new], []]
        assert (await client.status())["runs"]["succeeded"] == 2
        assert (await client.metrics())["v"] == 1


async def test_a_program_without_the_token_is_told_what_it_may_not_and_why(home, words):
    token = home.leave()
    async with home.connection() as client:
        assert (client.role, (await client.status())["state"]) == ("client", "ready")
        for refused in (
            client.submit(source=words.one("quick")),
            client.attach("last"),
            client.runs(),
            client.approvals(),
            client.blob("0" * 64),
        ):
            with pytest.raises(Denied) as caught:
                await refused
            assert (caught.value.code, str(token) in caught.value.hint) == ("daemon.needs_operator", True)
        for pattern in ("rlp/runs/*/events", "action.request"):
            with pytest.raises(NotAllowed) as caught:
                await client.subscribe(pattern)
            assert (caught.value.code, str(token) in caught.value.hint) == ("bus.forbidden", True)
        with pytest.raises(NotAllowed):
            async with client.handle(str(uuid.uuid4())).following():
                pass


async def test_where_no_daemon_is_there_the_places_that_were_tried_are_named(daemon, tmp_path):
    with pytest.raises(Unavailable) as caught:
        await daemon.connection().connect()
    assert (caught.value.code, str(daemon.socket) in caught.value.message) == ("daemon.unavailable", True)
    with pytest.raises(Unavailable) as caught:
        await daemon.connection(socket=tmp_path / "none.sock").connect()
    assert (caught.value.code, caught.value.where.file) == ("daemon.unreachable", str(tmp_path / "none.sock"))


async def test_a_client_that_is_not_connected_or_closed_says_so(home, words):
    client = home.connection()
    with pytest.raises(Disconnected) as caught:
        await client.status()
    assert caught.value.code == "bus.closed"
    await client.connect()
    run = await client.submit(source=words.one("loop"))
    async with run.following() as records:
        await anext(records)
        await client.close()
        with pytest.raises(Disconnected) as caught:
            async for _ in records:
                pass
        assert caught.value.code == "bus.closed"
    with pytest.raises(Disconnected):
        await client.status()


async def test_a_daemon_that_is_killed_and_started_again_costs_the_reader_no_record_and_repeats_none(home, words):
    async with home.connection(reconnect_s=60) as client:
        run = await client.submit(source=words.one("chatty"))
        seen = []
        async with run.following() as records:
            for _ in range(100):
                seen.append(await anext(records))
            assert (await run.result()).ok
            home.stop(signal.SIGKILL)
            home.start()
            async with asyncio.timeout(60):
                seen += [record async for record in records]
    durable = [record["seq"] for record in seen if record["event_id"] is not None]
    assert (durable, seen[-1]["kind"]) == (list(range(1, len(durable) + 1)), "run.finished")
    assert len(durable) > 1500


async def test_a_submission_under_way_when_the_daemon_is_killed_is_made_once(home, words):
    async with home.connection(reconnect_s=60) as client:
        await client.status()
        home.stop(signal.SIGKILL)
        submitting = asyncio.create_task(client.submit(source=words.one("quick")))
        await asyncio.to_thread(home.start)
        run = await submitting
        assert isinstance(run, RunHandle)
        assert (await run.result()).ok
        assert len(await client.runs()) == 1


async def test_a_daemon_that_does_not_come_back_is_lost_with_the_run_named(home, words):
    async with home.connection(reconnect_s=0.2) as client:
        run = await client.submit(source=words.one("loop"))
        async with run.following() as records:
            await anext(records)
            home.stop(signal.SIGKILL)
            with pytest.raises(Unavailable) as caught:
                async for _ in records:
                    pass
    assert (caught.value.code, run.id in caught.value.message) == ("daemon.lost", True)


async def test_a_run_under_way_when_the_daemon_is_killed_goes_on_for_its_reader_in_the_next_one(home, words):
    async with home.connection(reconnect_s=60) as client:
        run = await client.submit(source=words.one("loop"))
        async with run.following() as records, asyncio.timeout(120):
            seen = [await anext(records)]
            while seen[-1]["kind"] != "node.log":
                seen.append(await anext(records))
            home.stop(signal.SIGKILL)
            home.start()
            if await run.state() == "unfinished":
                pytest.skip("this daemon takes up no runs of the one before")
            await run.cancel("enough")
            seen += [record async for record in records]
    durable = [record["seq"] for record in seen if record["event_id"] is not None]
    assert (durable, seen[-1]["kind"]) == (list(range(1, len(durable) + 1)), "run.finished")
    assert "run.recovered" in {record["kind"] for record in seen}
