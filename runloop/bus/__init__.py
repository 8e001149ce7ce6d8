"""The bus: topics, subscriptions and requests over RMP on a Unix socket. The protocol is in ``docs/protocol.md``.

:class:`BusServer` hosts it, :class:`BusClient` uses it; programs use :mod:`runloop.client`, which stands on that. The broker itself,
pure, is in ``core``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.lazily import importing

if TYPE_CHECKING:
    from runloop.bus.acl import Acl
    from runloop.bus.client import BusClient
    from runloop.bus.inbox import Subscription
    from runloop.bus.limits import BusLimits
    from runloop.bus.listen import Listener, activated, listen
    from runloop.bus.message import Message
    from runloop.bus.replay import DurableSource
    from runloop.bus.server import BusServer, Request
    from runloop.bus.session import Peer
    from runloop.bus.token import ensure_token, read_token

_HOMES = {
    "Acl": "acl",
    "BusClient": "client",
    "BusLimits": "limits",
    "BusServer": "server",
    "DurableSource": "replay",
    "Listener": "listen",
    "Message": "message",
    "Peer": "session",
    "Request": "server",
    "Subscription": "inbox",
    "activated": "listen",
    "ensure_token": "token",
    "listen": "listen",
    "read_token": "token",
}

__all__ = [
    "Acl",
    "BusClient",
    "BusLimits",
    "BusServer",
    "DurableSource",
    "Listener",
    "Message",
    "Peer",
    "Request",
    "Subscription",
    "activated",
    "ensure_token",
    "listen",
    "read_token",
]

__getattr__ = importing(__name__, _HOMES)
