"""The client library: :class:`Client` for programs with an event loop, :class:`SyncClient` for all others. ``docs/client.md`` shows both.

It finds the daemon and its token, submits and follows runs, answers what waits for a person, and lets native programs work as agents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runloop.bus.acl import agent_token
    from runloop.client.agents import AgentFailed, Work
    from runloop.client.client import Client
    from runloop.client.following import Following, Record
    from runloop.client.handle import RunHandle, RunResult
    from runloop.client.sync import SyncClient, SyncRun

_HOMES = {
    "AgentFailed": "client.agents",
    "Client": "client.client",
    "Following": "client.following",
    "Record": "client.following",
    "RunHandle": "client.handle",
    "RunResult": "client.handle",
    "SyncClient": "client.sync",
    "SyncRun": "client.sync",
    "Work": "client.agents",
    "agent_token": "bus.acl",
}

__all__ = [
    "AgentFailed",
    "Client",
    "Following",
    "Record",
    "RunHandle",
    "RunResult",
    "SyncClient",
    "SyncRun",
    "Work",
    "agent_token",
]


def __getattr__(name: str) -> Any:
    """Import what is used, when it is used."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"runloop.{_HOMES[name]}"), name)
