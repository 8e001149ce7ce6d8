"""`runloopd --prepare`: what a machine needs once before its first run, done when the package is installed."""

from __future__ import annotations

from pathlib import Path

from runloop.sandbox.cache import CompiledCache
from runloop.sandbox.guestfile import guest_code, guest_digest


async def prepare(cache: Path) -> str:
    """Compile the Python guest into ``cache`` unless it is there; say where it lies. Raises what the cache raises."""
    path = await CompiledCache(cache).ensure("python", guest_digest(), guest_code, name="the Python guest")
    return f"the Python guest is compiled: {path}"
