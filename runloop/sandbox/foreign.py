"""Host functions for components, written against wasmtime's C types.

wasmtime-py converts every value with a dozen foreign calls, lists one element at a time (1 µs a byte), and keeps the last exception
of a callback in one global variable, which threads would mix up. The shapes here are few, so they are converted in bulk:
``func(string) -> result<string, call-error>``, ``func(u64) -> list<u8>``, ``func() -> u64`` and functions without a result.
No exception leaves a callback: it becomes a trap of the guest that called, and its reason stays with the execution.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import TYPE_CHECKING, Any

from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi

from runloop.sandbox.execution import Stopped, current
from runloop.sandbox.spec import CallError

if TYPE_CHECKING:
    from collections.abc import Callable

_VAL = ffi.wasmtime_component_val_t
_VAL_SIZE = ctypes.sizeof(_VAL)
_KIND_STRING = ffi.WASMTIME_COMPONENT_STRING.value


def trap(message: str) -> int:
    """Make an error that traps the guest; the address goes back to wasmtime, which owns it from then on."""
    return ctypes.cast(WasmtimeError(message)._consume(), ctypes.c_void_p).value or 0  # noqa: SLF001 - hands over ownership, as wasmtime-py does


def guard(work: Callable[[], None]) -> int:
    """Run a callback's work; whatever it raises becomes a trap."""
    try:
        work()
    except Stopped as stopped:
        return trap(f"stopped: {stopped}")
    except BaseException as error:  # noqa: BLE001 - an exception that left a callback would end the process
        try:
            current().stop("guest.trap", f"the host failed in a callback: {type(error).__name__}: {error}")
        except RuntimeError:
            return trap("a callback without a guest")
        return trap("the host failed in a callback")
    return 0


def _u8_table() -> bytes:
    values = (_VAL * 256)()
    for number in range(256):
        values[number].kind = ffi.WASMTIME_COMPONENT_U8
        values[number].of.u8 = number
    return bytes(values)


_U8 = [_u8_table()[at * _VAL_SIZE : (at + 1) * _VAL_SIZE] for at in range(256)]


def put_string(value: Any, text: str) -> None:
    """Fill a C value with a string."""
    data = text.encode()
    value.kind = _KIND_STRING
    vector = value.of.string
    ffi.wasm_byte_vec_new_uninitialized(byref(vector), len(data))
    ctypes.memmove(vector.data, data, len(data))


def put_bytes(value: Any, data: bytes) -> None:
    """Fill a C value with a list<u8>, by one copy of prepared elements."""
    elements = ffi.wasmtime_component_vallist_t()
    ffi.wasmtime_component_vallist_new_uninit(byref(elements), len(data))
    if data:
        table = _U8
        ctypes.memmove(elements.data, b"".join([table[byte] for byte in data]), len(data) * _VAL_SIZE)
    value.kind = ffi.WASMTIME_COMPONENT_LIST
    value.of.list = elements


def _put_error(value: Any, error: CallError) -> None:
    fields = ffi.wasmtime_component_valrecord_t()
    ffi.wasmtime_component_valrecord_new_uninit(byref(fields), 3)
    code = _VAL()
    code.kind = ffi.WASMTIME_COMPONENT_ENUM
    code.of.enumeration = ffi.str_to_capi(error.code)
    for at, (name, text) in enumerate((("code", None), ("message", error.message), ("hint", error.hint))):
        fields.data[at].name = ffi.str_to_capi(name)
        if text is None:
            fields.data[at].val = code
        else:
            put_string(fields.data[at].val, text)
    value.kind = ffi.WASMTIME_COMPONENT_RECORD
    value.of.record = fields


def put_answer(result: Any, answer: str | CallError) -> None:
    """Fill a C value with ``result<string, call-error>``."""
    inner = _VAL()
    if isinstance(answer, str):
        put_string(inner, answer)
    else:
        _put_error(inner, answer)
    result.kind = ffi.WASMTIME_COMPONENT_RESULT
    result.of.result.is_ok = isinstance(answer, str)
    result.of.result.val = ffi.wasmtime_component_val_new(byref(inner))


def get_string(value: Any) -> str:
    """Read a string argument; wasmtime frees it."""
    if value.kind != _KIND_STRING:
        raise TypeError(f"expected a string, got a value of kind {value.kind}")
    vector = value.of.string
    return ctypes.string_at(vector.data, vector.size).decode() if vector.size else ""


def get_byte_list(value: Any) -> bytes:
    """Read a list<u8> argument, by one copy; wasmtime frees it."""
    elements = value.of.list
    return ctypes.string_at(elements.data, elements.size * _VAL_SIZE)[_VAL.of.offset :: _VAL_SIZE] if elements.size else b""


def put_empty_list(value: Any) -> None:
    """Fill a C value with a list without elements, of any type."""
    put_bytes(value, b"")


def put_none(value: Any) -> None:
    """Fill a C value with an absent option."""
    value.kind = ffi.WASMTIME_COMPONENT_OPTION
    value.of.option = None


def put_ok_unit(value: Any) -> None:
    """Fill a C value with a successful result without a payload."""
    value.kind = ffi.WASMTIME_COMPONENT_RESULT
    value.of.result.is_ok = True
    value.of.result.val = None


def put_ok_u64(value: Any, number: int) -> None:
    """Fill a C value with a successful result that carries a number."""
    inner = _VAL()
    inner.kind = ffi.WASMTIME_COMPONENT_U64
    inner.of.u64 = number
    value.kind = ffi.WASMTIME_COMPONENT_RESULT
    value.of.result.is_ok = True
    value.of.result.val = ffi.wasmtime_component_val_new(byref(inner))


_handlers: list[Callable[[Any, Any, Any], None]] = []


@ffi.wasmtime_component_func_callback_t  # type: ignore[untyped-decorator]  # ctypes has no types for its function factories
def _callback(index: int | None, context: Any, _type: Any, arguments: Any, _count: int, results: Any, _result_count: int) -> int:
    return guard(lambda: _handlers[index or 0](context, arguments, results))


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator]  # ctypes has no types for its function factories
def _keep(_index: int | None) -> None:
    """Finalise nothing: linkers live as long as the process."""


def add_function(instance: Any, name: str, handler: Callable[[Any, Any, Any], None]) -> None:
    """Define ``name`` in a linker instance; ``handler(context, arguments, results)`` reads and fills C values."""
    encoded = name.encode()
    _handlers.append(handler)
    error = ffi.wasmtime_component_linker_instance_add_func(
        instance.ptr(), ctypes.create_string_buffer(encoded), len(encoded), _callback, len(_handlers) - 1, _keep
    )
    if error:
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - the way wasmtime-py makes its errors
