"""The limits of a bus, each an error to who exceeds it and to nobody else."""

from __future__ import annotations

from collections.abc import Mapping

from runloop.dataclass import dataclass
from runloop.rmp import DEFAULT_MAX_BODY

MIB = 1024 * 1024
DEDUPE_KEYS = 65_536
"""Messages that a window remembers at least (spec section 5.1)."""
DEDUPE_MS = 30_000
DEDUPE_CALLS = 1024
"""Requests for handlers that a connection is remembered by."""
STALLED_MS = 50
"""A full queue that nobody has taken from for this long is dropped from as ``backpressure_timeout`` (spec section 5.1)."""
TOPIC_BYTES = 512
TOPIC_LEVELS = 32


@dataclass(frozen=True, slots=True)
class BusLimits:
    """Sizes in bytes, times in ms. ``queue_*`` are what a subscription gets unless it asks, ``max_queue_*`` the most it may ask for."""

    max_body: int = DEFAULT_MAX_BODY
    connections: int = 1024
    subscriptions: int = 256
    queue_messages: int = 1024
    queue_bytes: int = 4 * MIB
    max_queue_messages: int = 1_048_576
    max_queue_bytes: int = 64 * MIB
    control_bytes: int = 16 * MIB
    """Answers and replies that wait for one connection to read them."""
    session_bytes: int = 128 * MIB
    """All that may wait for one connection: the sum of what its subscriptions may hold."""
    waiting_bytes: int = 512 * MIB
    """All that waits for the connections of operators and agents with a token together, and as much for all others."""
    asked_bytes: int = 128 * MIB
    """Requests that handlers are working on, of either of these together."""
    all_subscriptions: int = 16_384
    """Of either of these together."""
    window_keys: int = 4_194_304
    """Messages that all windows remember together."""
    unfinished_bytes: int = 256 * MIB
    """Frames that have begun and not ended, of all connections together."""
    requests: int = 256
    """Requests of one connection that handlers are working on."""
    request_bytes: int = 256 * 1024
    """A request for a handler, of who is no operator: the daemon builds all that is in it."""
    session_frame_bytes: int = 64 * 1024
    """A session frame, which is read before anybody has said who he is."""
    hello_ms: int = 5_000
    frame_ms: int = 15_000
    """From the first byte of a frame to its last."""
    heartbeat_ms: int = 15_000
    missed_heartbeats: int = 3
    batch_ms: int = 10
    """How long a batched subscription gathers."""
    replay_messages: int = 256
    """Records that one reading of the ledger asks for."""
    notices_per_s: int = 20

    def to_wire(self) -> dict[str, int]:
        """What the welcome tells a client."""
        queues = ("queue_messages", "queue_bytes", "max_queue_messages", "max_queue_bytes", "session_bytes")
        return {name: getattr(self, name) for name in ("max_body", "subscriptions", *queues, "frame_ms")}


def fair_bytes(limits: Mapping[str, int], others: int, reserved: int) -> int:
    """Bytes for a subscription that asks for none, beside ``others`` that have ``reserved`` bytes together.

    What the bus gives unasked, as long as each that may still come is left its part of half the connection's bytes.
    """
    share = limits["session_bytes"] // (2 * limits["subscriptions"])
    kept = share * (limits["subscriptions"] - others - 1)
    return min(limits["queue_bytes"], max(share, limits["session_bytes"] - reserved - kept))
