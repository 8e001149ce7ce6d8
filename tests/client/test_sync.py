"""The blocking client: the same, without an event loop."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

import runloop
from runloop.bus import BusServer
from runloop.bus.errors import Disconnected
from runloop.config import load
from runloop.errors import InvalidInput, RunloopError, Unavailable

GENERIC = "observation.generic.v1"


@pytest.fixture
def server(tmp_path):
    """A bus in a thread of its own, and how to reach it."""
    path = tmp_path / "bus" / "rmp.sock"
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run():
        server = BusServer(token="f" * 64)

        async def echo(request):
            return {"ok": request.payload}

        server.on_request("echo", echo)
        await server.start(path)
        ready.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    yield {"socket": path, "token": "f" * 64, "settings": load(env={"HOME": str(tmp_path)})}
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_a_program_without_an_event_loop_publishes_subscribes_and_asks(server):
    with runloop.SyncClient(**server) as client:
        news = client.subscribe("news/*")
        assert (client.role, client.publish("news/a", GENERIC, {"n": 1}, ack=True)) == ("operator", 1)
        assert news.next(timeout_s=5).payload == {"n": 1}
        with pytest.raises(TimeoutError):
            news.next(timeout_s=0.01)
        client.publish("news/a", GENERIC, 2, ack=True)
        assert client.request("echo", "intent.ctrl.request.v1", 3).payload == {"ok": 3}
        news.close()
        assert [message.payload for message in news] == [2]


def test_the_blocking_client_says_when_nobody_is_there_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    with pytest.raises(Unavailable):
        runloop.SyncClient(tmp_path / "none.sock", settings=load(env={"HOME": str(tmp_path)}))
    assert threading.active_count() == before


def test_closing_the_blocking_client_twice_is_fine(server):
    client = runloop.SyncClient(**server)
    client.close()
    client.close()


def test_a_closed_client_says_so_and_an_iterator_that_outlives_it_ends_quietly(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.start()
    with runloop.SyncClient(settings=load(env=daemon.env)) as client:
        records = client.submit(source=words.one("quick")).records()
        assert next(records)["kind"] == "run.submitted"
        with pytest.raises(Disconnected) as nobody:
            client.call_agent("none")
    records.close()
    with pytest.raises(Disconnected) as closed:
        client.status()
    assert (nobody.value.code, closed.value.code) == ("bus.no_responder", "bus.closed")


def test_a_run_is_submitted_followed_and_changed(daemon, words):
    daemon.agent("quick", words.quick)
    daemon.agent("loop", words.loop)
    daemon.start()
    with runloop.SyncClient(settings=load(env=daemon.env)) as client:
        run = client.submit(source=words.one("quick"))
        kinds = [record["kind"] for record in run.records()]
        assert (kinds[0], kinds[-1], run.result(60).ok, run.outputs(60)) == (
            "run.submitted",
            "run.finished",
            True,
            {"a": {"out": ["done"]}},
        )
        assert [record["seq"] for record in client.attach(run.id).records(from_seq=len(kinds))] == [len(kinds)]
        assert (
            run.state(),
            client.runs(state="succeeded", text="quick", since_ms=1)[0]["run_id"],
            client.approvals(),
            client.metrics()["v"],
        ) == ("succeeded", run.id, [], 1)
        assert (client.status()["state"], client.ask("status")["state"]) == ("ready", "ready")
        looping = client.submit(source=words.one("loop"))
        for record in looping.records():
            if record["kind"] == "node.log":
                break
        assert (looping.pause()["state"], looping.resume()["run_id"]) == ("paused", looping.id)
        looping.cancel("enough")
        assert looping.result(60).reason == "enough"
        with pytest.raises(InvalidInput):
            client.answer("none")
        with pytest.raises(RunloopError):
            client.submit("none")


def test_importing_runloop_imports_nothing_that_a_command_line_would_pay_for():
    code = "import sys, runloop, runloop.client; print(sorted({'asyncio', 'msgspec', 'msgpack', 'yaml', 'runloop.bus'} & set(sys.modules)))"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # measuring imports things of its own
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other():
    import runloop.client

    assert all(getattr(runloop.client, name) for name in runloop.client.__all__)
    assert all(getattr(runloop, name) for name in runloop.__all__)
    for module in (runloop, runloop.client):
        with pytest.raises(AttributeError):
            module.Nothing  # noqa: B018 - raises
