"""Host functions for core modules, written against wasmtime's C types, and the guest's memory as they see it.

As in ``foreign``: no exception leaves a callback, and none passes through wasmtime-py's global variable.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import TYPE_CHECKING, Any

from wasmtime import FuncType, Trap, ValType, WasmtimeError
from wasmtime import _ffi as ffi

from runloop.sandbox.execution import Stopped, current

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

_KIND_I64 = ffi.WASMTIME_I64.value
_MEMORY_KIND = ffi.WASMTIME_EXTERN_MEMORY.value
_U32 = 0xFFFF_FFFF


class Fault(Exception):  # noqa: N818 - the field's word
    """The guest named memory that it does not have."""


class Memory:
    """The guest's exported memory during one callback; every access is checked against its size."""

    def __init__(self, caller: Any) -> None:
        item = ffi.wasmtime_extern_t()
        name = b"memory"
        found = ffi.wasmtime_caller_export_get(caller, ctypes.create_string_buffer(name), len(name), byref(item))
        if not found or int(item.kind) != _MEMORY_KIND:  # the stub says c_ubyte, ctypes gives int
            raise Fault("the guest exports no memory")
        context = ffi.wasmtime_caller_context(caller)
        memory = item.of.memory
        self._base = ctypes.cast(ffi.wasmtime_memory_data(context, byref(memory)), ctypes.c_void_p).value or 0
        self._size = int(ffi.wasmtime_memory_data_size(context, byref(memory)))

    def _check(self, at: int, count: int) -> int:
        at &= _U32
        if count < 0 or at + count > self._size:
            raise Fault(f"{count} bytes at {at} are outside the guest's memory")
        return self._base + at

    def read(self, at: int, count: int) -> bytes:
        """Copy bytes out."""
        count &= _U32
        return ctypes.string_at(self._check(at, count), count)

    def write(self, at: int, data: bytes) -> None:
        """Copy bytes in."""
        ctypes.memmove(self._check(at, len(data)), data, len(data))

    def text(self, at: int, count: int) -> str:
        """Read UTF-8 text."""
        try:
            return self.read(at, count).decode()
        except UnicodeDecodeError:
            raise Fault("the guest passed text that is not UTF-8") from None

    def u32(self, at: int) -> int:
        """Read a little-endian number."""
        return int.from_bytes(self.read(at, 4), "little")

    def put_u32(self, at: int, number: int) -> None:
        """Write a little-endian number."""
        self.write(at, (number & _U32).to_bytes(4, "little"))

    def put_u64(self, at: int, number: int) -> None:
        """Write a little-endian number."""
        self.write(at, (number & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))


_handlers: list[Callable[..., int | None]] = []


def _trap(message: str) -> int:
    encoded = message.encode()
    return ctypes.cast(ffi.wasmtime_trap_new(ctypes.create_string_buffer(encoded), len(encoded)), ctypes.c_void_p).value or 0


@ffi.wasmtime_func_callback_t  # type: ignore[untyped-decorator]  # ctypes has no types for its function factories
def _callback(index: int | None, caller: Any, arguments: Any, count: int, results: Any, result_count: int) -> int:
    try:
        numbers = [arguments[at].of.i64 if arguments[at].kind == _KIND_I64 else arguments[at].of.i32 for at in range(count)]
        answer = _handlers[index or 0](Memory(caller), *numbers)
        if result_count:
            wide = isinstance(answer, Wide)
            results[0].kind = ffi.WASMTIME_I64 if wide else ffi.WASMTIME_I32
            if wide:
                results[0].of.i64 = int(answer or 0)
            else:
                results[0].of.i32 = int(answer or 0)
    except Stopped as stopped:
        return _trap(f"stopped: {stopped}")
    except Fault as fault:
        return _stop("guest.trap", str(fault))
    except BaseException as error:  # noqa: BLE001 - an exception that left a callback would end the process
        return _stop("guest.trap", f"the host failed in a callback: {type(error).__name__}: {error}")
    return 0


def _stop(code: str, message: str) -> int:
    try:
        current().stop(code, message)
    except RuntimeError:
        return _trap("a callback without a guest")
    return _trap("stopped")


class Wide(int):
    """An i64 result."""


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator]  # as above
def _keep(_index: int | None) -> None:
    """Finalise nothing: linkers live as long as the process."""


def define(linker: wasmtime.Linker, module: str, name: str, kind: FuncType, handler: Callable[..., int | None]) -> None:
    """Define one function; ``handler(memory, *numbers)`` returns its result."""
    _handlers.append(handler)
    module_name, function_name = module.encode(), name.encode()
    error = ffi.wasmtime_linker_define_func(
        linker.ptr(),
        ctypes.create_string_buffer(module_name),
        len(module_name),
        ctypes.create_string_buffer(function_name),
        len(function_name),
        kind.ptr(),
        _callback,
        len(_handlers) - 1,
        _keep,
    )
    if error:
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - the way wasmtime-py makes its errors


def call_export(store: wasmtime.Store, instance: wasmtime.Instance, name: bytes, results: int) -> None:
    """Call an exported function that takes nothing and whose results nobody reads. Raises WasmtimeError, and Trap.

    wasmtime-py would first list all exports and take the function's type apart, which costs more than a small guest's run.
    """
    item = ffi.wasmtime_extern_t()
    context = store._context()  # noqa: SLF001 - as wasmtime-py calls
    ffi.wasmtime_instance_export_get(context, byref(instance._instance), name, len(name), byref(item))  # noqa: SLF001 - as above
    given = (ffi.wasmtime_val_t * results)()
    trapped = ctypes.POINTER(ffi.wasm_trap_t)()
    error = ffi.wasmtime_func_call(context, byref(item.of.func), None, 0, given, results, byref(trapped))
    if error:
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - the way wasmtime-py makes its errors
    if trapped:
        raise Trap._from_ptr(trapped)  # noqa: SLF001 - as above


def signature(parameters: str, results: str) -> FuncType:
    """Make a type from letters: ``i`` for i32, ``I`` for i64."""
    kinds = {"i": ValType.i32, "I": ValType.i64}
    return FuncType([kinds[letter]() for letter in parameters], [kinds[letter]() for letter in results])
