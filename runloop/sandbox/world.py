"""The names of the boundary, read by host, documentation and tests: hostcalls, and the WASI functions that exist."""

from __future__ import annotations

WORLD = "runloop:agent"
WORLD_VERSION = "0.1.0"

HOSTCALLS: dict[str, tuple[str, ...]] = {
    "model": ("complete", "embed"),
    "kb": ("search", "get", "query", "propose"),
    "http": ("fetch",),
    "files": ("read", "list", "write"),
    "exec": ("run",),
    "mail": ("send",),
    "ask": ("person",),
    "secrets": ("handle",),
    "spawn": ("agent", "opening"),
    "timer": ("sleep",),
    "emit": ("progress", "log", "artifact"),
    "checkpoint": ("mark",),
}
"""Interface to functions; a hostcall is called ``interface.function``."""

LIVE_NAMES = frozenset({"emit.progress", "emit.log"})
"""Calls that tell and ask nothing: their answer is always an empty object, and they stand in no record."""

NAMES = frozenset(f"{interface}.{name}" for interface, names in HOSTCALLS.items() for name in names)
