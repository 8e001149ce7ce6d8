"""The client library: :class:`Client` for programs with an event loop, :class:`SyncClient` for all others. ``docs/client.md`` shows both.

It finds the daemon and its token, submits and follows runs, answers what waits for a person, and lets native programs work as agents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.bus.acl import agent_token
    from runloop.client.agents import AgentFailed, Work
    from runloop.client.client import Client
    from runloop.client.following import Following, Record
    from runloop.client.handle import RunHandle, RunResult
    from runloop.client.sync import SyncClient, SyncRun

_HOMES = {
    "AgentFailed": "agents",
    "Client": "client",
    "Following": "following",
    "Record": "following",
    "RunHandle": "handle",
    "RunResult": "handle",
    "SyncClient": "sync",
    "SyncRun": "sync",
    "Work": "agents",
    "agent_token": ".bus.acl",
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

__getattr__ = importing(__name__, _HOMES)
