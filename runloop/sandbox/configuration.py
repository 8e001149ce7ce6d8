"""What others must know of the engine, kept apart so that reading it does not load wasmtime."""

from __future__ import annotations

MAX_LIVE = 256
"""Most guests in one worker, running and waiting: the worker sets room aside for them."""

CONFIGURATION = "epochs nan-canonical no-relaxed-simd no-threads no-memory64 cow stack-48m no-unwind-info 1"
"""Names every option of ``engine.new_engine`` that changes what compiled code looks like or does. Change it with them."""

INVALID, UNWRITTEN = 3, 4
"""With what the compiler's process ends where the code is no guest, and where the file system does not take what it made."""
