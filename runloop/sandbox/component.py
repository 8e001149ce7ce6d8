"""Running components of the world ``agent``: the shared Python guest, and those that bundles bring."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi
from wasmtime import component as wasm

from runloop.sandbox.engine import new_store
from runloop.sandbox.execution import current
from runloop.sandbox.foreign import (
    add_function,
    get_byte_list,
    get_string,
    put_answer,
    put_bytes,
    put_empty_list,
    put_none,
    put_ok_u64,
    put_ok_unit,
)
from runloop.sandbox.polling import POLL, stream_subscribe, subscribe_duration, subscribe_instant, unsubscribe
from runloop.sandbox.remedies import NO_STDIN
from runloop.sandbox.resources import INPUT_STREAM, OUTPUT_STREAM, RESOURCES, gives, on_resource
from runloop.sandbox.world import HOSTCALLS, WORLD, WORLD_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from runloop.sandbox.execution import Execution
    from runloop.sandbox.spec import Limits

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_STREAM_CHUNK = 4096
_STDIN_METHODS = ("read", "blocking-read", "skip", "blocking-skip", "subscribe")
_DROPPED = {"pollable": unsubscribe}
"""What is called when a handle is dropped, by the name of the resource."""
_LEVELS = {_STDOUT: "info", _STDERR: "warn"}


def new_linker(engine: wasmtime.Engine, component: wasm.Component) -> wasm.Linker:
    """Link a component: our hostcalls, a virtual clock and random stream, an empty environment; everything else of WASI traps.

    wasmtime's own WASI is not linked at all, so no file, socket or environment variable of the host is behind any import.
    """
    linker = wasm.Linker(engine)
    linker.allow_shadowing = True
    imports = set(component.type.imports(engine))
    with linker.root() as root:
        for interface, functions in HOSTCALLS.items():
            if (full := f"{WORLD}/{interface}@{WORLD_VERSION}") in imports:
                with root.add_instance(full) as instance:
                    for name in functions:
                        add_function(instance, name, _hostcall(f"{interface}.{name}"))
        for full in sorted(imports):
            found = re.fullmatch(r"wasi:([a-z-]+/[a-z-]+)@0\.2\.\d+", full)
            if found and found[1] in _WASI:
                with root.add_instance(full) as instance:
                    for name, type_ in RESOURCES.get(found[1], {}).items():
                        instance.add_resource(name, wasm.ResourceType.host(type_), _DROPPED.get(name, lambda _store, _number: None))
                    for name, handler in _WASI[found[1]].items():
                        add_function(instance, name, handler)
    linker.define_unknown_imports_as_traps(component)
    return linker


def _hostcall(name: str) -> Callable[[Any, Any, Any], None]:
    def handler(_context: Any, arguments: Any, results: Any) -> None:
        put_answer(results[0], current().call(name, get_string(arguments[0])))

    return handler


def _put_datetime(result: Any, micros: int) -> None:
    seconds, micros = divmod(micros, 1_000_000)
    fields = ffi.wasmtime_component_valrecord_t()
    ffi.wasmtime_component_valrecord_new_uninit(fields, 2)
    fields.data[0].name = ffi.str_to_capi("seconds")
    fields.data[0].val.kind = ffi.WASMTIME_COMPONENT_U64
    fields.data[0].val.of.u64 = seconds
    fields.data[1].name = ffi.str_to_capi("nanoseconds")
    fields.data[1].val.kind = ffi.WASMTIME_COMPONENT_U32
    fields.data[1].val.of.u32 = micros * 1000
    result.kind = ffi.WASMTIME_COMPONENT_RECORD
    result.of.record = fields


def _put_u64(result: Any, number: int) -> None:
    result.kind = ffi.WASMTIME_COMPONENT_U64
    result.of.u64 = number


def _exit(_context: Any, _arguments: Any, _results: Any) -> None:
    execution = current()
    execution.said.finish()
    ended = "the agent ended its own process (os._exit or the like); return a result or raise instead"
    raise execution.halt("guest.trap", f"{ended}{execution.said.tail}")


def _no_stdin(_stream: int, _arguments: Any, _results: Any) -> None:
    raise current().halt("guest.trap", NO_STDIN)


def _random_bytes(_context: Any, arguments: Any, results: Any) -> None:
    count = arguments[0].of.u64
    if count > 1 << 20:
        raise current().halt("guest.trap", "the agent asked for more than 1 MiB of random bytes at once")
    put_bytes(results[0], current().random_bytes(count))


def _write(stream: int, arguments: Any, results: Any) -> None:
    data = get_byte_list(arguments[1])
    execution = current()
    execution.write(len(data))
    execution.said.write(_LEVELS[stream], data)
    put_ok_unit(results[0])


_WASI: dict[str, dict[str, Callable[[Any, Any, Any], None]]] = {
    "clocks/wall-clock": {
        "now": lambda _context, _arguments, results: _put_datetime(results[0], current().now_us()),
        "resolution": lambda _context, _arguments, results: _put_datetime(results[0], 1),
    },
    "clocks/monotonic-clock": {
        "now": lambda _context, _arguments, results: _put_u64(results[0], current().elapsed_ns()),
        "resolution": lambda _context, _arguments, results: _put_u64(results[0], 1000),
        "subscribe-instant": subscribe_instant,
        "subscribe-duration": subscribe_duration,
    },
    "io/poll": POLL,
    "random/random": {
        "get-random-bytes": _random_bytes,
        "get-random-u64": lambda _context, _arguments, results: _put_u64(results[0], int.from_bytes(current().random_bytes(8), "little")),
    },
    "random/insecure": {
        "get-insecure-random-bytes": _random_bytes,
        "get-insecure-random-u64": lambda _context, _arguments, results: _put_u64(
            results[0], int.from_bytes(current().random_bytes(8), "little")
        ),
    },
    "cli/environment": {
        "get-environment": lambda _context, _arguments, results: put_empty_list(results[0]),
        "get-arguments": lambda _context, _arguments, results: put_empty_list(results[0]),
        "initial-cwd": lambda _context, _arguments, results: put_none(results[0]),
    },
    "cli/exit": {"exit": _exit},
    "cli/terminal-stdin": {"get-terminal-stdin": lambda _context, _arguments, results: put_none(results[0])},
    "cli/terminal-stdout": {"get-terminal-stdout": lambda _context, _arguments, results: put_none(results[0])},
    "cli/terminal-stderr": {"get-terminal-stderr": lambda _context, _arguments, results: put_none(results[0])},
    "filesystem/preopens": {"get-directories": lambda _context, _arguments, results: put_empty_list(results[0])},
    "cli/stdin": {"get-stdin": gives(INPUT_STREAM, _STDIN)},
    "cli/stdout": {"get-stdout": gives(OUTPUT_STREAM, _STDOUT)},
    "cli/stderr": {"get-stderr": gives(OUTPUT_STREAM, _STDERR)},
    "io/streams": {
        **{f"[method]input-stream.{name}": on_resource(_no_stdin) for name in _STDIN_METHODS},
        "[method]output-stream.subscribe": stream_subscribe,
        "[method]output-stream.check-write": on_resource(lambda _stream, _arguments, results: put_ok_u64(results[0], _STREAM_CHUNK)),
        "[method]output-stream.write": on_resource(_write),
        "[method]output-stream.blocking-write-and-flush": on_resource(_write),
        "[method]output-stream.flush": on_resource(lambda _stream, _arguments, results: put_ok_unit(results[0])),
        "[method]output-stream.blocking-flush": on_resource(lambda _stream, _arguments, results: put_ok_unit(results[0])),
    },
}


class Live(NamedTuple):
    """An instance that has not run yet, and the limits it was made with; it runs once."""

    store: wasmtime.Store
    run: wasm.Func
    memory_bytes: int
    fuel: int | None


class Prepared:
    """A component ready to run again and again."""

    def __init__(self, engine: wasmtime.Engine, component: wasm.Component) -> None:
        self._engine = engine
        self._component = component
        self._linker = new_linker(engine, component)
        self._run = component.get_export_index("run")
        self._spare: list[Live] = []  # at most one
        self._making = threading.Lock()

    def run(self, execution: Execution, request: str) -> tuple[bool, Any]:
        """Run once on this thread: (True, result text) or (False, failure record); a trap raises WasmtimeError.

        The instance is closed by who closes ``execution``: dropping its memory takes time, and the answer is known.
        """
        live = self._take(execution.limits) or self._instantiate(execution.limits)
        execution.closing.append(live.store.close)
        live.store.set_epoch_deadline(1)
        return call_run(live.store, live.run, request)

    def keep_spare(self, limits: Limits) -> None:
        """Have an instance ready for the next guest with these limits: making it is half of what an agent costs that does little.

        Only for a component whose instances call nothing before they run: no guest is there who could be asked.
        """
        if self._making.acquire(blocking=False):
            try:
                if not self._spare:
                    self._spare.append(self._instantiate(limits))
            finally:
                self._making.release()

    def _take(self, limits: Limits) -> Live | None:
        try:
            live = self._spare.pop()
        except IndexError:
            return None
        if (live.memory_bytes, live.fuel) == (limits.memory_bytes, limits.fuel):
            return live
        live.store.close()
        return None

    def _instantiate(self, limits: Limits) -> Live:
        store = new_store(self._engine, memory_bytes=limits.memory_bytes, fuel=limits.fuel)
        try:
            instance = self._linker.instantiate(store, self._component)
            function = instance.get_func(store, self._run) if self._run is not None else None
        except BaseException:
            store.close()
            raise
        if function is None:
            store.close()
            raise WasmtimeError("the component does not export run of the world runloop:agent")
        return Live(store, function, limits.memory_bytes, limits.fuel)


def call_run(store: wasmtime.Store, function: wasm.Func, request: str) -> tuple[bool, Any]:
    """Call ``run: func(string) -> result<string, failure>``."""
    answer = function(store, request)
    if isinstance(answer, str):
        return True, answer
    return False, answer
