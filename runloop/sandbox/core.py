"""Running core modules (``wasm32-wasip1``): commands whose standard output is their result."""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from typing import TYPE_CHECKING

import wasmtime
from wasmtime import _ffi as ffi

from runloop.sandbox import abi, wasi1
from runloop.sandbox.engine import new_store
from runloop.sandbox.outcome import Outcome

if TYPE_CHECKING:
    from runloop.sandbox.command import Command
    from runloop.sandbox.execution import Execution


_START = b"_start"
_FUNCTION_KIND = ffi.WASMTIME_EXTERN_FUNC.value


class PreparedModule:
    """A module ready to run again and again."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self._engine = engine
        linker = wasmtime.Linker(engine)
        wasi1.define_all(linker, module)
        abi.define_all(linker)
        self._linker = linker  # the functions it defines must outlive the pre-instantiated module
        self._ready = linker.instantiate_pre(module)

    def run(self, execution: Execution, command: Command) -> Outcome | None:
        """Run ``_start``; None if it came to its end, an outcome if it cannot start. A trap raises."""
        store = new_store(self._engine, memory_bytes=execution.limits.memory_bytes, fuel=execution.limits.fuel)
        try:
            start = _start_of(self._ready.instantiate(store), store)
            if start is None:
                return Outcome.failed("guest.request", "the module exports no function _start: it is no WASI command")
            execution.command = command
            start(store)
        finally:
            store.close()
        return None


def _start_of(instance: wasmtime.Instance, store: wasmtime.Store) -> wasmtime.Func | None:
    """Find the function ``_start`` without looking at every other export."""
    item = ffi.wasmtime_extern_t()
    name = create_string_buffer(_START)
    found = ffi.wasmtime_instance_export_get(store._context(), byref(instance._instance), name, len(_START), byref(item))  # noqa: SLF001
    return wasmtime.Func._from_raw(item.of.func) if found and int(item.kind) == _FUNCTION_KIND else None  # noqa: SLF001
