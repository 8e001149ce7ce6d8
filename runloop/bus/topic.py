"""A topic in use: its counters, and who gets its frames. The plan is made once and holds until a subscription comes or goes."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from runloop.bus.counters import TopicCounts
from runloop.bus.topics import check_topic
from runloop.dataclass import dataclass

if TYPE_CHECKING:
    from runloop.bus.subscription import Subscription
    from runloop.bus.window import Window


class Plan(NamedTuple):
    """Who gets the frames of a topic.

    ``plain`` get runs of bytes as received, ``tagged`` copies with ``meta.sub`` because their connection has several that match,
    ``durable`` frames in sequence, those of them in ``shared`` with ``meta.sub`` too. ``simple`` says that there are only the first.
    """

    generation: int
    plain: tuple[Subscription, ...]
    tagged: tuple[Subscription, ...]
    durable: tuple[Subscription, ...]
    windows: tuple[Window, ...]
    handler: str | None
    simple: bool
    shared: frozenset[Subscription] = frozenset()

    @property
    def copies(self) -> int:
        """Subscriptions that match."""
        return len(self.plain) + len(self.tagged) + len(self.durable)


NO_PLAN = Plan(-1, (), (), (), (), None, simple=False)


@dataclass(slots=True, eq=False)
class Topic:
    """One topic; ``publishers`` are the roles that may publish on it, and ``agent`` is the agent that may as well."""

    name: str
    publishers: frozenset[str]
    agent: str | None = None
    counts: TopicCounts = field(default_factory=TopicCounts)
    plan: Plan = NO_PLAN
    live_seq: int = 0
    """The highest sequence number published live, for durable subscriptions."""


class Routing(NamedTuple):
    """What a ``meta`` says to the bus. One that says nothing but the topic is kept by its bytes."""

    topic: Topic | None
    ack: bool
    reply_to: str | None
    seq: int | None


class Facts(NamedTuple):
    """What the bus knows of one frame beside its bytes; ``seen`` is the dedupe key."""

    schema_id: int
    expires_at_ms: int
    seen: bytes

    @property
    def msg_id(self) -> int:
        """The publisher's number of the frame."""
        return int.from_bytes(self.seen[16:], "big")

    @property
    def trace_id(self) -> int:
        """What the frame belongs to."""
        return int.from_bytes(self.seen[:16], "big")


def checked_reply_to(meta: dict[str, Any]) -> str | None:
    """Where an answer goes; raises BadFrame."""
    reply_to = meta.get("reply_to")
    return None if reply_to is None else check_topic(reply_to, "reply_to")
