"""The blocking client, what importing costs, and the bookkeeping of answers."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bus import BusServer, SyncClient
from runloop.bus.errors import DeadlinePassed, Disconnected, from_wire, to_wire
from runloop.bus.pending import Pending

GENERIC = "observation.generic.v1"


@pytest.fixture
def daemon(tmp_path):
    """A server in a thread, for clients without an event loop."""
    path = tmp_path / "bus" / "rmp.sock"
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run():
        server = BusServer()

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
    yield path
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_a_program_without_an_event_loop_publishes_subscribes_and_asks(daemon):
    with SyncClient(daemon) as client:
        news = client.subscribe("news/*")
        assert client.publish("news/a", GENERIC, {"n": 1}, ack=True) == 1
        assert news.next(timeout_s=5).payload == {"n": 1}
        with pytest.raises(TimeoutError):
            news.next(timeout_s=0.01)
        client.publish("news/a", GENERIC, 2, ack=True)
        assert client.request("echo", "intent.ctrl.request.v1", 3).payload == {"ok": 3}
        news.close()
        assert [message.payload for message in news] == [2]


def test_the_blocking_client_says_when_nobody_is_there_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    with pytest.raises(Disconnected):
        SyncClient(tmp_path / "none.sock")
    assert threading.active_count() == before


def test_closing_the_blocking_client_twice_is_fine(daemon):
    client = SyncClient(daemon)
    client.close()
    client.close()


def test_importing_the_bus_imports_nothing_heavy():
    code = "import sys, runloop.bus; print(sorted({'asyncio', 'msgspec', 'msgpack', 'socket', 'uvloop'} & set(sys.modules)))"
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # measuring imports things of its own
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_an_attribute_that_does_not_exist_is_an_attribute_error():
    import runloop.bus

    with pytest.raises(AttributeError):
        runloop.bus.Nothing  # noqa: B018 - raises
    assert all(getattr(runloop.bus, name) for name in runloop.bus.__all__)


@pytest.mark.parametrize(
    "broken", [None, 7, {}, {"code": 7}, {"code": "", "message": None}, {"code": "x.y", "message": "m", "retryable": 3}]
)
def test_an_error_from_the_wire_is_an_error_whatever_it_looks_like(broken):
    assert from_wire(broken).code


def test_an_error_survives_the_wire():
    error = DeadlinePassed("late", hint="ask again")
    again = from_wire(to_wire(error))
    assert (type(again), again.message, again.hint, again.retryable) == (DeadlinePassed, "late", "ask again", True)


ENDINGS = st.lists(st.sampled_from(["answer", "fail", "late", "cancel", "all", "twice", "unknown"]), max_size=12)


@given(ENDINGS)
def test_however_questions_end_none_stays_open(endings):
    async def run():
        pending = Pending()
        loop = asyncio.get_running_loop()
        tasks = []
        for number, ending in enumerate(endings):
            timeout = 0 if ending == "late" else 60
            tasks.append(asyncio.create_task(pending.wait(number, loop.create_future(), timeout, DeadlinePassed("late"))))
        await asyncio.sleep(0)
        for number, ending in enumerate(endings):
            if ending == "answer":
                pending.answer(number, ending)
            elif ending == "fail":
                pending.fail(number, Disconnected("gone"))
            elif ending == "cancel":
                tasks[number].cancel()
            elif ending == "twice":
                pending.answer(number, ending)
                assert not pending.answer(number, "again")
                assert not pending.fail(number, Disconnected("gone"))
            elif ending == "unknown":
                assert not pending.answer(10_000, ending)
                pending.answer(number, ending)
        if "all" in endings:
            pending.fail_all(Disconnected("gone"))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert len(pending) == 0
        return [type(result).__name__ for result in results]

    kinds = {"answer": {"str"}, "fail": {"Disconnected"}, "late": {"DeadlinePassed", "Disconnected"}, "cancel": {"CancelledError"}}
    kinds |= {"all": {"Disconnected"}, "twice": {"str"}, "unknown": {"str"}}
    for ending, got in zip(endings, asyncio.run(run()), strict=True):
        assert got in kinds[ending]
