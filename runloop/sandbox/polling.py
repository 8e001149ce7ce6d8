"""Waiting in components, ``wasi:io/poll``: for the clock by one call of ``timer.sleep``, for the earliest of what is waited for."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from wasmtime import _ffi as ffi

from runloop.sandbox.execution import current
from runloop.sandbox.resources import POLLABLE, on_resource, put_resource, take_resource

_MOST: Final = 4096
"""Waits of one guest, and what it may wait for at once."""


def _subscribe(context: Any, results: Any, until_ns: int) -> None:
    waits = current().waits
    if len(waits) >= _MOST:
        raise current().halt("guest.trap", f"the agent waits for more than {_MOST} things")
    number = next(reversed(waits), 0) + 1
    waits[number] = until_ns
    put_resource(context, results[0], POLLABLE, number)


def unsubscribe(_store: Any, number: int) -> None:
    """Forget a wait whose handle the guest has dropped."""
    current().waits.pop(number, None)


def subscribe_instant(context: Any, arguments: Any, results: Any) -> None:
    """``subscribe-instant: func(when: u64) -> pollable``."""
    _subscribe(context, results, arguments[0].of.u64)


def subscribe_duration(context: Any, arguments: Any, results: Any) -> None:
    """``subscribe-duration: func(when: u64) -> pollable``."""
    _subscribe(context, results, current().elapsed_ns() + arguments[0].of.u64)


def stream_subscribe(context: Any, arguments: Any, results: Any) -> None:
    """``subscribe: func() -> pollable`` of a stream, which is always ready."""
    take_resource(context, arguments[0])
    _subscribe(context, results, 0)


def _wait_for(numbers: list[int]) -> list[int]:
    """Wait for the earliest; the places in the list of all that are ready then."""
    execution = current()
    waits = [execution.waits[number] for number in numbers]
    now_ns, least = execution.elapsed_ns(), min(waits)
    if least > now_ns and (refused := execution.sleep(least - now_ns)) is not None:
        raise execution.halt("guest.exception", f"the agent waits, but {refused.message}")
    return [at for at, until_ns in enumerate(waits) if until_ns <= max(now_ns, least)]


def _ready(number: int, _arguments: Any, results: Any) -> None:
    results[0].kind = ffi.WASMTIME_COMPONENT_BOOL
    results[0].of.boolean = current().waits[number] <= current().elapsed_ns()


def _block(number: int, _arguments: Any, _results: Any) -> None:
    _wait_for([number])


def _poll(context: Any, arguments: Any, results: Any) -> None:
    given = arguments[0].of.list
    numbers = [take_resource(context, given.data[at]) for at in range(given.size)]
    if not 1 <= len(numbers) <= _MOST:
        raise current().halt("guest.trap", f"the agent waits for {len(numbers)} things at once; 1 to {_MOST} can be waited for")
    ready = _wait_for(numbers)
    elements = ffi.wasmtime_component_vallist_t()
    ffi.wasmtime_component_vallist_new_uninit(ctypes.byref(elements), len(ready))
    for place, at in enumerate(ready):
        elements.data[place].kind = ffi.WASMTIME_COMPONENT_U32
        elements.data[place].of.u32 = at
    results[0].kind = ffi.WASMTIME_COMPONENT_LIST
    results[0].of.list = elements


POLL: Final = {"[method]pollable.ready": on_resource(_ready), "[method]pollable.block": on_resource(_block), "poll": _poll}
"""The functions of the interface, by name."""
