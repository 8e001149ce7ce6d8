"""WASI preview 1 for core modules, as little as a command needs: arguments, one variable, standard streams, virtual time and randomness.

There is no directory and no socket behind any call; what is not here answers ENOSYS. Functions of
github.com/WebAssembly/WASI, preview 1 (wasi_snapshot_preview1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmtime import FuncType

from runloop.sandbox.execution import current
from runloop.sandbox.foreign_core import Fault, Memory, define, signature

if TYPE_CHECKING:
    from collections.abc import Callable

    import wasmtime

    from runloop.sandbox.command import Command

MODULE = "wasi_snapshot_preview1"
EBADF, EINVAL, ENOSYS, ESPIPE = 8, 28, 52, 70
_CHARACTER_DEVICE = 2
_MOST_VECTORS = 1024
_MOST_RANDOM = 1 << 20
_CLOCKS = 4
_EVENT_BYTES, _SUBSCRIPTION_BYTES = 32, 48


def _command() -> Command:
    command = current().command
    if command is None:
        raise Fault("this guest is not a command")
    return command


def _put_sizes(memory: Memory, items: list[bytes], count_at: int, bytes_at: int) -> int:
    memory.put_u32(count_at, len(items))
    memory.put_u32(bytes_at, sum(len(item) + 1 for item in items))
    return 0


def _put_table(memory: Memory, items: list[bytes], table_at: int, text_at: int) -> int:
    for item in items:
        memory.put_u32(table_at, text_at)
        memory.write(text_at, item + b"\0")
        table_at += 4
        text_at += len(item) + 1
    return 0


def _vectors(memory: Memory, at: int, count: int) -> list[tuple[int, int]]:
    if not 0 <= count <= _MOST_VECTORS:
        raise Fault(f"{count} buffers in one call")
    return [(memory.u32(at + 8 * one), memory.u32(at + 8 * one + 4)) for one in range(count)]


def _fd_write(memory: Memory, descriptor: int, vectors_at: int, count: int, written_at: int) -> int:
    if descriptor not in (1, 2):
        return EBADF
    written = 0
    for at, size in _vectors(memory, vectors_at, count):
        current().write(size)
        _command().write(descriptor, memory.read(at, size))
        written += size
    memory.put_u32(written_at, written)
    return 0


def _fd_read(memory: Memory, descriptor: int, vectors_at: int, count: int, read_at: int) -> int:
    if descriptor != 0:
        return EBADF
    done = 0
    for at, size in _vectors(memory, vectors_at, count):
        piece = _command().read(size)
        memory.write(at, piece)
        done += len(piece)
        if len(piece) < size:
            break
    memory.put_u32(read_at, done)
    return 0


def _fd_fdstat_get(memory: Memory, descriptor: int, at: int) -> int:
    if descriptor not in (0, 1, 2):
        return EBADF
    memory.write(at, bytes([_CHARACTER_DEVICE]) + bytes(23))
    return 0


def _clock(memory: Memory, clock: int, _precision: int, at: int) -> int:
    if not 0 <= clock < _CLOCKS:
        return EINVAL
    memory.put_u64(at, current().now_us() * 1000 if clock == 0 else current().elapsed_ns())
    return 0


def _clock_resolution(memory: Memory, clock: int, at: int) -> int:
    if not 0 <= clock < _CLOCKS:
        return EINVAL
    memory.put_u64(at, 1000)
    return 0


def _random(memory: Memory, at: int, count: int) -> int:
    if not 0 <= count <= _MOST_RANDOM:
        return EINVAL
    memory.write(at, current().random_bytes(count))
    return 0


def _poll(memory: Memory, subscriptions_at: int, events_at: int, count: int, ready_at: int) -> int:
    """Wait for clocks, by one timer call for the earliest; streams are always ready."""
    if not 1 <= count <= _MOST_VECTORS:
        return EINVAL
    waits: list[tuple[int, bytes, int]] = []
    for one in range(count):
        entry = memory.read(subscriptions_at + one * _SUBSCRIPTION_BYTES, _SUBSCRIPTION_BYTES)
        kind = entry[8]
        wait_ns = _wait_ns(entry) if kind == 0 else 0
        waits.append((wait_ns, entry[:8], kind))
    least = min(wait for wait, _, _ in waits)
    if least > 0 and current().sleep(least) is not None:
        return EINVAL
    ready = [(user, kind) for wait, user, kind in waits if wait <= least]
    for at, (user, kind) in enumerate(ready):
        memory.write(events_at + at * _EVENT_BYTES, user + bytes(2) + bytes([kind]) + bytes(_EVENT_BYTES - 11))
    memory.put_u32(ready_at, len(ready))
    return 0


def _wait_ns(entry: bytes) -> int:
    clock = int.from_bytes(entry[16:20], "little")
    timeout = int.from_bytes(entry[24:32], "little")
    if int.from_bytes(entry[40:42], "little") & 1:
        now = current().now_us() * 1000 if clock == 0 else current().elapsed_ns()
        return max(0, timeout - now)
    return timeout


def _exit(_memory: Memory, code: int) -> int:
    current().said.finish()
    _command().exit_code = code
    raise current().halt("guest.exit", f"exit {code}")


FUNCTIONS: dict[str, tuple[str, str, Callable[..., int | None]]] = {
    "args_sizes_get": ("ii", "i", lambda memory, count, size: _put_sizes(memory, _command().arguments, count, size)),
    "args_get": ("ii", "i", lambda memory, table, text: _put_table(memory, _command().arguments, table, text)),
    "environ_sizes_get": ("ii", "i", lambda memory, count, size: _put_sizes(memory, _command().environment, count, size)),
    "environ_get": ("ii", "i", lambda memory, table, text: _put_table(memory, _command().environment, table, text)),
    "clock_time_get": ("iIi", "i", _clock),
    "clock_res_get": ("ii", "i", _clock_resolution),
    "random_get": ("ii", "i", _random),
    "poll_oneoff": ("iiii", "i", _poll),
    "fd_write": ("iiii", "i", _fd_write),
    "fd_read": ("iiii", "i", _fd_read),
    "fd_fdstat_get": ("ii", "i", _fd_fdstat_get),
    "fd_fdstat_set_flags": ("ii", "i", lambda _memory, descriptor, _flags: 0 if descriptor in (0, 1, 2) else EBADF),
    "fd_close": ("i", "i", lambda _memory, descriptor: 0 if descriptor in (0, 1, 2) else EBADF),
    "fd_seek": ("iIii", "i", lambda _memory, descriptor, _by, _whence, _at: ESPIPE if descriptor in (0, 1, 2) else EBADF),
    "fd_prestat_get": ("ii", "i", lambda _memory, _descriptor, _at: EBADF),
    "fd_prestat_dir_name": ("iii", "i", lambda _memory, _descriptor, _at, _size: EBADF),
    "path_open": ("iiiiiIIii", "i", lambda _memory, *_rest: EBADF),
    "sched_yield": ("", "i", lambda _memory: 0),
    "proc_exit": ("i", "", _exit),
}


def define_all(linker: wasmtime.Linker, module: wasmtime.Module) -> None:
    """Define what the module imports of preview 1; functions that do not exist here answer ENOSYS."""
    for name, (parameters, results, handler) in FUNCTIONS.items():
        define(linker, MODULE, name, signature(parameters, results), handler)
    for wanted in module.imports:
        if wanted.module == MODULE and wanted.name not in FUNCTIONS and isinstance(wanted.type, FuncType):
            define(linker, MODULE, str(wanted.name), wanted.type, lambda _memory, *_rest: ENOSYS)
