"""The blocking client: the same, without an event loop."""

import asyncio
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid

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


def outcome(work, *arguments):
    """What a call gives, or the code that it fails with."""
    try:
        return work(*arguments)
    except RunloopError as error:
        return error.code


def test_what_other_threads_wait_for_ends_with_the_client(server):
    client = runloop.SyncClient(**server)
    news = client.subscribe("news")
    begun, outcomes = threading.Semaphore(0), []

    async def endless():
        begun.release()
        await asyncio.get_running_loop().create_future()

    def read_on():
        try:
            client.run(endless())
        finally:
            news.close()

    works = (news.next, read_on, lambda: client.run(endless()), lambda: client.run(endless(), timeout_s=600))
    threads = [threading.Thread(target=lambda work=work: outcomes.append(outcome(work))) for work in works]
    for thread in threads:
        thread.start()
    for _ in works[1:]:
        begun.acquire()
    client.close()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["None", "bus.closed", "bus.closed", "bus.closed"]


def test_threads_may_close_the_client_together(server):
    client = runloop.SyncClient(**server)
    threads = [threading.Thread(target=client.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcome(client.metrics) == "bus.closed"


def test_a_function_that_gets_messages_is_told_that_it_cannot_wait_for_the_client(server):
    with runloop.SyncClient(**server) as client:
        told = queue.Queue()
        client.subscribe("news", on_message=lambda message: told.put((message.payload, outcome(client.status))))
        client.publish("news", GENERIC, 1, ack=True)
        assert told.get(timeout=10) == (1, "client.own_thread")
        assert client.publish("news", GENERIC, 2, ack=True) == 1
        assert told.get(timeout=10) == (2, "client.own_thread")


def test_threads_that_read_one_subscription_share_its_messages(server):
    with runloop.SyncClient(**server) as client:
        news, got = client.subscribe("news"), queue.Queue()
        readers = [threading.Thread(target=lambda: [got.put(message.payload) for message in news]) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(100):
            client.publish("news", GENERIC, number, ack=True)
        assert sorted(got.get(timeout=10) for _ in range(100)) == list(range(100))
        news.close()
        for reader in readers:
            reader.join()


class AlarmError(Exception):
    """What a program's own handler raises when its time is up."""


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, AlarmError])
def test_a_call_that_a_signal_breaks_off_takes_no_message_from_the_next(server, raised):
    def broken_off(*_):
        if not heard.is_set():
            heard.set()
            raise raised

    begun, heard, ended, main = threading.Event(), threading.Event(), threading.Event(), threading.main_thread().ident
    before = signal.signal(signal.SIGUSR1, broken_off)
    try:
        with runloop.SyncClient(**server) as client:
            news = client.subscribe("news")

            async def read():
                begun.set()
                try:
                    return await news._next()
                finally:
                    ended.set()

            def signals():
                begun.wait()
                while sys._current_frames()[main].f_code.co_name != "wait":
                    pass  # the main thread is about to
                while not heard.is_set():  # one that comes just before the thread stands still is noted, and does not wake it
                    signal.pthread_kill(main, signal.SIGUSR1)
                    heard.wait(0.01)

            thread = threading.Thread(target=signals)
            thread.start()
            with pytest.raises(raised):
                client.run(read())
            thread.join()
            assert ended.wait(10)
            client.publish("news", GENERIC, 1, ack=True)
            assert news.next(timeout_s=10).payload == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_is_told_that_the_client_is_not_its_own(server):
    with runloop.SyncClient(**server) as client:
        heard, says = os.pipe()
        child = os.fork()
        if not child:
            os.write(says, str(outcome(client.status)).encode())
            client.close()
            os.write(says, b" and closed")
            os._exit(0)
        os.waitpid(child, 0)
        os.close(says)
        with os.fdopen(heard) as words:
            assert words.read() == "bus.closed and closed"
        assert client.request("echo", "intent.ctrl.request.v1", 3).payload == {"ok": 3}


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


class Knot:
    """Refers to itself, so that only the collector ends it and what it holds."""

    def __init__(self, records):
        self.records = records
        self.knot = self


def followed(client):
    """A run that is followed by somebody whom only the collector ends; the run."""
    run = client.submit("loop")
    records = run.records()
    next(records)
    Knot(records)
    return run


@pytest.fixture
def collecting():
    """The collector works when it is told to, and then only."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collecting")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_what_the_collector_ends_in_any_thread_is_not_followed_any_more(daemon, words):
    daemon.agent("loop", words.loop)
    daemon.opening("loop")
    daemon.start()

    async def collect():
        gc.collect()

    with runloop.SyncClient(settings=load(env=daemon.env)) as client:
        before = client.status()["bus"]["subscriptions"]
        run = followed(client)
        assert client.status()["bus"]["subscriptions"] == before + 1
        client.run(collect())  # in the thread of the client
        client.run(client.client.bus.flush())
        assert client.status()["bus"]["subscriptions"] == before
        followed(client).cancel()
        begins, starts = threading.Event(), client._start

        def starting(work):
            if not begins.is_set():
                begins.set()
                gc.collect()
            return starts(work)

        client._start = starting
        asking = threading.Thread(target=run.cancel, daemon=True)
        asking.start()
        asking.join(30)
        assert not asking.is_alive()
        assert client.status()["bus"]["subscriptions"] == before


def test_a_run_is_followed_before_it_is_submitted_and_large_values_are_fetched(daemon, words):
    daemon.agent("big", words.head + "def run() -> dict:\n    return {'out': 'x' * 40_000}\n")
    daemon.start()
    with runloop.SyncClient(settings=load(env=daemon.env)) as client:
        run = client.handle(str(uuid.uuid4()))
        with run.following() as records:
            client.submit(source=words.one("big"), request_id=run.id)
            seen = list(records)
        (large,) = [record["meta"]["outputs"] for record in seen if record["kind"] == "node.finished"]
        assert (seen[0]["kind"], seen[-1]["kind"], client.blob(large["$blob"])) == (
            "run.submitted", "run.finished", {"out": ["x" * 40_000]},
        )  # fmt: skip
        assert client.describe_agents(["big"])[0]["ports"] == {"in": [], "out": ["out"]}
        assert [record["seq"] for record in client.attach(run.id, 2, attended=True).records()] == [each["seq"] for each in seen[1:]]
