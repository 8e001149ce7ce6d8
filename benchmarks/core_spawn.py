"""Row 2: a core WebAssembly agent (a WASI command) from spawn to its first result, through the pool and inside the worker."""

from __future__ import annotations

import wasmtime
from _common import arguments, report
from _spawning import spawned

from runloop.sandbox import GuestSpec

COMMAND = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 0) "{\\22n\\22:42}")
  (func (export "_start")
    (i32.store (i32.const 100) (i32.const 0)) (i32.store (i32.const 104) (i32.const 8))
    (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108)))))"""


def main() -> None:
    """Measure with a warm worker."""
    options = arguments(__doc__ or "")
    count = 50 if options.small else 2000
    code = bytes(wasmtime.wat2wasm(COMMAND))
    spec = GuestSpec("wasm32-wasip1", "bench", "tool", '{"with":{},"inputs":{}}', bytes(32), 1_763_600_000_000, code=code)
    figures = spawned([spec] * count, 1 if options.small else options.runs, spec)
    report("core_spawn", figures, "wasmtime", row=2, goal="p50 <= 0.4 ms, p99 <= 1 ms", spawns=count)


if __name__ == "__main__":
    main()
