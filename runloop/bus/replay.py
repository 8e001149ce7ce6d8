"""Durable subscriptions: what the ledger has from a sequence number on, then what is published, without a gap and without a repetition.

A subscription holds one cursor, the number that comes next. A live frame with that number follows; a lower one was delivered before; a
higher one, or one that finds the queue full, is not queued but read from the ledger when there is room. A record is in the ledger before
it is published, so a reading that began after a frame was published finds it: that is why ``live_seq`` is compared at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from runloop.bus import counters, losses
from runloop.bus.errors import to_wire
from runloop.bus.subscription import FOREVER, Run, Subscription
from runloop.dataclass import dataclass
from runloop.errors import RunloopError

if TYPE_CHECKING:
    from runloop.bus.core import Broker
    from runloop.bus.topic import Facts, Plan, Topic


class DurableSource(Protocol):
    """Where durable subscriptions read what was published before: the ledger, behind this."""

    async def read(self, topic: str, from_seq: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """At most ``limit`` records of a topic from a number on, ascending: the number and the frame, with ``meta.topic`` and ``meta.seq``.

        Fewer than ``limit`` says that there are no more. Raises RunloopError for a topic that it does not have.
        """
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """A reading that a subscription wants."""

    sub: Subscription
    topic: str
    from_seq: int
    limit: int


def begin(broker: Broker, sub: Subscription, from_seq: int | None) -> None:
    """Start a durable subscription: with a number from there, without from the first record."""
    sub.cursor = 1 if from_seq is None else from_seq
    sub.live = False
    broker.routes.plan(broker.routes.topic("/".join(sub.pattern)))  # from here on its live numbers are kept
    want(broker, sub)


def want(broker: Broker, sub: Subscription) -> None:
    """Ask for the next records, if there is room for them and no reading is under way."""
    room = sub.max_messages - sub.messages
    if sub.live or sub.reading or sub.size >= sub.max_bytes or room <= 0 or sub.session.closing:
        return
    sub.reading = True
    broker.reads.append(Read(sub, "/".join(sub.pattern), sub.cursor, min(broker.limits.replay_messages, room)))


def wanted(read: Read) -> bool:
    """Whether the subscription is still there."""
    return read.sub.session.subs.get(read.sub.sub) is read.sub


def supply(broker: Broker, read: Read, records: Sequence[tuple[int, bytes]]) -> None:
    """Queue what a reading found."""
    sub = read.sub
    sub.reading = False
    if not wanted(read):
        return
    topic = broker.routes.topic(read.topic)
    tagged = sub in broker.routes.plan(topic).shared
    full = False
    for seq, raw in records:
        if seq < sub.cursor:
            continue
        if sub.messages and sub.size + len(raw) > sub.max_bytes:
            full = True
            break
        _queue(sub, Run(topic, raw, 0, 1, FOREVER, tagged), seq)
    if not full and len(records) < read.limit and topic.live_seq < sub.cursor:
        sub.live = True
    _go(broker, sub)
    want(broker, sub)


def failed(broker: Broker, read: Read, error: RunloopError, now_ms: int) -> None:
    """The ledger cannot serve the subscription: it ends, and its connection is told."""
    sub = read.sub
    sub.reading = False
    if wanted(read):
        broker.end(sub)
        told = {**to_wire(error), "exit_code": error.exit_code}  # it need not be one of the bus's own, whose codes say their class
        broker.send(sub.session, "toolresult.bus.ack.v1", {"of": 0, "sub": sub.sub, "ok": False, "error": told}, now_ms)


def live(broker: Broker, topic: Topic, plan: Plan, raw: bytes, seq: int | None, facts: Facts, now_ms: int) -> None:
    """A frame was published on a topic with durable subscriptions; one without a number is passed on where there is room."""
    if seq is not None and seq > topic.live_seq:
        topic.live_seq = seq
    for sub in plan.durable:
        tagged = sub in plan.shared
        fits = sub.messages < sub.max_messages and sub.size + len(raw) <= sub.max_bytes
        if seq is None:
            if sub.live and fits:
                sub.put(Run(topic, raw, 0, 1, facts.expires_at_ms, tagged), now_ms)
                _go(broker, sub)
            else:
                losses.count(broker, topic, counters.OVERFLOW, 1, facts)
        elif sub.live and seq == sub.cursor and fits:
            _queue(sub, Run(topic, raw, 0, 1, FOREVER, tagged), seq)
            _go(broker, sub)
        elif seq >= sub.cursor:
            sub.live = False
            want(broker, sub)


def _queue(sub: Subscription, run: Run, seq: int) -> None:
    """A record never expires and is never dropped: the queue was asked before."""
    sub.queue.append(run)
    run.topic.counts.published += 1
    sub.messages += 1
    sub.size += len(run.data)
    sub.cursor = seq + 1


def _go(broker: Broker, sub: Subscription) -> None:
    if sub.sendable:
        sub.session.schedule(sub)
        broker.touch(sub.session)
