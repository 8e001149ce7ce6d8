"""What the bus counts: for every topic, at every instant, published = delivered + dropped + queued.

All four are in copies, one for each subscription that a frame matched.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final

from runloop.bus.acl import told_as
from runloop.dataclass import dataclass

TTL_EXPIRED: Final = "ttl_expired"
DUPLICATE: Final = "duplicate"
BACKPRESSURE: Final = "backpressure_timeout"
OVERFLOW: Final = "overflow"
CLOSED: Final = "closed"
OTHERS: Final = "all others"
"""No topic: those have no blanks."""


@dataclass(slots=True)
class TopicCounts:
    """Frames taken in, and what became of their copies."""

    frames: int = 0
    published: int = 0
    delivered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def queued(self) -> int:
        """Copies that wait; follows from the others, and the tests compare it with the queues themselves."""
        return self.published - self.delivered - sum(self.dropped.values())

    def drop(self, reason: str, count: int = 1) -> None:
        """Count copies that were in a queue, or would have been, and are delivered to nobody."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, other: TopicCounts) -> None:
        """Take over the counts of another topic."""
        self.frames += other.frames
        self.published += other.published
        self.delivered += other.delivered
        for reason, count in other.dropped.items():
            self.drop(reason, count)

    def subtract(self, other: TopicCounts) -> None:
        """Take away the counts of a part."""
        self.add(
            TopicCounts(-other.frames, -other.published, -other.delivered, {reason: -count for reason, count in other.dropped.items()})
        )

    def to_dict(self) -> dict[str, Any]:
        """For metrics."""
        return {
            "frames": self.frames,
            "published": self.published,
            "delivered": self.delivered,
            "queued": self.queued,
            "dropped": dict(self.dropped),
        }


@dataclass(frozen=True, slots=True)
class BusStats:
    """One look at a bus. ``topics`` are those in use; counts of topics long idle are in ``total`` only."""

    total: TopicCounts
    topics: dict[str, TopicCounts]
    refused: int
    connections: int
    subscriptions: int
    queue_depth_max: int | None
    queue_capacity_max: int | None
    queued_bytes: int
    queued_frames: int
    """Copies in the queues of subscriptions, counted there: what :attr:`TopicCounts.queued` must agree with."""

    def by_topic(self, most: int) -> dict[str, TopicCounts]:
        """The counts of the ``most`` busiest topics and of all others together; inboxes are one, because their names are secrets."""
        grouped: dict[str, TopicCounts] = {}
        for name, counts in self.topics.items():
            grouped.setdefault(told_as(name), TopicCounts()).add(counts)
        busiest = sorted(grouped, key=lambda name: grouped[name].published, reverse=True)[:most]
        others = TopicCounts()
        others.add(self.total)
        for name in busiest:
            others.subtract(grouped[name])
        return {**{name: grouped[name] for name in busiest}, OTHERS: others}

    def to_dict(self) -> dict[str, Any]:
        """For metrics; what is not known is absent."""
        shown: dict[str, Any] = {
            "total": self.total.to_dict(),
            "topics": {name: counts.to_dict() for name, counts in self.topics.items()},
            "refused": self.refused,
            "connections": self.connections,
            "subscriptions": self.subscriptions,
            "queued_bytes": self.queued_bytes,
            "queued_frames": self.queued_frames,
        }
        for name in ("queue_depth_max", "queue_capacity_max"):
            if getattr(self, name) is not None:
                shown[name] = getattr(self, name)
        return shown
