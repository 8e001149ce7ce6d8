"""The wasmtime engine: one configuration, deterministic and interruptible, and the tick that interrupts."""

from __future__ import annotations

import ctypes
import mmap
import threading
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from runloop.sandbox.execution import current
from runloop.sandbox.foreign import trap

TICK_S = 0.010
WASM_STACK_BYTES = 48 << 20
"""So much that Python's own bound, the 1 MiB stack in the guest's memory, is met before it: RecursionError, on every processor alike."""
TABLE_ELEMENTS, TABLES, INSTANCES = 200_000, 20, 100
"""Most elements of a guest's table, tables and instances of modules."""
SLOT_BYTES = 8 << 30
"""More addresses than a memory of 4 GiB with its guards takes, and the tables beside it."""
_NORESERVE = 0x4000
"""MAP_NORESERVE, as wasmtime maps; Python has no name for it before 3.14."""


def new_engine(*, fuel: bool, slots: int = 0) -> wasmtime.Engine:
    """Make an engine; engines with and without fuel need code compiled for them.

    With ``slots``, addresses for so many guests are set aside, so that beginning and ending one maps and unmaps nothing; where the
    system has not as many addresses, or counts them as memory in use, each guest maps its own as it comes. What guests see is the same.
    """
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = fuel
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.memory_init_cow = True
    ffi.wasmtime_config_async_stack_size_set(config.ptr(), WASM_STACK_BYTES)
    config.max_wasm_stack = WASM_STACK_BYTES
    config.native_unwind_info = False
    if slots and _are_free((slots + INSTANCES) * SLOT_BYTES):
        _set_aside(config, slots)
    return wasmtime.Engine(config)


def _are_free(count: int) -> bool:
    """Tell whether so many addresses can be had and cost nothing until they are used; wasmtime itself would end the process otherwise.

    What may be written is counted as used at once where the system never promises more than it has (``vm.overcommit_memory`` 2), or
    where this process may have only so much (``ulimit -d``).
    """
    try:
        mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except (OSError, OverflowError, ValueError):
        return False
    return True


def _set_aside(config: wasmtime.Config, slots: int) -> None:
    """Use wasmtime's pooling allocator, wide enough to hold whatever the limits of a store allow."""
    pooling = ffi.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_stacks": 0,
        "total_memories": slots + INSTANCES, "max_memories_per_module": INSTANCES, "max_memories_per_component": INSTANCES,
        "max_memory_size": 1 << 32,
        "total_tables": TABLES * slots, "max_tables_per_module": TABLES, "max_tables_per_component": TABLES,
        "table_elements": TABLE_ELEMENTS,
        "total_core_instances": INSTANCES * slots, "max_core_instances_per_component": INSTANCES, "max_core_instance_size": 1 << 20,
        "total_component_instances": slots + INSTANCES, "max_component_instance_size": 1 << 20,
        "linear_memory_keep_resident": 0, "table_keep_resident": 0, "max_unused_warm_slots": 8,
    }.items():  # fmt: skip
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pooling, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pooling)
    ffi.wasmtime_pooling_allocation_config_delete(pooling)


_CONTINUE = 0
_deadline_type = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(ffi.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ffi.wasmtime_update_deadline_kind_t),
)


@_deadline_type  # type: ignore[untyped-decorator]  # ctypes has no types for its function factories
def _at_tick(_context: Any, _data: int | None, delta: Any, kind: Any) -> int:
    """Let the guest go on for one more tick, or stop it."""
    try:
        delta[0] = 1
        kind[0] = _CONTINUE
        return trap("stopped") if current().must_stop() else 0
    except BaseException:  # noqa: BLE001 - an exception that left a callback would be lost and the guest would go on
        return trap("the host failed at a tick")


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator]  # ctypes has no types for its function factories
def _keep(_data: int | None) -> None:
    """Nothing to free."""


def new_store(engine: wasmtime.Engine, *, memory_bytes: int, fuel: int | None) -> wasmtime.Store:
    """Make a store for one guest, with its limits, that looks at the clock at every tick."""
    store = wasmtime.Store(engine)
    # The engine limits each memory for itself, so there may be only one: 20 of them would be 20 times the limit.
    store.set_limits(memory_size=memory_bytes, table_elements=TABLE_ELEMENTS, instances=INSTANCES, tables=TABLES, memories=1)
    if fuel is not None:
        store.set_fuel(fuel)
    ffi.wasmtime_store_epoch_deadline_callback(store.ptr(), _at_tick, None, _keep)
    store.set_epoch_deadline(1)
    return store


class Ticker:
    """Moves the epoch of its engines every 10 ms, but only while a guest runs."""

    def __init__(self) -> None:
        self._engines: list[wasmtime.Engine] = []
        self._running = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        threading.Thread(target=self._tick, name="ticker", daemon=True).start()

    def add(self, engine: wasmtime.Engine) -> None:
        """Tick for this engine too."""
        self._engines.append(engine)

    def __enter__(self) -> None:
        with self._lock:
            self._running += 1
            self._wake.set()

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                self._wake.clear()

    def _tick(self) -> None:
        pause = threading.Event()
        while True:
            self._wake.wait()
            pause.wait(TICK_S)
            for engine in self._engines:
                engine.increment_epoch()
