"""The sandbox: guests in worker processes, their hostcalls, their limits. It knows nothing of effects; it forwards and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.sandbox.cache import CompiledCache, CompileFailed, CompileProgress
    from runloop.sandbox.guestfile import guest_digest, guest_facts
    from runloop.sandbox.kept import keep_guest
    from runloop.sandbox.pool import WorkerPool
    from runloop.sandbox.spec import Answer, CallError, GuestError, GuestKind, GuestResult, GuestSpec, Hostcall, Limits, Taped

_HOMES = {
    "Answer": "spec", "CallError": "spec", "CompileFailed": "cache", "CompileProgress": "cache", "CompiledCache": "cache",
    "GuestError": "spec",
    "GuestKind": "spec", "GuestResult": "spec", "GuestSpec": "spec", "Hostcall": "spec", "Limits": "spec",
    "Taped": "spec", "WorkerPool": "pool",
    "guest_digest": "guestfile", "guest_facts": "guestfile", "keep_guest": "kept",
}  # fmt: skip

__all__ = [
    "Answer", "CallError", "CompileFailed", "CompileProgress", "CompiledCache",
    "GuestError", "GuestKind", "GuestResult", "GuestSpec", "Hostcall",
    "Limits", "Taped", "WorkerPool", "guest_digest", "guest_facts", "keep_guest",
]  # fmt: skip

__getattr__ = importing(__name__, _HOMES)
