"""The child process that compiles one guest: untrusted code goes through the compiler here, under limits, and nowhere else.

Started as ``python -m runloop.sandbox.compiling KIND FUEL OUTPUT_FD PARENT`` with the code on its standard input.
"""

from __future__ import annotations

import os
import sys

from wasmtime import Module, WasmtimeError
from wasmtime import component as wasm

from runloop.oom import go_first
from runloop.sandbox import confine, seccomp
from runloop.sandbox.configuration import INVALID, UNWRITTEN
from runloop.sandbox.core import PreparedModule
from runloop.sandbox.engine import new_engine

CPU_S = 600
MEMORY_BYTES = 8 << 30
OUTPUT_BYTES = 1 << 30


def main() -> int:
    """Compile; 0 when all is written, INVALID when the code is no guest (stderr says why), UNWRITTEN when it has no place (its errno)."""
    kind, fuel, output, parent = sys.argv[1], sys.argv[2] == "fuel", int(sys.argv[3]), int(sys.argv[4])
    confine.die_with_parent(parent)
    go_first()
    confine.limit(files=64, file_bytes=OUTPUT_BYTES, cpu_s=CPU_S, memory_bytes=MEMORY_BYTES)
    confine.no_new_privileges()
    confine.landlock([])
    seccomp.refuse()
    engine = new_engine(fuel=fuel)
    code = sys.stdin.buffer.read()
    try:
        made = Module(engine, code) if kind == "wasm32-wasip1" else wasm.Component(engine, code)
        if isinstance(made, Module):
            PreparedModule(engine, made)  # one that cannot be linked is told before anything runs
        compiled = made.serialize()
    except WasmtimeError as wrong:
        sys.stderr.write(str(wrong)[:4000])
        return INVALID
    try:
        with os.fdopen(output, "wb") as file:
            file.write(compiled)
    except OSError as refused:
        sys.stderr.write(str(refused.errno))
        return UNWRITTEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
