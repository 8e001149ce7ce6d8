"""Frames in: what a connection sent becomes deliveries, answers and refusals. Pure; ``benchmarks/bus.py`` says what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runloop.bus import dialogue, frames
from runloop.bus.errors import LimitExceeded, bad, to_wire
from runloop.bus.publishing import deliver, publish_one
from runloop.bus.together import LOOK_BYTES, who_holds_most
from runloop.bus.topic import NO_PLAN, Facts
from runloop.errors import RunloopError
from runloop.rmp import MessageError
from runloop.rmp.scan import scan

if TYPE_CHECKING:
    from runloop.bus.core import Broker
    from runloop.bus.session import Session
    from runloop.bus.topic import Topic
    from runloop.rmp import FramingError
    from runloop.rmp.scan import Row

COPIES_A_TURN: Final = 512
"""About how many copies one connection may cause while all others wait: its next frames are taken in the next turn."""
_STEPS_A_COPY: Final = 16
"""Steps in the index of patterns that take as long as a copy."""


def receive(broker: Broker, session: Session, data: bytes, now_ms: int) -> None:
    """Take bytes that came from a connection. A peer's mistake is answered to that peer; nothing is raised."""
    broker.came_bytes += len(data)
    if broker.came_bytes > LOOK_BYTES:
        broker.look(now_ms)
    if session.closing:
        return
    session.heard = True
    buffer = session.buffer
    if buffer:
        buffer += data
        broker.buffered += len(data)
        if len(buffer) < session.needed:
            _bound(broker, now_ms)
            return
        data = bytes(buffer)
        broker.buffered -= len(buffer)
        buffer.clear()
    rows, rest, session.needed, refusal = scan(data, broker.limits.max_body)
    _work(broker, session, data, rows, rest, refusal, now_ms)


def proceed(broker: Broker, session: Session, now_ms: int) -> None:
    """Go on with what a connection sent, where it was too much work for one turn."""
    left, session.left = session.left, None
    session.heard = True
    if left is not None and not session.closing:
        _work(broker, session, *left, now_ms)


def _work(broker: Broker, session: Session, data: bytes, rows: list[Row], rest: int, refusal: FramingError | None, now_ms: int) -> None:
    """Take the frames that there are, and then what follows them; leave what is too much."""
    if rows:
        session.frame_since_ms = None
        taken = _take(broker, session, data, rows, now_ms)
        if taken < len(rows) and not session.closing:
            session.published -= len(rows) - taken
            session.left = (data, rows[taken:], rest, refusal)
            return
    if refusal is not None:
        broker.goodbye(session, refusal, now_ms)
    elif rest < len(data) and not session.closing:
        session.buffer += data[rest:] if rest else data
        broker.buffered += len(session.buffer)
        _bound(broker, now_ms)


def _bound(broker: Broker, now_ms: int) -> None:
    """Send away who has begun most, where the unfinished frames of everybody are too many bytes."""
    if broker.buffered > broker.limits.unfinished_bytes:
        session = who_holds_most(broker, lambda each: len(each.buffer))
        message = f"unfinished frames hold {broker.buffered} bytes"
        hint = "connect again and send smaller frames, or one after the other"
        broker.goodbye(session, LimitExceeded(message, code="bus.bytes_in_flight", hint=hint, retryable=True), now_ms)


def _take(broker: Broker, session: Session, data: bytes, rows: list[Row], now_ms: int) -> int:  # noqa: C901, PLR0912 - the hot loop
    """Deliver frames: runs of one topic that ask for nothing special together, all others one by one; how many were taken."""
    metas, special, index = broker.routes.metas, broker.special, broker.routes.index
    looked = index.steps
    stamp = (broker.epoch, now_ms)
    topic: Topic | None = None
    plan = NO_PLAN
    begin = stop = count = soonest = copies = 0
    session.published += len(rows)  # the others are taken off where they are met
    for row in rows:
        at, end, schema_id, expires, key, meta = row
        routing = metas.get(meta)  # type: ignore[arg-type]  # an error is never a key
        if routing is not None and routing.topic is not None and expires > now_ms and schema_id not in special:
            if routing.topic is not topic:
                if count and topic is not None:
                    deliver(broker, topic, plan, data[begin:stop], count, soonest, now_ms, alone=False)
                    count = 0
                    copies += len(plan.plain)
                if copies + (index.steps - looked) // _STEPS_A_COPY >= COPIES_A_TURN:
                    return rows.index(row)
                topic = routing.topic
                plan = topic.plan
                if plan.generation != broker.routes.index.generation:
                    plan = broker.routes.plan(topic)
                if not plan.simple or session.role not in topic.publishers:
                    topic = None
            if topic is not None:
                for window in plan.windows:
                    if key in window.cur or key in window.old:
                        break
                else:
                    for window in plan.windows:
                        window.cur[key] = stamp
                    if not count:
                        begin, soonest = at, expires
                    elif expires < soonest:
                        soonest = expires
                    count += 1
                    stop = end
                    continue
        if count and topic is not None:
            deliver(broker, topic, plan, data[begin:stop], count, soonest, now_ms, alone=False)
        count = 0
        topic = None
        copies += _one(broker, session, data, row, now_ms)
        if session.closing:
            break
        if copies + (index.steps - looked) // _STEPS_A_COPY >= COPIES_A_TURN:
            return rows.index(row) + 1
        stamp = (broker.epoch, now_ms)
    if count and topic is not None:
        deliver(broker, topic, plan, data[begin:stop], count, soonest, now_ms, alone=count == len(rows))
    return len(rows)


def _one(broker: Broker, session: Session, data: bytes, row: Row, now_ms: int) -> int:
    """Take one frame, with all that one may ask for, and count its copies; a refusal is answered."""
    at, end, schema_id, expires, seen, meta = row
    facts = Facts(schema_id, expires, seen)
    ack, copies = True, 0
    try:
        if isinstance(meta, MessageError):
            raise meta
        if frames.FIRST_ID <= schema_id <= frames.LAST_ID:
            dialogue.handle(broker, session, data[at:end], facts, now_ms)
            session.published -= 1
            return 0
        if not session.greeted:
            raise bad("the first frame of a connection is a hello", key="schema_id", hint="send intent.bus.hello.v1", code="bus.hello")
        routing = broker.routes.routing(meta)
        ack = routing.ack
        copies = publish_one(broker, session, data[at:end], facts, routing, now_ms)
    except RunloopError as error:
        session.published -= 1
        broker.refused += 1
        if not session.greeted:
            broker.goodbye(session, error, now_ms)
        elif session is broker.local:
            raise
        else:
            broker.send(session, frames.ACK, {"of": facts.msg_id, "ok": False, "error": to_wire(error)}, now_ms)
    else:
        if ack and session is not broker.local:
            broker.send(session, frames.ACK, {"of": facts.msg_id, "ok": True, "matched": copies}, now_ms)
    return copies
