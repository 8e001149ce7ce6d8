"""Resources of WASI that components get from the host: each handle stands for a number, and there is nothing to clean up behind it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

from wasmtime import StoreContext, WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime import component as wasm

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUT_STREAM, INPUT_STREAM, POLLABLE = 1, 2, 3
RESOURCES: Final = {
    "io/streams": {"output-stream": OUTPUT_STREAM, "input-stream": INPUT_STREAM},
    "io/poll": {"pollable": POLLABLE},
}
"""By the interface that defines them."""


def put_resource(context: Any, result: Any, type_: int, number: int) -> None:
    """Fill a C value with a handle that the guest owns."""
    handle = wasm.ResourceHost.own(number, type_).to_any(StoreContext(context))
    result.kind = ffi.WASMTIME_COMPONENT_RESOURCE
    result.of.resource = handle._consume()  # noqa: SLF001 - hands over ownership, as wasmtime-py does


def take_resource(context: Any, value: Any) -> int:
    """The number behind a handle that was lent for this call, which is given back."""
    host = ctypes.POINTER(ffi.wasmtime_component_resource_host_t)()
    error = ffi.wasmtime_component_resource_any_to_host(context, value.of.resource, ctypes.byref(host))
    if error:
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001 - the way wasmtime-py makes its errors
    number: int = ffi.wasmtime_component_resource_host_rep(host)
    ffi.wasmtime_component_resource_host_delete(host)
    return number


def gives(type_: int, number: int) -> Callable[[Any, Any, Any], None]:
    """Make a function that gives a handle."""

    def handler(context: Any, _arguments: Any, results: Any) -> None:
        put_resource(context, results[0], type_, number)

    return handler


def on_resource(work: Callable[[int, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    """Make a method of a resource, which is given the number of the handle, its first argument."""

    def handler(context: Any, arguments: Any, results: Any) -> None:
        work(take_resource(context, arguments[0]), arguments, results)

    return handler
