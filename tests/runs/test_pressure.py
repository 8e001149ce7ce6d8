"""How loaded the machine is, as /proc says it, and what agents that want to start make of it."""

import asyncio

import pytest

from runloop.config import load as load_settings
from runloop.runs.pressure import Load, Pressure
from runloop.runs.turns import Turns

STAT = "cpu  {user} 0 0 {idle} {waiting} 0 0 0 {user} 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
MEMORY = "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: {free} kB\nHugePages_Total: 0\n"
STALLED = "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=7.00 avg60=0.00 avg300=0.00 total=1\n"


@pytest.fixture
def proc(tmp_path):
    def write(user=0, idle=0, waiting=0, free=400, stalled=None):
        (tmp_path / "stat").write_text(STAT.format(user=user, idle=idle, waiting=waiting))
        (tmp_path / "meminfo").write_text(MEMORY.format(free=free))
        if stalled is not None:
            (tmp_path / "pressure").mkdir(exist_ok=True)
            (tmp_path / "pressure" / "io").write_text(stalled)

    write.path = tmp_path
    return write


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNLOOP_HOME", str(tmp_path))

    def make(**thresholds):
        return load_settings(flags={f"runtime.pressure_threshold.{name}": value for name, value in thresholds.items()})

    return make


def test_processors_are_measured_between_two_looks_and_memory_at_each(proc):
    load = Load(proc.path)
    proc(user=100, idle=100, waiting=0)
    assert load.read() == {"mem_pct": 60.0}
    proc(user=160, idle=120, waiting=20, free=100)
    assert load.read() == {"cpu_pct": 60.0, "mem_pct": 90.0, "io_wait_pct": 20.0}
    assert load.read() == {"mem_pct": 90.0}  # no time passed


def test_where_the_kernel_tells_how_long_the_disk_was_waited_for_that_counts(proc):
    proc(stalled=STALLED)
    assert Load(proc.path).read()["io_wait_pct"] == 12.5
    proc(stalled="full avg10=7.00\n")
    assert "io_wait_pct" not in Load(proc.path).read()


def test_a_system_without_proc_is_under_no_pressure(tmp_path, settings):
    assert Load(tmp_path / "none").read() == {}
    for told in ("MemTotal: 5 kB\n", "MemTotal: 0 kB\nMemAvailable: 0 kB\n"):
        (tmp_path / "meminfo").write_text(told)
        assert Load(tmp_path).read() == {}


async def test_by_default_nothing_is_read_and_nobody_waits(settings):
    class Untouched:
        def read(self):
            raise AssertionError

    pressure = Pressure(Untouched(), lambda: None)
    pressure.obey(settings())
    assert (pressure.over, pressure.held(7), pressure.now) == ((), 7, {})


async def test_what_is_just_at_its_threshold_is_not_above_it(proc, settings):
    pressure = Pressure(Load(proc.path), lambda: None, look_s=3600)
    proc(free=100)
    pressure.obey(settings(mem_pct=90))
    assert (pressure.now, pressure.over) == ({"mem_pct": 90.0}, ())
    pressure.close()


async def test_under_pressure_agents_start_one_after_the_other_and_each_gets_its_turn(proc, settings):
    turns, order = Turns(), []
    pressure = Pressure(Load(proc.path), turns.look_again, look_s=3600)
    turns.allow(lambda: pressure.held(3), None)
    proc(free=50)
    pressure.obey(settings(mem_pct=90))
    assert pressure.over == ("mem_pct 95 above 90",)

    async def take(run):
        await turns.take(run)
        order.append(run)

    waiting = [asyncio.create_task(take(run)) for run in "abcd"]
    await asyncio.sleep(0)
    assert (order, turns.waiting) == (["a"], 3)
    turns.give_back("a")
    await asyncio.gather(waiting[1])
    assert (order, turns.waiting) == (["a", "b"], 2)
    proc(free=500)
    pressure.look()
    await asyncio.gather(*waiting)
    assert (sorted(order), pressure.over, dict(pressure.now)) == (["a", "b", "c", "d"], (), {"mem_pct": 50.0})
    pressure.close()


async def test_a_threshold_that_is_taken_away_ends_the_pressure_at_once(proc, settings):
    changes = []
    pressure = Pressure(Load(proc.path), lambda: changes.append(pressure.over), look_s=3600)
    proc(free=50)
    pressure.obey(settings(mem_pct=0))
    pressure.obey(settings(mem_pct=1))
    pressure.obey(settings())
    assert changes == [("mem_pct 95 above 0",), ()]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1  # nobody looks any more


async def test_the_load_is_looked_at_again_and_again(proc, settings):
    ended = asyncio.Event()
    pressure = Pressure(Load(proc.path), lambda: None if pressure.over else ended.set(), look_s=0.001)
    proc(free=50)
    pressure.obey(settings(mem_pct=90))
    proc(free=500)
    async with asyncio.timeout(30):
        await ended.wait()
    pressure.close()
