"""The wasmtime engine: one configuration, deterministic and interruptible, and the tick that interrupts."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from runloop.sandbox.execution import current
from runloop.sandbox.foreign import trap

TICK_S = 0.010
WASM_STACK_BYTES = 2 << 20
THREAD_STACK_BYTES = 16 << 20
"""Native stack of a guest's thread: WebAssembly's own, and room for callbacks below it."""


def new_engine(*, fuel: bool) -> wasmtime.Engine:
    """Make an engine; engines with and without fuel need code compiled for them."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.consume_fuel = fuel
    config.cranelift_nan_canonicalization = True
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.memory_init_cow = True
    config.max_wasm_stack = WASM_STACK_BYTES
    config.native_unwind_info = False
    return wasmtime.Engine(config)


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
    store.set_limits(memory_size=memory_bytes, table_elements=200_000, instances=100, tables=20, memories=1)
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
