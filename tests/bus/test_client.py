"""What importing the bus costs, errors on the wire, and the bookkeeping of answers."""

import asyncio
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runloop.bus.errors import DeadlinePassed, Disconnected, Rejected, from_wire, to_wire
from runloop.bus.pending import Pending
from runloop.errors import Denied, InvalidInput, RunloopError, Unavailable, VerificationFailed, Where


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
    "broken",
    [
        None,
        7,
        {},
        {"code": 7},
        {"code": "", "message": None},
        {"code": "x.y", "message": "m", "retryable": 3},
        {"code": "x.y", "where": 7, "exit_code": [], "problems": {}},
        {"where": {"line": "3", "file": 3}, "problems": [1, 2], "retry_after_ms": "x"},
    ],
)
def test_an_error_from_the_wire_is_an_error_whatever_it_looks_like(broken):
    assert from_wire(broken).code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidInput("m", code="run.unknown", where=Where(file="a.yaml", line=3, node="n"), hint="h"), InvalidInput),
        (Denied("m", code="daemon.needs_operator", hint="h"), Denied),
        (Unavailable("m", code="daemon.draining", hint="h"), Unavailable),
        (VerificationFailed("m", code="run.diverged"), VerificationFailed),
        (RunloopError("m", code="agent.raised", retryable=True), Rejected),
    ],
)
def test_an_error_of_the_daemon_comes_back_with_its_class_code_place_and_hint(error, kind):
    again = from_wire({**error.to_dict(), "exit_code": error.exit_code})
    assert isinstance(again, kind)
    assert again.to_dict() == error.to_dict()
    assert again.exit_code == error.exit_code


def test_an_error_keeps_when_to_try_again_and_the_further_problems():
    busy = from_wire({"code": "daemon.busy", "message": "m", "exit_code": 3, "retryable": True, "retry_after_ms": 250})
    assert (busy.retry_after_ms, busy.retryable) == (250, True)
    problems = [{"code": "opening.a", "message": "1"}, {"code": "opening.b", "message": "2", "where": {"line": 7, "odd": 1}}, 7]
    wrong = from_wire({"code": "opening.a", "message": "1", "exit_code": 2, "problems": problems})
    assert [(each.code, each.message, each.where.line) for each in wrong.others] == [("opening.b", "2", 7)]


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
