"""An instance that was made ahead for the next guest: used by one that may have it, and by that one alone."""

from __future__ import annotations

import json

import pytest
from tests_sandbox_helpers import Host, python_spec

from runloop.sandbox import WorkerPool, guest_digest
from runloop.sandbox.component import Prepared
from runloop.sandbox.execution import Execution
from runloop.sandbox.guests import Guests
from runloop.sandbox.spec import Answer, GuestError, Limits

MIB = 1 << 20
GREEDY = "def run(mib): return len(bytearray(mib << 20))"


@pytest.fixture
def made(monkeypatch):
    """The memory limits of all instances that were made."""
    found, make = [], Prepared._instantiate

    def counted(self, limits):
        found.append(limits.memory_bytes)
        return make(self, limits)

    monkeypatch.setattr(Prepared, "_instantiate", counted)
    return found


async def one_after_another(cache_dir, *limits):
    """Run an agent with each of the limits on this thread, as a worker with nothing else to do does."""
    async with WorkerPool(cache_dir, workers=1) as pool:
        path = await pool._python_path(guest_digest(), fuel=False)
    guests, results = Guests(), []
    for number, each in enumerate(limits):
        message = {
            "kind": "python", "path": path, "digest": "spares", "entry": "agent.py", "limits": {"fuel": None}, "seed": bytes([number]) * 32,
            "data": "{}",
            "sources": json.dumps({"agent.py": "state = []\ndef run():\n    state.append(1)\n    return len(state)"}),
            "request": '{"with": {}, "inputs": {}, "run": {"run_id": "r", "node": "n", "attempt": 1}}',
        }  # fmt: skip
        execution = Execution(each, message["seed"], 0, lambda _name, _args: Answer("{}", 0))
        results.append(guests.run(execution, message).text)
        guests.clear_up(execution, message, idle=True)
        assert execution.closing == []
    return results


async def test_each_guest_has_an_instance_that_nobody_had_before(cache_dir, made):
    limits = Limits(memory_bytes=256 * MIB)
    assert await one_after_another(cache_dir, limits, limits, limits) == ["1", "1", "1"]
    assert len(made) == 1 + 1 + 3  # the one that compiles, the first, and one ahead after each


async def test_one_with_other_limits_is_dropped(cache_dir, made):
    small, large = Limits(memory_bytes=128 * MIB), Limits(memory_bytes=256 * MIB)
    assert await one_after_another(cache_dir, large, small, small) == ["1", "1", "1"]
    assert made[1:] == [256 * MIB, 256 * MIB, 128 * MIB, 128 * MIB, 128 * MIB]


async def test_a_guest_has_its_own_memory_limit_whoever_was_there_before(cache_dir):
    async with WorkerPool(cache_dir, workers=1) as pool:
        for _ in range(2):
            large = await pool.run(python_spec(GREEDY, {"mib": 100}, memory_bytes=256 * MIB), Host())
            assert large.result_json == str(100 * MIB)
            with pytest.raises(GuestError) as failed:
                await pool.run(python_spec(GREEDY, {"mib": 100}, memory_bytes=64 * MIB), Host())
            assert failed.value.code == "guest.memory"


async def test_what_could_not_be_made_ahead_is_made_when_it_is_needed(cache_dir, made):
    few, enough = Limits(memory_bytes=1 * MIB), Limits(memory_bytes=256 * MIB)
    failed, worked = await one_after_another(cache_dir, few, enough)
    assert (worked, failed != "1") == ("1", True)
