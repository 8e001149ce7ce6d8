"""Running core modules (``wasm32-wasip1``): commands whose standard output is their result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wasmtime

from runloop.sandbox import abi, wasi1
from runloop.sandbox.engine import new_store
from runloop.sandbox.foreign_core import call_export

if TYPE_CHECKING:
    from runloop.sandbox.command import Command
    from runloop.sandbox.execution import Execution


class PreparedModule:
    """A module ready to run again and again. Raises ``WasmtimeError`` for one that imports what is not there, or has no ``_start``."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
        self._engine = engine
        linker = wasmtime.Linker(engine)
        wasi1.define_all(linker, module)
        abi.define_all(linker)
        self._linker = linker  # the functions it defines must outlive the pre-instantiated module
        self._ready = linker.instantiate_pre(module)
        starts = [one.type for one in module.exports if one.name == "_start" and isinstance(one.type, wasmtime.FuncType)]
        if not starts:
            raise wasmtime.WasmtimeError("it exports no function _start, so it is no WASI command")
        self._results = len(starts[0].results)

    def run(self, execution: Execution, command: Command) -> None:
        """Run ``_start`` to its end. A trap raises."""
        store = new_store(self._engine, memory_bytes=execution.limits.memory_bytes, fuel=execution.limits.fuel)
        execution.closing.append(store.close)
        instance = self._ready.instantiate(store)
        execution.command = command
        call_export(store, instance, b"_start", self._results)
