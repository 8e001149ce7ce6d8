"""Room for guests is set aside where the system has it; where it has not, guests run all the same."""

from __future__ import annotations

import resource

import pytest
import wasmtime

from runloop.sandbox.configuration import MAX_LIVE
from runloop.sandbox.engine import TABLE_ELEMENTS, TABLES, new_engine, new_store

MODULE = (
    '(module (memory (export "m") 1) (func (export "f") (result i32) (i32.load8_u (i32.const 9)) (i32.store8 (i32.const 9) (i32.const 7))))'
)


def addresses() -> int:
    """Bytes of this process's address space."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[0]) * 4096


def ran(engine: wasmtime.Engine, times: int) -> list[int]:
    module = wasmtime.Module(engine, MODULE)
    seen = []
    for _ in range(times):
        store = new_store(engine, memory_bytes=1 << 20, fuel=None)
        seen.append(wasmtime.Instance(store, module, []).exports(store)["f"](store))
        store.close()
    return seen


def test_room_is_set_aside_and_a_guest_finds_nothing_of_the_one_before_it():
    before = addresses()
    engine = new_engine(fuel=False, slots=8)
    assert addresses() - before > 8 << 32
    assert ran(engine, 20) == [0] * 20


@pytest.mark.parametrize("fuel", [False, True])
def test_where_there_are_not_enough_addresses_each_guest_maps_its_own(fuel):
    before = addresses()
    engine = new_engine(fuel=fuel, slots=1 << 20)
    assert addresses() - before < 1 << 40
    assert fuel or ran(engine, 2) == [0, 0]


def test_where_addresses_count_as_memory_each_guest_maps_its_own():
    """Under ``ulimit -d``, as under a strict ``vm.overcommit_memory``, what may be written counts before it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, hard))
    try:
        before = addresses()
        engine = new_engine(fuel=False, slots=MAX_LIVE)
        assert addresses() - before < 1 << 40
        assert ran(engine, 2) == [0, 0]
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def test_as_many_guests_as_a_worker_may_hold_fit_with_all_the_tables_they_may_have():
    engine = new_engine(fuel=False, slots=MAX_LIVE)
    tables = f"(table {TABLE_ELEMENTS} {TABLE_ELEMENTS} funcref)" * TABLES
    module = wasmtime.Module(engine, f"(module (memory 1) {tables})")
    stores = [new_store(engine, memory_bytes=1 << 20, fuel=None) for _ in range(MAX_LIVE)]
    instances = [wasmtime.Instance(store, module, []) for store in stores]
    assert len(instances) == MAX_LIVE
