"""What was lost, on its way to the notices on ``rlp/sys/drops``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runloop.bus.acl import DROPS, told_as
from runloop.rmp.header import read_header

if TYPE_CHECKING:
    from runloop.bus.core import Broker
    from runloop.bus.subscription import Lost
    from runloop.bus.topic import Facts, Topic


def count(broker: Broker, topic: Topic, reason: str, copies: int, facts: Facts) -> None:
    """Count copies of a frame that were never queued, and tell of it."""
    topic.counts.published += copies
    topic.counts.drop(reason, copies)
    name = told_as(topic.name)
    if name != DROPS and not broker.notices.more(name, reason, max(1, copies)):
        broker.notices.add(name, reason, max(1, copies), trace_id=facts.trace_id, msg_id=facts.msg_id, expires_at_ms=facts.expires_at_ms)
        broker.wake_for_notices()


def announce(broker: Broker, lost: list[Lost]) -> None:
    """Tell of copies that a queue lost; they are counted already."""
    for topic, reason, copies, data, at in lost:
        name = told_as(topic.name)
        if name != DROPS and not broker.notices.more(name, reason, copies):
            header = read_header(data, at)[1]
            expires = header.expires_at_ms
            broker.notices.add(name, reason, copies, trace_id=header.trace_id, msg_id=header.msg_id, expires_at_ms=expires)
            broker.wake_for_notices()
