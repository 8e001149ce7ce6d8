"""From a frame with a topic to the queues of those that get it: rights, expiry, repetitions, and the account of what was lost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runloop.bus import counters, losses, replay
from runloop.bus.acl import DAEMON, OPERATOR
from runloop.bus.errors import LimitExceeded, NotAllowed, bad
from runloop.bus.subscription import BATCHED, Run, Subscription
from runloop.bus.together import Side, request_size
from runloop.bus.topic import Facts, Plan, Routing, Topic
from runloop.rmp import Duplicate, Expired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runloop.bus.core import Broker
    from runloop.bus.session import Peer, Session
    from runloop.bus.window import Window

_BATCH_MESSAGES: Final = 128
_BATCH_BYTES: Final = 64 * 1024


class Call(NamedTuple):
    """A frame on a topic that the hosting process serves itself; ``peer`` is who sent it."""

    topic: str
    raw: bytes
    peer: Peer
    reply_to: str | None
    expires_at_ms: int
    session: Session
    side: Side
    size: int
    """What it counts of what its side may ask."""

    def done(self) -> None:
        """The handler is through: its connection may ask on."""
        self.session.requests -= 1
        self.side.request_bytes -= self.size


class Own(NamedTuple):
    """A frame of the hosting process, which says ``facts`` and, in its ``meta``, ``seq``."""

    raw: bytes
    facts: Facts
    seq: int | None


def publish_one(broker: Broker, session: Session, raw: bytes, facts: Facts, routing: Routing, now_ms: int) -> int:
    """Publish one frame, with all that one may ask for; how many get it. Raises why it is refused."""
    topic = routing.topic
    if topic is None:
        raise bad("the frame has no topic", key="meta.topic", hint="set meta.topic to publish", code="bus.topic")
    its_agent = bool(session.agent) and session.agent == topic.agent
    restricted = broker.acl.restricted_schemas.get(facts.schema_id)
    if (session.role not in topic.publishers and not its_agent) or (restricted is not None and session.role not in restricted):
        hint = "connect with the role operator and its token" if "operator" in topic.publishers else "only the daemon publishes here"
        raise NotAllowed(f"the role {session.role} may not publish schema {facts.schema_id} on {topic.name!r}", hint=hint)
    if routing.reply_to is not None and not broker.acl.may_publish(session.role, session.agent, routing.reply_to):
        # Whoever serves the request publishes there, with rights that are not the asker's.
        hint = "take a topic below the inbox of the welcome"
        raise NotAllowed(f"the role {session.role} may not have answers published on {routing.reply_to!r}", hint=hint)
    plan = broker.routes.plan(topic)
    topic.counts.frames += 1
    if facts.expires_at_ms <= now_ms:
        losses.count(broker, topic, counters.TTL_EXPIRED, plan.copies, facts)
        late = now_ms - facts.expires_at_ms
        raise Expired(f"expired {late} ms ago", key="ttl_ms", hint="give it a longer ttl_ms, or compare the clocks of both sides")
    if plan.handler:
        _call(broker, session, topic.name, raw, routing, facts)
    repeated = _repeated(broker, plan, facts.seen, now_ms)
    doubled = 0
    for subs, tagged in ((plan.plain, False), (plan.tagged, True)):
        run = Run(topic, raw, 0, 1, facts.expires_at_ms, tagged)
        for sub in subs:
            if repeated and repeated[sub.window] >= sub.since:
                doubled += 1
                continue
            put(broker, sub, run, now_ms)
    if doubled:
        losses.count(broker, topic, counters.DUPLICATE, doubled, facts)
    if plan.durable:
        replay.live(broker, topic, plan, raw, routing.seq, facts, now_ms)
    return plan.copies + bool(plan.handler)


def _call(broker: Broker, session: Session, topic: str, raw: bytes, routing: Routing, facts: Facts) -> None:
    if routing.reply_to is None and broker.routes.handlers[topic]:
        hint = "set meta.reply_to to a topic below the inbox of the welcome, and read the answer there"
        raise bad(f"a request on {topic!r} says where its answer goes; this one is not begun", key="meta.reply_to", hint=hint)
    if routing.reply_to in broker.routes.handlers:
        hint = "take a topic below the inbox of the welcome"
        raise bad(f"{routing.reply_to!r} takes requests, and no answers", key="meta.reply_to", hint=hint)
    if session.requests >= broker.limits.requests and session is not broker.local:
        message = f"{session.requests} requests of this connection are being worked on"
        raise LimitExceeded(message, code="bus.requests", hint="wait for answers before asking on", retryable=True)
    if len(raw) > broker.limits.request_bytes and session.role not in {OPERATOR, DAEMON}:
        message = f"a request of {len(raw)} bytes, {broker.limits.request_bytes} are allowed to the role {session.role}"
        raise LimitExceeded(message, code="bus.request_bytes", hint="send less at a time, or connect with the role operator and its token")
    side, size = broker.sides[session.trusted], request_size(raw, trusted=session.trusted)
    if side.request_bytes + size > broker.limits.asked_bytes and session is not broker.local:
        message = f"requests of all connections take {side.request_bytes} bytes, at most {broker.limits.asked_bytes} are allowed"
        raise LimitExceeded(message, code="bus.requests", hint="ask again when others have their answers", retryable=True)
    if session is not broker.local and not session.asks(facts.seen):
        hint = "its answer has come, or will; to ask once more, send it under another msg_id"
        raise Duplicate("this connection has sent this request before, and it is not begun again", key="msg_id", hint=hint)
    session.requests += 1
    side.request_bytes += size
    broker.calls.append(Call(topic, raw, session.peer, routing.reply_to, facts.expires_at_ms, session, side, size))


def _repeated(broker: Broker, plan: Plan, seen: bytes, now_ms: int) -> dict[Window, int]:
    """Remember a message in every window; the epoch of its last delivery for each, if there was one in any."""
    stamp = (broker.epoch, now_ms)
    epochs = {window: window.last(seen, now_ms) for window in plan.windows}
    for window in plan.windows:
        window.cur[seen] = stamp
        window.turn(now_ms)
    return epochs if any(epoch >= 0 for epoch in epochs.values()) else {}


def wanted(broker: Broker, topic: str, frames: int = 1) -> bool:
    """Whether anybody would get ``frames`` of this topic now; those that nobody gets are counted here and need not be made."""
    state = broker.routes.topic(topic)
    plan = broker.routes.plan(state)
    if plan.plain or plan.durable or plan.tagged or plan.handler:
        return True
    state.counts.frames += frames
    return False


def publish_own(broker: Broker, topic: str, frames: Sequence[Own], now_ms: int) -> None:
    """Publish frames that the hosting process encoded itself and knows, in order: nothing in them is read again.

    Raises what is wrong with the first that cannot be published.
    """
    state = broker.routes.topic(topic)
    plan = broker.routes.plan(state)
    if plan.simple and DAEMON in state.publishers and not any(_unusual(broker, plan, own.facts) for own in frames):
        stamp = (broker.epoch, now_ms)
        for window in plan.windows:
            for own in frames:
                window.cur[own.facts.seen] = stamp
        soonest = min(own.facts.expires_at_ms for own in frames)
        data = b"".join([own.raw for own in frames])
        deliver(broker, state, plan, data, len(frames), soonest, now_ms, alone=False)
        return
    for own in frames:
        routing = Routing(state, ack=False, reply_to=None, seq=own.seq)
        publish_one(broker, broker.local, own.raw, own.facts, routing, now_ms)


def _unusual(broker: Broker, plan: Plan, facts: Facts) -> bool:
    """Whether a frame must be looked at by itself: its schema is restricted, or it was seen before."""
    return facts.schema_id in broker.special or any(facts.seen in window.cur or facts.seen in window.old for window in plan.windows)


def deliver(broker: Broker, topic: Topic, plan: Plan, data: bytes, count: int, soonest: int, now_ms: int, *, alone: bool) -> None:
    """Give ``count`` frames to everybody who gets them unchanged; none expires before ``soonest``.

    ``alone``: nothing else comes with them, so who has nothing waiting gets them past the queue, and before all others.
    """
    counts = topic.counts
    counts.frames += count
    waiting: list[Subscription] = []
    for sub in plan.plain:
        session = sub.session
        if alone and session.direct is not None and not session.dirty and not sub.queue and sub.credit_messages is None:
            counts.published += count
            counts.delivered += count
            session.delivered += count
            session.direct(data)
        else:
            waiting.append(sub)
    if waiting:
        run = Run(topic, data, 0, count, soonest)
        for sub in waiting:
            put(broker, sub, run, now_ms)
    for window in plan.windows:
        window.turn(now_ms)


def put(broker: Broker, sub: Subscription, run: Run, now_ms: int) -> None:
    """Queue a run for one subscription, and have it sent now, or when a batch is gathered."""
    lost = sub.put(run, now_ms)
    if lost:
        losses.announce(broker, lost)
    if sub.scheduled:
        return
    if sub.klass == BATCHED and sub.messages < _BATCH_MESSAGES and sub.size < _BATCH_BYTES and sub.messages * 2 < sub.max_messages:
        if sub.due_ms is None:
            sub.due_ms = now_ms + broker.limits.batch_ms
            broker.batches[sub] = None
            broker.wake(sub.due_ms)
    elif sub.sendable:
        sub.session.schedule(sub)
        broker.touch(sub.session)
