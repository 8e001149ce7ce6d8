"""The engine's configuration by name, for the key of the cache; kept apart so that reading it does not load wasmtime."""

from __future__ import annotations

CONFIGURATION = "epochs nan-canonical no-relaxed-simd no-threads no-memory64 cow stack-2m no-unwind-info 1"
"""Names every option of ``engine.new_engine`` that changes what compiled code looks like or does. Change it with them."""
