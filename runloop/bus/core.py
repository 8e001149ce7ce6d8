"""The broker, pure: received bytes and the time come in, bytes to send come out. No sockets, no clock, no tasks.

:class:`Broker` takes frames in and hands them out; :mod:`runloop.bus.dialogue` answers the session frames, and
:mod:`runloop.bus.replay` keeps durable subscriptions in sequence. What a frame costs is counted in ``benchmarks/bus.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from runloop.bus import counters, dialogue, frames, replay
from runloop.bus.acl import DAEMON, DROPS, Acl
from runloop.bus.counters import BusStats, TopicCounts
from runloop.bus.drops import NOTICE, NOTICE_TTL_MS, DropNotices
from runloop.bus.errors import LimitExceeded, NotAllowed, bad, to_wire
from runloop.bus.limits import BusLimits
from runloop.bus.routing import SUB, Routes
from runloop.bus.session import Peer, Session
from runloop.bus.subscription import BATCHED, DURABLE, Lost, Run, Subscription
from runloop.bus.topic import NO_PLAN, Facts, Plan, Routing, Topic
from runloop.bus.window import Window
from runloop.errors import RunloopError
from runloop.rmp import Envelope, Expired, MessageError, encode_frame
from runloop.rmp.header import read_header
from runloop.rmp.scan import Row, scan, with_meta

if TYPE_CHECKING:
    from collections.abc import Sequence

_SLICE: Final = 64 * 1024
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

    def done(self) -> None:
        """The handler is through: its connection may ask on."""
        self.session.requests -= 1


class Own(NamedTuple):
    """A frame of the hosting process, which says ``facts`` and, in its ``meta``, ``seq``."""

    raw: bytes
    facts: Facts
    seq: int | None


class Broker:
    """Sessions, subscriptions, queues. Every method takes the time in epoch ms; ``tick`` also a monotonic one, for patience with peers."""

    def __init__(
        self, limits: BusLimits | None = None, *, acl: Acl | None = None, token: str | None = None, version: str = "", durable: bool = False
    ) -> None:
        self.limits = limits or BusLimits()
        self.acl = acl or Acl()
        self.token = token
        self.version = version
        self.has_ledger = durable
        self.sessions: dict[str, Session] = {}
        self.routes = Routes(self.acl)
        self.windows: dict[tuple[tuple[str, ...], str], Window] = {}
        self.calls: list[Call] = []
        """Frames for the handlers; whoever hosts the bus takes them."""
        self.dirty: list[Session] = []
        """Sessions that got something to send; whoever hosts the bus takes them."""
        self.reads: list[replay.Read] = []
        """What durable subscriptions want of the ledger; answered with :func:`runloop.bus.replay.supply`."""
        self.batches: dict[Subscription, None] = {}
        self.due_ms: int | None = None
        self._ticked_ms = 0
        self.epoch = 0
        self.refused = 0
        self.buffered = 0
        self.notices = DropNotices(self.limits.notices_per_s)
        self.local = Session("", Peer(0, 0, 0, DAEMON), DAEMON)
        self._notice_ids = 0
        self._special = frozenset((*self.acl.restricted_schemas, *range(frames.FIRST_ID, frames.LAST_ID + 1)))

    # -- connections

    def connect(self, session_id: str, peer: Peer, mono_ms: int) -> Session:
        """A new connection; past the limit it gets a goodbye at once."""
        session = Session(session_id, peer, opened_ms=mono_ms, heard_ms=mono_ms)
        if len(self.sessions) >= self.limits.connections:
            hint = "close connections that are not used, or raise the limit"
            self.goodbye(session, LimitExceeded(f"{self.limits.connections} connections are open", code="bus.connections", hint=hint), 0)
        self.sessions[session_id] = session
        return session

    def disconnect(self, session: Session) -> None:
        """The connection is gone: its subscriptions end, and what waited is dropped as ``closed``."""
        if session.closed:
            return
        session.closed = session.closing = True
        for sub in list(session.subs.values()):
            self.end(sub)
        self.sessions.pop(session.id, None)
        self.buffered -= len(session.buffer)
        session.buffer.clear()
        session.control.clear()
        session.control_bytes = 0

    def goodbye(self, session: Session, error: RunloopError, now_ms: int) -> None:
        """Tell a peer why its connection ends; nothing more is read from it."""
        if session.closing:
            return
        session.closing = True
        for sub in list(session.subs.values()):
            self.end(sub)
        session.sent_ids += 1
        session.control.append(frames.encode(frames.GOODBYE, to_wire(error), msg_id=session.sent_ids, now_ms=now_ms))
        self.touch(session)

    def send(self, session: Session, type_: str, payload: Any, now_ms: int) -> None:
        """Put a session frame on the control lane; who does not read its answers is sent away."""
        session.sent_ids += 1
        raw = frames.encode(type_, payload, msg_id=session.sent_ids, now_ms=now_ms)
        session.control.append(raw)
        session.control_bytes += len(raw)
        self.touch(session)
        if session.control_bytes > self.limits.control_bytes:
            hint = "read what the bus sends, or ask for less"
            error = LimitExceeded(f"{session.control_bytes} bytes of answers wait unread", code="bus.bytes_in_flight", hint=hint)
            self.goodbye(session, error, now_ms)

    def touch(self, session: Session) -> None:
        """There is something to send."""
        if not session.dirty:
            session.dirty = True
            self.dirty.append(session)

    def end(self, sub: Subscription) -> None:
        """Take a subscription out, with what waits in it."""
        del sub.session.subs[sub.sub]
        self.routes.index.remove(sub.pattern, sub)
        sub.session.reserved_bytes -= sub.max_bytes
        self.batches.pop(sub, None)
        for lane in (sub.session.ready, sub.session.ready_control):
            if sub.scheduled and sub in lane:
                lane.remove(sub)
        sub.scheduled = False
        sub.clear()
        sub.window.users -= 1
        if not sub.window.users:
            del self.windows[sub.pattern, sub.session.party]

    # -- frames in

    def receive(self, session: Session, data: bytes, now_ms: int) -> None:
        """Take bytes that came from a connection. A peer's mistake is answered to that peer; nothing is raised."""
        if session.closing:
            return
        session.heard = True
        buffer = session.buffer
        if buffer:
            buffer += data
            self.buffered += len(data)
            if len(buffer) < session.needed:
                self._bound(session, now_ms)
                return
            data = bytes(buffer)
            self.buffered -= len(buffer)
            buffer.clear()
        rows, rest, session.needed, refusal = scan(data, self.limits.max_body)
        if rows:
            session.frame_since_ms = None
            self._take(session, data, rows, now_ms)
        if refusal is not None:
            self.goodbye(session, refusal, now_ms)
        elif rest < len(data) and not session.closing:
            buffer += data[rest:] if rest else data
            self.buffered += len(buffer)
            self._bound(session, now_ms)

    def _bound(self, session: Session, now_ms: int) -> None:
        """Send away whose frame would make the unfinished frames of everybody too many bytes."""
        if self.buffered > self.limits.unfinished_bytes:
            message = f"unfinished frames hold {self.buffered} bytes"
            hint = "connect again and send smaller frames, or one after the other"
            self.goodbye(session, LimitExceeded(message, code="bus.bytes_in_flight", hint=hint, retryable=True), now_ms)
            self.buffered -= len(session.buffer)
            session.buffer.clear()

    def _take(self, session: Session, data: bytes, rows: list[Row], now_ms: int) -> None:  # noqa: C901, PLR0912 - the hot loop
        """Deliver frames: runs of one topic that ask for nothing special together, all others one by one."""
        metas, special = self.routes.metas, self._special
        stamp = (self.epoch, now_ms)
        topic: Topic | None = None
        plan = NO_PLAN
        begin = stop = count = soonest = 0
        for row in rows:
            at, end, schema_id, expires, key, meta = row
            routing = metas.get(meta)  # type: ignore[arg-type]  # an error is never a key
            if routing is not None and routing.topic is not None and expires > now_ms and schema_id not in special:
                if routing.topic is not topic:
                    if count:
                        self._deliver(topic, plan, data, begin, stop, count, soonest, now_ms)
                        count = 0
                    topic = routing.topic
                    plan = topic.plan
                    if plan.generation != self.routes.index.generation:
                        plan = self.routes.plan(topic)
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
            if count:
                self._deliver(topic, plan, data, begin, stop, count, soonest, now_ms)
                count = 0
            topic = None
            self._one(session, data, row, now_ms)
            if session.closing:
                return
            stamp = (self.epoch, now_ms)
        if count:
            self._deliver(topic, plan, data, begin, stop, count, soonest, now_ms)

    def _deliver(self, topic: Topic | None, plan: Plan, data: bytes, begin: int, stop: int, count: int, soonest: int, now_ms: int) -> None:
        """Queue a run of frames for everybody who gets them unchanged."""
        assert topic is not None  # noqa: S101 - a run has a topic
        topic.counts.frames += count
        if plan.plain:
            run = Run(topic, data if stop - begin == len(data) else data[begin:stop], 0, count, soonest)
            for sub in plan.plain:
                self._put(sub, run, now_ms)
            for window in plan.windows:
                window.turn(now_ms)

    def _put(self, sub: Subscription, run: Run, now_ms: int) -> None:
        lost = sub.put(run, now_ms)
        if lost:
            self._announce(lost)
        session = sub.session
        if sub.klass == BATCHED and sub.messages < _BATCH_MESSAGES and sub.size < _BATCH_BYTES and sub.messages * 2 < sub.max_messages:
            if sub.due_ms is None:
                sub.due_ms = now_ms + self.limits.batch_ms
                self.batches[sub] = None
                self._wake(sub.due_ms)
        elif not sub.scheduled and sub.sendable:
            session.schedule(sub)
            if not session.dirty:
                session.dirty = True
                self.dirty.append(session)

    def _one(self, session: Session, data: bytes, row: Row, now_ms: int) -> None:
        """Take one frame, with all that one may ask for; a refusal is answered."""
        at, end, schema_id, expires, seen, meta = row
        facts = Facts(schema_id, expires, seen)
        ack = True
        try:
            if isinstance(meta, MessageError):
                raise meta
            if frames.FIRST_ID <= schema_id <= frames.LAST_ID:
                dialogue.handle(self, session, data[at:end], facts, now_ms)
                return
            if not session.greeted:
                raise bad("the first frame of a connection is a hello", key="schema_id", hint="send intent.bus.hello.v1", code="bus.hello")
            routing = self.routes.routing(meta)
            ack = routing.ack
            copies = self._publish(session, data[at:end], facts, routing, now_ms)
        except RunloopError as error:
            self.refused += 1
            if not session.greeted:
                self.goodbye(session, error, now_ms)
            elif session is self.local:
                raise
            else:
                self.send(session, frames.ACK, {"of": facts.msg_id, "ok": False, "error": to_wire(error)}, now_ms)
        else:
            if ack and session is not self.local:
                self.send(session, frames.ACK, {"of": facts.msg_id, "ok": True, "matched": copies}, now_ms)

    def publish(self, raw: bytes, now_ms: int) -> int:
        """A frame of the hosting process; the number of subscriptions that it matched. Raises what is wrong with it."""
        rows, rest, _, refusal = scan(raw, self.limits.max_body)
        if refusal is not None:
            raise refusal
        if len(rows) != 1 or rest != len(raw):
            raise bad("not exactly one whole frame", key="frame", hint="publish what rmp.encode_frame made")
        _, _, schema_id, expires, seen, meta = rows[0]
        if isinstance(meta, MessageError):
            raise meta
        return self._publish(self.local, raw, Facts(schema_id, expires, seen), self.routes.routing(meta), now_ms)

    def wanted(self, topic: str, frames: int = 1) -> bool:
        """Whether anybody would get ``frames`` of this topic now; those that nobody gets are counted here and need not be made."""
        state = self.routes.topic(topic)
        plan = self.routes.plan(state)
        if plan.plain or plan.durable or plan.tagged or plan.handler:
            return True
        state.counts.frames += frames
        return False

    def publish_own(self, topic: str, frames: Sequence[Own], now_ms: int) -> None:
        """Publish frames that the hosting process encoded itself and knows, in order: nothing in them is read again.

        Raises what is wrong with the first that cannot be published.
        """
        state = self.routes.topic(topic)
        plan = self.routes.plan(state)
        if plan.simple and DAEMON in state.publishers and not any(self._unusual(plan, own.facts) for own in frames):
            stamp = (self.epoch, now_ms)
            for window in plan.windows:
                for own in frames:
                    window.cur[own.facts.seen] = stamp
            soonest = min(own.facts.expires_at_ms for own in frames)
            data = b"".join([own.raw for own in frames])
            self._deliver(state, plan, data, 0, len(data), len(frames), soonest, now_ms)
            return
        for own in frames:
            routing = Routing(state, ack=False, reply_to=None, seq=own.seq)
            self._publish(self.local, own.raw, own.facts, routing, now_ms)

    def _unusual(self, plan: Plan, facts: Facts) -> bool:
        """Whether a frame must be looked at by itself: its schema is restricted, or it was seen before."""
        return facts.schema_id in self._special or any(facts.seen in window.cur or facts.seen in window.old for window in plan.windows)

    def _publish(self, session: Session, raw: bytes, facts: Facts, routing: Routing, now_ms: int) -> int:
        topic = routing.topic
        if topic is None:
            raise bad("the frame has no topic", key="meta.topic", hint="set meta.topic to publish", code="bus.topic")
        its_agent = bool(session.agent) and session.agent == topic.agent
        restricted = self.acl.restricted_schemas.get(facts.schema_id)
        if (session.role not in topic.publishers and not its_agent) or (restricted is not None and session.role not in restricted):
            hint = "connect with the role operator and its token" if "operator" in topic.publishers else "only the daemon publishes here"
            raise NotAllowed(f"the role {session.role} may not publish schema {facts.schema_id} on {topic.name!r}", hint=hint)
        plan = self.routes.plan(topic)
        topic.counts.frames += 1
        if facts.expires_at_ms <= now_ms:
            self.count_lost(topic, counters.TTL_EXPIRED, plan.copies, facts)
            late = now_ms - facts.expires_at_ms
            raise Expired(f"expired {late} ms ago", key="ttl_ms", hint="give it a longer ttl_ms, or compare the clocks of both sides")
        if plan.handler:
            self._call(session, topic.name, raw, routing, facts)
        repeated = self._repeated(plan, facts.seen, now_ms)
        doubled = 0
        for sub in plan.plain + plan.tagged:
            if repeated and repeated[sub.window] >= sub.since:
                doubled += 1
                continue
            sent = raw if sub in plan.plain else with_meta(raw, {SUB: sub.sub})
            self._put(sub, Run(topic, sent, 0, 1, facts.expires_at_ms), now_ms)
        if doubled:
            self.count_lost(topic, counters.DUPLICATE, doubled, facts)
        if plan.durable:
            replay.live(self, topic, plan.durable, raw, routing.seq, facts, now_ms)
        return plan.copies + bool(plan.handler)

    def _call(self, session: Session, topic: str, raw: bytes, routing: Routing, facts: Facts) -> None:
        if session.requests >= self.limits.requests and session is not self.local:
            message = f"{session.requests} requests of this connection are being worked on"
            raise LimitExceeded(message, code="bus.requests", hint="wait for answers before asking on", retryable=True)
        session.requests += 1
        self.calls.append(Call(topic, raw, session.peer, routing.reply_to, facts.expires_at_ms, session))

    def _repeated(self, plan: Plan, seen: bytes, now_ms: int) -> dict[Window, int]:
        """Remember a message in every window; the epoch of its last delivery for each, if there was one in any."""
        stamp = (self.epoch, now_ms)
        epochs = {window: window.last(seen, now_ms) for window in plan.windows}
        for window in plan.windows:
            window.cur[seen] = stamp
            window.turn(now_ms)
        return epochs if any(epoch >= 0 for epoch in epochs.values()) else {}

    # -- losses

    def count_lost(self, topic: Topic, reason: str, copies: int, facts: Facts) -> None:
        topic.counts.published += copies
        topic.counts.drop(reason, copies)
        if topic.name != DROPS and not self.notices.more(topic.name, reason, max(1, copies)):
            self.notices.add(
                topic.name, reason, max(1, copies), trace_id=facts.trace_id, msg_id=facts.msg_id, expires_at_ms=facts.expires_at_ms
            )
            self._wake_for_notices()

    def _announce(self, lost: list[Lost]) -> None:
        for topic, reason, copies, data, at in lost:
            if topic.name != DROPS and not self.notices.more(topic.name, reason, copies):
                header = read_header(data, at)[1]
                expires = header.expires_at_ms
                self.notices.add(topic.name, reason, copies, trace_id=header.trace_id, msg_id=header.msg_id, expires_at_ms=expires)
                self._wake_for_notices()

    def _wake_for_notices(self) -> None:
        """Tick when the rate of notices allows the next one; the time of the last tick is near enough to now."""
        self._wake(self.notices.next_ms(self._ticked_ms) or 0)

    def _wake(self, at_ms: int) -> None:
        if self.due_ms is None or at_ms < self.due_ms:
            self.due_ms = at_ms

    # -- frames out

    def outgoing(self, session: Session, now_ms: int, max_bytes: int = 4 * _SLICE) -> list[bytes]:
        """What to send next, control first, then the subscriptions in turn; about ``max_bytes``. Empty when nothing can be sent."""
        ready = session.ready
        if len(ready) == 1 and not session.control and not session.ready_control:
            whole = ready[0].take_whole(max_bytes, now_ms)
            if whole is not None:
                ready.popleft().scheduled = False
                return [whole]
        out: list[bytes] = []
        if session.control:
            out.extend(session.control)
            session.control.clear()
            session.control_bytes = 0
        lost: list[Lost] = []
        for lane in (session.ready_control, session.ready):
            while lane and max_bytes > 0:
                sub = lane.popleft()
                sub.scheduled = False
                for data in sub.take(min(_SLICE, max_bytes) if lane else max_bytes, now_ms, lost):
                    out.append(data)
                    max_bytes -= len(data)
                if sub.sendable:
                    session.schedule(sub)
                elif sub.klass == DURABLE and not sub.live:
                    replay.want(self, sub)
        if lost:
            self._announce(lost)
        return out

    # -- time

    def tick(self, now_ms: int, mono_ms: int) -> int:
        """Do what time asks for; the ms until the next call, which ``due_ms`` may bring forward."""
        self._ticked_ms = now_ms
        for sub in [sub for sub in self.batches if (sub.due_ms or 0) <= now_ms]:
            del self.batches[sub]
            sub.due_ms = None
            if sub.sendable:
                sub.session.schedule(sub)
                self.touch(sub.session)
        for trace_id, payload in self.notices.due(now_ms):
            self._notice_ids += 1
            self.publish(
                encode_frame(
                    Envelope(NOTICE, payload, {"topic": DROPS}),
                    trace_id=trace_id, msg_id=self._notice_ids, created_at_ms=now_ms, ttl_ms=NOTICE_TTL_MS,
                ),
                now_ms,
            )  # fmt: skip
        for session in list(self.sessions.values()):
            dialogue.patience(self, session, now_ms, mono_ms)
        for window in self.windows.values():
            window.turn(now_ms)
        waits = [sub.due_ms for sub in self.batches if sub.due_ms is not None]
        notice = self.notices.next_ms(now_ms)
        self.due_ms = min([*waits, *([] if notice is None else [notice])], default=None)
        rest = min(1_000, max(10, self.limits.heartbeat_ms // 4))
        return rest if self.due_ms is None else max(0, min(rest, self.due_ms - now_ms))

    # -- counts

    def stats(self) -> BusStats:
        """A look at everything that is counted."""
        total = TopicCounts()
        total.add(self.routes.folded)
        for topic in self.routes.topics.values():
            total.add(topic.counts)
        subs = [sub for session in self.sessions.values() for sub in session.subs.values()]
        return BusStats(
            total=total,
            topics={name: topic.counts for name, topic in self.routes.topics.items()},
            refused=self.refused,
            connections=len(self.sessions),
            subscriptions=len(subs),
            queue_depth_max=max((sub.messages for sub in subs), default=None),
            queue_capacity_max=max((sub.max_messages for sub in subs), default=None),
            queued_bytes=sum(sub.size for sub in subs) + sum(session.control_bytes for session in self.sessions.values()),
            queued_frames=sum(sub.messages for sub in subs),
        )
